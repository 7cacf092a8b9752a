"""What the predicted change of system time hangs on: one assumption after the other moved to its ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.kernel_build import KernelBuild
from p2mperf.figures.kernel_build.given import BUILD, plainly
from p2mperf.figures.spec import FigureSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR, _LINE = "#56B4E9", "#0072B2"


def data(build: KernelBuild) -> pd.DataFrame:
    """Lay out what each assumption moves.

    Returns
    -------
    pandas.DataFrame
        Rows of name, end (of the assumption, in words) and seconds, two an assumption, the widest first;
        ``attrs`` have the estimate and the published change [s].
    """
    rows = [
        (plainly(swing.name), plainly(end), seconds)
        for swing in build.swings
        for end, seconds in zip(swing.ends, swing.seconds, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["name", "end", "seconds"])
    system = build.system
    table.attrs["estimate_s"] = system.here.middle if system.here else np.nan
    table.attrs["published_s"] = system.published.change_s
    table.attrs["note"] = "each bar moves one assumption, all others as they are; seconds of system time"
    return table


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw a bar for each assumption, its ends named."""
    names = list(dict.fromkeys(table["name"]))
    for row, name in enumerate(names):
        part = table[table["name"] == name].sort_values("seconds")
        (low, high), (left, right) = part["seconds"].to_numpy(float), part["end"]
        ax.barh(row, high - low, 0.55, left=low, color=_BAR)
        for place, text, side, aside in ((low, left, "right", -4), (high, right, "left", 4)):
            ax.annotate(
                f"{text}: {place:+.1f}",
                (place, row),
                (aside, 0),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=8.5,
                bbox={"color": "white", "alpha": 0.8, "pad": 0.8},
            )
    estimate, published = table.attrs["estimate_s"], table.attrs["published_s"]
    if np.isfinite(estimate):
        ax.axvline(estimate, color=_LINE, linewidth=1.6, label=f"estimate: {estimate:+.1f} s")
    ax.axvline(published, color="0.25", linewidth=1.4, linestyle=":", label=f"published: {published:+.0f} s")
    ax.axvline(0, color="0.25", linewidth=1.0)
    reach = [*table["seconds"], published, 0.0]
    low, high = float(np.nanmin(reach)), float(np.nanmax(reach))
    ax.set_xlim(low - 0.45 * (high - low), high + 0.35 * (high - low))
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("predicted change of system time, s")
    ax.legend(fontsize="small", loc="lower left")


FIGURE = FigureSpec(
    name="build-tornado",
    question="What the predicted change of system time hangs on",
    data=data,
    draw=draw,
    measured=False,
    source=BUILD,
    panel_inches=(10.0, 4.6),
)
