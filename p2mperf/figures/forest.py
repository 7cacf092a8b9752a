"""A forest plot: ratios with their intervals, a row each, beside a line at 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from p2mperf.figures.spec import PanelSize
from p2mperf.figures.style import Look, ring_doubtful

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# Okabe-Ito colours, and markers that differ too.
SERIES_LOOKS = (
    Look("#0072B2", marker="o"),
    Look("#D55E00", marker="s"),
    Look("#009E73", marker="^"),
    Look("#CC79A7", marker="D"),
    Look("#E69F00", marker="v"),
    Look("#56B4E9", marker="P"),
    Look("#000000", marker="X"),
)
_TICKS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3, 4, 5, 7, 10)
_COARSE_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # where an axis spans eight times
_LEAST_GAP = 0.07  # between two ticks, as a part of the axis
# An interval that reaches further from all estimates than by this factor leaves the axis.
_REACH = 1.6
# Part of a row over which its points are spread.
SPREAD = 0.78
_SERIES_INCHES, _ROW_INCHES, _FRAME_INCHES = 0.135, 0.11, 0.9
_AXIS_INCHES, _LETTER_INCHES = 4.2, 0.08
_LINE_INCHES = 0.155  # of a row's name
HOLLOW = "hollow: no difference is resolved"
CLIPPED = "arrow: the interval reaches further"


class Words(NamedTuple):
    """What a ratio below 1 means, what is divided by what, and what a ratio above 1 means."""

    below: str
    ratio: str
    above: str

    @classmethod
    def of(cls, design: str, reference: str) -> Words:
        """Words of a ratio of two designs.

        Examples
        --------
        >>> Words.of("tree", "list")
        Words(below='tree faster', ratio='tree / list', above='list faster')
        """
        return cls(f"{design} faster", f"{design} / {reference}", f"{reference} faster")


class Limits(NamedTuple):
    """Ends of a ratio axis."""

    low: float
    high: float


def limits_of(table: pd.DataFrame) -> Limits:
    """Choose the axis for ratios and their intervals: all estimates, and intervals unless they are huge.

    Parameters
    ----------
    table : pandas.DataFrame
        ratio, low and high, of which the latter may be NaN.
    """
    ratio = table["ratio"].to_numpy(float)
    least, most = float(np.min(ratio)), float(np.max(ratio))
    low = np.nanmin([*table["low"].to_numpy(float), least])
    high = np.nanmax([*table["high"].to_numpy(float), most])
    return Limits(
        min(0.92, 0.93 * max(float(low), least / _REACH)),
        max(1.08, 1.07 * min(float(high), most * _REACH)),
    )


def forest_size(rows: Iterable[str], n_series: int) -> PanelSize:
    """Room of a panel with these rows, of so many points each [inches]."""
    names = list(dict.fromkeys(rows))
    lines = [name.split("\n") for name in names]
    longest = max(len(line) for name in lines for line in name)
    row = max(_ROW_INCHES + _SERIES_INCHES * n_series, _LINE_INCHES * max(map(len, lines)) + 0.06)
    return PanelSize(_AXIS_INCHES + _LETTER_INCHES * longest, len(names) * row, _FRAME_INCHES)


def places_of(table: pd.DataFrame, rows: Sequence[str], series: Sequence[str]) -> NDArray[np.float64]:
    """Heights of points in a forest: whole numbers are the middles of rows.

    Parameters
    ----------
    table : pandas.DataFrame
        ``row`` and ``series`` of each point.
    rows, series : sequence of str
        As `draw_forest`.

    Returns
    -------
    ndarray of float64, shape (n_points,)
    """
    at_row, at_series = (
        table[name].map({each: place for place, each in enumerate(names)}).to_numpy(float)
        for name, names in (("row", rows), ("series", series))
    )
    return at_row + SPREAD / len(series) * (at_series - (len(series) - 1) / 2)


def draw_forest(
    table: pd.DataFrame,
    ax: Axes,
    rows: Sequence[str],
    series: Sequence[str],
    limits: Limits,
    words: Words,
    said_of_one: str = "",
) -> None:
    """Draw ratios with their intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        ratio, low, high, verdict and marks, as a summary has them; ``row`` and ``series``, where each is.
    ax : matplotlib.axes.Axes
        Where to.
    rows, series : sequence of str
        All rows from the top, and what may stand in each.
    limits : Limits
        Of the axis.
    words : Words
        Of the axis.
    said_of_one : str
        What somebody else has said, where that is a ratio of 1: for the legend.
    """
    _draw_bands(ax, len(rows))
    line = ":" if said_of_one else "-"
    ax.axvline(1, color="0.25", linewidth=1.2, linestyle=line, label=said_of_one or None)
    is_clipped = False
    for index, name in enumerate(series):
        part = table[table["series"] == name]
        if not len(part):
            continue
        look = SERIES_LOOKS[index % len(SERIES_LOOKS)]
        places = places_of(part, rows, series)
        is_clipped |= _draw_series(part, ax, places, look, limits)
        ax.plot([], [], look.marker, color=look.colour, ms=6, label=name)
    _explain(table, ax, is_clipped)
    ax.set_xscale("log")
    ax.set_xlim(*limits)
    ax.set_xticks(_ticks(limits))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), rows, fontsize=9)
    ax.tick_params("y", length=0)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    below, ratio, above = words
    ax.set_xlabel(f"\N{LEFTWARDS ARROW} {below}      {ratio}      {above} \N{RIGHTWARDS ARROW}", size=10)
    ax.tick_params("x", labelsize=9.5)


def _ticks(limits: Limits) -> list[float]:
    """Ticks that do not crowd, 1 among them: what is nearer to it comes first."""
    found: list[float] = []
    ticks = _COARSE_TICKS if limits.high > 8 * limits.low else _TICKS
    for tick in sorted(ticks, key=lambda tick: abs(log(tick))):
        gaps = [abs(log(tick / other)) for other in found]
        is_free = not gaps or min(gaps) > _LEAST_GAP * log(limits.high / limits.low)
        if is_free and limits.low <= tick <= limits.high:
            found.append(tick)
    return sorted(found)


def _draw_bands(ax: Axes, n_rows: int) -> None:
    """Shade every other row, so that an eye finds the name of a point."""
    for place in range(0, n_rows, 2):
        ax.axhspan(place - 0.5, place + 0.5, color="0.955", linewidth=0, zorder=0)


def _draw_series(
    part: pd.DataFrame, ax: Axes, places: NDArray[np.float64], look: Look, limits: Limits
) -> bool:
    """Draw the points of one look; tells whether an interval leaves the axis."""
    ratio = part["ratio"].to_numpy(float)
    ends = part[["low", "high"]].to_numpy(float)
    low, high = (np.where(np.isfinite(end), end, ratio) for end in ends.T)
    is_resolved = (part["verdict"] == "resolved").to_numpy(bool)
    ax.hlines(places, low, high, color=look.colour, linewidth=1.6, zorder=2)
    n_clipped = 0
    for end, limit, arrow in ((low, limits.low, "<"), (high, limits.high, ">")):
        is_clipped = end < limit if arrow == "<" else end > limit
        ax.plot(end[~is_clipped], places[~is_clipped], "|", color=look.colour, ms=5, mew=1.4)
        if is_clipped.any():
            at = np.full(int(is_clipped.sum()), limit)
            ax.plot(at, places[is_clipped], arrow, color=look.colour, ms=6, clip_on=False, zorder=4)
            n_clipped += at.size
    for there, face in ((is_resolved, look.colour), (~is_resolved, "white")):
        ax.plot(
            ratio[there], places[there], look.marker, color=look.colour, mfc=face, ms=5.5, mew=1.3, zorder=3
        )
    ring_doubtful(ax, part["marks"], ratio, places, size=10.0)
    return n_clipped > 0


def _explain(table: pd.DataFrame, ax: Axes, is_clipped: bool) -> None:
    """Name in the legend what is there besides points and intervals."""
    if (table["verdict"] != "resolved").any():
        ax.plot([], [], "o", color="0.3", mfc="white", ms=6, mew=1.3, label=HOLLOW)
    if is_clipped:
        ax.plot([], [], ">", color="0.3", ms=6, label=CLIPPED)
