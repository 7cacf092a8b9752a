"""Notebooks keep the rules and run from top to bottom: on shipped data, on a reader's own, and measuring."""

from __future__ import annotations

import ast
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from checkout import ROOT, load_tool
from nbclient import NotebookClient

import p2mperf
from p2mperf.analysis.kernel_build import inputs, replay_file
from p2mperf.errors import ResultsError
from p2mperf.results import export
from p2mperf.shipped import shipped
from p2mperf.workload.replays import Replays

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TREE_AND_LIST = FOLDER / "01_tree_and_list.ipynb"
# What they have their numbers from, unless all of these are computed.
MEASURED = ("p2mperf.build_inputs(", "p2mperf.samples(")
MEASURED_PATHS = [path for path in NOTEBOOKS if any(name in path.read_text("utf-8") for name in MEASURED)]
MOST_LINES = 15
MOST_BYTES = 700 * 2**10
LIBRARIES = {"IPython.display", "ipywidgets", "numpy", "p2mperf", "pandas"}
# Each design of a pair in the place of the other: what is said of them must not hold any more.
SWAPPED = {"pv-tree": "pv-linear", "arm-walk": "arm-vlpt", "hap-walk": "hap-linear"}
TINY = {"sizes": ["64M"], "streams": ["uniform"], "operations": ["latency"], "n_replicates": 1}
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
each_measured = pytest.mark.parametrize("path", MEASURED_PATHS, ids=[path.stem for path in MEASURED_PATHS])


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
    """Count the figures that a cell always shows, and with them those that it draws in some case."""

    def count(*nodes: ast.AST) -> int:
        calls = [call for node in nodes for call in ast.walk(node) if isinstance(call, ast.Call)]
        return sum(ast.unparse(call.func) == "p2mperf.figure" for call in calls)

    tree = syntax(cell)
    # What a function draws is a widget's to show, and nobody moves one here.
    shown = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
    return count(*(node for node in shown if not isinstance(node, ast.If))), count(*shown)


def run(notebook: Any, seconds: float) -> None:
    """Run all cells in a fresh kernel within so many seconds; every figure asked for must be shown."""
    deadline = time.monotonic() + seconds
    client = NotebookClient(
        notebook,
        timeout_func=lambda cell: max(1, int(deadline - time.monotonic())),
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute()
    for cell in code_cells(notebook):
        n_always, n_at_most = figures_asked_for(cell)
        if shows_widget(cell) and not is_strict(cell):
            continue
        assert n_always <= n_figures_shown(cell) <= n_at_most, cell.source


def is_strict(cell: Any) -> bool:
    return "hide-input" in cell.metadata.get("tags", [])


def n_figures_shown(cell: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def shows_widget(cell: Any) -> bool:
    return any(
        isinstance(node, ast.Attribute) and ast.unparse(node).startswith("ipywidgets.")
        for node in ast.walk(syntax(cell))
    )


def said_in(notebook: Any) -> str:
    """What the outputs of a notebook say in Markdown, in one line."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return " ".join(" ".join(output.get("data", {}).get("text/markdown", "") for output in outputs).split())


# ---- the rules ----


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


def broken_rules(notebook: Any) -> Iterator[str]:
    """What keeps a notebook from being read without being run."""
    cells = notebook.cells
    if cells[1].cell_type != "code" or cells[1].metadata.get("tags") != ["parameters"]:
        yield "the second cell must be the parameters"
    if not any("text/markdown" in output.get("data", {}) for output in cells[2].get("outputs", [])):
        yield "the third cell must show the answer"
    for place, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        if cell.source.count("\n") >= MOST_LINES:
            yield f"{cell.id}: more than {MOST_LINES} lines; what it computes belongs to p2mperf"
        folded = cell.metadata.get("jupyter", {}).get("source_hidden") and is_strict(cell)
        if not folded and cell is not cells[1]:
            yield f"{cell.id}: its code must be folded"
        neighbours = [cell, *cells[place + 1 : place + 2]]
        if shows_widget(cell) and not any(n_figures_shown(near) for near in neighbours if "outputs" in near):
            yield f"{cell.id}: a widget shows nothing without a kernel: put a figure beside it"
        yield from (f"{cell.id}: {fault}" for fault in inner_names(syntax(cell)))
        yield from (f"{cell.id}: {fault}" for fault in private_outputs(cell))


def inner_names(tree: ast.Module) -> Iterator[str]:
    """Imports of what is not public, and names of the package that its page does not have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {name.name}" for name in node.names if name.name not in LIBRARIES)
        if isinstance(node, ast.ImportFrom) and node.module not in LIBRARIES - {"p2mperf"}:
            yield f"imports from {node.module}"
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) == "p2mperf"
            and node.attr not in p2mperf.__all__
        ):
            yield f"p2mperf.{node.attr} is not public"


def private_outputs(cell: Any) -> Iterator[str]:
    """Outputs that only this machine, or this moment, can have made."""
    for output in cell.get("outputs", []):
        texts = [
            output.get("text", ""),
            *(data for data in output.get("data", {}).values() if isinstance(data, str)),
        ]
        if any(
            re.search(r"/(home|root|tmp)/| at 0x[0-9a-f]{6,}>", text) or str(ROOT) in text for text in texts
        ):
            yield "an output names a place of one machine"
        if output.get("name") == "stderr":
            yield "an output is of stderr"
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            yield "an output is of a widget"


@each_notebook
def test_a_notebook_can_be_read_without_being_run(path: Path) -> None:
    assert list(broken_rules(nbformat.read(path, as_version=4))) == []
    assert path.stat().st_size < MOST_BYTES


def test_broken_rules_are_seen() -> None:
    notebook = nbformat.read(TREE_AND_LIST, as_version=4)
    cells = notebook.cells
    cells[3].source = "\n".join(["from p2mperf.units import MIB", "p2mperf.units", *["data"] * MOST_LINES])
    cells[3].metadata = {}
    cells[3].outputs = [nbformat.v4.new_output("stream", name="stderr", text=f"{ROOT}/x")]
    cells[2].outputs, cells[1].metadata["tags"] = [], []
    widget = nbformat.v4.new_code_cell(
        "import ipywidgets\nipywidgets.IntSlider()", id="w", metadata=cells[2].metadata
    )
    notebook.cells = [*cells[:4], widget, nbformat.v4.new_markdown_cell("text")]
    assert list(broken_rules(notebook)) == [
        "the second cell must be the parameters",
        "the third cell must show the answer",
        "cell-03: more than 15 lines; what it computes belongs to p2mperf",
        "cell-03: its code must be folded",
        "cell-03: imports from p2mperf.units",
        "cell-03: p2mperf.units is not public",
        "cell-03: an output names a place of one machine",
        "cell-03: an output is of stderr",
        "w: a widget shows nothing without a kernel: put a figure beside it",
    ]


@each_notebook
def test_an_unknown_parameter_is_an_error(path: Path) -> None:
    with pytest.raises(KeyError, match="no parameter colour"):
        read(path, colour="blue")


# ---- running them ----


def require_data(notebook: Any) -> None:
    if any(name in cell.source for cell in code_cells(notebook) for name in MEASURED):
        try:
            shipped()
        except ResultsError as error:
            pytest.skip(str(error))


@each_notebook
def test_a_notebook_runs_on_shipped_data(path: Path) -> None:
    notebook = read(path)
    require_data(notebook)
    run(notebook, seconds=60)


@each_measured
def test_what_is_said_does_not_hold_of_swapped_designs(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = read(path)
    require_data(notebook)
    load = export.load

    def swapped(*arguments: Any, **options: Any) -> Any:
        frame = load(*arguments, **options)
        both = SWAPPED | {other: one for one, other in SWAPPED.items()}
        frame["design"] = frame["design"].replace(both)
        return frame

    read_replays = replay_file.read_replays

    def swapped_replays(file: Path) -> Replays:
        plain = json.dumps(read_replays(file).to_json())
        names = {"pv-tree": "pv-linear", "pv-linear": "pv-tree"}
        return Replays.from_json(json.loads(re.sub("pv-(tree|linear)", lambda found: names[found[0]], plain)))

    monkeypatch.setattr(export, "load", swapped)
    monkeypatch.setattr(inputs, "read_replays", swapped_replays)
    monkeypatch.chdir(FOLDER)
    # Without a kernel, which takes longer to start than all of this.
    source = "\n".join(ast.unparse(syntax(cell)) for cell in code_cells(notebook))
    with pytest.raises(AssertionError):
        exec(compile(source, path.name, "exec"), {})


def test_measuring_on_the_spot_shows_and_keeps_what_it_measured(tmp_path: Path) -> None:
    kept = tmp_path / "mine"
    only = TINY | {
        "guests": ["dom0-64-e820"],
        "streams": ["uniform", "uniform:hole=0.5"],
        "operations": ["latency", "throughput", "entry"],
        "designs": ["pv-tree", "pv-linear", "pv-tree-4k", "pv-tree-2m", "pv-linear-4k", "pv-linear-2m"],
        "preambles": ["8M"],
    }
    notebook = read(TREE_AND_LIST, data="measure", only=only, keep=str(kept))
    run(notebook, seconds=60)
    # There are entries and pages of two sizes, so that it draws all that it can draw.
    cells = code_cells(notebook)
    assert [n_figures_shown(cell) for cell in cells] == [figures_asked_for(cell)[1] for cell in cells]
    said = said_in(notebook)
    # Two guests by two loops over a stream in RAM, and by one entry; only the second guest has holes, which
    # no entry asks for. One process decides nothing.
    assert "over RAM the list is faster in none of 4 comparisons" in said
    assert "the tree is faster in none of 2 and the list in none of 2" in said
    assert "after a flushed TLB or other work, the list is faster in none of 2" in said
    assert "64-bit, 8M: the tree costs" in said
    assert "tree on 2 MiB / list on 4 KiB" in said
    assert "In no comparison is the tree shown to be ahead" in said
    assert f"kept in '{kept}'" in said
    # All of it can be had again.
    frame = p2mperf.samples(str(kept))
    assert set(frame["guest"]) == {"pv-64-64m", "dom0-64-e820"}
    assert p2mperf.origin(frame).endswith(f"They were read from '{kept}'.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("02_kernel_build", None),
        ("04_arm_vlpt", {"sizes": ["64M"], "designs": ["arm-walk", "arm-vlpt"], "n_replicates": 1}),
        ("05_hap_superpages", {"guests": ["hap-1g"], "n_replicates": 1}),
        ("06_life_of_a_p2m", {"sizes": ["64M"], "n_replicates": 1}),
    ],
)
def test_others_measure_on_the_spot(tmp_path: Path, name: str, only: dict[str, Any] | None) -> None:
    path, kept = FOLDER / f"{name}.ipynb", str(tmp_path / "mine")
    narrowed = {} if only is None else {"only": only}
    run(read(path, data="measure", keep=kept, **narrowed), seconds=600)
    run(read(path, data=kept), seconds=60)


@pytest.mark.slow
def test_tree_and_list_measures_on_the_spot(tmp_path: Path) -> None:
    run(read(TREE_AND_LIST, data="measure", plan="quick", keep=str(tmp_path)), seconds=300)


# ---- the tool that runs them ----


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("notebooks")


def test_outputs_are_freed_of_this_machine(tool: ModuleType) -> None:
    v4 = nbformat.v4
    cell = v4.new_code_cell("1", metadata={"execution": {"iopub.status.busy": "now"}})
    cell.outputs = [
        v4.new_output("stream", name="stderr", text="told"),
        v4.new_output("display_data", {"text/plain": "<Styler at 0x7f00aa12>", "text/html": f"{ROOT}/data"}),
        v4.new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}),
    ]
    notebook = v4.new_notebook(
        cells=[cell], metadata={"widgets": {}, "language_info": {"name": "python", "version": "3"}}
    )
    assert tool.clean(notebook) == ["told"]
    assert [output["data"] for output in cell.outputs] == [{"text/plain": "<Styler>", "text/html": "data"}]
    assert cell.metadata == {}
    assert notebook.metadata == {"language_info": {"name": "python"}}
    assert list(tool.said(notebook)) == [f"{cell.id}: data"]
    cell.metadata["tags"] = [tool.VARIES]
    assert list(tool.said(notebook)) == []


def test_a_picture_becomes_small_and_stays_itself(tool: ModuleType) -> None:
    import base64
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (3200, 100), (0, 114, 178)).save(file, "png")
    small = tool.small_png(base64.b64encode(file.getvalue()).decode())
    found = Image.open(BytesIO(base64.b64decode(small)))
    # Twice as wide as is kept: half of either side.
    assert found.size == (1600, 50)
    assert found.convert("RGB").getpixel((800, 25)) == (0, 114, 178)
