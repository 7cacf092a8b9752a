"""`compare A B`: what changed between two results, or sets of results, of one machine."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.invocation import USUAL
from p2mperf.cli.options import Parser, make_parser, require_source
from p2mperf.errors import BadInputError, shown
from p2mperf.shipped import SWEEPS

if TYPE_CHECKING:
    import pandas as pd

REGRESSION = 3

_EPILOG = """\
A and B are results directories (their newest run with a measured cell counts), journals (.jsonl), exported
.parquet files, or shipped, shipped-zen4, shipped-zen3, shipped-backings, shipped-life and shipped-hap. Where
a side has several, --before and --after take them; all their processes count, and each run may be named once.

A ratio is the cost in B over the cost in A: "B 4.1 % slower" is 4.1 % more time a lookup. Its interval is
that of two independent sets of fresh processes, with four or more a side, and covers neither boots nor
machines. A verdict takes six a side, and has to hold among all rows (Benjamini and Hochberg at 5 %): of many
rows a few exclude 1 by chance. What is perhaps slower or faster is not resolved. A cost that is doubtful has
a mark: unsteady, as it rises or falls within its processes, or biased, as a control differs from itself.

Costs of unlike machines do not compare; with --verdicts their ratios of designs do. A row is a cell and a
design beside its reference, with the ratio of each machine, and of each boot of it. They agree where all
have one verdict and ratios within 5 % of each other, oppose where one design is faster here and the other
there, and differ where ratios are further apart; a verdict over all needs all of them. Intervals over
machines, or boots of one, take six.

examples:
  python -m p2mperf compare results-before results-after --fail-above 1.10
  python -m p2mperf compare --before monday.parquet tuesday.parquet --after results-new
  python -m p2mperf compare results-before results-after --markdown > change.md
  python -m p2mperf compare --verdicts intel.parquet amd.parquet results
  python -m p2mperf compare --verdicts --force shipped shipped-zen3

exit codes: 0 compared, 1 failed, 2 bad input, or results that do not compare, 3 a ratio is above --fail-above
"""
# Columns that mostly hold one value throughout; it is then said once, above the table.
_QUIET = (
    "geometry",
    "guest_pages",
    "backing",
    "limit_bytes",
    "family",
    "hole_fraction",
    "identity_fraction",
    "hole_pattern",
    "machine",
    "entry_bits",
    "guest_bytes",
    "reference",
    "n_machines",
    "n_boots",
    "low",
    "high",
    "level",
    "n_processes_a",
    "n_processes_b",
    "preamble",
    "differs",
    "marks_a",
    "marks_b",
)
# Where these differ from row to row, names say it, or `in_words` does.
_IN_NAMES = ("geometry", "guest_pages", "family", "n_processes_a", "n_processes_b", "level")
_IN_WORDS = ["ratio", "ratio_low", "ratio_high", "verdict", "marks_a", "marks_b"]
# What the words of an agreement say already.
_SAID = ["stream_label", "lowest", "highest", "verdict", "faster", "level"]


def main(argv: list[str]) -> int:
    """Compare two sides: the table on stdout, what to know of it on stderr; 3 when one became too slow."""
    arguments = command_parser().parse_args(argv)
    for name in (*arguments.results, *arguments.before, *arguments.after):
        require_source(name, SWEEPS)
    if arguments.verdicts:
        return _verdicts(arguments)
    sources_a, sources_b = _sides(arguments)
    from p2mperf.analysis.compare import compare, slower_than, worst
    from p2mperf.analysis.verdicts import notes_on
    from p2mperf.api import load

    frame_a, frame_b = load(sources_a), load(sources_b)
    table = compare(frame_a, frame_b, force=arguments.force)
    _say_what_is_compared(frame_a, frame_b, table)
    if arguments.form is None:
        show.table(_for_people(table), quiet=_QUIET)
    else:
        # `in_words` says it in short.
        show.table(
            table.drop(columns="reason") if arguments.form == "markdown" else table, arguments.form, _QUIET
        )
    for sentence in notes_on(table["verdict"], [*table["marks_a"], *table["marks_b"]]):
        show.note(sentence)
    show.note(f"highest ratio: {_named(worst(table))}")
    if arguments.fail_above is None:
        return 0
    slower = slower_than(table, arguments.fail_above)
    for _, row in slower.iterrows():
        show.note(f"slower than {arguments.fail_above:g}: {_named(row)}")
    return 0 if slower.empty else REGRESSION


def _for_people(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column for each thing that differs, and the direction and its reason in words."""
    from p2mperf.analysis.samples import OF_STREAM, operation_label, stream_label

    columns = zip(table["reason"], table["marks_a"], table["marks_b"], strict=True)
    why = [
        "; ".join([show.reason_in_short(said), *[f"A is {a}"] * bool(a), *[f"B is {b}"] * bool(b)])
        for said, a, b in columns
    ]
    labelled = table.assign(
        stream=[stream_label(*row) for row in table[list(OF_STREAM)].itertuples(index=False, name=None)],
        operation=list(map(operation_label, table["operation"], table["preamble"])),
        reason=why,
    )
    same = [name for name in _IN_NAMES if len(set(table[name])) > 1]
    return labelled.drop(columns=[*OF_STREAM[1:], "preamble", *_IN_WORDS, *same])


def _verdicts(arguments: argparse.Namespace) -> int:
    """What several machines or boots say of the designs: the table on stdout, who they are on stderr."""
    others = arguments.before, arguments.after, arguments.fail_above
    if any(others) or not arguments.results:
        raise BadInputError(
            "compare: --verdicts takes results, of any machines, and but for --force and how to print the "
            f"table no other option; see `{USUAL} compare --help`"
        )
    from p2mperf.analysis.agreement import N_FOR_INTERVAL, agreement
    from p2mperf.analysis.samples import unrest_of
    from p2mperf.api import load
    from p2mperf.results.frame import machine_cards

    frame = load(arguments.results)
    table, cards = agreement(frame, arguments.force), machine_cards(frame)
    if caveat := show.unrest_line(unrest_of(frame)):
        show.note(f"one or more of them were {caveat}")
    for number, (machine, boot) in enumerate(table.attrs["places"], start=1):
        processor = cards.get(machine, {}).get("cpu_model") or "an unnamed processor"
        show.note(f"{number}: machine {machine}, {processor}, boot {boot}")
    if arguments.force and (n_codes := frame["code"].nunique()) > 1:
        show.note(f"measured by {n_codes} versions of the code: what places differ by may be the code's")
    together = table[table["agreement"] != "one"].drop(columns="code", errors="ignore")
    if alone := len(table) - len(together):
        show.note(f"left out, as measured in one boot of one machine alone: pairs of designs, {alone}")
    if together.empty:
        raise BadInputError(
            "no cell was measured by the same code on two machines or in two boots: "
            "give results of the same plan, or --force to compare different code"
        )
    if together["low"].isna().any():
        levels = " and ".join(sorted(set(together["level"])))
        show.note(f"an interval over {levels} takes {N_FOR_INTERVAL} of them; those shown cover processes")
    counts = together["agreement"].value_counts()
    show.note(f"pairs of designs: {', '.join(f'{counts[kind]} {kind}' for kind in counts.index)}")
    if arguments.form in ("json", "csv"):
        show.table(together, arguments.form)
    else:
        show.table(together.drop(columns=_SAID), arguments.form, _QUIET)
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser(
        "compare", "Compare the costs of the cells that two results of one machine have in common.", _EPILOG
    )
    parser.add_argument(
        "results", nargs="*", metavar="RESULT", help="A, what to compare with, and B, what is in question"
    )
    for option, side in (("--before", "A"), ("--after", "B")):
        text = f"instead of {side}: one result or more"
        parser.add_argument(option, nargs="+", action="extend", default=[], metavar="RESULT", help=text)
    parser.add_argument(
        "--fail-above",
        type=_limit,
        metavar="RATIO",
        help="exit with 3 when a ratio is above this and its interval lies above 1",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="compare different machines, versions of the results' format or of the code all the same",
    )
    parser.add_argument(
        "--verdicts",
        action="store_true",
        help="compare what any number of results say of the designs, machine by machine and boot by boot",
    )
    forms = parser.add_mutually_exclusive_group()
    for form, text in (
        ("json", "JSON, one object a row"),
        ("csv", "CSV, with the numbers in full"),
        ("markdown", "a markdown table"),
    ):
        forms.add_argument(
            f"--{form}", dest="form", const=form, action="store_const", help=f"print the table as {text}"
        )
    return parser


def _sides(arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    sides = arguments.before, arguments.after
    if not any(sides) and len(arguments.results) == 2:
        return [arguments.results[0]], [arguments.results[1]]
    if all(sides) and not arguments.results:
        return sides
    raise BadInputError(
        "compare: give two results, A and B, or the results of each side after --before and --after; "
        f"see `{USUAL} compare --help`"
    )


def _limit(text: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit > 0):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a ratio: give a positive number such as 1.10")
    return limit


def _say_what_is_compared(frame_a: pd.DataFrame, frame_b: pd.DataFrame, table: pd.DataFrame) -> None:
    from p2mperf.analysis.samples import unrest_of

    for name, frame in (("A", frame_a), ("B", frame_b)):
        facts = (
            f"{column} {', '.join(frame[column].unique())}" for column in ("run", "host", "plan", "code")
        )
        show.note(f"{name}: {', '.join(facts)}")
        if caveat := show.unrest_line(unrest_of(frame)):
            show.note(f"{name} was {caveat}")
    if same := sorted(set(frame_a["run"]) & set(frame_b["run"])):
        show.note(f"A and B hold the same run, {', '.join(same)}, which intervals take for two")
    for name, n_only in (("A", table.attrs["n_only_a"]), ("B", table.attrs["n_only_b"])):
        if n_only:
            show.note(f"{n_only} cells are only in {name} and not compared")


def _named(row: pd.Series) -> str:
    names = ("guest", "backing", "design", "stream", "operation")
    interval = f" [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]" if row["ratio_low"] > 0 else ""
    return f"{row['ratio']:.3f}{interval} for {', '.join(str(row[name]) for name in names)}"
