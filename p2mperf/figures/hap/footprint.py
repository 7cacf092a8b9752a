"""What a HAP table takes: by the size of its leaves, and while a guest gives memory back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look, powers_axis, size_axis
from p2mperf.populating.ballooning import count_runs, course
from p2mperf.populating.layout import memory_runs
from p2mperf.populating.populate import populate
from p2mperf.populating.tables import predict
from p2mperf.units import GIB, PAGE_SIZE, format_size, readable_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALLEST, LARGEST = GIB, 1024 * GIB
LARGEST_COUNTED = {(): 8 * GIB, (9,): 64 * GIB, (9, 18): 64 * GIB}  # of what is built leaf by leaf
MEMORY = "4G"
SEED = 1
# Orders of leaves beside 4 KiB, and how they look: Okabe-Ito colours, and lines and markers that differ too.
LEAVES = {
    (): ("4K", Look("#D55E00", "--", "s")),
    (9,): ("4K, 2M", Look("#0072B2", "-", "o")),
    (9, 18): ("4K, 2M, 1G", Look("#009E73", "-.", "^")),
}
RUNS = {0: Look("#D55E00", "--", "s"), 6: Look("#0072B2", "-", "o"), 9: Look("#009E73", "-.", "^")}
SIZES, COURSE = "by the size of its leaves", "while memory is given back"


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Predict and count tables; nothing measured is used.

    Returns
    -------
    DataFrame
        Rows with panel, part ("predicted" or "counted"), what (leaves, or runs), x (guest memory [bytes], or
        the share of memory given back) and table_bytes.
    """
    table = pd.DataFrame([*_by_leaves(), *_by_course()])
    table.attrs["note"] = (
        f"computed for the builder's layout, nothing is measured; right: a guest of {MEMORY}, in a random"
        " order; no page of a table is ever given back, nor does a leaf become whole again"
    )
    return table


def _by_leaves() -> list[dict[str, object]]:
    rows = []
    size = SMALLEST
    while size <= LARGEST:
        for orders, (what, _) in LEAVES.items():
            tables = {"predicted": predict(memory_runs(size // PAGE_SIZE), orders).tables}
            if size <= LARGEST_COUNTED[orders]:
                found = populate(size, hap_2mb=9 in orders, hap_1gb=18 in orders)
                tables["counted"] = found.tables
            rows += [
                {"panel": SIZES, "part": part, "what": what, "x": float(size), "table_bytes": counted.n_bytes}
                for part, counted in tables.items()
            ]
        size *= 2
    return rows


def _by_course() -> list[dict[str, object]]:
    leaves = populate(MEMORY).extents
    rows = []
    for order in RUNS:
        n_runs = count_runs(leaves, order)
        found = course(leaves, (np.linspace(0, 0.5, 51) ** 2 / 0.5 * n_runs).astype(np.uint64), order, SEED)
        rows += [
            {"panel": COURSE, "part": "counted", "what": _run(order), "x": x, "table_bytes": n_bytes}
            for x, n_bytes in zip(found.n_released / leaves.n_frames, found.table_bytes, strict=True)
        ]
    return rows


def _run(order: int) -> str:
    return "single frames" if order == 0 else f"runs of {format_size(PAGE_SIZE << order)}"


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Size by size, and step by step."""
    return [(f"Table {panel}", table[table["panel"] == panel]) for panel in (SIZES, COURSE)]


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw one panel: predictions as lines, counts as points or, step by step, as lines."""
    is_course = table["panel"].iloc[0] == COURSE
    looks = {_run(order): look for order, look in RUNS.items()} if is_course else dict(LEAVES.values())
    for what, look in looks.items():
        part = table[table["what"] == what]
        line = part if is_course else part[part["part"] == "predicted"]
        label = what if is_course else f"leaves of {what}"
        ax.plot(line["x"], line["table_bytes"], label=label, color=look.colour, linestyle=look.line)
        if not is_course:
            counted = part[part["part"] == "counted"]
            ax.plot(counted["x"], counted["table_bytes"], look.marker, color=look.colour, markersize=5)
    ax.set_yscale("log", base=2)
    if is_course:
        powers_axis(ax.yaxis, range(14, 25, 2))
        ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}".replace("%", " %"))
        ax.set_xlabel("memory given back")
    else:
        powers_axis(ax.yaxis, range(14, 33, 2))
        size_axis(ax, sorted(set(table["x"])))
        ax.plot([], [], "o", color="0.3", markersize=5, label="counted")
    ax.set_ylabel("table [bytes]")
    ax.legend(fontsize="small")


def finding(table: pd.DataFrame) -> str:
    """What the table of the largest guest takes with small and with large leaves."""
    predicted = table[(table["panel"] == SIZES) & (table["part"] == "predicted")]
    size = predicted["x"].max()
    tables = predicted[predicted["x"] == size].set_index("what")["table_bytes"]
    said = [f"{readable_size(int(n_bytes))} in leaves of {what}" for what, n_bytes in tables.items()]
    return f"The table of a guest of {format_size(size)} takes {', '.join(said)}"


FIGURE = FigureSpec(
    name="hap-footprint",
    question="What a HAP table takes",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    measured=False,
)
