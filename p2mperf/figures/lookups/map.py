"""Who is faster, at a glance: the ratio of two designs by guest and by what is asked of them."""

from __future__ import annotations

from math import log, log2
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from p2mperf.analysis.labels import (
    design_word,
    operation_words,
    preamble_words,
    who_is_faster,
)
from p2mperf.analysis.samples import refuse_empty, stays_in_ram
from p2mperf.analysis.summary import summary, with_verdicts
from p2mperf.analysis.verdicts import EQUIVALENCE
from p2mperf.analysis.words import sentence
from p2mperf.designs.backing import KERNEL
from p2mperf.figures.lookups.rows import by_guest, pair_words
from p2mperf.figures.spec import FigureSpec, PanelSize
from p2mperf.figures.style import ratio_colours, room_note
from p2mperf.measure.operations.registry import entries, lookups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# From which factor on colours are the same: the numbers tell further ones apart.
MOST = 2.0
_CELL_WIDTH, _CELL_HEIGHT = 0.98, 0.33  # [inches]
_LETTER_WIDTH, _TITLES_HEIGHT, _HEAD_LINE_HEIGHT = 0.095, 0.6, 0.155  # [inches]
_KEY_HEIGHTS = (0.26, 0.42)  # of the colours, and of what stands around them [inches]
_FEWEST_COLUMNS = 4  # that have room for the key
_MARKS = {"not resolved": " ?", "no verdict": " ?", "equivalent": " ="}
_IN_RAM, _MIXED = "frames in RAM", "frames partly in holes or identity ranges"
_KEY_STEPS = 41


class Column(NamedTuple):
    """What is asked of a guest's table: heads of a column of the map, from the widest to the narrowest."""

    operation: str
    stream: str
    before: str


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare designs over lookups and entries.

    Returns
    -------
    pandas.DataFrame
        Rows of `p2mperf.analysis.summary.summary` that are lookups or entries, judged among each other, in
        the order in which they are shown; with ``row``, the guest, ``operation_words`` and ``before``, what
        comes before an entry, in words.
    """
    table = summary(frame[frame["operation"].isin((*lookups(), *entries()))])
    note = table.attrs["note"]
    table = with_verdicts(table)
    table = by_guest(table) if len(table) else table.assign(row="")
    before = [preamble_words(*pair) for pair in zip(table["preamble"], table["family"], strict=True)]
    words = [operation_words(str(name)) for name in table["operation"]]
    table = table.assign(operation_words=words, before=before)
    table.attrs["note"] = (
        f"?: no difference is resolved; =: equivalent, within {100 * EQUIVALENCE:g} % of 1; *: biased or"
        f" unsteady; blank: not measured\n{note}"
    )
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """For each pair of designs and each layout, the kernel's first: guests in RAM, others, and the key."""
    refuse_empty(table, "no lookup was measured with two designs of a family")
    is_mixed = ~stays_in_ram(table)
    table = table.assign(_mixed=is_mixed)
    keys = ["family", "design", "reference", "backing", "limit_bytes", "_mixed"]
    several = table.drop_duplicates(["design", "reference"]).shape[0] > 1
    parts = [part for _, part in table.groupby(keys, sort=False)]
    parts.sort(key=lambda part: bool(part["_mixed"].iloc[0]))  # stable: the first layout stays first
    n_columns = max(len(_columns(part)) for part in parts)
    found = []
    for part in parts:
        first = part.iloc[0]
        title = _MIXED if first["_mixed"] else _IN_RAM
        if several:
            title = f"{pair_words(*(str(first[name]) for name in keys[:3]))}: {title}"
        title += room_note(table, first)
        part = part.assign(row=_guests(part)).drop(columns="_mixed")
        part.attrs = {"n_columns": n_columns}
        found.append((sentence(title), part))
    key = found[0][1].iloc[:1]
    key.attrs = {"n_columns": n_columns, "is_key": True, "several": several}
    return [*found, ("", key)]


def _guests(part: pd.DataFrame) -> pd.Series[str]:
    """Names of guests, with the geometry where two have one name."""
    if part.groupby("guest")["geometry"].nunique().max() == 1:
        return part["guest"]
    return part["guest"] + ", " + part["geometry"]


def _columns(part: pd.DataFrame) -> list[Column]:
    """What is asked, operation by operation."""
    places = {name: place for place, name in enumerate((*lookups(), *entries()))}
    ordered = part.assign(_place=part["operation"].map(places)).sort_values("_place", kind="stable")
    names = ordered[["operation_words", "stream_label", "before"]]
    return list(dict.fromkeys(Column(*row) for row in names.itertuples(index=False, name=None)))


def size(part: pd.DataFrame) -> PanelSize:
    """As large as there are cells."""
    longest = max(map(len, part["row"]))
    width = 0.3 + _LETTER_WIDTH * longest + _CELL_WIDTH * max(_FEWEST_COLUMNS, part.attrs["n_columns"])
    if part.attrs.get("is_key"):
        return PanelSize(width, *_KEY_HEIGHTS)
    heads = _TITLES_HEIGHT + _HEAD_LINE_HEIGHT * _n_head_lines(_columns(part))
    return PanelSize(width, _CELL_HEIGHT * part["row"].nunique(), heads)


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw a cell for each guest and what is asked of it: its ratio in colour and in figures."""
    if table.attrs.get("is_key"):
        _draw_key(table, ax)
        return
    rows, columns = list(dict.fromkeys(table["row"])), _columns(table)
    ratios = np.full((len(rows), len(columns)), np.nan)
    for row, *column, ratio, verdict, marks in table[
        ["row", "operation_words", "stream_label", "before", "ratio", "verdict", "marks"]
    ].itertuples(index=False, name=None):
        at = rows.index(row), columns.index(Column(*column))
        ratios[at] = ratio
        text = f"{ratio:.2f}" + _MARKS.get(verdict, "") + "*" * bool(marks)
        ax.text(at[1], at[0], text, ha="center", va="center", size=10.5, color=_ink(ratio))
    ax.pcolormesh(
        np.arange(len(columns) + 1) - 0.5,
        np.arange(len(rows) + 1) - 0.5,
        np.ma.masked_invalid(np.log2(ratios)),
        cmap=ratio_colours(),
        vmin=-log2(MOST),
        vmax=log2(MOST),
        edgecolors="white",
        linewidth=1.5,
    )
    ax.set_yticks(range(len(rows)), rows, size=10.5)
    ax.set_xticks(range(len(columns)), [_head(column) for column in columns], size=8.5)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    _draw_operations(columns, ax)
    _frame(ax, table.attrs["n_columns"], (len(rows) - 0.5, -0.5))


def _ink(ratio: float) -> str:
    """White where a cell is dark, else black."""
    shade = ratio_colours()(0.5 + log(ratio) / (2 * log(MOST)))
    return "white" if 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] < 0.5 else "black"


def _head(column: Column) -> str:
    """What stands above one column: the stream, and what comes before an entry in two lines."""
    stream = column.stream.replace(", ", ",\n")
    return "\n".join([stream, *([column.before.replace(" and ", "\nand ")] if column.before else [])])


def _n_head_lines(columns: list[Column]) -> int:
    return max(_head(column).count("\n") for column in columns) + 1


def _draw_operations(columns: list[Column], ax: Axes) -> None:
    """Name the operation above its columns: on an axis of its own, which the panel's title gives way to."""
    heads = {}
    for operation in dict.fromkeys(column.operation for column in columns):
        places = [place for place, column in enumerate(columns) if column.operation == operation]
        is_narrow = len(places) < 2
        heads[(places[0] + places[-1]) / 2] = operation.replace(" ", "\n", 1) if is_narrow else operation
        if places[0]:
            ax.axvline(places[0] - 0.5, color="0.25", linewidth=1.2)
    above = ax.secondary_xaxis("top")
    above.set_xticks(list(heads), list(heads.values()), size=9, weight="bold")
    above.tick_params(length=0, pad=6 + 11 * _n_head_lines(columns))
    above.spines["top"].set_visible(False)


def _draw_key(table: pd.DataFrame, ax: Axes) -> None:
    """Draw the colours of ratios, with what they mean."""
    first = table.iloc[0]
    n_columns = max(_FEWEST_COLUMNS, table.attrs["n_columns"])
    left, right = 0.6, min(n_columns - 1.6, 5.4)
    edges = np.linspace(left, right, _KEY_STEPS + 1)
    colours = np.linspace(-1, 1, _KEY_STEPS)[np.newaxis, :]
    ax.pcolormesh(edges, [0, 1], colours, cmap=ratio_colours(), vmin=-1, vmax=1, edgecolors="face")
    for ratio in (1 / MOST, 1 / MOST**0.5, 1.0, MOST**0.5, MOST):
        place = left + (right - left) * (0.5 + log(ratio) / (2 * log(MOST)))
        ax.annotate(
            f"{ratio:.2g}", (place, 1), (0, -3), textcoords="offset points", ha="center", va="top", size=9
        )
    family = str(first["family"])
    above, below = (design_word(str(first[of]), family) for of in ("design", "reference"))
    if table.attrs["several"]:  # panels of several pairs name them
        above, below = "first", "second"
    ax.text(left - 0.1, 0.5, f"{above} faster", ha="right", va="center", size=9.5)
    ax.text(right + 0.1, 0.5, f"{below} faster", ha="left", va="center", size=9.5)
    ax.set_yticks([])
    ax.set_xticks([])
    _frame(ax, n_columns, (1, 0))


def _frame(ax: Axes, n_columns: int, heights: tuple[float, float]) -> None:
    """Let cells of all panels be of one width."""
    ax.set_xlim(-0.5, max(_FEWEST_COLUMNS, n_columns) - 0.5)
    ax.set_ylim(*heights)
    ax.grid(visible=False)
    for side in ax.spines.values():
        side.set_visible(False)


def finding(table: pd.DataFrame) -> str:
    """Who is faster how often in the kernel's layout: where all frames are in RAM, and where not."""
    shown = table[table["backing"] == KERNEL] if (table["backing"] == KERNEL).any() else table
    is_mixed = ~stays_in_ram(shown)
    said = {
        where: who_is_faster(with_verdicts(part))
        for where, part in (
            ("in RAM", shown[~is_mixed]),
            ("partly in holes or identity ranges", shown[is_mixed]),
        )
        if len(part)
    }
    return sentence("; ".join(f"{where} {words}" for where, words in said.items()))


FIGURE = FigureSpec(
    name="map",
    question="Which design is faster, by guest and by what is asked of it",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    by_family=True,
    n_columns=1,
    panel_size=size,
)
