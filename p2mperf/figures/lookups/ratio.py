"""Cost of every other design over the one that it is compared to, paired, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.analysis.labels import design_word, operation_words, who_is_faster
from p2mperf.analysis.samples import refuse_empty, stays_in_ram
from p2mperf.analysis.summary import intervals_of, summary, with_verdicts
from p2mperf.analysis.words import sentence
from p2mperf.figures.forest import Words, draw_forest, forest_size, limits_of
from p2mperf.figures.lookups.rows import by_guest
from p2mperf.figures.spec import FigureSpec, PanelSize
from p2mperf.measure.operations.registry import lookups

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare designs cell by cell, as `p2mperf.analysis.summary.summary` does.

    Returns
    -------
    pandas.DataFrame
        Rows of the summary that are lookups, judged among each other, in the order in which they are shown,
        with ``row``, the guest, and ``series``, the operation in words.
    """
    table = summary(frame[frame["operation"].isin(lookups())])
    note = table.attrs["note"]
    table = with_verdicts(table)
    table = table.assign(series=[operation_words(str(name)) for name in table["operation"]])
    table = by_guest(table) if len(table) else table.assign(row="")
    table.attrs["note"] = f"{note}; {intervals_of(table)} over processes"
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel for each stream: on one axis those that stay in RAM, and on one those that do not."""
    refuse_empty(table, "no lookup was measured with two designs of a family")
    is_mixed = ~stays_in_ram(table)
    series, found = list(dict.fromkeys(table["series"])), []
    for alike in (table[~is_mixed], table[is_mixed]):
        for stream, part in alike.groupby("stream_label", sort=False):
            part.attrs = {"limits": limits_of(alike), "series": series}
            found.append((f"Stream: {stream}", part))
    return found


def size(part: pd.DataFrame) -> PanelSize:
    """As high as there are rows."""
    return forest_size(part["row"], len(part.attrs["series"]))


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw ratios with their intervals, a row a guest; above 1 the reference is faster."""
    names = [
        {
            design_word(str(design), str(family))
            for design, family in zip(table[of], table["family"], strict=True)
        }
        for of in ("design", "reference")
    ]
    above, below = (", ".join(sorted(words)) for words in names)
    words = Words.of(above, below) if len(names[0]) == 1 else Words("faster", "design / reference", "slower")
    rows = list(dict.fromkeys(table["row"]))
    draw_forest(table, ax, rows, table.attrs["series"], table.attrs["limits"], words)


FIGURE = FigureSpec(
    name="ratio",
    question="How much longer a lookup takes than in the design that it is compared to",
    data=data,
    draw=draw,
    panels=panels,
    finding=lambda table: sentence(who_is_faster(table)),
    by_family=True,
    panel_size=size,
    shared_legend=True,
)
