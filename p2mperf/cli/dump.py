"""`dump`: a guest's p2m as runs of one kind."""

from __future__ import annotations

import sys

from p2mperf.cli import show
from p2mperf.cli.options import Parser, add_design_and_guest, build_design, make_parser, with_geometries
from p2mperf.cli.waiting import Waiting
from p2mperf.errors import BadInputError

_EPILOG = """\
Lines are [first frame->end) and a kind, over the whole map rounded up to a mid page's reach: pfn, missing,
identity or foreign; of HAP guests up to a GiB's end: ram_rw, mmio_dm and so on. Two designs of one guest must
give the same text. Geometries: {geometries}.

examples:
  python -m p2mperf dump --design pv-tree --guest dom0-64-e820
  python -m p2mperf dump --design pv-linear --size 2049M --json
  python -m p2mperf dump --design hap-walk --geometry hap-nonpae --size 64M
"""


def main(argv: list[str]) -> int:
    """Print the runs on stdout."""
    arguments = command_parser().parse_args(argv)
    from p2mperf.designs import able, find
    from p2mperf.designs.capabilities import Dumpable, missing  # numba, which --help does without

    if missing(find(arguments.design), ["Dumpable"]):
        raise BadInputError(f"{arguments.design} has no dump: take {' or '.join(able(['Dumpable']))}")
    what = f"dumping {arguments.design} of {arguments.guest or arguments.size}"
    with Waiting(what), build_design(arguments) as p2m:
        assert isinstance(p2m, Dumpable)
        rows = p2m.kind_runs() if arguments.json else None
        text = "" if arguments.json else p2m.dump()
    if rows is None:
        sys.stdout.write(text)
    else:
        show.data([{"first_pfn": a, "end_pfn": b, "kind": kind} for a, b, kind in rows])
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser("dump", "Write a guest's p2m as runs of one kind.", with_geometries(_EPILOG))
    add_design_and_guest(parser)
    parser.add_argument("--json", action="store_true", help="runs as JSON")
    return parser
