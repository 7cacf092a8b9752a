"""What several figures share: colours, markers, and the axis of guest sizes."""

from __future__ import annotations

from typing import Any

from p2mperf.units import format_size

COLOURS = {
    "sequential": "#0072B2",
    "uniform": "#D55E00",
    "zipf": "#009E73",
    "leaf-stride": "#CC79A7",
}
_MARKERS = {"sequential": "o", "uniform": "s", "zipf": "^", "leaf-stride": "D"}
DESIGN_COLOURS = {
    "pv-linear": "#0072B2",
    "pv-tree": "#D55E00",
    "pv-linear-nested": "#56B4E9",
    "arm-vlpt": "#0072B2",
    "arm-walk": "#D55E00",
    "arm-walk-direct": "#E69F00",
}
FALLBACK = "#000000"


def marker(stream: str, entry_bits: int) -> dict[str, Any]:
    """Colour and shape of a stream; 32-bit entries are dashed and hollow."""
    narrow = entry_bits == 32
    return {
        "color": COLOURS.get(stream, FALLBACK),
        "marker": _MARKERS.get(stream, "v"),
        "linestyle": "--" if narrow else "-",
        "markerfacecolor": "white" if narrow else COLOURS.get(stream, FALLBACK),
    }


def size_axis(ax: Any, sizes: Any) -> None:
    """Logarithmic axis of guest memory with the sizes themselves as ticks, thinned where they crowd."""
    ticks: list[float] = []
    for size in sorted({float(size) for size in sizes}):
        if not ticks or size / ticks[-1] > 2.2:
            ticks.append(size)
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [format_size(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("guest memory")


def plain_ticks(ax: Any, steps: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    """Write the ticks of a logarithmic axis as numbers: 1, 2, 5, 10, 20 ..., or other `steps` a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.yaxis.set_major_locator(LogLocator(subs=steps))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
