"""What finding a third-level entry takes: computed for the Arndale board; measured here, apart from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.analysis.arm.vlpt import PLACES, board_costs
from p2mperf.analysis.rounds import design_marks
from p2mperf.analysis.samples import host_note, medians, operation_label, stays_in_ram
from p2mperf.analysis.summary import SHOWN_AXES
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import (
    design_colour,
    design_colours,
    plain_ticks,
    ring_doubtful,
    room_note,
    size_axis,
)
from p2mperf.model.arndale import WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = [*SHOWN_AXES, "design"]
COMPUTED, MEASURED = "computed, Cortex-A15", "measured on this host:"
MARKERS = dict(zip(WAYS, ("s", "o", "v", "^"), strict=True))
# Two ways are one design; the other ways are called like their design.
COLOURS = {"arm-vlpt, TLB hit": design_colour("arm-vlpt"), "arm-vlpt, TLB miss": "#56B4E9"}
MEASURED_LINES = {"arm-walk": "-", "arm-walk-direct": "--", "arm-vlpt": "-."}


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Compute the costs for the board and, where there are samples of the ARM designs, add their medians.

    Returns
    -------
    pandas.DataFrame
        Rows of one source each (column ``source``): way, place, cost_ns, low_ns, high_ns. Computed ones span
        the assumed range of what is not published, measured ones that of the processes [ns], and have marks.
    """
    table = board_costs().assign(source=COMPUTED)
    notes = ["computed: published cache and TLB latencies; barriers and invalidations as a range"]
    if "family" in frame and "arm" in set(frame["family"].dropna()):
        table = pd.concat([table, _measured(frame)], ignore_index=True)
        notes.append(host_note(frame))
    table.attrs["note"] = "\n".join([*notes, "no figure of the patch's author is to be had"])
    return table


def _measured(frame: pd.DataFrame) -> pd.DataFrame:
    ram = frame[stays_in_ram(frame)]
    arm = ram[ram["family"] == "arm"]
    chosen = arm[arm["design"].isin(design_colours())]
    table = medians(chosen, KEYS).merge(design_marks(arm, KEYS), on=KEYS)
    what = ["operation", "preamble", "stream"]
    source = [
        f"{MEASURED} {operation_label(operation, preamble)}, {stream}{room_note(table, row)}"
        for (operation, preamble, stream), row in zip(
            table[what].itertuples(index=False, name=None), table.itertuples(), strict=True
        )
    ]
    return table.assign(source=source, way=table["design"])


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel a source: what is computed and what is measured never share one, nor do two backings."""
    return [(str(source), part) for source, part in table.groupby("source", sort=False)]


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw one source."""
    if table["source"].iloc[0] == COMPUTED:
        _draw_computed(table, ax)
    else:
        _draw_measured(table, ax)
    ax.set_yscale("log")
    plain_ticks(ax)
    ax.set_ylabel("ns to find an entry")


def _colour(way: str) -> str:
    return COLOURS.get(way) or design_colour(way)


def _draw_computed(table: pd.DataFrame, ax: Axes) -> None:
    places = list(PLACES.values())
    for index, (way, part) in enumerate(table.groupby("way", sort=False)):
        x = [places.index(place) + 0.12 * (index - 1.5) for place in part["place"]]
        cost, low, high = (part[column].to_numpy(float) for column in ("cost_ns", "low_ns", "high_ns"))
        ax.errorbar(
            x,
            cost,
            [cost - low, high - cost],
            linestyle="none",
            markerfacecolor="white",
            label=f"{way}, computed",
            color=_colour(str(way)),
            marker=MARKERS[str(way)],
        )
    ax.set_xticks(range(len(places)), places)
    ax.set_xlim(-0.5, len(places) - 0.5)


def _draw_measured(table: pd.DataFrame, ax: Axes) -> None:
    for way, part in table.groupby("way", sort=False):
        part = part.sort_values("guest_bytes")
        line = MEASURED_LINES.get(str(way), ":")
        ax.plot(
            part["guest_bytes"],
            part["cost_ns"],
            "D",
            ls=line,
            color=_colour(str(way)),
            label=f"{way}, measured",
        )
        sizes, costs = (part[name].to_numpy(float) for name in ("guest_bytes", "cost_ns"))
        ring_doubtful(ax, part["marks"], sizes, costs)
    size_axis(ax, table["guest_bytes"])


def finding(table: pd.DataFrame) -> str:
    """What the slowest and the fastest way take by the published latencies, with entries in the L2 cache."""
    rows = table[(table["source"] == COMPUTED) & (table["place"] == PLACES["L2"])]
    middle = rows.sort_values("cost_ns", ascending=False)[["way", "cost_ns"]]
    ends = [middle.iloc[place] for place in (0, -1)]
    said = [f"{row['cost_ns']:.0f} ns by {row['way']}" for row in ends]
    return f"Computed, with entries in the L2 cache: {', '.join(said)}"


FIGURE = FigureSpec(
    name="arm-find",
    question="What finding a third-level entry takes",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    measured=False,
    panel_inches=(6.2, 4.2),
    shared_legend=True,
)
