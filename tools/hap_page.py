"""Blocks of docs/hap.md: `readme.py` writes them into the page."""

from __future__ import annotations

import pandas as pd
from measured_page import cost, items, notes  # beside this file

import p2mperf
from p2mperf.analysis.life.costs import life_titles
from p2mperf.analysis.summary import pairs_of, with_verdicts
from p2mperf.analysis.words import span
from p2mperf.figures import table as figure_table
from p2mperf.measure.operations.registry import lookups

_COLUMNS = {
    "latency": "one after the other",
    "throughput": "overlapping",
    "entry, 8M": "an entry into Xen",
    "entry, flush+8M": "an entry that flushes",
}
_WINDOWS = {"hap-linear": "1 GiB", "hap-linear-2m": "2 MiB", "hap-linear-4k": "4 KiB"}


def _windows() -> pd.DataFrame:
    """Windows over the walk of the same leaves, in the default plan and in that of HAP."""
    return figure_table("hap-window", p2mperf.load(["shipped", "shipped-hap"]))


def windows() -> str:
    """Does the window pay: a row for leaves and a guest, a column an operation over uniform frames."""
    shown = with_verdicts(compared := _windows().query("stream_label == 'uniform'"))
    rows = compared[["leaves", "guest", "design", "what"]].itertuples(index=False, name=None)
    texts = dict(zip(rows, map(cost, pairs_of(shown)), strict=True))
    lines = [f"| walk, windows | guest | {' | '.join(_COLUMNS.values())} |", "|---" * 6 + "|"]
    lines += [
        f"| {leaves} | {guest} | {' | '.join(texts[leaves, guest, design, what] for what in _COLUMNS)} |"
        for leaves, guest, design in dict.fromkeys(row[:3] for row in texts)
    ]
    return "\n".join([*lines, *notes(shown)])


def findings() -> str:
    """What that table, and the same over sequential frames, say in sentences that are made of them."""
    compared = _windows()
    uniform = with_verdicts(compared[compared["stream_label"] == "uniform"])
    sequential = with_verdicts(compared[compared["stream_label"] == "sequential"])
    said = []
    for leaves, rows in uniform.groupby("leaves", sort=False):
        n_loads = f"{rows['walk_loads'].iloc[0]:.3g}"
        said.append(
            f"Leaves: {leaves}, where a walk reads {n_loads} entries. Windows over walk: {_spans(rows)}. "
            f"{_faster(rows)}."
        )
    said += [
        f"Over sequential frames windows over walk is {span(sequential['ratio'])}. {_faster(sequential)}.",
        "A walk of leaves of 4 KiB over one of 2 MiB, the guests' memory being whole: "
        f"{_spans(_smaller_leaves())}. Published is 1.15 for a program in a guest that misses the TLB at "
        "random (Xen 50baf2d9f7, 2025): there the processor walks, here software.",
    ]
    return items(said)


def _spans(shown: pd.DataFrame) -> str:
    return "; ".join(
        f"{span(shown.loc[shown['what'] == what, 'ratio'])} {title}" for what, title in _COLUMNS.items()
    )


def _faster(shown: pd.DataFrame) -> str:
    windows, walk = ((shown["faster"] == shown[name]).sum() for name in ("design", "reference"))
    return f"Windows are faster in {windows} of {len(shown)} comparisons, the walk in {walk}"


def _smaller_leaves() -> pd.DataFrame:
    """The walk of 4 KiB over that of 2 MiB, where both have no others."""
    frame = p2mperf.load("shipped-hap")
    pair = frame["design"].isin(("hap-walk-2m", "hap-walk-4k")) & frame["guest"].str.startswith("hap-")
    return figure_table("entry", frame[pair])


def changes() -> str:
    """What changing superpages costs a guest of 16 GiB: a row an operation and stream, a column by leaves."""
    pairs = p2mperf.summary(p2mperf.load("shipped-hap"))
    pairs = pairs[~pairs["operation"].isin((*lookups(), "entry")) & (pairs["guest"] == "hap-16g")]
    pairs = with_verdicts(pairs[pairs["design"].isin(_WINDOWS)])
    cells = pairs[["operation", "stream", "design"]].itertuples(index=False, name=None)
    texts = dict(zip(cells, map(cost, pairs_of(pairs)), strict=True))
    lines = [f"| walk, windows | {' | '.join(_WINDOWS.values())} |", "|---" * 4 + "|"]
    lines += [
        f"| {title} | {' | '.join(texts.get((*cell, design), '-') for design in _WINDOWS)} |"
        for cell, title in life_titles().items()
        if (*cell, "hap-linear") in texts
    ]
    return "\n".join([*lines, *notes(pairs)])


BLOCKS = {"windows": windows, "windows-found": findings, "changes": changes}
