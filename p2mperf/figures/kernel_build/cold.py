"""What an entry into the kernel costs more with one design than with another, by how cold it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.kernel_build.replays import ALL, deltas
from p2mperf.analysis.samples import refuse_empty
from p2mperf.analysis.summary import between, intervals_of
from p2mperf.figures.kernel_build.given import REPLAYS, class_title, machine_note
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import FALLBACK, plainly
from p2mperf.workload.replays import Replays
from p2mperf.workload.translation_stream import Entered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# In this order, where they are; others come after them.
CONDITIONS = ("tight", "flushed", "cold")
_SHOWN = (ALL, Entered.ANONYMOUS_WRITE.name, Entered.FILE_READ.name, Entered.EXIT.name)
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MARKERS = "os^D"


def data(replays: Replays) -> pd.DataFrame:
    """Compare designs under every condition.

    Returns
    -------
    pandas.DataFrame
        Rows of `p2mperf.analysis.kernel_build.replays.deltas` of all entries and of three classes, with
        ``what``, which designs at which guest, and ``where``, the condition.
    """
    table = deltas(replays)
    table = table[table["class"].isin(_SHOWN)]
    alone = np.where(table["alone"], "\na process each", "")
    columns = ("design", "reference", "guest")
    names = zip(*(table[name].map(plainly) for name in columns), strict=True)
    table = table.assign(
        what=[f"{design} - {reference}, {guest}" for design, reference, guest in names],
        where=table["condition"].map(plainly) + alone,
    )
    table.attrs["note"] = f"{machine_note(replays.machine)}; bars: {intervals_of(table)} over processes"
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel for all entries, and one for each of three classes."""
    refuse_empty(table, "nothing was replayed")
    found = []
    for name in _SHOWN:
        part = table[table["class"] == name]
        if len(part):
            found.append(("all entries" if name == ALL else class_title(name), part))
    return found


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw differences with their intervals, and beside each that of a design against itself."""
    wheres = sorted(dict.fromkeys(table["where"]), key=_coldness)
    whats = list(dict.fromkeys(table["what"]))
    ax.axhline(0, color="0.25", linewidth=1.2)
    for index, (what, part) in enumerate(table.groupby("what", sort=False)):
        colour = _COLOURS[index] if index < len(_COLOURS) else FALLBACK
        places = part["where"].map(wheres.index).to_numpy(float)
        places += 0.3 * (index - (len(whats) - 1) / 2)
        _bars(ax, part, places, "", colour, _MARKERS[index % len(_MARKERS)], str(what))
        control = "a design against itself" if index == len(whats) - 1 else None
        _bars(ax, part, places + 0.1, "control_", "0.45", "d", control, hollow=True)
        for place, middle in zip(places, part["middle_ns"], strict=True):
            ax.annotate(
                f"{middle:.1f}" if abs(middle) < 9.95 else f"{middle:.0f}",
                (place, middle),
                (-6, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=8.5,
                color=colour,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
            )
    ax.set_xticks(range(len(wheres)), wheres)
    ax.set_xlim(-0.6, len(wheres) - 0.4)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("difference, ns an entry")


def _coldness(where: str) -> int:
    condition = where.split("\n")[0]
    return CONDITIONS.index(condition) if condition in CONDITIONS else len(CONDITIONS)


def _bars(
    ax: Axes,
    part: pd.DataFrame,
    places: NDArray[np.float64],
    prefix: str,
    colour: str,
    marker: str,
    label: str | None,
    hollow: bool = False,
) -> None:
    middle, low, high = (part[f"{prefix}{end}_ns"].to_numpy(float) for end in ("middle", "low", "high"))
    ax.errorbar(
        places,
        middle,
        yerr=np.nan_to_num([middle - low, high - middle]),
        fmt=marker,
        color=colour,
        mfc="white" if hollow else colour,
        ms=4 if hollow else 6,
        capsize=3,
        label=label,
    )


def finding(table: pd.DataFrame) -> str:
    """What all entries together cost more, from the warmest condition to the coldest, in each guest."""
    every = table[(table["class"] == ALL) & ~table["alone"]]
    if not len(every):
        return ""
    design, reference = every[["design", "reference"]].iloc[0]
    pair = between(every, design, reference)
    said = []
    for guest, part in pair.groupby("guest", sort=False):
        ordered = part.sort_values("where", key=lambda wheres: wheres.map(_coldness), kind="stable")
        costs = ", ".join(f"{row.middle_ns:+.0f} ns {row.condition}" for row in ordered.itertuples())
        said.append(f"{costs} ({guest})")
    return plainly(f"An entry with {design} against {reference}: {'; '.join(said)}")


FIGURE = FigureSpec(
    name="build-cold",
    question="What an entry costs more with the tree, by how cold it begins",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    measured=False,
    source=REPLAYS,
    panel_inches=(6.6, 4.0),
    shared_legend=True,
)
