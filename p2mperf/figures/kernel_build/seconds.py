"""The commit's table: the change that is predicted, by two roads, beside the one that was published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.kernel_build.prediction import KernelBuild
from p2mperf.figures.kernel_build.given import BUILD
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import FALLBACK, Look, plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PUBLISHED, MEASURED, MODELLED = "published", "measured", "modelled"
# No two share a marker: what was published is not ours, and what is modelled was never measured.
_LOOKS = {
    PUBLISHED: Look(FALLBACK, marker="X"),
    MEASURED: Look("#0072B2", marker="o"),
    MODELLED: Look("#D55E00", marker="D", is_hollow=True),
}
COLOURS = {origin: look.colour for origin, look in _LOOKS.items()}
_DASHES = {PUBLISHED: (1.0, 2.0), MODELLED: (4.0, 2.0)}
_LABELS = {
    PUBLISHED: "published: one run of each kernel, and what two such runs differ by for no reason (95 %)",
    MEASURED: "predicted: page faults x what each costs more, replayed cold on this host",
    MODELLED: "predicted: page faults x counts x latencies of the commit's laptop; nothing is measured",
}


def data(build: KernelBuild) -> pd.DataFrame:
    """Lay out each line of the commit's table.

    Returns
    -------
    pandas.DataFrame
        Rows of time, origin, middle_s, low_s and high_s: change from the tree to the list [s]; ends may be
        infinite.
    """
    rows = []
    for time in build.times:
        published = time.published
        change, noise = published.change_s, published.noise_s
        rows.append((published.name, PUBLISHED, change, change - noise, change + noise))
        for origin, number in ((MEASURED, time.here), (MODELLED, time.modelled)):
            if number is not None:
                rows.append((published.name, origin, number.middle, number.low, number.high))
    table = pd.DataFrame(rows, columns=["time", "origin", "middle_s", "low_s", "high_s"])
    said = f"{build.before} -> {build.after}; {build.verdict.sentence}"
    table.attrs |= {"note": plainly(said), "main": build.system.published.name, "kind": build.verdict.kind}
    return table


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw changes with their intervals, a row a time; left of zero the list is faster."""
    times = list(dict.fromkeys(table["time"]))
    ax.axvline(0, color="0.25", linewidth=1.2)
    ends = table[["low_s", "high_s"]].replace([np.inf, -np.inf], np.nan)
    reach = 1.15 * float(np.nanmax(np.abs([*ends.to_numpy().ravel(), *table["middle_s"]])))
    for number, (origin, look) in enumerate(_LOOKS.items()):
        part = table[table["origin"] == origin]
        middle = part["middle_s"].to_numpy(float)
        low, high = (np.clip(part[end].to_numpy(float), -reach, reach) for end in ("low_s", "high_s"))
        places = part["time"].map(times.index).to_numpy(float) + 0.26 * (number - 1)
        error = np.clip([middle - low, high - middle], 0, None)
        bars = ax.errorbar(
            middle,
            places,
            xerr=error,
            fmt=look.marker,
            color=look.colour,
            mfc=look.face,
            ms=7,
            capsize=3,
            label=_LABELS[origin],
        )
        if origin in _DASHES:
            for line in bars.lines[2]:
                line.set_linestyle((0.0, _DASHES[origin]))
        seconds = (part[end].to_numpy(float) for end in ("middle_s", "low_s", "high_s"))
        for place, told, from_s, to_s in zip(places, *seconds, strict=True):
            text = f"{told:+.1f} s [{_end(from_s)}, {_end(to_s)}]"
            ax.annotate(
                text,
                (1.01, place),
                xycoords=ax.get_yaxis_transform(),
                va="center",
                fontsize=9,
                color=look.colour,
            )
    ax.set_xlim(-reach, reach)
    ax.set_yticks(range(len(times)), times)
    ax.set_ylim(len(times) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("change from tree to list, s")
    ax.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)


def _end(seconds: float) -> str:
    return f"{seconds:+.0f}" if np.isfinite(seconds) else "open"


def finding(table: pd.DataFrame) -> str:
    """What is predicted of the system time, what was published, and whether one can be the other."""
    rows = table[table["time"] == table.attrs["main"]].set_index("origin")
    known_by = [name for name in (MEASURED, MODELLED) if name in rows.index]
    if not known_by:
        return ""
    predicted, published = rows.loc[known_by[0]], rows.loc[PUBLISHED]
    ends = " to ".join(_end(predicted[end]) for end in ("low_s", "high_s"))
    return (
        f"{table.attrs['main']} time: {predicted['middle_s']:+.1f} s predicted ({ends}),"
        f" {published['middle_s']:+.0f} s published: {table.attrs['kind']}"
    )


FIGURE = FigureSpec(
    name="build-seconds",
    question="A kernel build's seconds: predicted and published",
    data=data,
    draw=draw,
    finding=finding,
    measured=False,
    source=BUILD,
    panel_inches=(10.0, 4.8),
)
