"""What a lookup costs by the size of leaves, by the walk and by windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.rounds import design_marks
from p2mperf.analysis.samples import host_note, measured, of_designs, operation_label, refuse_empty
from p2mperf.analysis.statistics import ratio_interval
from p2mperf.analysis.summary import SHOWN_AXES, intervals_of
from p2mperf.figures.hap.leaves import WALK, WINDOW, Leaves, leaves_of, shape_note
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look, plain_ticks, ring_doubtful, room_note
from p2mperf.measure.operations.registry import entries, lookups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = [*SHOWN_AXES, "design"]
# Okabe-Ito colours, and lines that differ too; guests have markers.
LOOKS = {WALK: Look("#D55E00", "--"), WINDOW: Look("#0072B2", "-")}
_MARKERS = "os^Dv*"
_TITLES = {"latency": "lookups one after the other", "throughput": "lookups that overlap"}


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Cost of lookups and entries of HAP tables over uniform frames in RAM, with intervals.

    Returns
    -------
    pandas.DataFrame
        One row a design and cell: ``way``, ``leaves`` and ``walk_loads``, as `leaves_of` has them;
        ``cost_ns`` with the ends ``low_ns`` and ``high_ns`` of its interval over processes, which covers
        ``level`` (per lookup, of which an entry has one) [ns]; ``marks``, as `design_marks` has them.
    """
    in_ram = (
        (frame["hole_fraction"] == 0) & (frame["identity_fraction"] == 0) & (frame["stream"] == "uniform")
    )
    shown = frame[in_ram & frame["operation"].isin((*lookups(), *entries()))]
    table = _costs(of_designs(shown)).merge(design_marks(shown, KEYS), on=KEYS)
    names = table[["design", "guest", "geometry", "guest_bytes"]].itertuples(index=False, name=None)
    found = [leaves_of(*row) for row in names]
    table = table[np.array([leaves is not None for leaves in found], bool)]
    told = pd.DataFrame(filter(None, found), columns=list(Leaves._fields), index=table.index)
    table = table.join(told.rename(columns={"label": "leaves"}))
    table = table.sort_values(["walk_loads", "guest_bytes"], kind="stable", ignore_index=True)
    table.attrs["note"] = f"{host_note(frame)}; bars: {intervals_of(table)} over processes"
    return table


def _costs(samples: pd.DataFrame) -> pd.DataFrame:
    """Cost of each design in each cell, by its processes' medians."""
    rows = []
    for key, cell in measured(samples).groupby(KEYS, sort=False):
        processes = cell.groupby(["run", "replicate"], sort=False)["cost_ns"].median()
        found = ratio_interval(np.log(processes.to_numpy(np.float64)))
        rows.append((*key, found.estimate, found.low, found.high, found.level))
    table = pd.DataFrame(rows, columns=[*KEYS, "cost_ns", "low_ns", "high_ns", "level"])
    return table.astype({name: samples[name].dtype for name in KEYS})


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
    data=data,
    draw=draw,
    panels=panels,
    shipped="shipped-hap",
    panel_inches=(7.4, 4.2),
    shared_legend=True,
)
