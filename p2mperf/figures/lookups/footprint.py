"""What each layout takes: its pages by kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.samples import host_note, of_designs, refuse_empty
from p2mperf.analysis.summary import short_name
from p2mperf.figures.spec import FigureSpec
from p2mperf.units import GIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
        ``family``, ``guest``, ``guest_bytes``, ``design``, ``kind``, ``n_pages``: counted, not predicted.
    """
    columns = [column for column in frame.columns if _COLUMN.fullmatch(column)]
    keys = ["family", "guest", "entry_bits", "guest_bytes", "design"]
    built = of_designs(frame[frame["build_ns"].notna()]).drop_duplicates(keys)
    long = built.melt(keys, columns, "column", "n_pages").dropna(subset="n_pages")
    long["kind"] = long["column"].str.extract(_COLUMN.pattern, expand=False)
    table = long.drop(columns="column").reset_index(drop=True)
    table.attrs["note"] = host_note(frame)
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """All pages in proportion to the guest, and those that are not private leaves."""
    refuse_empty(table, "no design was built")
    share = table.assign(value=table["n_pages"].astype(float) * 4 / (table["guest_bytes"] / GIB))
    # Where nothing is left, values of the whole table would come in as rows of their own.
    others = table[table["kind"] != "leaf"]
    count = others.assign(value=others["n_pages"].astype(float))
    share.attrs["label"], count.attrs["label"] = "KiB for each GiB of guest", "4 KiB pages"
    return [("all pages, in proportion to the guest", share), ("without the private leaves", count)]


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Stack the kinds of pages of each guest and design."""
    order = table.drop_duplicates(["guest", "design"])
    order = order.sort_values(["family", "entry_bits", "guest_bytes", "guest", "design"])
    places = {(row.guest, row.design): index for index, row in enumerate(order.itertuples())}
    labels = [f"{row.guest} {short_name(str(row.design), str(row.family))}" for row in order.itertuples()]
    bottom = np.zeros(len(places))
    for kind in sorted(set(table["kind"]), key=_rank):
        heights = np.zeros(len(places))
        for row in table[table["kind"] == kind].itertuples():
            heights[places[row.guest, row.design]] = row.value
        colour = _COLOURS.get(kind, "#882255")
        ax.bar(range(len(places)), heights, 0.75, bottom, color=colour, label=kind.replace("_", " "))
        bottom += heights
    ax.set_xticks(range(len(places)), labels, rotation=40, ha="right", size=8.5)
    ax.set_ylabel(table.attrs.get("label", ""))
    ax.grid(visible=False, axis="x")


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
