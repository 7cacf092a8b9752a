"""Does the window pay: its cost over that of the walk of the same leaves, paired, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.analysis.hap.costs import windows_over_walks
from p2mperf.analysis.labels import asked_words, who_is_faster
from p2mperf.analysis.samples import refuse_empty
from p2mperf.analysis.words import sentence
from p2mperf.figures.forest import Words, draw_forest, forest_size, limits_of
from p2mperf.figures.hap.titles import shape_note
from p2mperf.figures.spec import FigureSpec, PanelSize
from p2mperf.figures.style import room_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The commit that removed the lookup through windows from Xen, 2012 (c622876000).
PUBLISHED = "published, Xen 2012: no difference\non 64 bit, and removed"


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel for each stream, geometry and backing, on one axis for all."""
    refuse_empty(table, "no cell has a walk and a window over the same leaves; `sweep --plan hap` has")
    limits, found = limits_of(table), []
    asked = table[["operation", "preamble", "family"]].itertuples(index=False, name=None)
    words = [asked_words(*map(str, row)) for row in asked]
    table = table.assign(row=_rows(table), series=words)
    for _, part in table.groupby(["stream_label", "geometry", "backing"], sort=False):
        first = part.iloc[0]
        part.attrs = {"limits": limits, "series": list(dict.fromkeys(table["series"]))}
        found.append(
            (f"{first['stream_label']} frames" + shape_note(table, first) + room_note(table, first), part)
        )
    return sorted(found, key=lambda panel: panel[0] != "uniform frames")


def _rows(table: pd.DataFrame) -> list[str]:
    """Names of rows: leaves and guest, and the design where two have the same leaves over one guest."""
    names = table["leaves"] + "\n" + table["guest"]
    n_designs = (
        table.assign(_name=names).groupby(["_name", "geometry", "backing"])["design"].transform("nunique")
    )
    return [
        f"{name}, {design}" if n > 1 else name
        for name, design, n in zip(names, table["design"], n_designs, strict=True)
    ]


def size(part: pd.DataFrame) -> PanelSize:
    """As high as there are rows."""
    return forest_size(part["row"], len(part.attrs["series"]))


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw ratios with their intervals, a row for each size of leaves and of guest; left the window pays."""
    rows = list(dict.fromkeys(table["row"]))
    words = Words.of("window", "walk")
    draw_forest(table, ax, rows, table.attrs["series"], table.attrs["limits"], words, PUBLISHED)


def _by_way(table: pd.DataFrame) -> pd.DataFrame:
    """The same, each window and walk called by the first of their names: the leaves are another question."""
    first = table.iloc[0]
    winners = dict.fromkeys(table["reference"], first["reference"])
    winners |= dict.fromkeys(table["design"], first["design"])
    faster = table["faster"].map(lambda name: winners.get(name, ""))
    return table.assign(design=first["design"], reference=first["reference"], faster=faster)


FIGURE = FigureSpec(
    name="hap-window",
    question="Does the window pay, by the size of leaves and of the guest",
    data=windows_over_walks,
    draw=draw,
    panels=panels,
    finding=lambda table: sentence(f"over the same leaves {who_is_faster(_by_way(table))}"),
    shipped="shipped-hap",
    panel_size=size,
    shared_legend=True,
)
