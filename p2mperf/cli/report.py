"""`report`: the first notebook, run on your results, as one HTML file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from html import escape
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from p2mperf.cli import show
from p2mperf.cli.options import make_parser
from p2mperf.errors import BadInputError, P2mperfError, ResultsError

if TYPE_CHECKING:
    import pandas as pd

_EPILOG = """\
The report is notebooks/01_tree_and_list.ipynb executed on the results, without its code. It needs the
notebook extra (pip install 'p2mperf[notebook]') and a checkout, which has the notebooks.

Results may be several: directories, journals (.jsonl), exported .parquet files, or shipped. What one machine
measured in one boot, with one version of the code, is one report, of however many results. Several of these
stand one behind the other, after a table of whether they agree on the faster design.

examples:
  python -m p2mperf report
  python -m p2mperf report --results results --out report.html
  python -m p2mperf report --results intel.parquet amd.parquet results
"""
_NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "01_tree_and_list.ipynb"
_LEVELS = ["machine", "boot", "code"]
_AGREED = ["guest", "backing", "stream_label", "operation", "preamble", "design", "ratios", "in_words"]


def main(argv: list[str]) -> int:
    """Write the report and print its name on stdout."""
    parser = make_parser("report", "Write an HTML report on results, or on the shipped data.", _EPILOG)
    parser.add_argument(
        "--results", nargs="+", action="extend", metavar="RESULT", help="one result or more (shipped)"
    )
    parser.add_argument("--out", default="report.html", metavar="FILE", help="where to write (report.html)")
    arguments = parser.parse_args(argv)
    from p2mperf.api import load
    from p2mperf.results.files import as_path, told

    out = as_path(arguments.out)  # before a minute's work
    html = _rendered(load(arguments.results or ["shipped"]))
    try:
        out.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"cannot write {told(out)}: {error.strerror}; name another --out") from error
    show.write(arguments.out)
    return 0


def _rendered(frame: pd.DataFrame) -> str:
    if not (parts := list(_by_level(frame))):
        raise BadInputError("nothing of these results was measured: there is nothing to report")
    try:
        papermill, nbconvert = import_module("papermill"), import_module("nbconvert")
    except ImportError as error:
        raise P2mperfError(f"{error.name} is missing: pip install 'p2mperf[notebook]'") from error
    if not _NOTEBOOK.exists():
        raise P2mperfError("this installation has no notebooks: run the report from a checkout")
    executed = {title: _executed(papermill, part, title) for title, part in parts}
    whole = executed[parts[0][0]] if len(parts) == 1 else _one_behind_the_other(frame, executed)
    body, _ = nbconvert.HTMLExporter(exclude_input=True).from_notebook_node(whole)
    return str(body)


def _executed(papermill: ModuleType, part: pd.DataFrame, title: str) -> Any:
    """The notebook with what it says of samples."""
    from p2mperf.results.parquet import PARQUET, write_parquet

    quiet = {"progress_bar": False, "log_output": False}
    with tempfile.TemporaryDirectory() as directory:
        source, made = (str(Path(directory, f"report{suffix}")) for suffix in (PARQUET, ".ipynb"))
        write_parquet(part, Path(source))
        try:
            return papermill.execute_notebook(str(_NOTEBOOK), made, parameters={"data": source}, **quiet)
        except papermill.PapermillExecutionError as error:
            raise P2mperfError(f"there is no report on {title}: {error.ename}: {error.evalue}") from error


def _by_level(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """What one machine measured in one boot with one code, and a title; what it skipped goes with each."""
    from p2mperf.analysis.samples import measured, runs_of
    from p2mperf.results.frame import RunRecords, machine_cards

    cards, done = machine_cards(frame), frame.index.isin(measured(frame).index)
    for machine, boot, code in measured(frame)[_LEVELS].drop_duplicates().itertuples(index=False, name=None):
        there = (frame["machine"] == machine) & (frame["code"] == code) & ((frame["boot"] == boot) | ~done)
        part = frame[there].reset_index(drop=True)
        part.attrs = {"runs": RunRecords(runs_of(part))}
        processor = cards.get(machine, {}).get("cpu_model") or "an unnamed processor"
        yield f"Machine {machine}, {processor}, boot {boot or 'unknown'}, code {code}", part


def _one_behind_the_other(frame: pd.DataFrame, notebooks: Mapping[str, Any]) -> Any:
    """One notebook of several, each under its title, behind what they say together."""
    import pandas as pd

    from p2mperf.analysis.agreement import agreement

    v4 = import_module("nbformat.v4")
    table = agreement(frame)
    together = table.loc[table["agreement"] != "one", _AGREED]
    numbers = {place: number for number, place in enumerate(table.attrs["places"], start=1)}
    key = [f"{number}: machine {machine}, boot {boot}" for (machine, boot), number in numbers.items()]
    with pd.option_context("display.max_colwidth", None):  # sentences are longer than what pandas shows
        shown = together.to_html(index=False)
    said = [shown, *key] if len(together) else ["No cell was measured by two of them."]
    titles = list(map(escape, notebooks))
    lines = ["# Several machines or boots", *titles, "## Whether they agree", *said]
    cells = [v4.new_markdown_cell("\n\n".join(lines))]
    for title, notebook in zip(titles, notebooks.values(), strict=True):
        cells += [v4.new_markdown_cell(f"# {title}"), *notebook.cells]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # they were unique in each notebook
    return v4.new_notebook(cells=cells, metadata=notebook.metadata)
