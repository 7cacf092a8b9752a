"""`report`: a folder with all that results say, which opens from a file."""

from __future__ import annotations

import signal

from p2mperf.cli import show
from p2mperf.cli.installing import require
from p2mperf.cli.invocation import as_called
from p2mperf.cli.options import Parser, make_parser

_EPILOG = """\
The report is a folder: index.html, which opens from a file and fetches nothing, every figure as SVG and PDF,
every table as CSV, and all samples. Without --results it shows those in ./results if there are any, else what
ships with p2mperf; the page says which, and on what machine they were measured.

Results may be several: directories, journals (.jsonl), exported .parquet files, or shipped. What one machine
measured in one boot, with one version of the code, is one chapter, of however many results. Several of these
stand one behind the other, after a table of whether they agree on the faster design.

A part that fails is named, there and on the page; all others are made, and the exit code is 1.

examples:
  python -m p2mperf report
  python -m p2mperf report --results results --out report
  python -m p2mperf report --results intel.parquet amd.parquet results
"""


def main(argv: list[str]) -> int:
    """Write the report and print the name of its page on stdout; 1 when a part of it failed."""
    arguments = command_parser().parse_args(argv)
    from p2mperf.report.folder import require_place

    require("jinja2", "")
    require_place(arguments.out)  # before a minute's work
    from p2mperf.report.build import write_report
    from p2mperf.report.sources import numbers

    signal.signal(signal.SIGTERM, _interrupt)
    shown = numbers(arguments.results or ())
    for sentence in shown.passed_over:
        show.say(sentence)
    with show.Line(quiet=arguments.quiet, unit="parts") as line:
        line.say(as_called(shown.whose))
        page, failures = write_report(shown, arguments.out, line.progress)
    for trouble in failures:
        show.say(f"{trouble.part} failed, all others are there: {trouble.reason}")
    show.write(str(page))
    return int(bool(failures))


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser("report", "Write a report on results, or on the shipped data.", _EPILOG)
    parser.add_argument(
        "--results",
        nargs="+",
        action="extend",
        metavar="RESULT",
        help="one result or more (./results, or what ships)",
    )
    parser.add_argument("--out", default="report", metavar="DIR", help="folder to write (report)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only what fails")
    return parser


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
