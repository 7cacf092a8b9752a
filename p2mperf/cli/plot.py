"""`plot`: draw the figures from results, or from the shipped data."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import Parser, make_parser
from p2mperf.cli.waiting import Waiting
from p2mperf.errors import BadInputError, P2mperfError, ResultsError, known, shown

if TYPE_CHECKING:
    from argparse import Namespace

    from p2mperf.figures import FigureSpec

_EPILOG = """\
Without --results, figures are drawn from the newest run in ./results if there is one, else from the default
sweep that ships with p2mperf. Figures of a kernel build are drawn from recordings and replays: from shipped
ones, unless files are named.

A figure that compares designs shows those of one family. Results of several families are several figures,
whose files are called NAME-FAMILY: ratio-pv.svg, ratio-arm.svg.

examples:
  python -m p2mperf plot all
  python -m p2mperf plot map ratio --results results --out figures
  python -m p2mperf plot ratio --family arm --format pdf
  python -m p2mperf plot build-seconds --recording build.parquet --replays replays.json
"""


def main(argv: list[str]) -> int:
    """Draw figures and print the names of their files on stdout."""
    from p2mperf.figures import figures
    from p2mperf.results.files import told

    there = figures()
    arguments = command_parser().parse_args(argv)
    for name in arguments.figure:
        known("figure", name, [*there, "all"])
    is_all = "all" in arguments.figure
    specs = _specs(list(there) if is_all else list(dict.fromkeys(arguments.figure)), is_all)
    given = _Given(arguments, specs)
    if given.frames:
        show.say(f"figures are drawn from {given.source}")
    if "\0" in arguments.out:
        raise BadInputError(f"cannot write figures to {shown(arguments.out)}: no path has a NUL in it")
    made: list[dict[str, object]] = []
    try:
        Path(arguments.out).mkdir(parents=True, exist_ok=True)
        for spec in specs:
            if paths := _draw(spec, given, arguments, is_all):
                made.append({"figure": spec.name, "files": paths})
    except OSError as error:
        raise ResultsError(
            f"cannot write figures to {told(Path(arguments.out))}: {error.strerror}; name another --out"
        ) from error
    if arguments.json:
        show.data(made)
    return 0


def _draw(spec: FigureSpec, given: _Given, arguments: Namespace, is_all: bool) -> list[str]:
    """Draw one figure, and say which files it is in; none where it is left out of all."""
    from p2mperf.figures import drawn, save

    # Of all figures, those that know no families are drawn all the same.
    family = arguments.family if spec.by_family or not is_all else None
    out, formats = Path(arguments.out), tuple(arguments.format)
    with Waiting(f"drawing {spec.name}"):
        try:
            pictures = drawn(spec.name, given.of(spec), family)
        except (BadInputError, ResultsError) as error:
            _leave_out(spec.name, error, is_all)
            return []
        paths = [str(path) for name, fig in pictures.items() for path in save(fig, out, name, formats)]
    if not arguments.json:
        show.as_it_is("\n".join(paths))
    return paths


def command_parser() -> Parser:
    """Make the parser of this command."""
    from p2mperf.figures import FORMATS, figures

    parser = make_parser("plot", "Draw the figures from results, or from the shipped data.", _EPILOG)
    parser.add_argument(
        "figure", nargs="*", default=["all"], metavar="FIGURE", help=f"all, {', '.join(figures())}"
    )
    parser.add_argument("--results", metavar="DIR", help="results directory, journal or .parquet file")
    parser.add_argument("--family", metavar="NAME", help="show the designs of this family alone")
    parser.add_argument(
        "--recording", metavar="FILE", action="append", help="a recorded build; may be given several times"
    )
    parser.add_argument("--replays", metavar="FILE", help="of `replay --out`")
    parser.add_argument("--out", default="figures", metavar="DIR", help="where to write (figures)")
    parser.add_argument(
        "--format", nargs="+", default=list(FORMATS), choices=FORMATS, help="of the files; default: all"
    )
    parser.add_argument("--json", action="store_true", help="names of the files as JSON, by figure")
    return parser


class _Given:
    """What figures are drawn from: samples, recordings, replays; each is read once, when it is asked for."""

    def __init__(self, arguments: Namespace, specs: list[FigureSpec]) -> None:
        from p2mperf.api import load
        from p2mperf.results.export import has_results

        own = "results" if has_results(Path("results")) else "shipped"
        self.source = own if arguments.results is None else arguments.results
        load_once = cache(load)
        self.frames = {
            spec.name: load_once(spec.shipped if self.source == "shipped" else self.source)
            for spec in specs
            if spec.measured
        }
        self._recordings, self._replays = arguments.recording or [], arguments.replays
        self._read: dict[str, object] = {}

    def of(self, spec: FigureSpec) -> object:
        """What a figure is drawn from; None for what it takes when nothing is given."""
        if not spec.source:
            return self.frames.get(spec.name)
        kind = spec.source.kind
        if kind not in self._read:
            take = {"recordings": self._all_recordings, "replays": self._all_replays, "build": self._build}
            self._read[kind] = take[kind]() if kind in take else None
        return self._read[kind]

    def _all_recordings(self) -> object:
        from p2mperf.workload.recording_file import read_recording

        return [read_recording(name) for name in self._recordings] or None

    def _all_replays(self) -> object:
        from p2mperf.study.kernel_builds import read_given

        return read_given(self._replays)

    def _build(self) -> object:
        if not self._recordings and self._replays is None:
            return None
        from p2mperf.study.kernel_builds import DEFAULT_RECORDING, SHIPPED_REPLAYS, kernel_build

        if len(self._recordings) > 1:
            raise BadInputError("seconds are predicted from one recording: name one --recording")
        recording = self._recordings[0] if self._recordings else DEFAULT_RECORDING
        return kernel_build(recording, self._replays or SHIPPED_REPLAYS, quiet=True)


def _specs(names: list[str], is_all: bool) -> list[FigureSpec]:
    """Declarations of the figures; of all of them, one that another package has broken is left out."""
    from p2mperf.figures import find

    specs = []
    for name in names:
        try:
            specs.append(find(name))
        except BadInputError as error:
            _leave_out(name, error, is_all)
    return specs


def _leave_out(name: str, error: P2mperfError, is_all: bool) -> None:
    """Say why one of all figures is not drawn; one that was asked for by name must be."""
    if not is_all:
        raise error
    show.say(f"{name} is left out: {error}")
