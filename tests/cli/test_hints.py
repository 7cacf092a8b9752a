"""Hints can be typed as they are printed: they name the program as it was called, and what installs what."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import refused

from p2mperf.cli import installing, invocation, main, next_steps, process
from p2mperf.cli.invocation import called_as

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ./run of a checkout starts it."""
    monkeypatch.setattr(invocation._Called, "program", "./run")


@pytest.mark.parametrize(
    ("original", "script", "by_run", "program"),
    [
        (["python", "-m", "p2mperf", "plot"], "/x/p2mperf/__main__.py", "", "python -m p2mperf"),
        (
            ["/v e/python", "-X", "dev", "-m", "p2mperf"],
            "/x/__main__.py",
            "",
            "'/v e/python' -X dev -m p2mperf",
        ),
        (["python", "-m", "p2mperf"], "/x/p2mperf/__main__.py", "./run", "./run"),
        (
            ["/bin/python", "/not/on/the/path/p2mperf"],
            "/not/on/the/path/p2mperf",
            "",
            "/not/on/the/path/p2mperf",
        ),
        # Whatever else calls it, as a test or a notebook, is no line of a shell.
        (["python", "-c", "..."], "-c", "", "python -m p2mperf"),
        (["python", "-m", "pytest", "-m", "p2mperf"], "/x/pytest/__main__.py", "", "python -m p2mperf"),
    ],
)
def test_the_program_is_named_as_it_was_called(
    original: list[str], script: str, by_run: str, program: str
) -> None:
    assert called_as(original, script, by_run) == program


def test_a_script_on_the_path_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "p2mperf"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert called_as([sys.executable, str(script)], str(script)) == "p2mperf"


def test_what_run_says_is_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else what a notebook or a recorded command starts would take itself for ./run.
    monkeypatch.setattr(invocation._Called, "program", "")
    monkeypatch.setenv(invocation.VARIABLE, "../run")
    invocation.look()
    assert invocation.program() == "../run"
    assert invocation.VARIABLE not in os.environ


@pytest.mark.parametrize("program", [".venv/bin/python -m p2mperf", "p2mperf", "./run"])
def test_what_is_named_as_it_was_called_is_not_named_again(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(invocation._Called, "program", program)
    said = f"`{program} list`, or `{program} info`"
    assert invocation.as_called(f"`python -m p2mperf list`, or `{program} info`") == said
    assert invocation.as_called(said) == said
    assert main(["list"]) == 0
    assert f"`{program} list KIND`" in capsys.readouterr().err


@pytest.mark.usefixtures("called")
def test_errors_and_help_name_run_where_run_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "sweep", "--frsh").endswith("; see `./run sweep --help`")
    assert "`./run sweep --out nowhere` measures some" in refused(
        capsys, "plot", "cost", "--results", "nowhere"
    )
    with pytest.raises(SystemExit):
        main(["lookup", "--help"])
    said = capsys.readouterr().out
    assert said.startswith("usage: ./run lookup ")
    assert "  ./run lookup --design pv-tree" in said
    assert main(["--help"]) == 0
    assert "python" not in capsys.readouterr().out
    # And its own commands are known.
    assert "did you mean 'lab'?" in refused(capsys, "lap")


def test_a_command_of_run_is_named_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "lab") == (
        f"lab is a command of ./run, in a checkout of p2mperf: `{shlex.quote(str(ROOT / 'run'))} lab`"
    )


# ---- what is not installed ----


def test_a_missing_package_is_one_sentence_with_the_line_that_installs_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from p2mperf.cli import entry; entry()"
    done = subprocess.run(
        [sys.executable, "-c", code, "plot", "limit-map"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    line = shlex.join([sys.executable, "-m", "pip", "install", "--editable", str(ROOT)])
    assert done.stderr == f"p2mperf: matplotlib is not installed: `{line}` installs it\n"
    assert done.returncode == 2


def test_an_extra_is_named_in_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "importlib.metadata.requires", lambda name: ['Papermill>=2; extra == "notebook"', "a"]
    )
    monkeypatch.chdir(ROOT)
    error = ModuleNotFoundError("no", name="papermill.execute")
    assert installing.missing_dependency(error).endswith("pip install --editable '.[notebook]'` installs it")
    monkeypatch.setattr(installing, "in_checkout", lambda: False)
    assert installing.missing_dependency(error).endswith("pip install 'p2mperf[notebook]'` installs it")


@pytest.mark.parametrize("name", ["p2mperf.nothing", "json.nothing", None])
def test_a_module_that_nobody_can_install_is_a_fault_of_ours(name: str | None) -> None:
    error = ModuleNotFoundError("no", name=name)
    assert installing.missing_dependency(error) == ""
    with pytest.raises(ModuleNotFoundError):
        process._code_of(error)


def test_what_a_command_needs_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "papermill", None)
    with pytest.raises(
        installing.MissingPackageError, match=r"papermill is not installed: .*\[notebook\]"
    ) as raised:
        installing.require("papermill", "notebook")
    assert raised.value.exit_code == 2


# ---- what comes after a sweep ----


@pytest.mark.usefixtures("called")
def test_run_goes_on_with_run(tmp_path: Path) -> None:
    plot, report, lab = next_steps.next_steps(tmp_path / "my results")
    where = shlex.quote(str(tmp_path / "my results"))
    assert (plot, report, lab) == (
        f"./run plot --results {where}",
        f"./run report --results {where}",
        "./run lab",
    )


def test_steps_name_only_what_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    *commands, lab = next_steps.next_steps(Path("results"))
    assert lab == f"{os.path.relpath(ROOT / 'run', tmp_path)} lab"
    monkeypatch.setattr(next_steps, "in_checkout", lambda: False)
    assert list(next_steps.next_steps(Path("results"))) == commands
    assert commands == [f"python -m p2mperf {name} --results results" for name in ("plot", "report")]


# ---- what is nearly right ----


def test_a_command_without_dashes_is_told_where_they_belong(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "record", "--out", "b.parquet", "make", "-j2", "vmlinux") == (
        "a command comes after --: write `python -m p2mperf record --out b.parquet -- make -j2 vmlinux`"
    )
    # An option that there is not is one, whatever comes behind it.
    assert "unrecognized arguments: --keep" in refused(capsys, "record", "--keep", "make")


@pytest.mark.parametrize("command", ["replay", "trace info", "kernel-build"])
@pytest.mark.parametrize("name", ["tinyconfig", "shipped-tinyconf", "shiped-tinyconfig"])
def test_a_shipped_recording_is_found_by_half_its_name(
    capsys: pytest.CaptureFixture[str], somewhere_else: None, command: str, name: str
) -> None:
    assert refused(capsys, *command.split(), name) == (
        f"there is no {name!r}: did you mean shipped-tinyconfig, which comes with p2mperf?"
    )


def test_a_file_that_is_there_is_taken_whatever_it_is_called(
    capsys: pytest.CaptureFixture[str], somewhere_else: None
) -> None:
    Path("tinyconfig").write_text("no recording")
    assert "tinyconfig" in refused(capsys, "trace", "info", "tinyconfig")
    assert not re.search("did you mean", refused(capsys, "trace", "info", "tinyconfig"))
