"""Cost of every other design over the one that it is compared to, paired, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.samples import refuse_empty
from p2mperf.analysis.summary import summary
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import (
    Look,
    plain_ticks,
    ring_doubtful,
    room_keys,
    room_note,
    size_axis,
    stream_look,
)
from p2mperf.measure.operations.registry import lookups

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare designs cell by cell, as `p2mperf.analysis.summary.summary` does."""
    return summary(frame)


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel for each pair of designs and operation over guest size; others where streams leave RAM."""
    table = table[table["operation"].isin(lookups())]
    refuse_empty(table, "no lookup was measured with two designs of a family")
    keys = ["family", "operation", "design", "reference", *room_keys(table)]
    mixed = (table["hole_fraction"] + table["identity_fraction"]).to_numpy() > 0
    found = []
    for where, part in (
        ("frames in RAM", table[~mixed]),
        ("half of the frames in holes or identity", table[mixed]),
    ):
        for _, group in part.groupby(keys, sort=False):
            first = group.iloc[0]
            title = f"{first['family']}: {first['operation']}, {where}"
            found.append((title + room_note(table, first), group))
    return found


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw ratios with their intervals; above 1 the reference is faster."""
    ax.axhline(1, color="0.25", linewidth=1.2)
    if len(set(table["guest_bytes"])) == 1:
        _draw_labels(table, ax)
        return
    groups = table.groupby(["entry_bits", "stream_label"], sort=False)
    for index, ((bits, label), part) in enumerate(groups):
        part = part.sort_values("guest_bytes")
        look, places = _look(part), part["guest_bytes"].to_numpy(float) * (1 + 0.03 * index)
        error = np.abs(part[["low", "high"]].to_numpy(float).T - part["ratio"].to_numpy(float))
        ax.errorbar(
            places,
            part["ratio"].to_numpy(float),
            yerr=np.nan_to_num(error),
            label=f"{label}, {bits}-bit",
            capsize=3,
            color=look.colour,
            marker=look.marker,
            linestyle=look.line,
            markerfacecolor=look.face,
        )
        ring_doubtful(ax, part["marks"], places, part["ratio"].to_numpy(float))
    size_axis(ax, table["guest_bytes"])
    _ratio_axis(ax, table)
    ax.set_ylabel(f"{table['design'].iloc[0]} / {table['reference'].iloc[0]}")


def _look(rows: pd.DataFrame) -> Look:
    """Look of the stream that these rows are of."""
    first = rows.iloc[0]
    shares = first["hole_fraction"], first["identity_fraction"], first["hole_pattern"]
    return stream_look(first["stream"], first["entry_bits"], *shares)


def _draw_labels(table: pd.DataFrame, ax: Axes) -> None:
    labels = [f"{row.stream_label}\n{row.guest}" for row in table.itertuples()]
    places = np.arange(len(labels), dtype=float)
    ratio = table["ratio"].to_numpy(float)
    error = np.nan_to_num(np.abs(table[["low", "high"]].to_numpy(float).T - ratio))
    for place in range(len(labels)):
        one, look = slice(place, place + 1), _look(table.iloc[[place]])
        ax.errorbar(
            places[one],
            ratio[one],
            yerr=error[:, one],
            capsize=4,
            color=look.colour,
            marker=look.marker,
            markerfacecolor=look.face,
        )
    ring_doubtful(ax, table["marks"], places, ratio)
    ax.set_xticks(places, labels)
    if len(labels) > 3:  # long ones overlap where they lie beside each other
        ax.tick_params("x", rotation=90)
    ax.set_xlim(-0.6, len(labels) - 0.4)
    _ratio_axis(ax, table)
    ax.set_ylabel(f"{table['design'].iloc[0]} / {table['reference'].iloc[0]}")


def _ratio_axis(ax: Axes, table: pd.DataFrame) -> None:
    """Logarithmic, made for the estimates: an interval that no process resolved may leave the axes."""
    ratios, first = table["ratio"], table.iloc[0]
    ax.set_yscale("log")
    ax.set_ylim(min(0.9, ratios.min() * 0.85), max(1.1, ratios.max() * 1.25))
    plain_ticks(ax, (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 9.0))
    for height, side, what in ((0.98, "top", first["reference"]), (0.02, "bottom", first["design"])):
        ax.annotate(
            f"{what} faster", (0.01, height), xycoords="axes fraction", va=side, size=8.5, color="0.35"
        )


FIGURE = FigureSpec(
    name="ratio",
    question="How much longer a lookup takes than in the design that it is compared to",
    data=data,
    draw=draw,
    panels=panels,
    n_columns=2,
    panel_inches=(7.0, 4.6),
    shared_legend=True,
)
