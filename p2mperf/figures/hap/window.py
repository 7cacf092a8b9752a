"""Does the window pay: its cost over that of the walk of the same leaves, paired, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.hap_costs import windows_over_walks
from p2mperf.analysis.samples import refuse_empty
from p2mperf.figures.hap.titles import shape_note
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look, ring_doubtful, room_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The commit that removed the lookup through windows from Xen, 2012 (c622876000).
PUBLISHED = "published, Xen 2012: no difference\non 64 bit, and removed"
_LOOKS = {
    "latency": Look("#0072B2", marker="o"),
    "throughput": Look("#D55E00", marker="s"),
    "entry, 8M": Look("#009E73", marker="^"),
    "entry, flush+8M": Look("#CC79A7", marker="D"),
}
_OTHER = Look("#000000", marker="v")


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel for each stream, geometry and backing."""
    refuse_empty(table, "no cell has a walk and a window over the same leaves; `sweep --plan hap` has")
    found = []
    for _, part in table.groupby(["stream_label", "geometry", "backing"], sort=False):
        first = part.iloc[0]
        found.append(
            (f"{first['stream_label']} frames" + shape_note(table, first) + room_note(table, first), part)
        )
    return sorted(found, key=lambda panel: panel[0] != "uniform frames")


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw ratios with their intervals, a row for each size of leaves and of guest; left the window pays."""
    names = [f"{leaves}\n{guest}" for leaves, guest in zip(table["leaves"], table["guest"], strict=True)]
    rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
    table = table.assign(_row=[rows[name] for name in names])
    operations = list(dict.fromkeys(table["what"]))
    ax.axvline(1, color="0.25", linewidth=1.2, linestyle=":", label=PUBLISHED)
    for index, what in enumerate(operations):
        part, look = table[table["what"] == what], _LOOKS.get(what, _OTHER)
        ratio = part["ratio"].to_numpy(float)
        at = part["_row"].to_numpy(float) + 0.16 * (index - (len(operations) - 1) / 2)
        error = np.nan_to_num(np.abs(part[["low", "high"]].to_numpy(float).T - ratio))
        ax.errorbar(
            ratio, at, xerr=error, fmt=look.marker, color=look.colour, capsize=3, markersize=5, label=what
        )
        ring_doubtful(ax, part["marks"], ratio, at)
    ax.set_xscale("log")
    low, high = float(table["ratio"].min()), float(table["ratio"].max())
    ax.set_xlim(min(0.8, low * 0.85), max(1.25, high * 1.2))
    ticks = [tick for tick in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10) if low * 0.85 <= tick]
    ax.set_xticks([tick for tick in ticks if tick <= max(1.25, high * 1.2)])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), rows, fontsize="small")
    ax.set_ylim(len(rows) - 0.4, -0.9)
    ax.set_xlabel("windows / walk")
    for place, side, words in ((0.01, "left", "windows faster"), (0.99, "right", "walk faster")):
        ax.annotate(
            words, (place, 0.985), xycoords="axes fraction", ha=side, va="top", size=8.5, color="0.35"
        )


FIGURE = FigureSpec(
    name="hap-window",
    question="Does the window pay, by the size of leaves and of the guest",
    data=windows_over_walks,
    draw=draw,
    panels=panels,
    shipped="shipped-hap",
    panel_inches=(6.6, 6.4),
    shared_legend=True,
)
