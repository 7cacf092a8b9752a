"""Blocks of docs/results.md: `readme.py` writes them into the page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from functools import cache

import kernel_build_page  # beside this file
import pandas as pd
from hap_page import findings as hap_findings
from measured_page import cost, notes, table

import p2mperf
from p2mperf.analysis.findings import findings_on, in_ram, on_pages, outside_ram
from p2mperf.analysis.life.costs import life_titles
from p2mperf.analysis.samples import host_note, runs_of, unrest_of
from p2mperf.analysis.summary import pairs_of, with_verdicts
from p2mperf.analysis.words import sentence
from p2mperf.figures.life import growth
from p2mperf.measure.operations.registry import lookups

MACHINES = ("shipped", "shipped-zen4", "shipped-zen3")
_CELL = ["operation", "stream", "guest"]
_LIFE_SWEEP = ("pv-64-8g", "pv-32-43g", "pv-64-128g", "pv-64-400g")
_COLUMNS = {
    "latency": "one after the other",
    "throughput": "overlapping",
    "entry": "a kernel entry of nine",
}


@cache
def _sweep(name: str) -> pd.DataFrame:
    return p2mperf.load(name)


def machine() -> str:
    """Where and when the default sweep was measured, and what was not quiet there."""
    frame = _sweep("shipped")
    card = runs_of(frame)[-1]["machine"]
    where = f"{card['llvm_cpu_name']} cores, {card['n_cpus']} CPUs"
    disturbed = "; ".join(one.seen for one in unrest_of(frame))
    said = f"{host_note(frame)}; {where}. Not quiet there: {disturbed or 'nothing that is known'}."
    return textwrap.fill(sentence(said), 118)


def results() -> str:
    """List and tree in the kernel's layout: a row a guest, a column an operation over uniform frames."""
    shown = in_ram(_sweep("shipped"))
    cells = shown[["guest", "operation"]].itertuples(index=False, name=None)
    texts = dict(zip(cells, map(cost, pairs_of(shown)), strict=True))
    lines = [f"| list, tree | {' | '.join(_COLUMNS.values())} |", "|---" * (1 + len(_COLUMNS)) + "|"]
    lines += [
        f"| {guest} | {' | '.join(texts[guest, operation] for operation in _COLUMNS)} |"
        for guest in shown["guest"].unique()
    ]
    return "\n".join([*lines, *notes(shown)])


def holes() -> str:
    """The same where frames leave RAM: a row a guest and stream."""
    shown = outside_ram(_sweep("shipped"))
    cells = shown[["guest", "stream_label", "operation"]].itertuples(index=False, name=None)
    texts = dict(zip(cells, map(cost, pairs_of(shown)), strict=True))
    lines = ["| list, tree | stream | latency | throughput |", "|---|---|---|---|"]
    lines += [
        f"| {guest} | {stream} | {texts[guest, stream, 'latency']} | {texts[guest, stream, 'throughput']} |"
        for guest, stream in dict.fromkeys((guest, stream) for guest, stream, _ in texts)
    ]
    return "\n".join([*lines, *notes(shown)])


def pages() -> str:
    """What 4 KiB pages cost list and tree: a row a guest and table."""
    shown = on_pages(_sweep("shipped-backings"))
    cells = shown[["design", "guest", "operation"]].itertuples(index=False, name=None)
    texts = dict(zip(cells, map(cost, pairs_of(shown)), strict=True))
    lines = ["| 2 MiB, 4 KiB | guest | one after the other | overlapping |", "|---|---|---|---|"]
    lines += [
        f"| {'list' if 'linear' in design else 'tree'} | {guest} | {texts[design, guest, 'latency']} "
        f"| {texts[design, guest, 'throughput']} |"
        for design, guest in dict.fromkeys((design, guest) for design, guest, _ in texts)
    ]
    return "\n".join([*lines, *notes(shown)])


def life_costs() -> str:
    """What all but the lookups cost, of the shipped sweep over a p2m's life: a row an operation."""
    pairs = p2mperf.summary(_sweep("shipped-life"))
    pairs = with_verdicts(pairs[~pairs["operation"].isin(lookups()) & (pairs["family"] == "pv")])
    cells = pairs[_CELL].itertuples(index=False, name=None)
    costs = _by_guest(dict(zip(cells, map(cost, pairs_of(pairs)), strict=True)))
    return "\n".join([costs, *notes(pairs)])


def life_growth() -> str:
    """What one frame, leaf or table takes: pages and mappings of list and tree."""
    grown = growth(_sweep("shipped-life")).pivot_table(["n_pages_grown", "n_vmas_grown"], _CELL, "design")
    grown = grown[(grown != 0).any(axis=1)]
    pages, vmas = grown["n_pages_grown"].map(_counted), grown["n_vmas_grown"].map(_counted)
    texts = pages["pv-linear"] + ", " + pages["pv-tree"] + " pages; " + vmas["pv-linear"] + " mappings"
    return _by_guest(dict(zip(texts.index, texts, strict=True)))


def _counted(mean: float) -> str:
    return f"{round(mean, 2) + 0.0:.2f}" if mean < 100 else f"{mean:.0f}"  # no -0.00


def _by_guest(texts: Mapping[tuple[str, str, str], str]) -> str:
    """Lay out what is known by operation, stream and guest: a row an operation and stream."""
    lines = [f"| list, tree | {' | '.join(_LIFE_SWEEP)} |", "|---" * (1 + len(_LIFE_SWEEP)) + "|"]
    for (operation, stream), title in life_titles().items():
        if (operation, stream, _LIFE_SWEEP[0]) in texts:
            cells = [texts[operation, stream, guest] for guest in _LIFE_SWEEP]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def on_machines() -> pd.DataFrame:
    """What all machines say of list and tree, cell by cell."""
    table: pd.DataFrame = p2mperf.agreement(p2mperf.load(list(MACHINES)), force=True)
    is_whole = (table["n_machines"] == len(MACHINES)) & (table["family"] == "pv")
    return table[is_whole & (table["preamble"] != "tight")]


def machines() -> str:
    """Do the machines agree: counts, and each cell where they do not say the same of the faster design."""
    cells = on_machines()
    counts = cells["agreement"].value_counts()
    apart = cells[cells["agreement"].isin(("oppose", "open"))]
    same = (cells["faster"] != "").sum()
    said = (
        f"Of {len(cells)} cells of list and tree that all {len(MACHINES)} machines measured, {same} have "
        f"the same faster design on all of them; in {counts.get('differ', 0)} the ratios are more than "
        f"5 % apart; in {counts.get('oppose', 0)} they oppose each other."
    )
    lines = [textwrap.fill(said, 118)]
    if len(apart):
        columns = ["guest", "stream_label", "operation", "preamble", "ratios", "in_words"]
        rows = apart[columns].astype(str).itertuples(index=False, name=None)
        lines += ["", table(("cell", "ratios", "what they say"), [_apart(*row) for row in rows])]
    return "\n".join(lines)


def _apart(
    guest: str, stream: str, operation: str, preamble: str, ratios: str, words: str
) -> tuple[str, ...]:
    what = f"{operation} after {preamble}" if preamble else operation
    said = words.replace("pv-linear", "list").replace("pv-tree", "tree")
    return f"{guest}, {stream}, {what}", ratios, said


def arm() -> str:
    """What was found on ARM, and the cells behind it."""
    pairs = p2mperf.summary(_sweep("shipped"))
    shown = pairs[(pairs["family"] == "arm") & pairs["operation"].isin(("latency", "throughput"))]
    shown = with_verdicts(shown)
    where = shown[["guest", "stream_label", "operation"]].astype(str).itertuples(index=False, name=None)
    cells = [
        (guest, stream, _COLUMNS[operation], pair.design, cost(pair))
        for (guest, stream, operation), pair in zip(where, pairs_of(shown), strict=True)
    ]
    heads = ("guest", "stream", "lookups", "walk", "window, walk: walk / window")
    (said,) = (one.said for one in findings_on(_sweep("shipped")) if one.about.startswith("ARM"))
    return "\n".join([textwrap.fill(said, 118), "", table(heads, cells), *notes(shown)])


BLOCKS = {
    "machine": machine,
    "results": results,
    "holes": holes,
    "pages": pages,
    "machines": machines,
    "kernel-build": kernel_build_page.kernel_builds,
    "life": life_costs,
    "life-growth": life_growth,
    "arm": arm,
    "hap": hap_findings,
}
