"""`plot`: draw the figures from results, or from the shipped data."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from p2mperf.cli.options import make_parser
from p2mperf.errors import BadInputError, ResultsError, unknown

_EPILOG = """\
Without --results, figures are drawn from the newest run in ./results if there is one, else from the default
sweep that ships with p2mperf.

examples:
  python -m p2mperf plot all
  python -m p2mperf plot cost ratio --results results --out figures
"""


def main(argv: list[str]) -> int:
    """Draw figures and print the names of their files on stdout.

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
        For unknown figures, missing results, or a directory that cannot be written.
    """
    from p2mperf.figures import FIGURES

    parser = make_parser("plot", "Draw the figures from results, or from the shipped data.", _EPILOG)
    known = ", ".join(FIGURES)
    parser.add_argument("figure", nargs="*", default=["all"], metavar="FIGURE", help=f"all, {known}")
    parser.add_argument("--results", metavar="DIR", help="results directory, journal or .parquet file")
    parser.add_argument("--out", default="figures", metavar="DIR", help="where to write (figures)")
    parser.add_argument("--format", nargs="+", default=["svg", "png"], choices=("svg", "png", "pdf"))
    arguments = parser.parse_args(argv)
    names = list(FIGURES) if "all" in arguments.figure else arguments.figure
    for name in names:
        if name not in FIGURES:
            raise unknown("figure", name, [*FIGURES, "all"])
    from p2mperf.api import load
    from p2mperf.figures import figure, save

    source = arguments.results or ("results" if _has_results(Path("results")) else "shipped")
    load_once = cache(load)
    measured = [name for name in names if FIGURES[name].measured]
    frames = {name: load_once(FIGURES[name].shipped if source == "shipped" else source) for name in measured}
    if frames:
        sys.stderr.write(f"p2mperf: figures are drawn from {source}\n")
    out = Path(arguments.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            try:
                fig = figure(name, frames.get(name))
            except BadInputError as error:
                if "all" not in arguments.figure:
                    raise
                sys.stderr.write(f"p2mperf: {name} is left out: {error}\n")
                continue
            for path in save(fig, out, name, tuple(arguments.format)):
                sys.stdout.write(f"{path}\n")
    except OSError as error:
        raise ResultsError(f"cannot write figures to {out}: {error.strerror}; name another --out") from error
    return 0


def _has_results(directory: Path) -> bool:
    from p2mperf.results.journal import find_runs

    return directory.is_dir() and any(info.n_done for info in find_runs(directory))
