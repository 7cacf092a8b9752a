"""What the predicted change of system time hangs on: one assumption after the other moved to its ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.kernel_build.prediction import KernelBuild
from p2mperf.analysis.words import sentence
from p2mperf.figures.kernel_build.given import BUILD
from p2mperf.figures.kernel_build.seconds import COLOURS, MEASURED, MODELLED
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = "#56B4E9"


def data(build: KernelBuild) -> pd.DataFrame:
    """Lay out what each assumption moves.

    Returns
    -------
    pandas.DataFrame
        Rows of name, end (of the assumption, in words), seconds and origin, two an assumption, the widest
        first; ``attrs`` have the estimates of both roads and the published change [s].
    """
    rows = [
        (plainly(swing.name), plainly(end), seconds, origin)
        for swing in build.swings
        for end, seconds, origin in zip(swing.ends, swing.seconds, swing.origins, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["name", "end", "seconds", "origin"])
    system = build.system
    table.attrs["estimate_s"] = system.here.middle if system.here else np.nan
    table.attrs["modelled_s"] = system.modelled.middle if system.modelled else np.nan
    table.attrs["published_s"] = system.published.change_s
    table.attrs["note"] = (
        "each bar moves one assumption, all others as they are; hatched: computed for the laptop"
    )
    return table


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw a bar for each assumption, its ends named: hollow where both of them are computed."""
    names = list(dict.fromkeys(table["name"]))
    for row, name in enumerate(names):
        part = table[table["name"] == name].sort_values("seconds")
        (low, high), texts, origins = part["seconds"].to_numpy(float), part["end"], list(part["origin"])
        hollow = set(origins) == {MODELLED}
        face, edge = ("white", COLOURS[MODELLED]) if hollow else (_BAR, _BAR)
        ax.barh(row, high - low, 0.55, left=low, facecolor=face, edgecolor=edge, hatch="////" * hollow)
        ends = zip((low, high), texts, origins, ("right", "left"), (-4, 4), strict=True)
        for place, text, origin, side, aside in ends:
            ax.annotate(
                f"{text}: {place:+.1f}",
                (place, row),
                (aside, 0),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=8.5,
                color=COLOURS[origin],
                bbox={"color": "white", "alpha": 0.8, "pad": 0.8},
            )
    published = table.attrs["published_s"]
    for origin, line, name in ((MEASURED, "-", "estimate_s"), (MODELLED, "--", "modelled_s")):
        if np.isfinite(seconds := table.attrs[name]):
            label = f"{origin}: {seconds:+.1f} s"
            ax.axvline(seconds, color=COLOURS[origin], linewidth=1.6, linestyle=line, label=label)
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


def finding(table: pd.DataFrame) -> str:
    """Which assumption moves the prediction most, and how far."""
    widest = table[table["name"] == table["name"].iloc[0]].sort_values("seconds")
    ends = " to ".join(f"{row.seconds:+.1f} s ({row.end})" for row in widest.itertuples())
    published = f"{table.attrs['published_s']:+.0f} s"
    return sentence(f"{widest['name'].iloc[0]} moves the prediction most: {ends}; {published} are published")


FIGURE = FigureSpec(
    name="build-tornado",
    question="What the predicted change of system time hangs on",
    data=data,
    draw=draw,
    finding=finding,
    measured=False,
    source=BUILD,
    panel_inches=(10.0, 4.6),
)
