"""What several figures share: labels, markers, and the axis of guest sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from p2mperf.errors import BadInputError
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


def cell_label(facts: Any) -> str:
    """Name a stream with the shares of it that leave RAM.

    Examples
    --------
    >>> cell_label({"stream": "uniform", "hole_fraction": 0.5, "identity_fraction": 0.0})
    'uniform, 50 % holes'
    """
    parts = [facts["stream"]]
    for column, what in (("hole_fraction", "holes"), ("identity_fraction", "identity")):
        if facts[column]:
            parts.append(f"{100 * facts[column]:g} % {what}")
    return ", ".join(parts)


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


def refuse_empty(table: pd.DataFrame, why: str) -> None:
    """Say that there is nothing to draw.

    Raises
    ------
    BadInputError
        When the table is empty.
    """
    if not len(table):
        raise BadInputError(f"nothing to draw: {why}")


def host_note(frame: pd.DataFrame) -> str:
    """One line under a figure: measured where, when, by how many processes."""
    runs = frame.attrs.get("runs") or []
    if not runs:
        return "measured by p2mperf"
    card = runs[-1]["machine"]
    n_processes = int(frame["replicate"].nunique())
    parts = [
        f"measured {runs[-1]['started'][:10]} on {card.get('cpu_model') or 'an unnamed processor'}",
        f"Linux {card.get('kernel_release')}",
        f"{n_processes} processes a point",
    ]
    if card.get("hypervisor"):
        parts.insert(1, "in a virtual machine")
    return ", ".join(parts)


def knees_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Knees recorded with a run: name, list bytes and source of each; empty where none were measured."""
    runs = frame.attrs.get("runs") or []
    return list(runs[-1]["machine"].get("knees") or []) if runs else []


def medians(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Median over processes of each process' median cost, with the lowest and highest process."""
    done = frame[(frame["status"] == "done").fillna(False).astype(bool)]
    processes = done.groupby([*keys, "run", "replicate"], sort=False)["cost_ns"].median()
    grouped = processes.groupby(level=keys, sort=False)
    table = pd.DataFrame({"cost_ns": grouped.median(), "low_ns": grouped.min(), "high_ns": grouped.max()})
    return table.reset_index().astype({"cost_ns": np.float64})
