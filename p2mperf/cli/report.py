"""`report`: the first notebook, run on your results, as one HTML file."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path

from p2mperf.cli import show
from p2mperf.cli.options import make_parser
from p2mperf.errors import P2mperfError, ResultsError

_EPILOG = """\
The report is notebooks/01_tree_and_list.ipynb executed on the results, without its code. It needs the
notebook extra (pip install 'p2mperf[notebook]') and a checkout, which has the notebooks.

examples:
  python -m p2mperf report
  python -m p2mperf report --results results --out report.html
"""
_NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "01_tree_and_list.ipynb"


def main(argv: list[str]) -> int:
    """Write the report and print its name on stdout."""
    parser = make_parser("report", "Write an HTML report on results, or on the shipped data.", _EPILOG)
    parser.add_argument("--results", default="shipped", metavar="DIR", help="results directory (shipped)")
    parser.add_argument("--out", default="report.html", metavar="FILE", help="where to write (report.html)")
    arguments = parser.parse_args(argv)
    from p2mperf.api import load
    from p2mperf.results.files import as_path, told

    out = as_path(arguments.out)  # before a minute's work
    load(arguments.results)  # refuses what is no results before a kernel is started
    source = arguments.results
    html = _rendered("shipped" if source == "shipped" else str(Path(source).resolve()))
    try:
        out.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"cannot write {told(out)}: {error.strerror}; name another --out") from error
    show.write(arguments.out)
    return 0


def _rendered(data: str) -> str:
    try:
        papermill, nbconvert = import_module("papermill"), import_module("nbconvert")
    except ImportError as error:
        raise P2mperfError(f"{error.name} is missing: pip install 'p2mperf[notebook]'") from error
    if not _NOTEBOOK.exists():
        raise P2mperfError("this installation has no notebooks: run the report from a checkout")
    with tempfile.TemporaryDirectory() as directory:
        executed = Path(directory, "report.ipynb")
        papermill.execute_notebook(
            str(_NOTEBOOK), str(executed), parameters={"data": data}, progress_bar=False, log_output=False
        )
        body, _ = nbconvert.HTMLExporter(exclude_input=True).from_filename(str(executed))
    return str(body)
