"""How near to each other a build's translations are: reuse, what an entry touches, steps, working set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.figures.kernel_build.given import LOCALITIES
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look
from p2mperf.workload.locality import Locality
from p2mperf.workload.translation_stream import Entered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNIT_LOOKS = {
    "entry lines": Look("#0072B2", marker="o"),
    "leaves": Look("#D55E00", marker="s"),
    "mid lines": Look("#009E73", marker="^"),
    "GiB slots": Look("#CC79A7", marker="D"),
}
_LINES = ("-", "--", ":", "-.")
_BARS = (("#56B4E9", ""), ("#E69F00", "///"), ("#009E73", "..."), ("#CC79A7", "xx"))  # colour and hatch
_REUSED = "line reused"
_MOST_UNITS = 8  # of an anonymous write that are told apart
REUSE, TOUCHED, STEPS, WORKING_SET = (
    "how many entries ago it was touched before",
    "what one anonymous write touches",
    "from one anonymous page to the next",
    "touched by all entries together",
)


def data(localities: dict[str, Locality]) -> pd.DataFrame:
    """Lay out what `p2mperf.workload.locality.count_locality` has counted.

    Returns
    -------
    pandas.DataFrame
        Rows of panel, recording, unit, x and y: of reuse, the share of touches at most x entries after the
        one before; of what is touched, the share of anonymous writes that touch x units, the last also more;
        of steps, the share by name; of the working set, units.
    """
    rows = []
    for recording, counted in localities.items():
        for unit in _UNIT_LOOKS:
            touched = counted.touched[unit]
            before = np.cumsum(touched.reuse.sum(axis=0)) / max(1, touched.n_touches.sum())
            last = int(np.searchsorted(before, before[-1])) + 1
            rows += [(REUSE, recording, unit, 2 ** (at + 1), before[at]) for at in range(last)]
            writes = touched.per_entry[Entered.ANONYMOUS_WRITE].astype(float)
            shares = [*writes[1:_MOST_UNITS], writes[_MOST_UNITS:].sum()] / max(1.0, writes.sum())
            rows += [(TOUCHED, recording, unit, at, share) for at, share in enumerate(shares, start=1)]
            rows.append((WORKING_SET, recording, unit, 0, touched.n_units))
        shares_of_steps = {**counted.successive.shares, _REUSED: counted.share_data_reused}
        rows += [(STEPS, recording, name, 0, share) for name, share in shares_of_steps.items()]
    table = pd.DataFrame(rows, columns=["panel", "recording", "unit", "x", "y"])
    table.attrs["note"] = (
        "counted in the stream of one CPU, nothing is measured; entry lines are of 8 entries, mid lines of 8 "
        "leaves, a leaf of 512 entries, a GiB slot of 512 leaves;\n"
        "in a sample of processes, entries of the others are missing between those that are counted"
    )
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel for each question."""
    return [(name, table[table["panel"] == name]) for name in (REUSE, TOUCHED, STEPS, WORKING_SET)]


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw lines over distances and numbers, and bars of shares and sets."""
    name = str(table["panel"].iloc[0])
    if name in (STEPS, WORKING_SET):
        _draw_bars(table, ax, is_share=name == STEPS)
    else:
        _draw_lines(table, ax, is_number=name == TOUCHED)
        if name == REUSE:
            ax.set_xscale("log", base=2)
            ax.margins(x=0.03)
            ax.xaxis.set_major_formatter("{x:.0f}")
            ax.set_xlabel("less than so many entries into the kernel ago")
            ax.set_ylabel("share of touches")
        else:
            ax.set_xticks(range(1, _MOST_UNITS + 1), [*map(str, range(1, _MOST_UNITS)), f"{_MOST_UNITS}+"])
            ax.set_xlabel("units of its p2m entries")
            ax.set_ylabel("share of anonymous writes")
        ax.set_ylim(0, 1.03)
        ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")


def _draw_lines(table: pd.DataFrame, ax: Axes, is_number: bool) -> None:
    """Draw a line for each unit and recording; units are told by colours and markers, recordings by lines."""
    recordings = list(dict.fromkeys(table["recording"]))
    for (recording, unit), part in table.groupby(["recording", "unit"], sort=False):
        look, number = _UNIT_LOOKS[str(unit)], recordings.index(recording)
        x, y = part["x"].to_numpy(float), part["y"].to_numpy(float)
        x = x + 0.06 * (list(_UNIT_LOOKS).index(str(unit)) - 1.5) * is_number
        line = _LINES[number % len(_LINES)]
        face = "white" if number else look.colour
        label = None if number else str(unit)
        ax.plot(x, y, color=look.colour, ls=line, marker=look.marker, mfc=face, ms=4.5, label=label)
    for number, recording in enumerate(recordings if len(recordings) > 1 else []):
        ax.plot([], [], color="0.4", ls=_LINES[number % len(_LINES)], label=str(recording))
    ax.legend(fontsize="small", loc="upper right" if is_number else "lower right")


def _draw_bars(table: pd.DataFrame, ax: Axes, is_share: bool) -> None:
    names = list(dict.fromkeys(table["unit"]))
    recordings = list(dict.fromkeys(table["recording"]))
    width = 0.8 / len(recordings)
    for number, (recording, part) in enumerate(table.groupby("recording", sort=False)):
        places = np.arange(len(names)) + width * (number - (len(recordings) - 1) / 2)
        colour, hatch = _BARS[number % len(_BARS)]
        heights = part["y"].to_numpy(float)
        bars = ax.bar(
            places,
            np.nan_to_num(heights),
            width * 0.94,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=str(recording),
        )
        texts = [f"{100 * y:.0f} %" if is_share else f"{y:,.0f}".replace(",", " ") for y in heights]
        ax.bar_label(bars, texts, fontsize=8.5, padding=2)
    ax.set_xticks(range(len(names)), names)
    ax.grid(axis="x", visible=False)
    ax.legend(fontsize="small", loc="upper right" if not is_share else "upper left")
    if is_share:
        ax.set_ylim(0, 1.05)
        ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        ax.set_ylabel("share of anonymous writes")
    else:
        ax.set_yscale("log")
        ax.margins(y=0.15)
        ax.set_ylabel("units")


def finding(table: pd.DataFrame) -> str:
    """How often the line of a page's entry was touched before, and how many leaves all entries touch."""
    reused = table[(table["panel"] == STEPS) & (table["unit"] == _REUSED)].set_index("recording")["y"]
    leaves = table[(table["panel"] == WORKING_SET) & (table["unit"] == "leaves")].set_index("recording")["y"]
    said = [f"{100 * reused[name]:.0f} % in {name} ({leaves[name]:.0f} leaves)" for name in reused.index]
    return f"Pages whose p2m entry is in a cache line that was touched before: {'; '.join(said)}"


FIGURE = FigureSpec(
    name="build-locality",
    question="How near to each other a kernel build's translations are",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    measured=False,
    source=LOCALITIES,
    panel_inches=(6.8, 4.2),
)
