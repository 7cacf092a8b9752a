"""Guards: what is shipped beside the code is in step with it, and names no machine."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import house
import nbformat
import pytest
from checkout import PYPROJECT, ROOT, SOURCES, git, load_tool, python, require_git, shown
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from p2mperf.cli import COMMANDS

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS])

# ---- what is shipped ----


def tracked_files() -> list[Path]:
    require_git("it is not known which files belong to it")
    names = git("ls-files", "-z").decode().split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:  # Parquet, PNG
        return ""


def test_no_path_of_a_machine_is_shipped() -> None:
    found = {shown(path): paths for path in tracked_files() if (paths := house.machine_paths(text_of(path)))}
    assert found == {}, (
        "a path of one machine is none on another's: name the file from the root of the checkout"
    )


@pytest.mark.parametrize(
    "line", ["/ho" + "me/someone/x", "see fi" + "le:///etc", "--index" + "-url x", "/wo" + "rk/main"]
)
def test_a_path_of_a_machine_is_seen(line: str) -> None:
    assert len(house.machine_paths(f"fine\n{line}\n/proc/self/maps /sys/kernel")) == 1


@each_notebook
def test_notebooks_are_valid_and_take_parameters(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert house.notebook_problems(notebook) == []


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


def code_cell(*tags: str, **fields: object) -> dict[str, object]:
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "outputs": [], **fields}


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ([code_cell()], "0 cells tagged 'parameters', there must be one"),
        (
            [code_cell("parameters"), code_cell("parameters")],
            "2 cells tagged 'parameters', there must be one",
        ),
        ([code_cell("parameters", cell_type="markdown")], "the cell tagged 'parameters' is not code"),
        (
            [code_cell("parameters", execution_count=2), code_cell(execution_count=1)],
            "not run once from top to bottom: cells were run as [2, 1]",
        ),
        ([code_cell("parameters", outputs=[{"output_type": "error"}])], "shows an error"),
    ],
)
def test_a_wrong_notebook_is_seen(cells: list[dict[str, object]], problem: str) -> None:
    assert house.notebook_problems({"cells": cells}) == [problem]


def test_right_notebooks_pass() -> None:
    stripped = [code_cell("parameters", execution_count=None), code_cell(execution_count=None)]
    executed = [code_cell("parameters", execution_count=1), code_cell(execution_count=2)]
    assert house.notebook_problems({"cells": stripped}) == []
    assert house.notebook_problems({"cells": executed}) == []


# ---- requirements ----


def test_environment_yml_is_in_step() -> None:
    expected = load_tool("environment").environment(PYPROJECT["project"])
    assert (ROOT / "environment.yml").read_text() == expected, "run python tools/environment.py"


def test_environment_yml_follows_a_change() -> None:
    tool = load_tool("environment")
    project = {**PYPROJECT["project"], "dependencies": ["numpy>=9.9"]}
    assert "\n  - numpy>=9.9\n" in tool.environment(project)
    with pytest.raises(ValueError, match="more than a name and a lower bound"):
        tool.environment({**project, "dependencies": ["numpy>=2,<3"]})


def all_requirements() -> list[str]:
    project = PYPROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    groups += PYPROJECT["dependency-groups"].values()
    return sorted({entry for group in groups for entry in group if isinstance(entry, str)})


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_constraints_are_names_and_versions_only() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line


@pytest.mark.parametrize("entry", all_requirements())
def test_requirements_are_lower_bounds_that_were_run(entry: str) -> None:
    requirement = Requirement(entry)
    operators = {specifier.operator for specifier in requirement.specifier}
    assert operators <= {">="}, f"{entry}: lower bounds only; what was run stands in constraints.txt"
    was_run = constraints().get(canonicalize_name(requirement.name))
    assert was_run, f"{entry}: constraints.txt does not say which version was run"
    assert requirement.specifier.contains(was_run), f"{entry}: constraints.txt says that {was_run} was run"


def test_no_dependency_is_idle() -> None:
    imported = house.imported_packages(path.read_text() for path in SOURCES)
    assert {Requirement(entry).name for entry in PYPROJECT["project"]["dependencies"]} <= imported


def test_imports_are_found() -> None:
    sample = "import a.b\ndef f():\n    from c.d import e\n    import g as h"
    assert house.imported_packages([sample, "from . import i"]) == {"a", "c", "g"}


@pytest.mark.slow
def test_the_wheel_carries_the_data(tmp_path: Path) -> None:
    result = python("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT))
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    shipped = {path.relative_to(ROOT / "data").as_posix() for path in (ROOT / "data").rglob("*.*")}
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert shipped
    assert {f"p2mperf/_data/{name}" for name in shipped} <= packed
    assert "p2mperf/py.typed" in packed


# ---- README ----


def test_readme_names_only_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    of_run = house.commands_named(readme, "./run")
    its_own = house.commands_of_run((ROOT / "run").read_text())
    assert {"sweep", "test", "lab"} <= of_run <= its_own | COMMANDS.keys()
    listed = set(re.findall(r"[a-z][a-z-]*", python("-m", "p2mperf", "--help").stdout))
    assert house.commands_named(readme, "python -m p2mperf") <= listed


def test_commands_are_found_in_text() -> None:
    script = "case $command in\n    sweep)\n        x\n    help | -h)\n        y\nesac"
    assert house.commands_of_run(script) == {"sweep", "help", "-h"}
    assert house.commands_named("`./run sweep` or ./run  frob --x", "./run") == {"sweep", "frob"}
