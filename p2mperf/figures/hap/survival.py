"""How many superpages survive when a guest gives memory back: counted, and expected by the closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look
from p2mperf.populating.ballooning import count_runs, course, expected_survival
from p2mperf.populating.populate import populate
from p2mperf.units import PAGE_SIZE, format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEMORY = "4G"
SEED = 1
# Frames of a run [log2], and how it looks: Okabe-Ito colours, and lines and markers that differ too.
RUNS = {0: Look("#0072B2", "-", "o"), 3: Look("#D55E00", "--", "s"), 6: Look("#009E73", "-.", "^")}
_LEAST, _MOST = 1e-5, 0.5
_TOLD = 0.005  # share that the title tells of
_LINE_POINTS, _COUNTED_POINTS = 121, 25


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Give memory back in a random order, and count; nothing measured is used.

    Returns
    -------
    DataFrame
        Rows of part "counted" and "expected" with run_frames, released_share and surviving_share: of frames,
        and of leaves of 2 MiB.
    """
    leaves = populate(MEMORY, hap_1gb=False).extents
    n_2mb = leaves.n_by_order[9]
    rows = []
    for order in RUNS:
        n_runs = count_runs(leaves, order)
        line = np.unique((np.geomspace(_LEAST, _MOST, _LINE_POINTS) * n_runs).round().astype(np.uint64))
        points = np.unique((np.geomspace(_LEAST, _MOST, _COUNTED_POINTS) * n_runs).round().astype(np.uint64))
        counted = course(leaves, points, order, SEED)
        shares = {
            "expected": (line / n_runs, expected_survival(n_runs, 512 >> order, line)),
            "counted": (counted.n_released / leaves.n_frames, counted.n_2mb / n_2mb),
        }
        rows += [
            {"part": part, "run_frames": 1 << order, "released_share": released, "surviving_share": surviving}
            for part, columns in shares.items()
            for released, surviving in zip(*columns, strict=True)
            if released > 0
        ]
    table = pd.DataFrame(rows)
    table.attrs["note"] = (
        f"computed for a guest of {MEMORY} in leaves of 2 MiB, nothing is measured;\n"
        "frames or aligned runs given back at random; a split leaf never becomes whole again"
    )
    return table


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw the closed form as lines and what was counted as points."""
    for order, look in RUNS.items():
        of_run = table[table["run_frames"] == 1 << order]
        line, points = (of_run[of_run["part"] == part] for part in ("expected", "counted"))
        what = "single frames" if order == 0 else f"runs of {format_size(PAGE_SIZE << order)}"
        ax.plot(
            line["released_share"],
            line["surviving_share"],
            label=f"{what}, closed form",
            color=look.colour,
            linestyle=look.line,
        )
        ax.plot(
            points["released_share"],
            points["surviving_share"],
            label=f"{what}, counted",
            color=look.colour,
            linestyle="",
            marker=look.marker,
            markersize=4.5,
        )
    ax.set_xscale("log")
    ax.set_xlim(_LEAST, _MOST)
    ax.set_ylim(0, 1.03)
    ax.xaxis.set_major_formatter(lambda share, _: f"{share:.4%}".rstrip("0%").rstrip(".") + " %")
    ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}".replace("%", " %"))
    ax.set_xlabel("memory given back")
    ax.set_ylabel("leaves of 2 MiB that are whole")
    ax.legend(fontsize="small")


def finding(table: pd.DataFrame) -> str:
    """What is left when some memory is given back, frame by frame and in the largest runs."""
    expected = table[table["part"] == "expected"]
    said = []
    for run_frames in (int(expected["run_frames"].min()), int(expected["run_frames"].max())):
        part = expected[expected["run_frames"] == run_frames]
        share = float(np.interp(_TOLD, part["released_share"], part["surviving_share"]))
        what = "single frames" if run_frames == 1 else f"runs of {format_size(PAGE_SIZE * run_frames)}"
        said.append(f"{100 * share:.0f} % if in {what}")
    return f"Of leaves of 2 MiB stay whole, when {100 * _TOLD:g} % of memory is given back: {', '.join(said)}"


FIGURE = FigureSpec(
    name="hap-survival",
    question="Superpages that survive when memory is given back",
    data=data,
    draw=draw,
    finding=finding,
    measured=False,
    panel_inches=(8.4, 4.8),
)
