"""`plot`: draw the figures from results, or from the shipped data."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import make_parser
from p2mperf.cli.waiting import Waiting
from p2mperf.errors import BadInputError, P2mperfError, ResultsError, known, shown

if TYPE_CHECKING:
    from p2mperf.figures import FigureSpec

_EPILOG = """\
Without --results, figures are drawn from the newest run in ./results if there is one, else from the default
sweep that ships with p2mperf.

examples:
  python -m p2mperf plot all
  python -m p2mperf plot cost ratio --results results --out figures
"""


def main(argv: list[str]) -> int:
    """Draw figures and print the names of their files on stdout."""
    from p2mperf.figures import figures

    there = figures()
    parser = make_parser("plot", "Draw the figures from results, or from the shipped data.", _EPILOG)
    parser.add_argument(
        "figure", nargs="*", default=["all"], metavar="FIGURE", help=f"all, {', '.join(there)}"
    )
    parser.add_argument("--results", metavar="DIR", help="results directory, journal or .parquet file")
    parser.add_argument("--out", default="figures", metavar="DIR", help="where to write (figures)")
    parser.add_argument("--format", nargs="+", default=["svg", "png"], choices=("svg", "png", "pdf"))
    arguments = parser.parse_args(argv)
    for name in arguments.figure:
        known("figure", name, [*there, "all"])
    is_all = "all" in arguments.figure
    specs = _specs(list(there) if is_all else arguments.figure, is_all)
    from p2mperf.api import load
    from p2mperf.figures import figure, save
    from p2mperf.results.files import told

    source = arguments.results or ("results" if _has_results(Path("results")) else "shipped")
    load_once = cache(load)
    measured = [spec for spec in specs if spec.measured]
    frames = {spec.name: load_once(spec.shipped if source == "shipped" else source) for spec in measured}
    if frames:
        show.say(f"figures are drawn from {source}")
    out = Path(arguments.out)
    if "\0" in arguments.out:
        raise BadInputError(f"cannot write figures to {shown(arguments.out)}: no path has a NUL in it")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for spec in specs:
            with Waiting(f"drawing {spec.name}"):
                try:
                    fig = figure(spec.name, frames.get(spec.name))
                except (BadInputError, ResultsError) as error:
                    _leave_out(spec.name, error, is_all)
                    continue
                paths = save(fig, out, spec.name, tuple(arguments.format))
            for path in paths:
                show.write(f"{path}")
    except OSError as error:
        raise ResultsError(
            f"cannot write figures to {told(out)}: {error.strerror}; name another --out"
        ) from error
    return 0


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


def _has_results(directory: Path) -> bool:
    from p2mperf.results.runs import find_runs

    return directory.is_dir() and any(info.n_done for info in find_runs(directory))
