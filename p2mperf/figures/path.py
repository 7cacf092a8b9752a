"""The way of one frame through real tables: the pages that its lookup reads, one after the other."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.analysis.paths import PATH_COLUMNS, lookup_paths
from p2mperf.errors import BadInputError, shown
from p2mperf.figures.spec import FigureSpec, Source
from p2mperf.units import PAGE_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A frame of RAM in the example map of arch/x86/xen/p2m.c, somewhere in its pages.
GUEST, PFN = "dom0-64-e820", 0x2B4C5
_COLOURS = {"direct": "#F7E3CF", "window": "#CFE3F2"}
_SLOT = {"direct": "#D55E00", "window": "#0072B2"}
_KINDS = {"pfn": "memory", "ram": "memory"}  # as dumps and designs call it
_VIEWS = {"direct": "read where it lies", "window": "read in the virtual area"}
_WIDTH, _GAP, _TOP = 0.62, 1.55, 1.0
_N_SHOWN = 6  # pages side by side; longer walks say how many are left out


def take(given: object) -> pd.DataFrame:
    """Take the ways of frames, as `p2mperf.lookup_paths` gives them, or follow the example's frame."""
    if given is None:
        return lookup_paths(GUEST, [PFN])
    if not isinstance(given, pd.DataFrame) or not set(PATH_COLUMNS) <= set(given):
        raise BadInputError(
            f"the way of a frame is wanted, as p2mperf.lookup_paths gives it, not {shown(given)}"
        )
    if (n_frames := len(set(given["pfn"]))) != 1:
        raise BadInputError(
            f"the way of one frame is drawn, and these are of {n_frames}: choose one, as "
            "table[table['pfn'] == pfn]"
        )
    return given


def data(table: pd.DataFrame) -> pd.DataFrame:
    """Rows as they are, with a note on what they are of."""
    table = table.copy()
    first = table.iloc[0]
    table.attrs["note"] = (
        f"read from tables that were built for {first['guest']}; the mark shows where in its page of "
        f"{PAGE_SIZE} bytes each load goes; nothing is measured"
    )
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel a design; a page is as wide in each of them."""
    n_columns = min(int(table["n_loads"].max()), _N_SHOWN)
    found = []
    for name, part in table.groupby("design", sort=False):
        part.attrs = {"n_columns": n_columns}
        first = part.iloc[0]
        found.append((f"{name}: pfn {int(first['pfn']):#x}, {_loads(int(first['n_loads']))}", part))
    return found


def _loads(n_loads: int) -> str:
    return f"{n_loads} load{'s' * (n_loads != 1)}"


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw the pages from left to right, the word that is read in each, and what the last one says."""
    steps = table[table["step"] > 0].head(_N_SHOWN)
    marks = [_draw_page(row, column * _GAP, ax) for column, (_, row) in enumerate(steps.iterrows())]
    for start, (left, _) in pairwise(marks):
        _arrow(ax, start, (left - _WIDTH, _TOP))
    end = (marks[-1][0] + 0.6, marks[-1][1]) if marks else (0.0, _TOP / 2)
    if marks:
        _arrow(ax, marks[-1], end)
    ax.text(end[0] + 0.05, end[1], _answer(table), va="center", ha="left", size=10.5, weight="bold")
    ax.set_xlim(-0.4, (int(table.attrs.get("n_columns", len(steps))) - 1) * _GAP + 2.8)
    ax.set_ylim(-0.42, _TOP + 0.38)
    ax.set_axis_off()


def _draw_page(row: pd.Series, left: float, ax: Axes) -> tuple[float, float]:
    """Draw a page with the place that is read in it; where the way goes on from there."""
    view = str(row["view"])
    middle = left + _WIDTH / 2
    colour = _COLOURS.get(view, "0.93")
    ax.bar(left, _TOP, _WIDTH, align="edge", color=colour, edgecolor="0.3", linewidth=0.8)
    # Addresses grow downwards, as tables are drawn.
    place = _TOP * (1 - (int(row["address"]) % PAGE_SIZE) / PAGE_SIZE)
    ax.bar(left, 0.045, _WIDTH, place - 0.045, align="edge", color=_SLOT.get(view, "0.3"))
    ax.text(middle, _TOP + 0.06, _title(row), ha="center", va="bottom", size=9.5)
    below = f"entry {int(row['index'])}\n{_VIEWS.get(view, view)}"
    ax.text(middle, -0.06, below, ha="center", va="top", size=8.5, color="0.3")
    return left + _WIDTH, place - 0.02


def _title(row: pd.Series) -> str:
    page = f"\npage {int(row['page'])}" if int(row["page"]) >= 0 else ""
    return f"{str(row['level']).replace('_', ' ')}{page}"


def _answer(table: pd.DataFrame) -> str:
    """What the lookup found, and how many loads are not drawn."""
    first = table.iloc[0]
    more = int(first["n_loads"]) - _N_SHOWN
    mfn = "no mfn" if pd.isna(first["mfn"]) else f"mfn {int(first['mfn']):#x}"
    said = f"{_KINDS.get(first['kind'], first['kind'])}\n{mfn}"
    return f"{said}\nafter {_loads(more)} more" if more > 0 else said


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "0.25", "linewidth": 1.2})


def finding(table: pd.DataFrame) -> str:
    """How many pages each design reads on the way."""
    first = table.drop_duplicates("design")
    loads = zip(first["design"], first["n_loads"], strict=True)
    said = [f"{design} in {_loads(int(n_loads))}" for design, n_loads in loads]
    return f"Frame {int(table['pfn'].iloc[0]):#x} is found by {', '.join(said)}"


FIGURE = FigureSpec(
    name="path",
    question="Which pages a lookup reads, one after the other",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    measured=False,
    source=Source("way of a frame", take),
    n_columns=1,
    panel_inches=(9.5, 2.6),
)
