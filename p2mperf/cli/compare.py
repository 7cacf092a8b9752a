"""`compare A B`: what changed between two runs on one machine."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import Parser, make_parser
from p2mperf.errors import shown

if TYPE_CHECKING:
    import pandas as pd

REGRESSION = 3

_EPILOG = """\
A and B are results directories (their newest run with a measured cell counts), journals (.jsonl) or
exported .parquet files. A ratio is the cost in B over the cost in A, with an interval over fresh processes;
it holds with 95 % for each row alone, so of many rows a few exclude 1 by chance.

example:
  python -m p2mperf compare results-before results-after --fail-above 1.10
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
    "differs",
)


def main(argv: list[str]) -> int:
    """Compare two runs: the table on stdout, what to know of it on stderr; 3 when one became too slow."""
    arguments = _parser().parse_args(argv)
    from p2mperf.analysis.compare import compare, slower_than, worst
    from p2mperf.results.export import load

    frame_a, frame_b = load(arguments.a), load(arguments.b)
    table = compare(frame_a, frame_b, force=arguments.force)
    _say_what_is_compared(frame_a, frame_b, table)
    if arguments.json:
        show.data(_plain_rows(table))
    else:
        show.write(_as_text(table))
    show.note(f"highest ratio: {_named(worst(table))}")
    if arguments.fail_above is None:
        return 0
    slower = slower_than(table, arguments.fail_above)
    for _, row in slower.iterrows():
        show.note(f"slower than {arguments.fail_above:g}: {_named(row)}")
    return 0 if slower.empty else REGRESSION


def _parser() -> Parser:
    parser = make_parser(
        "compare",
        "Compare the costs of the cells that two runs on one machine have in common.",
        _EPILOG,
    )
    parser.add_argument("a", metavar="A", help="the run to compare with")
    parser.add_argument("b", metavar="B", help="the run in question")
    parser.add_argument(
        "--fail-above",
        type=_limit,
        metavar="RATIO",
        help="exit with 3 when a ratio is above this and its interval lies above 1",
    )
    parser.add_argument(
        "--force", action="store_true", help="compare runs of different machines all the same"
    )
    parser.add_argument("--json", action="store_true", help="print the table as JSON, one object a row")
    return parser


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
    for name, n_only in (("A", table.attrs["n_only_a"]), ("B", table.attrs["n_only_b"])):
        if n_only:
            show.note(f"{n_only} cells are only in {name} and not compared")


def _plain_rows(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as JSON can hold them: it knows no nan."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_text(table: pd.DataFrame) -> str:
    quiet = [name for name in _QUIET if len(set(table[name])) == 1]
    said = ", ".join(f"{name} {table[name].iloc[0]}" for name in quiet if table[name].iloc[0] != "")
    if said:
        show.note(f"in all rows: {said}")
    return table.drop(columns=quiet).to_string(index=False, float_format="{:.3f}".format, na_rep="-")


def _named(row: pd.Series) -> str:
    names = ("guest", "backing", "design", "stream", "operation")
    interval = f" [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]" if row["ratio_low"] > 0 else ""
    return f"{row['ratio']:.3f}{interval} for {', '.join(str(row[name]) for name in names)}"
