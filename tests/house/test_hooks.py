"""What a commit is checked with is what ./run test checks first, and nothing is fetched for it."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml
from checkout import PYPROJECT, ROOT

Hook = dict[str, Any]
PYTHON = ".venv/bin/python"
(LOCAL,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
HOOKS: list[Hook] = LOCAL["hooks"]


def checks_of_run(script: str) -> dict[str, list[str]]:
    """Arguments for Python of each `check` of the script, by its name; a path that stands for all is none.

    mypy runs beside them: its line begins with the interpreter, and ends where its output goes.
    """
    lines = script.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if " check " in line]
    beside = [line.partition(">")[0] for line in lines if line.lstrip().startswith('"$venv_python" -m mypy')]
    commands += [["check", "mypy", *shlex.split(line)[1:]] for line in beside]
    return {
        name: [word for word in arguments if word != "."]
        for check, name, *arguments in commands
        if check == "check"
    }


def test_checks_are_found() -> None:
    script = (
        'check() { # check WHAT\n}\n    check "a b" -m a --b .\n    check "c" -c \'d; e\' \\\n        -q\n'
    )
    assert checks_of_run(script) == {"a b": ["-m", "a", "--b"], "c": ["-c", "d; e", "-q"]}


def test_a_commit_is_checked_with_what_run_test_checks_first() -> None:
    checks = checks_of_run((ROOT / "run").read_text())
    assert checks.pop("pytest")[:2] == ["-m", "pytest"]
    hooks = {hook["name"]: shlex.split(hook["entry"]) for hook in HOOKS}
    python, *notebooks = hooks.pop("notebooks in order")
    assert hooks == {name: [PYTHON, *arguments] for name, arguments in checks.items()}
    # What pytest runs for notebooks is a part of what it runs for all.
    module, path, only = notebooks[:3], notebooks[3], notebooks[4:]
    assert (python, module, only) == (PYTHON, ["-m", "pytest", "-q"], ["-k", "notebook"])
    assert "def test_notebooks_are_valid_and_take_parameters(" in (ROOT / path).read_text()


@pytest.mark.parametrize("hook", HOOKS, ids=[hook["id"] for hook in HOOKS])
def test_a_hook_fetches_nothing(hook: Hook) -> None:
    assert (LOCAL["repo"], hook["language"]) == ("local", "system")
    assert not {"additional_dependencies", "stages"} & hook.keys()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("mypy", "tests/fuzz/cli.py"),
        ("mypy", "benchmarks/hap.py"),
        ("import-linter", "p2mperf/api.py"),
        ("import-linter", "pyproject.toml"),
    ],
)
def test_a_hook_looks_at_what_concerns_it(name: str, path: str) -> None:
    (hook,) = (hook for hook in HOOKS if hook["name"] == name)
    assert (ROOT / path).is_file()
    assert re.search(hook.get("files", ""), path)
    assert not re.search(hook.get("exclude", "^$"), path)


def test_mypy_is_given_no_file_that_it_does_not_look_at_by_itself() -> None:
    (hook,) = (hook for hook in HOOKS if hook["name"] == "mypy")
    rooms = PYPROJECT["tool"]["mypy"]["files"]
    assert hook["files"] == f"^({'|'.join(rooms)})/"
    assert not re.search(hook["files"], "docs/conf.py")
