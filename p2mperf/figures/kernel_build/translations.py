"""Where a kernel build's translations go: lookups of p2m and m2p, by why the kernel was entered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.figures.kernel_build.given import RECORDINGS, Recordings, class_title
from p2mperf.figures.spec import FigureSpec
from p2mperf.workload.faults import classify
from p2mperf.workload.stream import count_translations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"p2m": "#0072B2", "m2p": "#E69F00"}
_WIDTH = 0.38


def data(recordings: Recordings) -> pd.DataFrame:
    """Count translations of each recording, of a kernel with transparent huge pages and of one without.

    Returns
    -------
    pandas.DataFrame
        Rows of recording, class (of entries), table (``p2m``, its lookups that verify an answer of the m2p
        among them, or ``m2p``), thp, n_entries, n_lookups, per_entry and per_fault, the lookups divided by
        all page faults; the classes with the most lookups first.
    """
    rows = []
    for name, recording in recordings.items():
        n_faults = max(1, classify(recording).n_faults)
        for thp in (True, False):
            for kind, asked in count_translations(recording, thp).by_class.items():
                for table, n in (("p2m", asked.p2m), ("m2p", asked.m2p)):
                    rows.append((name, kind, table, thp, asked.n, n, n / max(1, asked.n), n / n_faults))
    columns = ["recording", "class", "table", "thp", "n_entries", "n_lookups", "per_entry", "per_fault"]
    found = pd.DataFrame(rows, columns=columns)
    order = found.groupby("class")["n_lookups"].sum().sort_values(ascending=False).index
    places = found["class"].map({name: place for place, name in enumerate(order)})
    found = found.iloc[np.argsort(places, kind="stable")].reset_index(drop=True)
    found.attrs["note"] = (
        "counted, nothing is measured: recorded events by the source of Linux 3.18 and 3.19;\n"
        "each answer of the m2p is verified in the p2m, whose lookups include that"
    )
    return found


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel a recording."""
    return [
        (f"{name}: lookups for each page fault", part)
        for name, part in table.groupby("recording", sort=False)
    ]


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw a bar for each class and table, and a mark where the kernel has no transparent huge pages."""
    classes, sums = list(dict.fromkeys(table["class"])), []
    for number, (name, colour) in enumerate(_COLOURS.items()):
        of_table = table[table["table"] == name]
        having, without = (
            of_table[of_table["thp"] == thp].set_index("class")["per_fault"].reindex(classes).fillna(0)
            for thp in (True, False)
        )
        places = np.arange(len(classes)) + _WIDTH * (number - 0.5)
        bars = ax.barh(
            places, having, _WIDTH * 0.92, color=colour, label=f"{name}: {having.sum():.1f} in all"
        )
        ax.bar_label(bars, [f"{value:.2f}" for value in having], fontsize=8, padding=4)
        ax.plot(without, places, "|", color="0.1", ms=9, mew=1.6)
        sums.append(f"{without.sum():.1f}")
    ax.plot(
        [],
        [],
        "|",
        color="0.1",
        ms=9,
        mew=1.6,
        label=f"without CONFIG_TRANSPARENT_HUGEPAGE: {' and '.join(sums)}",
    )
    ax.set_yticks(range(len(classes)), [class_title(name) for name in classes], fontsize="small")
    ax.set_ylim(len(classes) - 0.4, -0.6)
    ax.margins(x=0.12)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("lookups / page faults")
    ax.legend(fontsize="small", loc="lower right")


def finding(table: pd.DataFrame) -> str:
    """How often a page fault asks either table, and for what most."""
    said = []
    for name, part in table[table["thp"]].groupby("recording", sort=False):
        sums = part.groupby("table")["per_fault"].sum()
        said.append(f"{name} {sums.get('p2m', 0.0):.1f} and {sums.get('m2p', 0.0):.1f} times")
    most = class_title(str(table["class"].iloc[0]))
    return f"A page fault asks p2m and m2p: {', '.join(said)}; most for: {most}" if said else ""


FIGURE = FigureSpec(
    name="build-translations",
    question="Where a kernel build's translations go",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    measured=False,
    source=RECORDINGS,
    panel_inches=(7.4, 5.2),
)
