"""`claims`: what the source documents say, and what became of it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.invocation import as_called
from p2mperf.cli.options import Parser, add_repeated, make_parser
from p2mperf.cli.waiting import Waiting
from p2mperf.errors import known

if TYPE_CHECKING:
    import pandas as pd

_EPILOG = """\
documents:
{documents}

verdicts:
{verdicts}

Nothing of an answer is written down beforehand: tables are built and read back, arithmetic is done, and what
is measured comes from the sweeps that come with p2mperf, or from yours. That takes some seconds.

examples:
  python -m p2mperf claims
  python -m p2mperf claims --document commit --verdict contradicted
  python -m p2mperf claims --claim hot-path --results results
  python -m p2mperf claims --json > claims.json

exit codes: 0 decided, whatever the verdicts are; 1 failed, 2 bad input
"""
_NARROWEST = 40
_GAP = "  "


def main(argv: list[str]) -> int:
    """Decide claims and write them on stdout, as a table, in full, or as JSON."""
    arguments = command_parser().parse_args(argv)
    from p2mperf.analysis.claims.base import VERDICTS
    from p2mperf.analysis.claims.decided import chosen, counted, decide, evidence_of

    for verdict in arguments.verdict:
        known("verdict", verdict, VERDICTS)
    claims = chosen(arguments.document, arguments.claim)
    evidence = evidence_of(arguments.results)
    with Waiting("deciding claims", arguments.quiet):
        table = decide(claims, evidence)
    if arguments.verdict:
        table = table[table["verdict"].isin(arguments.verdict)].reset_index(drop=True)
    if arguments.json:
        show.table(table, "json")
        return 0
    width = max(_NARROWEST, show.line_width())
    is_full = arguments.full or bool(arguments.claim)
    if len(table):
        show.as_it_is(_in_full(table, width) if is_full else _as_list(table, width))
    show.note(counted(table))
    _say_whose(arguments.results)
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    from p2mperf.analysis.claims.base import VERDICTS
    from p2mperf.analysis.claims.decided import DOCUMENTS

    width = max(map(len, VERDICTS))
    lines = [f"  {name:{width}}  {document.title}" for name, document in DOCUMENTS.items()]
    verdicts = [f"  {name:{width}}  {meaning}" for name, meaning in VERDICTS.items()]
    parser = make_parser(
        "claims",
        "Say what became of every claim of the source documents that can be checked.",
        _EPILOG.format(documents="\n".join(lines), verdicts="\n".join(verdicts)),
    )
    parser.add_argument(
        "--results",
        nargs="+",
        action="extend",
        metavar="RESULT",
        help="yours, for what is measured (shipped)",
    )
    add_repeated(parser, "--document", "only claims of this document; may be given several times")
    add_repeated(parser, "--verdict", "only claims with this verdict; may be given several times", "VERDICT")
    add_repeated(parser, "--claim", "only this claim, in full; may be given several times")
    parser.add_argument("--full", action="store_true", help="all that is said of each claim")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a claim")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return parser


def _as_list(table: pd.DataFrame, width: int) -> str:
    """A line a claim, or more where it is long, under the name of its document."""
    columns = [max(map(len, table[name])) for name in ("claim", "verdict")]
    indent = " " * (sum(columns) + 3 * len(_GAP))
    if len(indent) > width // 2:  # there is no room for columns
        indent = 2 * _GAP
    lines: list[str] = []
    for title, rows in table.groupby("document", sort=False):
        lines += ["", str(title)] if lines else [str(title)]
        for claim, verdict, ours in rows[["claim", "verdict", "ours"]].itertuples(index=False, name=None):
            head = f"{_GAP}{claim:{columns[0]}}{_GAP}{verdict:{columns[1]}}{_GAP}"
            lines += _wrapped(ours, head, indent, width)
    return "\n".join(lines)


def _wrapped(text: str, head: str, indent: str, width: int) -> list[str]:
    if len(head) > len(indent):
        return [head.rstrip(), *_filled(text, indent, indent, width)]
    return _filled(text, head, indent, width)


def _filled(text: str, head: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)


def _in_full(table: pd.DataFrame, width: int) -> str:
    blocks = []
    for row in table.to_dict("records"):
        parts = {
            "published": f'"{row["published"]}" ({row["document"]}: {row["section"]})',
            f"{row['kind']}": row["ours"],
            row["verdict"]: row["why"],
            "shown by": as_called(str(row["command"])),
        }
        lines = [str(row["claim"])]
        for name, text in parts.items():
            lines += _filled(f"{name}: {text}", _GAP, 2 * _GAP, width)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _say_whose(results: list[str] | None) -> None:
    if results:
        show.note(f"what is measured is from {', '.join(results)}")
        return
    own = "; `--results results` takes yours" if Path("results").is_dir() else ""
    show.note(f"what is measured is from the sweeps that come with p2mperf{own}")
