"""What the life of a p2m costs: writes and ballooning a frame, broken leaves, and whole tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.labels import design_word, who_is_faster
from p2mperf.analysis.life.costs import grown_by_one, life_titles, order_of, titles_of
from p2mperf.analysis.samples import refuse_empty
from p2mperf.analysis.summary import SHOWN_AXES, intervals_of, summary, with_verdicts
from p2mperf.analysis.words import sentence
from p2mperf.figures.forest import SPREAD, Limits, Words, draw_forest, forest_size, limits_of, places_of
from p2mperf.figures.lookups.rows import by_guest, pair_words
from p2mperf.figures.spec import FigureSpec, PanelSize
from p2mperf.figures.style import room_note
from p2mperf.measure.operations.registry import entries, lookups
from p2mperf.units import format_ns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

KEYS = [*SHOWN_AXES, "design"]
GROWTH = ["n_pages_grown", "n_vmas_grown"]
# Time between the lines of a boot log that name the area, of 1 GiB, and the end of remapping: three logs of
# kernels that have room for 512 GiB (728641, 440771 and 0 pages were remapped). Where they were published was
# not kept, so that nobody can look.
PUBLISHED_REBUILD_NS = (0.265e9, 0.247e9, 0.771e9)
PUBLISHED_NS = {"rebuild": PUBLISHED_REBUILD_NS}
_COSTS_INCHES = 2.4  # what both cost, beside a panel
EMULATED = "hatched: mmap shows the pages that it takes"


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare designs over everything but lookups and entries.

    Returns
    -------
    pandas.DataFrame
        Rows of `p2mperf.analysis.summary.summary`, judged among each other, with ``row``, the operation in
        words; ``n_pages_grown`` and ``n_vmas_grown``, as `growth` has them, of the design, and the same of
        its reference with ``_reference`` behind; and ``is_emulated``: one of the two has windows and took
        pages, or nobody has counted them: this program shows pages in windows by mmap, where a
        kernel writes entries of a page table.
    """
    shown = frame[~frame["operation"].isin((*lookups(), *entries()))]
    table = summary(shown)
    note = table.attrs["note"]
    if len(table):
        table = _with_growth(by_guest(with_verdicts(table)), growth(shown))
    table = table.assign(row=titles_of(table), _place=order_of(table))
    table = table.sort_values("_place", kind="stable", ignore_index=True).drop(columns="_place")
    bars = f"{intervals_of(table)} over processes; right: costs of the two, a frame, leaf or table"
    table.attrs["note"] = "\n".join([f"{note}; {bars}", *_published(table)])
    return table


def growth(frame: pd.DataFrame) -> pd.DataFrame:
    """What each operation but lookups and entries takes, of each design.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        One row a design and cell: ``n_pages_grown`` and ``n_vmas_grown`` (means, per frame, leaf or whole
        table), and ``has_windows``, whether the design's tables take mappings.
    """
    grown = grown_by_one(frame[~frame["operation"].isin((*lookups(), *entries()))])
    grown = grown.assign(has_windows=grown["n_vmas"].astype(float).fillna(0).to_numpy() > 0)
    grouped = grown.groupby(KEYS, sort=False)
    return grouped[GROWTH].mean().assign(has_windows=grouped["has_windows"].any()).reset_index()


def _with_growth(table: pd.DataFrame, grown: pd.DataFrame) -> pd.DataFrame:
    """Say what a design and its reference took, and whether mmap had to show it."""
    of_cell = [key for key in KEYS if key != "design"]
    table = table.merge(grown, on=KEYS, how="left").merge(
        grown.rename(columns={"design": "reference"}),
        on=[*of_cell, "reference"],
        how="left",
        suffixes=("", "_reference"),
    )
    # Where nobody has counted what a change takes, as of HAP tables, windows may have been shown anew.
    is_emulated = [
        table[f"has_windows{whose}"].fillna(False).astype(bool) & ~(table[f"n_pages_grown{whose}"] <= 0)
        for whose in ("", "_reference")
    ]
    table = table.drop(columns=["has_windows", "has_windows_reference"])
    return table.assign(is_emulated=is_emulated[0] | is_emulated[1])


def _published(table: pd.DataFrame) -> list[str]:
    """What others have published of an operation, which is none of our numbers."""
    said = []
    for operation, times in PUBLISHED_NS.items():
        if (table["operation"] == operation).any():
            title = life_titles()[operation, "whole-table"]
            said.append(
                f"published, {title}: {format_ns(min(times))} to {format_ns(max(times))}"
                " (three boot logs of other machines, not at hand to verify: 64 bits, an area of 1 GiB,"
                " remapping included)"
            )
    return said


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One panel for each pair of designs; several page backings, and limits, have panels of their own."""
    refuse_empty(table, "no cell of it is anything but lookups; `sweep --plan life` measures them")
    limits, found = limits_of(table), []
    keys = ["family", "design", "reference", "backing"]
    for _, part in table.groupby(keys, sort=False):
        first = part.iloc[0]
        part = part.assign(series=part["guest"])
        is_one = len(table.drop_duplicates(["design", "reference"])) == 1
        title = "" if is_one else sentence(pair_words(*(str(first[key]) for key in keys[:3])))
        if part.duplicated(["row", "guest"]).any():
            part = part.assign(series=part["guest"] + [room_note(table, row) for row in part.itertuples()])
        elif len(set(table["backing"])) > 1:
            title = ", ".join(filter(None, (title, f"{first['backing']} pages")))
        part.attrs = {"limits": limits}
        found.append((title, part))
    return found


def size(part: pd.DataFrame) -> PanelSize:
    """As high as there are operations and guests."""
    forest = forest_size(part["row"], part["series"].nunique())
    return forest._replace(width=forest.width + _COSTS_INCHES)


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw ratios with their intervals, a row an operation, and the costs beside them."""
    rows, series = list(dict.fromkeys(table["row"])), list(dict.fromkeys(table["series"]))
    first, limits = table.iloc[0], table.attrs["limits"]
    above, below = (design_word(str(first[of]), str(first["family"])) for of in ("design", "reference"))
    places = places_of(table, rows, series)
    _draw_bars(table, ax, places, limits, SPREAD / len(series))
    draw_forest(table, ax, rows, series, limits, Words.of(above, below))
    for place, cost, reference in zip(places, table["cost_ns"], table["reference_ns"], strict=True):
        ax.annotate(
            f"{format_ns(cost)} : {format_ns(reference)}",
            (1.01, place),
            xycoords=ax.get_yaxis_transform(),
            va="center",
            size=7,
            color="0.25",
        )


def _draw_bars(
    table: pd.DataFrame, ax: Axes, places: NDArray[np.float64], limits: Limits, height: float
) -> None:
    """Draw a bar from 1 to each ratio: hatched where mmap is part of it."""
    label: str | None = EMULATED
    for place, ratio, is_emulated in zip(places, table["ratio"], table["is_emulated"], strict=True):
        end = float(np.clip(ratio, *limits))
        ax.barh(
            place,
            end - 1,
            height * 0.8,
            1,
            facecolor="white" if is_emulated else "0.85",
            edgecolor="0.55",
            hatch="//////" if is_emulated else "",
            linewidth=0.5,
            zorder=1,
            label=label if is_emulated else None,
        )
        label = None if is_emulated else label


def finding(table: pd.DataFrame) -> str:
    """Who is faster how often: by what the kernel does too, and by what mmap is part of."""
    parts = {
        "": table[~table["is_emulated"]],
        "where mmap shows new pages ": table[table["is_emulated"]],
    }
    said = [where + who_is_faster(with_verdicts(part)) for where, part in parts.items() if len(part)]
    return sentence("; ".join(said))


FIGURE = FigureSpec(
    name="life",
    question="What the life of a p2m costs",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    by_family=True,
    shipped="shipped-life",
    panel_size=size,
    shared_legend=True,
)
