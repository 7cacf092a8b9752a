"""What each layout takes: its pages by kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.samples import host_note, of_designs, refuse_empty
from p2mperf.analysis.summary import SHOWN_AXES, short_name
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import room_note
from p2mperf.results.fields import CELL_AXES, RECORDS
from p2mperf.units import GIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What tells tables apart: all that a cell is but what is done with them.
_DONE_WITH_THEM = set(CELL_AXES) - {*RECORDS["unit"], *RECORDS["design"]}
KEYS = [*(axis for axis in SHOWN_AXES if axis not in _DONE_WITH_THEM), "design"]
_COLUMN = re.compile(r"footprint_(.+)_pages")
# Leaves grey; what the software walk needs in warm, what the MMU's view needs in cold colours.
_COLOURS = {
    "leaf": "#999999",
    "leaf_shared": "#CCCCCC",
    "mid": "#D55E00",
    "mid_shared": "#E69F00",
    "top": "#F0E442",
    "pte": "#0072B2",
    "pte_shared": "#56B4E9",
    "pmd": "#009E73",
    "pud": "#66C2A5",
    "pgd": "#CC79A7",
    "hole_window": "#000000",
}


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Count pages by kind for each guest and design.

    Returns
    -------
    pandas.DataFrame
        What tells units apart, ``design``, ``kind`` and ``n_pages``: counted, not predicted.
    """
    columns = [column for column in frame.columns if _COLUMN.fullmatch(column)]
    built = of_designs(frame[frame["build_ns"].notna()]).drop_duplicates(KEYS)
    long = built.melt(KEYS, columns, "column", "n_pages").dropna(subset="n_pages")
    long["kind"] = long["column"].str.extract(_COLUMN.pattern, expand=False)
    table = long.drop(columns="column").reset_index(drop=True)
    table.attrs["note"] = host_note(frame)
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """All pages in proportion to the guest, and those that are not private leaves."""
    refuse_empty(table, "no design was built")
    table = _distinct(table)
    share = table.assign(value=table["n_pages"].astype(float) * 4 / (table["guest_bytes"] / GIB))
    # Where nothing is left, values of the whole table would come in as rows of their own.
    others = table[table["kind"] != "leaf"]
    count = others.assign(value=others["n_pages"].astype(float))
    share.attrs["label"], count.attrs["label"] = "KiB for each GiB of guest", "4 KiB pages"
    return [("all pages, in proportion to the guest", share), ("without the private leaves", count)]


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Stack the kinds of pages of each guest and design."""
    order = table.drop_duplicates(KEYS)
    first = ["family", "entry_bits", "guest_bytes", "guest", "design"]
    order = order.sort_values(list(dict.fromkeys([*first, *KEYS])))
    places = {tuple(key): index for index, key in enumerate(order[KEYS].itertuples(index=False))}
    labels = [
        f"{row.guest} {short_name(str(row.design), str(row.family))}{room_note(table, row)}"
        for row in order.itertuples()
    ]
    bottom = np.zeros(len(places))
    for kind in sorted(set(table["kind"]), key=_rank):
        heights = np.zeros(len(places))
        part = table[table["kind"] == kind]
        for key, value in zip(part[KEYS].itertuples(index=False), part["value"], strict=True):
            heights[places[tuple(key)]] = value
        colour = _COLOURS.get(kind, "#882255")
        ax.bar(range(len(places)), heights, 0.75, bottom, color=colour, label=kind.replace("_", " "))
        bottom += heights
    ax.set_xticks(range(len(places)), labels, rotation=40, ha="right", size=8.5)
    ax.set_ylabel(table.attrs.get("label", ""))
    ax.grid(visible=False, axis="x")


def _distinct(table: pd.DataFrame) -> pd.DataFrame:
    """The same without the units whose tables differ from another's by no page, but by the pages' backing."""
    counts = table.pivot_table("n_pages", KEYS, "kind", aggfunc="first").reset_index()
    counts = counts.drop_duplicates([name for name in counts if name != "backing"])
    return table.merge(counts[KEYS], on=KEYS)


def _rank(kind: str) -> tuple[int, str]:
    """Kinds as they stand among the colours, then the others by name: never as a set happens to hold them."""
    return (list(_COLOURS).index(kind) if kind in _COLOURS else len(_COLOURS), kind)


FIGURE = FigureSpec(
    name="footprint",
    question="What each layout takes, by kind of page",
    data=data,
    draw=draw,
    panels=panels,
    n_columns=1,
    panel_inches=(13.0, 4.2),
    shared_legend=True,
)
