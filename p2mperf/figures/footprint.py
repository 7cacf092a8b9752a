"""What each layout takes: its pages by kind."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from p2mperf.figures.common import host_note

_COLUMN = re.compile(r"footprint_(.+)_pages")
_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#F0E442", "#999999", "#000000")
N_COLUMNS = 1
PANEL_INCHES = (13.0, 4.2)


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Count pages by kind for each guest and design.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        ``family``, ``guest``, ``guest_bytes``, ``design``, ``kind``, ``n_pages``: counted, not predicted.
    """
    columns = [column for column in frame.columns if _COLUMN.fullmatch(column)]
    keys = ["family", "guest", "entry_bits", "guest_bytes", "design"]
    built = frame[frame["build_ns"].notna()].drop_duplicates(keys)
    long = built.melt(keys, columns, "column", "n_pages").dropna(subset="n_pages")
    long["kind"] = long["column"].str.extract(_COLUMN.pattern, expand=False)
    table = long.drop(columns="column").reset_index(drop=True)
    table.attrs["note"] = host_note(frame)
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """All pages, and those that are not private leaves."""
    return [
        ("all pages", table),
        ("without the private leaves", table[table["kind"] != "leaf"]),
    ]


def draw(table: pd.DataFrame, ax: Any) -> None:
    """Stack the kinds of pages of each guest and design."""
    order = table.drop_duplicates(["guest", "design"]).sort_values(["entry_bits", "guest_bytes", "design"])
    places = {(row.guest, row.design): index for index, row in enumerate(order.itertuples())}
    kinds = list(dict.fromkeys(table["kind"]))
    bottom = np.zeros(len(places))
    for kind, colour in zip(kinds, _cycle(len(kinds)), strict=True):
        heights = np.zeros(len(places))
        for row in table[table["kind"] == kind].itertuples():
            heights[places[row.guest, row.design]] = float(row.n_pages)
        ax.bar(range(len(places)), heights, bottom=bottom, color=colour, label=kind.replace("_", " "), width=0.75)
        bottom += heights
    ax.set_yscale("log" if "leaf" in kinds else "linear")
    labels = [f"{guest}\n{design.partition('-')[2]}" for guest, design in places]
    ax.set_xticks(range(len(places)), labels, rotation=60, ha="right", size=8)
    ax.set_ylabel("4 KiB pages")
    ax.grid(visible=False, axis="x")
    ax.legend(ncols=2, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _cycle(n_colours: int) -> list[str]:
    return [_COLOURS[index % len(_COLOURS)] for index in range(n_colours)]
