"""`lookup`: translate frames and show the path taken."""

from __future__ import annotations

from typing import Any

from p2mperf.cli import show
from p2mperf.cli.options import add_design_and_guest, build_design, make_parser
from p2mperf.errors import BadInputError

_EPILOG = """\
Frames are written in decimal or as 0x... The path is the real one: the compiled walk runs with a probe that
notes the address of every load.

examples:
  python -m p2mperf lookup --design pv-tree --guest dom0-64-e820 263424
  python -m p2mperf lookup --design pv-linear --guest dom0-64-e820 0x40500 300000 --json
"""


def main(argv: list[str]) -> int:
    """Print each frame's entry, kind, mfn and path on stdout.

    Parameters
    ----------
    argv : list of str
        Arguments after the name of the command.

    Returns
    -------
    int
        0.

    Raises
    ------
    P2mperfError
        When the design cannot be built or a frame is none.
    """
    parser = make_parser("lookup", "Translate frames and show the path taken.", _EPILOG)
    add_design_and_guest(parser)
    parser.add_argument("pfn", nargs="+", metavar="PFN", help="frame numbers")
    parser.add_argument("--json", action="store_true", help="answers as JSON")
    arguments = parser.parse_args(argv)
    frames = [_frame(text) for text in arguments.pfn]
    with build_design(arguments) as p2m:
        answers = [_answer(p2m, frame) for frame in frames]
    if arguments.json:
        show.data(answers)
    else:
        show.write("\n".join(map(_as_text, answers)))
    return 0


def _frame(text: str) -> int:
    try:
        frame = int(text, 0)
    except ValueError:
        raise BadInputError(f"{text!r} is not a frame number: write it in decimal or as 0x...") from None
    if not 0 <= frame < 1 << 64:
        raise BadInputError(f"frame {text} does not fit 64 bits")
    return frame


def _answer(p2m: Any, frame: int) -> dict[str, Any]:
    found = p2m.lookup_path(frame)
    return {
        "pfn": frame,
        "entry": found.entry,
        **p2m.explain(found.entry),
        "n_loads": len(found.steps),
        "path": [step._asdict() for step in found.steps],
    }


def _as_text(answer: dict[str, Any]) -> str:
    head = f"pfn {answer['pfn']:#x}: entry {answer['entry']:#x}, {answer['kind']}"
    if answer["mfn"] is not None:
        head += f", mfn {answer['mfn']:#x}"
    steps = [
        f"  {step['level']:12} {step['view']:7} page {step['frame']:6}  index {step['index']:4}"
        for step in answer["path"]
    ]
    return "\n".join([f"{head}, {answer['n_loads']} loads", *steps])
