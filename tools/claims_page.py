"""Write docs/claims.md: what became of every claim of the source documents.

``python tools/claims_page.py`` decides all claims, from tables that are built for it and from what comes with
p2mperf, and writes the page; with ``--check`` it only says whether the page is up to date. Nothing on it is
written by hand.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from p2mperf.analysis.claims.base import KINDS, VERDICTS
from p2mperf.analysis.claims.decided import CLAIMS, DOCUMENTS, counted, counts, decide
from p2mperf.analysis.samples import host_note
from p2mperf.api import load

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "claims.md"
HEAD = """# What became of what was claimed

<!-- Written by tools/claims_page.py, which decides all of it anew: run python tools/claims_page.py. -->
"""
INTRODUCTION = (
    "Five documents stand at the beginning of this project. Here is every claim of theirs, and of the"
    " threads around"
    " them, that can be checked: in the words that were published, beside what was computed or measured"
    " for it. No"
    " answer is written down beforehand. `python -m p2mperf claims` decides all of them, from your own"
    " measurements"
    " with `--results`, and `p2mperf.claims()` gives them as a table."
)
_HEADS = ("claim", "published", "ours", "verdict", "shown by")


def page() -> str:
    """All of the page, decided now."""
    return written(decide(list(CLAIMS.values())))


def written(table: pd.DataFrame) -> str:
    """Lay claims out that are decided, document by document.

    Parameters
    ----------
    table : pandas.DataFrame
        As `p2mperf.claims` gives it.
    """
    blocks = [
        HEAD.rstrip(),
        textwrap.fill(INTRODUCTION, 120),
        f"{counted(table)}.",
        _rows(("document", "claims", *VERDICTS), _by_document(table)),
        _meanings("Verdicts", VERDICTS.items()),
        _meanings("Where our numbers are from", KINDS.items()),
        *_measured_where(),
        "## What was contradicted",
        _rows(("claim", "published", "why"), _contradicted(table)),
    ]
    for document in DOCUMENTS.values():
        of_it = table[table["document"] == document.title]
        blocks += [
            f"## {document.title}",
            f"{document.source}.",
            _rows(_HEADS, map(_row, of_it.to_dict("records"))),
        ]
    return "\n\n".join(blocks) + "\n"


def _meanings(title: str, meanings: Iterable[tuple[str, str]]) -> str:
    return "\n".join([f"{title}:", "", *(f"- *{name}*: {meaning}." for name, meaning in meanings)])


def _by_document(table: pd.DataFrame) -> Iterator[Iterable[object]]:
    for title, rows in table.groupby("document", sort=False):
        found = counts(rows)
        yield title, len(rows), *(found.get(verdict, "-") for verdict in VERDICTS)
    yield "all", len(table), *(counts(table).get(verdict, "-") for verdict in VERDICTS)


def _contradicted(table: pd.DataFrame) -> Iterator[Iterable[object]]:
    """The contradicted ones once more, in short: they are what most readers look for."""
    for row in table[table["verdict"] == "contradicted"].to_dict("records"):
        where = f"{row['document']}: {row['section']}"
        yield row["claim"], f'"{row["published"]}" ({where})', row["why"]


def _measured_where() -> list[str]:
    """Where the measured ones were measured, a sentence for each place."""
    notes = dict.fromkeys(host_note(load(name)) for name in ("shipped", "shipped-hap"))
    where = "; ".join(notes)
    said = f"Samples of the measured ones: {where}. Intervals cover processes, not boots or machines."
    return [textwrap.fill(said, 120)]


def _row(row: Mapping[Hashable, object]) -> tuple[str, ...]:
    return (
        str(row["claim"]),
        f'"{row["published"]}" ({row["section"]})',
        f"{row['ours']} *{row['kind']}*" if row["kind"] != "none" else "-",
        f"**{row['verdict']}**. {row['why']}",
        f"`{row['command']}`",
    )


def _rows(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [tuple(heads), *(tuple(map(_cell, row)) for row in rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(said: object) -> str:
    """A cell that breaks no table, and shows signs as they are: * and _ begin something else there."""
    text = str(said)
    is_quoted = text.startswith('"')
    text = text.replace("|", "\\|")
    return text.replace("*", "\\*").replace("<", "&lt;").replace("_", "\\_") if is_quoted else text


def main() -> int:
    """Write the page, or with --check tell whether that would change it."""
    wanted = page()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text("utf-8") != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
