"""What several figures share: colours, markers, and the axis of guest sizes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from p2mperf.designs import registry
from p2mperf.sizing import readable_size
from p2mperf.units import format_size

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap
    from numpy.typing import NDArray

FALLBACK = "#000000"


def as_written(frame: pd.DataFrame) -> pd.DataFrame:
    r"""Let names in samples be drawn as they stand: between two dollars matplotlib reads a formula.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        The same, with ``\$`` for a dollar where there is one.
    """
    texts = [name for name in frame if str(frame[name].dtype) == "string"]
    odd = [name for name in texts if frame[name].str.contains("$", regex=False).any()]
    runs = json.dumps(frame.attrs.get("runs", []))
    if not odd and "$" not in runs:
        return frame
    changed = frame.assign(**{str(name): frame[name].str.replace("$", r"\$", regex=False) for name in odd})
    changed.attrs = {**frame.attrs, "runs": json.loads(runs.replace("$", r"\\$"))}
    return changed


def plainly(text: str) -> str:
    """Let a text of somebody else be drawn as it stands: between two dollars matplotlib reads a formula."""
    return text.replace("$", r"\$")


class Look(NamedTuple):
    """What tells one line from another, with colour and without.

    Attributes
    ----------
    colour : str
        Of line and marker.
    line : str
        Style of the line, as matplotlib writes it.
    marker : str
        Shape of its points; "" for none.
    is_hollow : bool
        Whether the points are white inside.
    """

    colour: str
    line: str = "-"
    marker: str = ""
    is_hollow: bool = False

    @property
    def face(self) -> str:
        """Colour inside of a point."""
        return "white" if self.is_hollow else self.colour


_MARKERS = "osD^vPd"
_DOUBTFUL = "ringed: biased or unsteady"


def design_colours() -> dict[str, str]:
    """Colours of the designs that have one of their own, by name."""
    return {name: spec.colour for name, spec in registry().items() if spec.colour}


def design_colour(design: str) -> str:
    """Colour of a design in every figure."""
    return design_colours().get(design, FALLBACK)


def of_width(look: Look, entry_bits: int) -> Look:
    """Look of a line where both widths are shown: 32-bit entries are dashed and hollow."""
    return look._replace(line="--", is_hollow=True) if entry_bits == 32 else look


def design_look(design: str, entry_bits: int) -> Look:
    """Look of a design."""
    marker = _MARKERS[list(registry()).index(design) % len(_MARKERS)] if design in registry() else "X"
    return of_width(Look(design_colour(design), marker=marker), entry_bits)


def ring_doubtful(
    ax: Axes,
    marks: pd.Series[str],
    places: NDArray[np.float64],
    heights: NDArray[np.float64],
    size: float = 13.0,
) -> None:
    """Draw a ring about each point whose row has a mark.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where the points are drawn already.
    marks : pandas.Series of str
        Of each row what makes it doubtful, or "".
    places, heights : ndarray of float64, shape (n_rows,)
        Where its point is.
    size : float
        Across a ring [points].
    """
    has_mark = (marks != "").to_numpy(bool)
    if has_mark.any():
        ax.plot(places[has_mark], heights[has_mark], "o", label=_DOUBTFUL, color="0.25", ms=size, mfc="none")


@cache
def ratio_colours() -> Colormap:
    """Colours of ratios on a logarithmic scale, from far below 1 by 1 to far above.

    They diverge from a grey to yellow and to blue, and become steadily darker all the way: printed without
    colour, either side can still be told from the other.
    """
    from matplotlib.colors import LinearSegmentedColormap

    steps = ("#FFEE55", "#F2DF86", "#DCD3AC", "#C9C9C9", "#94B0CB", "#4A7FB2", "#0C3E75")
    return LinearSegmentedColormap.from_list("p2mperf-ratio", steps)


def room_keys(table: pd.DataFrame) -> list[str]:
    """Name what has panels of its own: page backings, and limits of memory where one guest has several."""
    limits = table.drop_duplicates(["guest", "geometry", "backing", "limit_bytes"])
    several = limits.duplicated(["guest", "geometry", "backing"]).any()
    return ["backing", "limit_bytes"] if several else ["backing"]


def room_note(table: pd.DataFrame, row: Any) -> str:
    """What to add to a title of a row of a table: its page backing and limit, where there are several."""
    note = f", {row.backing} pages" if len(set(table["backing"])) > 1 else ""
    if "limit_bytes" in room_keys(table):
        note += f", up to {format_size(int(row.limit_bytes))}" if row.limit_bytes else ", no limit"
    return note


def size_axis(ax: Axes, sizes: Iterable[float]) -> None:
    """Logarithmic axis of guest memory with the sizes themselves as ticks, thinned where they crowd."""
    ticks: list[float] = []
    for size in sorted({float(size) for size in sizes}):
        if not ticks or size / ticks[-1] > 2.2:
            ticks.append(size)
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [readable_size(int(tick)) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("guest memory")


def plain_ticks(ax: Axes, steps: tuple[float, ...] = ()) -> None:
    """Write the ticks of a logarithmic axis as numbers: so many a decade as it bears, or `steps`."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = ax.get_ylim()
    few, some, many = (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 1.2, 1.5, *range(2, 10))
    steps = steps or (few if high > 10 * low else some if high > 3 * low else many)
    ax.yaxis.set_major_locator(LogLocator(subs=steps))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


def powers_axis(axis: Axis, powers: range) -> None:
    """Logarithmic axis of bytes with sizes at powers of two, and no ticks between them."""
    from matplotlib.ticker import NullLocator

    axis.set_ticks([2.0**power for power in powers], [readable_size(2**power) for power in powers])
    axis.set_minor_locator(NullLocator())
