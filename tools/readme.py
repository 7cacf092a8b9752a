"""Make the tables of README.md, docs/hap.md and docs/kernel-build.md: no number in them is typed by hand.

``python tools/readme.py`` draws docs/figures and rewrites the blocks between ``<!-- begin NAME -->`` and
``<!-- end NAME -->``;
``--check`` only says whether they are up to date.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import counted_page  # beside this file
import kernel_build_page
import pandas as pd

import p2mperf
from p2mperf.analysis.summary import Pair, intervals_of, pairs_of, short_name, with_verdicts
from p2mperf.analysis.verdicts import notes_on
from p2mperf.figures import save, table
from p2mperf.figures.life import cell_titles
from p2mperf.measure.operations.registry import lookups
from p2mperf.units import format_ns

ROOT = Path(__file__).resolve().parent.parent
HAP_PAGE = "docs/hap.md"
KERNEL_BUILD_PAGE = "docs/kernel-build.md"
_DESIGNS = ("pv-tree", "pv-linear")
_CELL = ["operation", "stream", "guest"]
_LIFE_SWEEP = ("pv-64-8g", "pv-32-43g", "pv-64-128g", "pv-64-400g")
_WITH_HOLES = ("dom0-64-e820", "dom0-32-e820")
_COLUMNS = {
    "latency": "one after the other",
    "throughput": "overlapping",
    "entry": "a kernel entry of nine",
}
_HAP_COLUMNS = {
    "latency": "one after the other",
    "throughput": "overlapping",
    "entry, 8M": "an entry into Xen",
    "entry, flush+8M": "an entry that flushes",
}
_HAP_WINDOWS = {"hap-linear": "1 GiB", "hap-linear-2m": "2 MiB", "hap-linear-4k": "4 KiB"}
_WAYS = {"walk": "walk", "list": "windows"}


def _in_ram() -> pd.DataFrame:
    """List and tree in the kernel's layout, over uniform frames of guests that are all RAM."""
    pairs = p2mperf.summary(p2mperf.load("shipped"))
    shown = pairs[(pairs["family"] == "pv") & (pairs["stream_label"] == "uniform")]
    shown = shown[~shown["guest"].isin(_WITH_HOLES) & (shown["preamble"] != "tight")]
    return with_verdicts(shown.sort_values(["entry_bits", "guest_bytes"], ascending=[False, True]))


def results() -> str:
    """List and tree in the kernel's layout: a row a guest, a column an operation over uniform frames."""
    shown = _in_ram()
    cells = shown[["guest", "operation"]].itertuples(index=False, name=None)
    texts = dict(zip(cells, map(_cost, pairs_of(shown)), strict=True))
    lines = [f"| list, tree | {' | '.join(_COLUMNS.values())} |", "|---" * (1 + len(_COLUMNS)) + "|"]
    lines += [
        f"| {guest} | {' | '.join(texts[guest, operation] for operation in _COLUMNS)} |"
        for guest in shown["guest"].unique()
    ]
    return "\n".join([*lines, *_notes(shown)])


def _with_holes() -> pd.DataFrame:
    """The same where frames leave RAM."""
    pairs = p2mperf.summary(p2mperf.load("shipped"))
    shown = pairs[pairs["guest"].isin(_WITH_HOLES) & pairs["operation"].isin(("latency", "throughput"))]
    return with_verdicts(shown[shown["stream"] == "uniform"])


def holes() -> str:
    """The same where frames leave RAM: a row a guest and stream."""
    shown = _with_holes()
    cells = shown[["guest", "stream_label", "operation"]].itertuples(index=False, name=None)
    texts = dict(zip(cells, map(_cost, pairs_of(shown)), strict=True))
    lines = ["| list, tree | stream | latency | throughput |", "|---|---|---|---|"]
    lines += [
        f"| {guest} | {stream} | {texts[guest, stream, 'latency']} | {texts[guest, stream, 'throughput']} |"
        for guest, stream in dict.fromkeys((guest, stream) for guest, stream, _ in texts)
    ]
    return "\n".join([*lines, *_notes(shown)])


def _on_pages() -> pd.DataFrame:
    """List and tree, each on pages of 4 KiB beside itself on pages of 2 MiB."""
    frame = p2mperf.load("shipped-backings")
    names = frame["design"].str.removeprefix("control:")
    parts = [frame[names.str.startswith(f"{design}-").fillna(False)] for design in _DESIGNS]
    shown = pd.concat(map(p2mperf.summary, parts))
    return with_verdicts(shown.sort_values(["design", "guest_bytes"], kind="stable"))


def pages() -> str:
    """What 4 KiB pages cost list and tree: a row a guest and table."""
    shown = _on_pages()
    cells = shown[["design", "guest", "operation"]].itertuples(index=False, name=None)
    texts = dict(zip(cells, map(_cost, pairs_of(shown)), strict=True))
    lines = ["| 2 MiB, 4 KiB | guest | one after the other | overlapping |", "|---|---|---|---|"]
    lines += [
        f"| {'list' if 'linear' in design else 'tree'} | {guest} | {texts[design, guest, 'latency']} "
        f"| {texts[design, guest, 'throughput']} |"
        for design, guest in dict.fromkeys((design, guest) for design, guest, _ in texts)
    ]
    return "\n".join([*lines, *_notes(shown)])


def _on_machines() -> pd.DataFrame:
    """What both machines say of list and tree, cell by cell."""
    table: pd.DataFrame = p2mperf.agreement(p2mperf.load(["shipped", "shipped-zen3"]), force=True)
    return table[(table["family"] == "pv") & (table["n_machines"] == 2) & (table["preamble"] != "tight")]


def machines() -> str:
    """Do two machines agree: counts, and each cell where they do not say the same of the faster design."""
    table = _on_machines()
    counts = table["agreement"].value_counts()
    apart = table[table["agreement"].isin(("oppose", "open"))]
    same = (table["faster"] != "").sum()
    said = (
        f"Of {len(table)} cells of list and tree that both machines measured, {same} have the same faster "
        f"design on both; in {counts.get('differ', 0)} the ratios are more than 5 % apart; "
        f"{counts.get('oppose', 0)} oppose each other."
    )
    lines = [textwrap.fill(said, 118)]
    if len(apart):
        lines += ["", "| cell | this one; the other | what they say |", "|---|---|---|"]
    for row in apart.to_dict("records"):
        operation = f"{row['operation']} after {row['preamble']}" if row["preamble"] else row["operation"]
        words = str(row["in_words"]).replace("pv-linear", "list").replace("pv-tree", "tree")
        lines.append(f"| {row['guest']}, {row['stream_label']}, {operation} | {row['ratios']} | {words} |")
    return "\n".join(lines)


def findings() -> str:
    """What the two tables say, in sentences that are made of them."""
    in_ram, outside = _in_ram(), _with_holes()
    large, on_4k = _on_pages(), ("pv-linear-4k", "pv-tree-4k")
    large = large[large["guest"] == "pv-64-400g"]
    spans = "; ".join(f"{_span(in_ram, operation=name)} {title}" for name, title in _COLUMNS.items())
    at_random, in_runs = ({"hole_fraction": 0.5, "hole_pattern": name} for name in ("random", "runs"))
    said = [
        f"In RAM the list is faster in {_count(in_ram, 'pv-linear')} comparisons and the tree in "
        f"{_count(in_ram, 'pv-tree')}. Tree over list: {spans}.",
        f"Where half of the frames are holes, tree over list is {_span(outside, **at_random)} if they come "
        f"at random, and {_span(outside, **in_runs)} if they come in runs, which a branch predictor learns.",
        "On pages of 4 KiB instead of 2 MiB a guest of 400 GB costs the list "
        f"{_span(large, design=on_4k[0])} times as much and the tree {_span(large, design=on_4k[1])}, "
        "one after the other and overlapping.",
    ]
    return "\n".join(textwrap.fill(f"- {one}", 118, subsequent_indent="  ") for one in said)


def _count(shown: pd.DataFrame, design: str) -> str:
    return f"{(shown['faster'] == design).sum()} of {len(shown)}"


def _span(shown: pd.DataFrame, **where: object) -> str:
    """Lowest and highest ratio of some rows."""
    for column, value in where.items():
        shown = shown[shown[column] == value]
    return f"{shown['ratio'].min():.2f} to {shown['ratio'].max():.2f}"


def life_costs() -> str:
    """What all but the lookups cost, of the shipped sweep over a p2m's life: a row an operation."""
    pairs = p2mperf.summary(p2mperf.load("shipped-life"))
    pairs = with_verdicts(pairs[~pairs["operation"].isin(lookups()) & (pairs["family"] == "pv")])
    cells = pairs[_CELL].itertuples(index=False, name=None)
    costs = _by_guest(dict(zip(cells, map(_cost, pairs_of(pairs)), strict=True)))
    return "\n".join([costs, *_notes(pairs)])


def _cost(pair: Pair) -> str:
    """Both costs, the reference's first, their ratio, and who is faster."""
    times = f"{format_ns(pair.reference_ns)}, {format_ns(pair.cost_ns)}"
    return f"{times}: {pair.ratio:.2f} [{pair.low:.2f}, {pair.high:.2f}], {_said(pair)}"


def life_growth() -> str:
    """What one frame, leaf or table takes: pages and mappings of list and tree."""
    grown = table("life", p2mperf.load("shipped-life")).pivot_table(
        ["n_pages_grown", "n_vmas_grown"], _CELL, "design"
    )
    grown = grown[(grown != 0).any(axis=1)]
    pages, vmas = grown["n_pages_grown"].map(_counted), grown["n_vmas_grown"].map(_counted)
    texts = pages["pv-linear"] + ", " + pages["pv-tree"] + " pages; " + vmas["pv-linear"] + " mappings"
    return _by_guest(dict(zip(texts.index, texts, strict=True)))


def _counted(mean: float) -> str:
    return f"{round(mean, 2) + 0.0:.2f}" if mean < 100 else f"{mean:.0f}"  # no -0.00


def _by_guest(texts: Mapping[tuple[str, str, str], str]) -> str:
    """Lay out what is known by operation, stream and guest: a row an operation and stream."""
    lines = [f"| list, tree | {' | '.join(_LIFE_SWEEP)} |", "|---" * (1 + len(_LIFE_SWEEP)) + "|"]
    for (operation, stream), title in cell_titles().items():
        if (operation, stream, _LIFE_SWEEP[0]) in texts:
            cells = [texts[operation, stream, guest] for guest in _LIFE_SWEEP]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _notes(shown: pd.DataFrame) -> list[str]:
    """What to know of a table, after it."""
    intervals = intervals_of(shown).replace("interval", "Wilcoxon intervals")
    among = f"verdicts hold among these {len(shown)} rows (Benjamini-Hochberg at 5 %)"
    return ["", "; ".join([intervals, among, *notes_on(shown["verdict"], shown["marks"])]) + "."]


def _said(pair: Pair) -> str:
    """What is said of two designs, by the short names of these pages."""
    said = short_name(pair.said, "pv").replace("linear", "list")
    return re.sub(r"hap-(walk|list)(-\w+)?", lambda name: _WAYS[name[1]], said)


def _windows() -> pd.DataFrame:
    """Windows over the walk of the same leaves, in the default plan and in that of HAP."""
    return table("hap-window", p2mperf.load(["shipped", "shipped-hap"]))


def hap_windows() -> str:
    """Does the window pay: a row for leaves and a guest, a column an operation over uniform frames."""
    shown = with_verdicts(windows := _windows().query("stream_label == 'uniform'"))
    rows = windows[["leaves", "guest", "design", "what"]].itertuples(index=False, name=None)
    texts = dict(zip(rows, map(_cost, pairs_of(shown)), strict=True))
    lines = [f"| walk, windows | guest | {' | '.join(_HAP_COLUMNS.values())} |", "|---" * 6 + "|"]
    lines += [
        f"| {leaves} | {guest} | {' | '.join(texts[leaves, guest, design, what] for what in _HAP_COLUMNS)} |"
        for leaves, guest, design in dict.fromkeys(row[:3] for row in texts)
    ]
    return "\n".join([*lines, *_notes(shown)])


def hap_findings() -> str:
    """What that table, and the same over sequential frames, say in sentences that are made of them."""
    windows = _windows()
    uniform = with_verdicts(windows[windows["stream_label"] == "uniform"])
    sequential = with_verdicts(windows[windows["stream_label"] == "sequential"])
    said = []
    for leaves, rows in uniform.groupby("leaves", sort=False):
        n_loads = f"{rows['walk_loads'].iloc[0]:.3g}"
        said.append(
            f"Leaves: {leaves}, where a walk reads {n_loads} entries. Windows over walk: {_spans(rows)}. "
            f"{_faster(rows)}."
        )
    said += [
        f"Over sequential frames windows over walk is {_span(sequential)}. {_faster(sequential)}.",
        "A walk of leaves of 4 KiB over one of 2 MiB, the guests' memory being whole: "
        f"{_spans(_smaller_leaves())}. Published is 1.15 for a program in a guest that misses the TLB at "
        "random (Xen 50baf2d9f7, 2025): there the processor walks, here software.",
    ]
    return "\n".join(textwrap.fill(f"- {one}", 118, subsequent_indent="  ") for one in said)


def _spans(shown: pd.DataFrame) -> str:
    return "; ".join(f"{_span(shown, what=what)} {title}" for what, title in _HAP_COLUMNS.items())


def _faster(shown: pd.DataFrame) -> str:
    windows, walk = ((shown["faster"] == shown[name]).sum() for name in ("design", "reference"))
    return f"Windows are faster in {windows} of {len(shown)} comparisons, the walk in {walk}"


def _smaller_leaves() -> pd.DataFrame:
    """The walk of 4 KiB over that of 2 MiB, where both have no others."""
    frame = p2mperf.load("shipped-hap")
    pair = frame["design"].isin(("hap-walk-2m", "hap-walk-4k")) & frame["guest"].str.startswith("hap-")
    return table("entry", frame[pair])


def hap_changes() -> str:
    """What changing superpages costs a guest of 16 GiB: a row an operation and stream, a column by leaves."""
    pairs = p2mperf.summary(p2mperf.load("shipped-hap"))
    pairs = pairs[~pairs["operation"].isin((*lookups(), "entry")) & (pairs["guest"] == "hap-16g")]
    pairs = with_verdicts(pairs[pairs["design"].isin(_HAP_WINDOWS)])
    cells = pairs[["operation", "stream", "design"]].itertuples(index=False, name=None)
    texts = dict(zip(cells, map(_cost, pairs_of(pairs)), strict=True))
    lines = [f"| walk, windows | {' | '.join(_HAP_WINDOWS.values())} |", "|---" * 4 + "|"]
    lines += [
        f"| {title} | {' | '.join(texts.get((*cell, design), '-') for design in _HAP_WINDOWS)} |"
        for cell, title in cell_titles().items()
        if (*cell, "hap-linear") in texts
    ]
    return "\n".join([*lines, *_notes(pairs)])


BLOCKS = {
    "configurations": counted_page.configurations,
    "life-configurations": counted_page.life_configurations,
    "results": results,
    "holes": holes,
    "findings": findings,
    "pages": pages,
    "machines": machines,
    "life": life_costs,
    "life-growth": life_growth,
    "hap": hap_findings,
    "kernel-build": kernel_build_page.kernel_builds,
}


HAP_BLOCKS = {"windows": hap_windows, "windows-found": hap_findings, "changes": hap_changes}


def draw() -> None:
    """Draw the pages' figures from the shipped sweeps, in a size that a page bears: of PV, but for hap's."""
    frame = p2mperf.load("shipped")
    of_pv = frame[frame["family"] == "pv"]
    pages = dict.fromkeys(("life", "footprint", "hap-window", "hap-orders", *kernel_build_page.FIGURES))
    for name, shown in (pages | {"footprint": of_pv}).items():
        save(p2mperf.figure(name, shown), ROOT / "docs" / "figures", name, ("png",))


def rewritten(text: str, page: str = "README.md") -> str:
    """Make every block of a page anew.

    Parameters
    ----------
    text : str
        The page as it stands.
    page : str
        Its name.

    Returns
    -------
    str
        The page as it should stand.
    """
    blocks = {HAP_PAGE: HAP_BLOCKS, KERNEL_BUILD_PAGE: kernel_build_page.BLOCKS}.get(page, BLOCKS)
    for name, make in blocks.items():
        if f"<!-- begin {name} -->" not in text or f"<!-- end {name} -->" not in text:
            raise SystemExit(f"{page} has no block {name!r}")
        head, _, rest = text.partition(f"<!-- begin {name} -->\n")
        _, _, tail = rest.partition(f"<!-- end {name} -->")
        text = f"{head}<!-- begin {name} -->\n{make()}\n<!-- end {name} -->{tail}"
    return text


def main() -> int:
    """Rewrite the pages, or with --check tell whether that would change them."""
    pages = ("README.md", HAP_PAGE, KERNEL_BUILD_PAGE)
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in pages}
    wanted = {page: rewritten(text, page) for page, text in texts.items()}
    if "--check" in sys.argv[1:]:
        return int(wanted != texts)
    for page, text in wanted.items():
        (ROOT / page).write_text(text, encoding="utf-8")
    draw()
    return 0


if __name__ == "__main__":
    sys.exit(main())
