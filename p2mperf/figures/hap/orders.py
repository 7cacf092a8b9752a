"""What a lookup costs by the size of leaves, by the walk and by windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.hap_costs import costs_by_leaves
from p2mperf.analysis.hap_leaves import WALK, WINDOW
from p2mperf.analysis.samples import operation_label, refuse_empty
from p2mperf.figures.hap.titles import shape_note
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look, plain_ticks, ring_doubtful, room_note
from p2mperf.measure.operations.registry import lookups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe-Ito colours, and lines that differ too; guests have markers.
LOOKS = {WALK: Look("#D55E00", "--"), WINDOW: Look("#0072B2", "-")}
_MARKERS = "os^Dv*"
_TITLES = {"latency": "lookups one after the other", "throughput": "lookups that overlap"}


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel for each geometry, backing and operation."""
    refuse_empty(table, "no lookup of a HAP guest was measured; `sweep --plan hap` does")
    found = []
    for _, part in table.groupby(["geometry", "backing", "operation", "preamble"], sort=False):
        first = part.iloc[0]
        operation = str(first["operation"])
        title = _TITLES.get(operation, operation_label(operation, str(first["preamble"])))
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


FIGURE = FigureSpec(
    name="hap-orders",
    question="What a lookup costs by the size of a HAP table's leaves",
    data=costs_by_leaves,
    draw=draw,
    panels=panels,
    shipped="shipped-hap",
    panel_inches=(7.4, 4.2),
    shared_legend=True,
)
