"""Notebooks keep the rules and run from top to bottom: on shipped data, on a reader's own, and measuring."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import p2mperf
from p2mperf.errors import ResultsError
from p2mperf.shipped import shipped

NOTEBOOKS = sorted(Path(__file__).parents[2].glob("notebooks/*.ipynb"))
TREE_AND_LIST = Path(__file__).parents[2] / "notebooks" / "01_tree_and_list.ipynb"
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def syntax(cell: Any) -> ast.Module:
    return ast.parse("\n".join(line for line in cell.source.split("\n") if not line.startswith("%")))


def read(path: Path, **parameters: object) -> Any:
    """Read a notebook and set what its parameters cell names; any other name is an error."""
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    known = {name.id for name in ast.walk(syntax(cell)) if isinstance(name, ast.Name)}
    if strangers := sorted(parameters.keys() - known):
        raise KeyError(f"{path.name} has no parameter {', '.join(strangers)}, but {', '.join(sorted(known))}")
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
    return notebook


def figures_asked_for(cell: Any) -> tuple[int, int]:
    """Count the figures that a cell always shows, and with them those that it draws under an `if`."""

    def count(*nodes: ast.AST) -> int:
        calls = [call for node in nodes for call in ast.walk(node) if isinstance(call, ast.Call)]
        return sum(ast.unparse(call.func) == "p2mperf.figure" for call in calls)

    tree = syntax(cell)
    return count(*(node for node in tree.body if not isinstance(node, ast.If))), count(tree)


def run(notebook: Any, seconds: float) -> None:
    """Run all cells in a fresh kernel within so many seconds; every figure asked for must be shown."""
    deadline = time.monotonic() + seconds
    client = NotebookClient(
        notebook,
        timeout_func=lambda cell: max(1, int(deadline - time.monotonic())),
        kernel_name="python3",
        resources={"metadata": {"path": str(TREE_AND_LIST.parent)}},
    )
    client.execute()
    for cell in code_cells(notebook):
        n_always, n_at_most = figures_asked_for(cell)
        assert n_always <= n_figures_shown(cell) <= n_at_most, cell.source


def n_figures_shown(cell: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


@each_notebook
def test_a_notebook_keeps_the_rules(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    trees = [syntax(cell) for cell in code_cells(notebook)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    imports = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}

    assert 15 <= len(notebook.cells) <= 25
    assert notebook.cells[0].source.startswith("# ")
    assert code_cells(notebook)[0].metadata.get("tags") == ["parameters"]
    assert "card" in code_cells(notebook)[-1].source
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= 5] == []
    assert imports.isdisjoint({"time", "timeit", "matplotlib.pyplot"})
    assert [name for name in names - {"_"} if len(name) == 1 or not name.isascii()] == []
    assert any(isinstance(node, ast.Assert) for node in nodes)
    assert path.stat().st_size < 1.5 * 2**20


@each_notebook
def test_an_unknown_parameter_is_an_error(path: Path) -> None:
    with pytest.raises(KeyError, match="no parameter colour"):
        read(path, colour="blue")


@each_notebook
def test_a_notebook_runs_on_shipped_data(path: Path) -> None:
    notebook = read(path)
    if any("p2mperf.load(" in cell.source for cell in code_cells(notebook)):
        try:
            shipped()
        except ResultsError as error:
            pytest.skip(str(error))
    run(notebook, seconds=60)


def test_tree_and_list_runs_on_the_readers_results(tmp_path: Path) -> None:
    p2mperf.sweep(
        "quick",
        sizes=["64M"],
        guests=["dom0-64-e820"],
        streams=["uniform", "uniform:hole=0.5"],
        operations=["latency"],
        n_replicates=1,  # no interval at all: nothing may be claimed, and nothing may fail
        out=tmp_path,
        quiet=True,
    )
    notebook = read(TREE_AND_LIST, data=str(tmp_path))
    run(notebook, seconds=60)
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    said = " ".join(" ".join(output.get("data", {}).get("text/markdown", "") for output in outputs).split())
    # Two guests times one stream in RAM; only the second guest has holes.
    assert "the list is faster in 0 of 2 comparisons" in said
    assert "the tree is faster in 0 of 1" in said


def test_tree_and_list_shows_entries_and_pages_where_there_are_some(tmp_path: Path) -> None:
    p2mperf.sweep(
        "quick",
        sizes=["64M"],
        streams=["uniform"],
        operations=["throughput", "entry"],
        designs=["pv-tree", "pv-linear", "pv-tree-4k", "pv-tree-2m", "pv-linear-4k", "pv-linear-2m"],
        preambles=["8M"],
        n_replicates=1,
        out=tmp_path,
        quiet=True,
    )
    notebook = read(TREE_AND_LIST, data=str(tmp_path))
    run(notebook, seconds=60)
    cells = code_cells(notebook)
    assert [n_figures_shown(cell) for cell in cells] == [figures_asked_for(cell)[1] for cell in cells]
    outputs = [output for cell in cells for output in cell.outputs]
    said = " ".join(output.get("data", {}).get("text/markdown", "") for output in outputs)
    assert "64-bit, 8M: tree over list" in said
    assert "tree on 2 MiB / list on 4 KiB" in said
    assert "In no comparison is the tree shown to be ahead" in said


@pytest.mark.slow
def test_tree_and_list_measures_on_the_spot() -> None:
    run(read(TREE_AND_LIST, data="measure", plan="quick"), seconds=300)
