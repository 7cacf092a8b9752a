"""What the life of a p2m costs: writes and ballooning a frame, broken leaves, and whole tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.rounds import design_marks
from p2mperf.analysis.samples import host_note, medians, of_designs, refuse_empty
from p2mperf.analysis.summary import SHOWN_AXES
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import design_colour, ring_doubtful, room_keys, room_note
from p2mperf.measure.operations.registry import entries, lookups, operations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = [*SHOWN_AXES, "design"]
GROWTH = ["n_pages_grown", "n_vmas_grown"]
# Time between the lines of a boot log that name the area, of 1 GiB, and the end of remapping: three logs of
# kernels that have room for 512 GiB (728641, 440771 and 0 pages were remapped).
PUBLISHED_REBUILD_NS = (0.265e9, 0.247e9, 0.771e9)
PUBLISHED = "published: boot logs, 1 GiB area"
PUBLISHED_NS = {"rebuild": PUBLISHED_REBUILD_NS}


def cell_titles() -> dict[tuple[str, str], str]:
    """What each operation and stream is to the kernel, in the order of the panels; lookups are left out."""
    return {
        (name, stream): title
        for name, spec in operations().items()
        if name not in (*lookups(), *entries())
        for stream, title in spec.titles.items()
    }


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Median cost and growth of everything but lookups and entries.

    Returns
    -------
    pandas.DataFrame
        One row a design and cell: ``cost_ns`` (median over processes), ``low_ns`` and ``high_ns`` (the lowest
        and highest process), per frame, leaf or whole table [ns]; ``n_pages_grown`` and ``n_vmas_grown``
        (means, per frame, leaf or whole table); ``marks``, as `design_marks` has them.
    """
    shown = frame[~frame["operation"].isin((*lookups(), *entries()))]
    life = of_designs(shown)
    table = medians(life, KEYS).merge(design_marks(shown, KEYS), on=KEYS)
    per_one = life[GROWTH].astype(float).div(life["n_lookups"].astype(float), axis=0)
    grown = life[KEYS].assign(**{name: per_one[name].to_numpy() for name in GROWTH})
    table = table.merge(grown.groupby(KEYS, sort=False)[GROWTH].mean().reset_index(), on=KEYS)
    places = {cell: place for place, cell in enumerate(cell_titles())}
    cells = zip(table["operation"], table["stream"], strict=True)
    table["_place"] = [places.get(cell, len(places)) for cell in cells]
    table = table.sort_values(["_place", "guest_bytes", "design"], kind="stable", ignore_index=True)
    table.attrs["note"] = host_note(frame)
    return table.drop(columns="_place")


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel an operation and stream; several page backings, and limits, have panels of their own."""
    refuse_empty(table, "no cell of it is anything but lookups; `sweep --plan life` measures them")
    guests = table.sort_values("guest_bytes")["guest"].unique().tolist()
    named, found = cell_titles(), []
    for _, part in table.groupby([*room_keys(table), "operation", "stream"], sort=False):
        part.attrs = {"guests": guests}
        first = part.iloc[0]
        operation, stream = str(first["operation"]), str(first["stream"])
        title = named.get((operation, stream), f"{operation}, {stream}")
        found.append((title + room_note(table, first), part))
    return found


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw each design over the guests; the bar is the range over processes."""
    operation, guests = str(table["operation"].iloc[0]), table.attrs["guests"]
    spec = operations().get(operation)
    label, unit_ns = (spec.unit, spec.unit_ns) if spec else ("ns", 1.0)
    for index, (design, part) in enumerate(table.groupby("design", sort=True)):
        cost, low, high = (part[name].to_numpy(float) / unit_ns for name in ("cost_ns", "low_ns", "high_ns"))
        places = part["guest"].map(guests.index).to_numpy(float) + 0.16 * index - 0.08
        ax.errorbar(
            places,
            cost,
            yerr=np.array([cost - low, high - cost]),
            fmt="os"[index % 2],
            color=design_colour(str(design)),
            capsize=3,
            label=str(design),
        )
        ring_doubtful(ax, part["marks"], places, cost)
    wide = table.loc[table["entry_bits"] == 64, "guest"].unique()
    heights = [nanoseconds / unit_ns for nanoseconds in PUBLISHED_NS.get(operation, ())]
    _draw_published(ax, heights, [guests.index(guest) for guest in wide])
    ax.set_xticks(range(len(guests)), guests, fontsize="small")
    ax.set_xlim(-0.5, len(guests) - 0.5)
    ax.set_ylim(bottom=0)
    ax.set_ylabel(label)


def _draw_published(ax: Axes, heights: list[float], places: list[int]) -> None:
    """Other machines' single boots: lines across 64-bit guests, whose area is as large."""
    for number, height in enumerate(heights):
        for place in places:
            label = PUBLISHED if number == 0 and place == places[0] else None
            ax.plot(
                [place - 0.4, place + 0.4], [height] * 2, color="0.45", ls=(0, (1, 2)), lw=1.3, label=label
            )


FIGURE = FigureSpec(
    name="life",
    question="What the life of a p2m costs",
    data=data,
    draw=draw,
    panels=panels,
    shipped="shipped-life",
    n_columns=3,
    panel_inches=(5.4, 3.4),
    shared_legend=True,
)
