"""Cost of a lookup against guest size, with the sizes at which a cache or translation buffer is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.labels import design_word, operation_words
from p2mperf.analysis.rounds import design_marks
from p2mperf.analysis.samples import host_note, knees_of, medians, of_designs, refuse_empty, stays_in_ram
from p2mperf.analysis.summary import SHOWN_AXES
from p2mperf.analysis.words import sentence
from p2mperf.designs import registry
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import (
    design_look,
    plain_ticks,
    ring_doubtful,
    room_keys,
    room_note,
    size_axis,
)
from p2mperf.guests.presets import ALL_PRESETS
from p2mperf.measure.ladder import Knee
from p2mperf.measure.operations.registry import lookups
from p2mperf.units import format_ns, readable_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = [*SHOWN_AXES, "design"]
APART = "outlined: a preset beside a plain guest of its size"
_SAME_SIZE = 0.01  # log of two sizes of memory that are one to the eye


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Median cost of each design over plain RAM streams.

    Returns
    -------
    pandas.DataFrame
        One row a design and cell: ``cost_ns`` (median over processes), ``low_ns`` and ``high_ns`` (the
        lowest and highest process), all per lookup [ns]; ``marks``, as `design_marks` has them.
    """
    shown = frame[stays_in_ram(frame) & frame["operation"].isin(lookups())]
    table = medians(of_designs(shown), KEYS).merge(design_marks(shown, KEYS), on=KEYS)
    table.attrs["note"] = host_note(frame)
    table.attrs["knees"] = knees_of(frame)
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel an operation and stream, streams in one order for every operation.

    Several page backings, and several limits, have panels of their own.
    """
    refuse_empty(table, "no cell was measured with all frames in RAM")
    found = []
    for _, part in table.groupby(["family", *room_keys(table), "operation", "stream"]):
        part.attrs = table.attrs
        first = part.iloc[0]
        title = sentence(f"{operation_words(str(first['operation']))}, {first['stream']}")
        found.append((title + room_note(table, first), part))
    return found


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw cost over guest size; the band is the range over processes."""
    several, n_apart = table.groupby("entry_bits")["geometry"].nunique().to_dict(), 0
    for (design, bits, geometry), part in table.groupby(["design", "entry_bits", "geometry"], sort=False):
        part, apart = _apart(part.sort_values("guest_bytes"))
        look = design_look(str(design), int(part["entry_bits"].iloc[0]))
        size = part["guest_bytes"].to_numpy(float)
        ax.plot(
            size,
            part["cost_ns"],
            look.line,
            color=look.colour,
            marker=look.marker,
            markerfacecolor=look.face,
            label=f"{design}, {geometry if several[bits] > 1 else f'{bits}-bit'}",
        )
        low, high = part["low_ns"].to_numpy(float), part["high_ns"].to_numpy(float)
        ax.fill_between(size, low, high, color=look.colour, alpha=0.12, linewidth=0)
        ring_doubtful(ax, part["marks"], size, part["cost_ns"].to_numpy(float))
        n_apart += len(apart)
        ax.plot(
            apart["guest_bytes"],
            apart["cost_ns"],
            look.marker,
            color=look.colour,
            markerfacecolor=look.face,
            markeredgecolor="black",
        )
        places, costs = (apart[name].to_numpy(float) for name in ("guest_bytes", "cost_ns"))
        ring_doubtful(ax, apart["marks"], places, costs)
    if n_apart:
        ax.plot([], [], "o", color="0.6", markeredgecolor="black", label=APART)
    size_axis(ax, table["guest_bytes"])
    ax.set_yscale("log")
    plain_ticks(ax)
    ax.set_ylabel("ns per lookup")
    _draw_knees(table.attrs.get("knees", []), ax)


def _apart(part: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take presets from a line that has a plain guest of their size: they are points beside it."""
    sizes = np.log(part["guest_bytes"].to_numpy(float))
    gaps = np.diff(sizes, prepend=-np.inf, append=np.inf)
    has_twin = np.minimum(gaps[:-1], gaps[1:]) < _SAME_SIZE
    is_apart = part["guest"].isin(ALL_PRESETS).to_numpy(bool) & has_twin
    return part[~is_apart], part[is_apart]


def _draw_knees(knees: list[Knee], ax: Axes) -> None:
    """Where a 64-bit list is as large as a cache, or as what a translation buffer reaches."""
    low, high = ax.get_xlim()
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.4}
    for index, knee in enumerate(knees):
        size = knee.bytes * 512.0
        if low < size < high:
            ax.axvline(size, color="0.45", linewidth=1, linestyle=":")
            place = (size, 0.02 + 0.09 * (index % 3))
            ax.annotate(
                f" {knee.name}", place, xycoords=("data", "axes fraction"), size=8, color="0.3", bbox=box
            )


def _told(shown: pd.DataFrame) -> list[str]:
    """Designs that a title has room for: those that a sweep measures unasked, if there are any."""
    there = dict.fromkeys(shown["design"])
    return [name for name in there if name in registry() and registry()[name].headline] or list(there)[:3]


def finding(table: pd.DataFrame) -> str:
    """What a lookup costs in the smallest and in the largest guest, of the panel with most guests."""
    keys = ["family", *room_keys(table), "operation", "stream", "entry_bits"]
    groups = [part for _, part in table.groupby(keys, sort=True)]
    shown = max(groups, key=lambda part: (part["guest_bytes"].nunique(), part["stream"].iloc[0] == "uniform"))
    first, sizes = shown.iloc[0], sorted(set(shown["guest_bytes"]))
    said = []
    for design, part in shown[shown["design"].isin(_told(shown))].groupby("design", sort=True):
        costs = part.set_index("guest_bytes")["cost_ns"]
        if {sizes[0], sizes[-1]} <= set(costs.index):
            ends = (format_ns(float(costs[[size]].iloc[0])) for size in dict.fromkeys((sizes[0], sizes[-1])))
            said.append(f"{' and '.join(ends)} in the {design_word(str(design), str(first['family']))}")
    if not said:
        return ""
    guests = " and ".join(dict.fromkeys(readable_size(int(size)) for size in (sizes[0], sizes[-1])))
    what = f"{operation_words(str(first['operation']))} ({first['stream']}, {first['entry_bits']}-bit)"
    return sentence(f"{what} take {', '.join(said)}, in guests of {guests}")


FIGURE = FigureSpec(
    name="cost",
    question="What a lookup costs against guest size",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    by_family=True,
    panel_inches=(5.8, 3.7),
    shared_legend=True,
)
