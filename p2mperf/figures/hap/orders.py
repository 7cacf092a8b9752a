"""What a lookup costs by the size of leaves, by the walk and by windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.hap.costs import costs_by_leaves
from p2mperf.analysis.hap.leaves import WALK, WINDOW
from p2mperf.analysis.labels import asked_words
from p2mperf.analysis.samples import refuse_empty
from p2mperf.figures.hap.titles import shape_note
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look, plain_ticks, ring_doubtful, room_note
from p2mperf.measure.operations.registry import lookups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe-Ito colours, and lines that differ too; guests have markers.
LOOKS = {WALK: Look("#D55E00", "--"), WINDOW: Look("#0072B2", "-")}
_MARKERS = "os^Dv*"


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel for each geometry, backing and operation."""
    refuse_empty(table, "no lookup of a HAP guest was measured; `sweep --plan hap` does")
    found = []
    for _, part in table.groupby(["geometry", "backing", "operation", "preamble"], sort=False):
        first = part.iloc[0]
        title = asked_words(*(str(first[name]) for name in ("operation", "preamble", "family")))
        found.append((title + shape_note(table, first) + room_note(table, first), part))
    return sorted(found, key=lambda panel: panel[1]["operation"].iloc[0] not in lookups())


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw cost over leaves, of each way and guest."""
    labels = {
        label: label.replace(", ", ",\n") + f"\nwalk: {loads:.3g} loads"
        for label, loads in table[["leaves", "walk_loads"]].itertuples(index=False, name=None)
    }
    places = {label: place for place, label in enumerate(labels)}
    guests = list(dict.fromkeys(table.sort_values("guest_bytes")["guest"]))
    for way, look in LOOKS.items():
        for index, guest in enumerate(guests):
            line = table[(table["way"] == way) & (table["guest"] == guest)]
            at = line["leaves"].map(places).to_numpy(float) + 0.09 * (index - (len(guests) - 1) / 2)
            cost = line["cost_ns"].to_numpy(float)
            error = np.nan_to_num(np.abs(line[["low_ns", "high_ns"]].to_numpy(float).T - cost))
            ax.errorbar(
                at,
                cost,
                yerr=error,
                capsize=3,
                color=look.colour,
                linestyle=look.line,
                marker=_MARKERS[index % len(_MARKERS)],
                label=f"{way}, {guest}",
            )
            ring_doubtful(ax, line["marks"], at, cost)
    ax.set_yscale("log")
    plain_ticks(ax)
    ax.set_xticks(range(len(labels)), labels.values(), fontsize="small")
    ax.set_ylabel("ns per lookup")


def finding(table: pd.DataFrame) -> str:
    """How much more a walk of the smallest leaves costs than one of the largest, where a guest has both."""
    walks = table[table["way"] == WALK]
    if not len(walks):
        return ""
    loads = sorted(set(walks["walk_loads"]))
    cells = ["geometry", "guest", "backing", "operation", "preamble"]
    ends = (
        walks[walks["walk_loads"] == n].drop_duplicates(cells).set_index(cells) for n in (loads[0], loads[-1])
    )
    large, small = ends
    factor = (small["cost_ns"] / large["cost_ns"]).dropna()
    if len(loads) < 2 or not len(factor):
        return ""
    names = (str(part["leaves"].iloc[0]) for part in (small, large))
    least, most = factor.min(), factor.max()
    of_small, of_large = names
    return (
        f"Leaves of {of_small} cost a walk {least:.1f} to {most:.1f} times what leaves of {of_large} cost it"
    )


FIGURE = FigureSpec(
    name="hap-orders",
    question="What a lookup costs by the size of a HAP table's leaves",
    data=costs_by_leaves,
    draw=draw,
    panels=panels,
    finding=finding,
    shipped="shipped-hap",
    panel_inches=(7.4, 4.2),
    shared_legend=True,
)
