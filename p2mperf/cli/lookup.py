"""`lookup`: translate frames and show the path taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import Parser, add_design_and_guest, build_design, make_parser, with_geometries
from p2mperf.cli.waiting import Waiting
from p2mperf.errors import BadInputError, cut, shown

if TYPE_CHECKING:
    from p2mperf.designs.base import Lookup

_EPILOG = """\
Frames are written in decimal or as 0x... The path is the real one: the compiled walk runs with a probe that
notes the address of every load. Geometries: {geometries}.

examples:
  python -m p2mperf lookup --design pv-tree --guest dom0-64-e820 263424
  python -m p2mperf lookup --design pv-linear --guest dom0-64-e820 0x40500 300000 --json
  python -m p2mperf lookup --design hap-linear-2m --size 1G 5
  python -m p2mperf lookup --design hap-walk --geometry hap-pae --size 1G 5 --json
"""

_MOST_DIGITS = 100  # leading zeros are nobody's mistake


def main(argv: list[str]) -> int:
    """Print each frame's entry, kind, mfn and path on stdout."""
    arguments = command_parser().parse_args(argv)
    frames = [_frame(text) for text in arguments.pfn]
    where = f"{arguments.design} of {arguments.guest or arguments.size}"
    with Waiting(f"looking up in {where}"), build_design(arguments) as p2m:
        found = [p2m.lookup_path(frame) for frame in frames]
        answers = [(lookup, p2m.explain(lookup.entry)) for lookup in found]
    if arguments.json:
        show.data([_plain(*answer) for answer in answers])
    else:
        show.write("\n".join(_as_text(*answer) for answer in answers))
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser("lookup", "Translate frames and show the path taken.", with_geometries(_EPILOG))
    add_design_and_guest(parser)
    parser.add_argument("pfn", nargs="+", metavar="PFN", help="frame numbers")
    parser.add_argument("--json", action="store_true", help="answers as JSON")
    return parser


def _frame(text: str) -> int:
    # Not all that Python's int takes: underscores, digits of other scripts, 0b and 0o.
    if not re.fullmatch(r"-?([0-9]+|0[xX][0-9a-fA-F]+)", text):
        raise BadInputError(f"{shown(text)} is not a frame number: write it in decimal or as 0x...")
    if len(text) > _MOST_DIGITS:
        raise BadInputError(f"frame {cut(text)} does not fit 64 bits")
    frame = int(text, 16 if "x" in text.lower() else 10)
    if not 0 <= frame < 1 << 64:
        raise BadInputError(f"frame {cut(text)} does not fit 64 bits")
    return frame


def _plain(found: Lookup, meaning: Mapping[str, object]) -> dict[str, object]:
    return {
        "pfn": found.pfn,
        "entry": found.entry,
        **meaning,
        "n_loads": len(found.steps),
        "path": [step._asdict() for step in found.steps],
    }


def _as_text(found: Lookup, meaning: Mapping[str, object]) -> str:
    head = f"pfn {found.pfn:#x}: entry {found.entry:#x}, {meaning['kind']}"
    if meaning["mfn"] is not None:
        head += f", mfn {meaning['mfn']:#x}"
    steps = [
        f"  {step.level:12} {step.view:7} page {step.frame:6}  index {step.index:4}" for step in found.steps
    ]
    return "\n".join([f"{head}, {len(steps)} loads", *steps])
