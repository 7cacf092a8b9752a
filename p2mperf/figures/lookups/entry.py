"""Designs compared in warm loops, and as entries of a kernel after a flushed TLB and other work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.labels import asked_words, design_word, preamble_words
from p2mperf.analysis.samples import operation_labels, refuse_empty
from p2mperf.analysis.summary import summary
from p2mperf.analysis.words import sentence, span
from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import FALLBACK, Look, plain_ticks, ring_doubtful, room_keys, room_note, size_axis
from p2mperf.measure.operations.registry import entries, lookups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Warm loops grey; entries warmer the more has come before them. Markers differ too.
_LOOKS = {
    ("throughput", ""): Look("#999999", "--", "o"),
    ("latency", ""): Look("#555555", "--", "s"),
    ("entry", "tight"): Look("#0072B2", marker="v"),
    ("entry", "8M"): Look("#009E73", marker="^"),
    ("entry", "flush"): Look("#CC79A7", marker="P"),
    ("entry", "flush+1M"): Look("#E69F00", marker="d"),
    ("entry", "flush+8M"): Look("#D55E00", marker="D"),
}
_OTHER = Look(FALLBACK, marker="X")
_MEASURES = ("ratio", "difference_ns")


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare designs over the streams that entries are measured over, as `p2mperf.analysis.summary` does.

    Returns
    -------
    pandas.DataFrame
        Rows of the summary that are lookups or entries, with two more columns: ``what``, the operation with
        what comes before it, and ``difference_ns``, the design's cost over the reference's (medians) [ns].
    """
    table = summary(frame)
    note = table.attrs["note"]
    is_entry = table["operation"].isin(entries())
    streams = table.loc[is_entry, "stream_label"].unique()
    table = table[(is_entry | table["operation"].isin(lookups())) & table["stream_label"].isin(streams)]
    difference_ns = table["cost_ns"] - table["reference_ns"]
    table = table.assign(what=operation_labels(table), difference_ns=difference_ns)
    table.attrs["note"] = f"{note}; translations that are not in the TLB cost more in a virtual machine"
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """For each pair of designs, stream and width: the ratio of all loops, and what an entry costs more."""
    refuse_empty(table, "no cell is of entries; `sweep --operation entry` measures some")
    found = []
    keys = ["family", "design", "reference", "stream_label", "entry_bits", *room_keys(table)]
    for _, part in table.groupby(keys, sort=False):
        first = part.iloc[0]
        pair = [design_word(str(first[of]), str(first["family"])) for of in ("design", "reference")]
        rest = f", {first['stream_label']}, {first['entry_bits']}-bit{room_note(table, first)}"
        shown_by = (" / ", part), (" - ", part[part["preamble"] != ""])
        for measure, (sign, shown) in zip(_MEASURES, shown_by, strict=True):
            if len(shown):
                shown = shown.copy()
                shown.attrs = {"measure": measure}
                found.append((sentence(sign.join(pair) + rest), shown))
    return found


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw ratios with their intervals, or differences, over guest size."""
    measure, first = table.attrs["measure"], table.iloc[0]
    ax.axhline(1 if measure == "ratio" else 0, color="0.25", linewidth=1.2)
    asked = dict.fromkeys(table[["operation", "preamble"]].itertuples(index=False, name=None))
    for index, (operation, preamble) in enumerate(sorted(asked, key=_place)):
        is_asked = (table["operation"] == operation) & (table["preamble"] == preamble)
        part = table[is_asked].sort_values("guest_bytes")
        look = _LOOKS.get((operation, preamble), _OTHER)
        heights = part[measure].to_numpy(float)
        places = part["guest_bytes"].to_numpy(float) * (1 + 0.03 * index)
        error = np.abs(part[["low", "high"]].to_numpy(float).T - heights) if measure == "ratio" else None
        ax.errorbar(
            places,
            heights,
            yerr=None if error is None else np.nan_to_num(error),
            label=asked_words(operation, preamble, str(first["family"])),
            capsize=3,
            color=look.colour,
            marker=look.marker,
            linestyle=look.line,
        )
        ring_doubtful(ax, part["marks"], places, heights)
    size_axis(ax, table["guest_bytes"])
    if measure == "ratio":
        ratios = table["ratio"]
        ax.set_yscale("log")
        ax.set_ylim(min(0.9, ratios.min() * 0.85), max(1.1, ratios.max() * 1.25))
        plain_ticks(ax, (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 9.0))
        ax.set_ylabel(f"{first['design']} / {first['reference']}")
    else:
        ax.set_ylabel(f"{first['design']} - {first['reference']}, ns per entry")


def _place(asked: tuple[str, str]) -> int:
    """Place of a line in the legend: as looks are declared, others behind."""
    return list(_LOOKS).index(asked) if asked in _LOOKS else len(_LOOKS)


def finding(table: pd.DataFrame) -> str:
    """How much more each way of meeting a table costs with a design, from the warmest to the coldest."""
    pairs = table.groupby(["family", "design", "reference"], sort=False)
    (family, design, reference), shown = max(pairs, key=lambda pair: len(pair[1]))
    said = []
    for (_, preamble), part in shown.groupby(["operation", "preamble"], sort=False):
        if str(preamble):
            said.append(f"{span(part['ratio'])} {preamble_words(str(preamble), str(family))}")
    above, below = (design_word(str(name), str(family)) for name in (design, reference))
    return sentence(f"lookups of a kernel entry, {above} / {below}: {', '.join(said)}") if said else ""


FIGURE = FigureSpec(
    name="entry",
    question="What a lookup costs in a warm loop, and in a kernel that has just been entered",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    by_family=True,
    n_columns=2,
    panel_inches=(7.0, 4.4),
    shared_legend=True,
)
