"""The tables of a report, laid out for the page; what stands in them is computed in `p2mperf.analysis`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from p2mperf.analysis.matrix import Matrix, in_short, what_words
from p2mperf.analysis.summary import Pair, intervals_of
from p2mperf.report.content import Cell, Table, table_of

_COUNTS = {
    "family": "family",
    "design": "design",
    "reference": "compared with",
    "what": "operation",
    "n_comparisons": "comparisons",
    "n_design_faster": "design faster",
    "n_reference_faster": "the other faster",
    "n_equivalent": "no difference",
    "n_not_resolved": "not resolved",
    "n_no_verdict": "too few processes",
    "n_marked": "doubtful",
    "lowest_ratio": "lowest ratio",
    "highest_ratio": "highest ratio",
}
_NOISE = {
    "family": "family",
    "what": "operation",
    "n_controls": "controls",
    "median_percent": "off by, median",
    "largest_percent": "off by, at most",
    "interval_percent": "interval, +-",
    "n_excluding_one": "intervals without 1",
    "n_by_chance": "of these by chance",
}
_PAIRS = {
    "guest": "guest",
    "backing": "page backing",
    "limit_bytes": "room up to",
    "what": "operation",
    "stream_label": "stream",
    "reference_ns": "reference",
    "cost_ns": "design",
    "ratio": "ratio",
    "low": "from",
    "high": "to",
    "said": "verdict",
    "n_processes": "processes",
}
_AGREEMENT = {
    "guest": "guest",
    "backing": "page backing",
    "stream_label": "stream",
    "what": "operation",
    "design": "design",
    "reference": "compared with",
    "agreement": "they",
    "ratios": "ratios, by place",
    "in_words": "in words",
}
_CLAIMS = {
    "published": "it says",
    "section": "where",
    "ours": "found here",
    "kind": "how",
    "verdict": "verdict",
    "why": "why",
    "command": "shown by",
}
# Classes of what is long, and of what is typed.
_OF_CLAIMS = {"published": "words", "ours": "words", "why": "words", "command": "code"}
_KINDS = {"equivalent": "same", "not resolved": "open", "no verdict": "few"}


def counts_table(counted: pd.DataFrame, csv: str) -> Table:
    """How often which design is faster: `p2mperf.analysis.matrix.counts`."""
    return table_of(_with_words(counted), "Which design is faster, and how often", _COUNTS, csv)


def noise_table(floor: pd.DataFrame, csv: str) -> Table:
    """What a design says against itself: `p2mperf.analysis.noise.noise_floor`."""
    return table_of(_with_words(floor), "A design against itself", _NOISE, csv)


def matrix_table(matrix: Matrix, csv: str) -> Table:
    """A matrix of verdicts, coloured by who is faster; who points at a cell reads why."""
    rows = tuple(
        (Cell(row), *(_verdict_cell(matrix, row, guest) for guest in matrix.guests)) for row in matrix.rows
    )
    caption = f"{matrix.design} / {matrix.reference}"
    return Table(caption, ("operation and stream", *matrix.guests), rows, csv)


def _verdict_cell(matrix: Matrix, row: str, guest: str) -> Cell:
    pair = matrix.cells.get((row, guest))
    if pair is None:
        return Cell("")
    title = f"{pair.ratio:.3f} [{pair.low:.3f}, {pair.high:.3f}]: {pair.said}; {pair.reason}"
    return Cell(in_short(pair, matrix.family), _kind(pair), title)


def _kind(pair: Pair) -> str:
    """Class of a verdict in the style sheet."""
    if pair.faster:
        return "reference" if pair.faster == pair.reference else "design"
    return _KINDS.get(pair.verdict, "open")


def pairs_table(pairs: pd.DataFrame, csv: str) -> Table:
    """All that is known of two designs, a row a cell."""
    first = pairs.iloc[0]
    said = [
        (f"{faster} faster" if faster else verdict) + f" ({marks})" * bool(marks)
        for faster, verdict, marks in zip(pairs["faster"], pairs["verdict"], pairs["marks"], strict=True)
    ]
    shown = _with_words(pairs).assign(said=said)
    one_of = [name for name in ("backing", "limit_bytes") if len(set(pairs[name])) == 1]
    named = _PAIRS | {"reference_ns": str(first["reference"]), "cost_ns": str(first["design"])}
    heads = {name: head for name, head in named.items() if name not in one_of}
    caption = f"{first['design']} / {first['reference']}: every comparison"
    return table_of(shown, caption, heads, csv, [f"Ratios have {_an(intervals_of(pairs))}."])


def _with_words(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with a column ``what``: operation and preamble in words."""
    rows = frame[["operation", "preamble", "family"]].itertuples(index=False, name=None)
    return frame.assign(what=[what_words(*map(str, row)) for row in rows])


def _an(noun: str) -> str:
    return noun if noun.startswith("no ") else f"a {noun}"


def agreement_table(table: pd.DataFrame, csv: str) -> Table:
    """Whether machines and boots agree: the cells of `p2mperf.agreement` that several of them measured."""
    several = table[table["agreement"] != "one"]
    places = [
        f"{number}: machine {machine}, boot {boot}"
        for number, (machine, boot) in enumerate(table.attrs["places"], start=1)
    ]
    notes = [f"Places: {'; '.join(places)}."]
    if several.empty:
        notes.insert(0, "No cell was measured by two of them.")
    counts = several["agreement"].value_counts()
    caption = "Whether they agree: " + (
        ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing to compare"
    )
    table_of_several = table_of(_with_words(several), caption, _AGREEMENT, csv, notes)
    return replace(table_of_several, has_sentences=True)


def claim_tables(claims: pd.DataFrame, csv: str) -> Iterator[Table]:
    """What the source documents say, a table a document, with what was found here."""
    for document, part in claims.groupby("document", sort=False):
        table = table_of(part, str(document), _CLAIMS, csv)
        rows = tuple(
            tuple(
                Cell(cell.text, _class_of(name, cell.text)) for name, cell in zip(_CLAIMS, row, strict=True)
            )
            for row in table.rows
        )
        yield replace(table, rows=rows, has_sentences=True)


def _class_of(column: str, text: str) -> str:
    """Class of a claim's cell in the style sheet."""
    return f"verdict {text.replace(' ', '-')}" if column == "verdict" else _OF_CLAIMS.get(column, "")
