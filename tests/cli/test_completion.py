"""`completion`: a script that completes what there is, in a shell that is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from command_line import refused

import p2mperf
from p2mperf.cli import COMMANDS, completion, invocation, main

pytest.importorskip("shtab")
_BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "p2mperf"
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("p2mperf.cli.show.as_it_is", lines.append)
        assert main(["completion", "bash"]) == 0
    path.write_text("\n".join(lines))
    return path


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of some words."""
    assert _BASH
    line = (
        f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        f"_shtab_p2mperf; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run([_BASH, "--norc", "-c", line], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(_BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["p2mperf", "kernel"], ["kernel-build"]),
        (["p2mperf", "list", "li"], ["limits"]),
        (["p2mperf", "sweep", "--pre"], ["--preamble"]),
        (["p2mperf", "sweep", "--plan", "qu"], ["quick"]),
        (["p2mperf", "lookup", "--guest", "dom0-64-e"], ["dom0-64-e820"]),
        (["p2mperf", "dump", "--design", "arm-v"], ["arm-vlpt"]),
        (["p2mperf", "sweep", "--backing", "sw"], ["swapped"]),
        (["p2mperf", "life", "--scenario", "pass"], ["passthrough"]),
        (["p2mperf", "migrate", "--tracer", "vl"], ["vlpt"]),
        (["p2mperf", "limits", "--hypervisor", "c"], ["compat"]),
    ],
)
def test_bash_offers_what_there_is(script: Path, words: list[str], offered: list[str]) -> None:
    assert completed(script, *words) == offered


@pytest.mark.skipif(_BASH is None, reason="there is no bash")
def test_all_commands_and_designs_are_offered(script: Path) -> None:
    assert set(COMMANDS) <= set(completed(script, "p2mperf", ""))
    assert sorted(completed(script, "p2mperf", "lookup", "--design", "pv-")) == sorted(
        name for name in p2mperf.designs() if name.startswith("pv-")
    )


def test_what_run_starts_completes_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation._Called, "program", "./run")
    assert main(["completion", "bash"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^complete .*-F _shtab_run run$", out, re.MULTILINE)
    assert re.search(r"^_shtab_run_subparsers=\(.*\blab\b", out, re.MULTILINE)


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_all_names_too(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    words = ("kernel-build", "dom0-64-e820", "arm-vlpt", "limit-map", "leaf-stride")
    assert [name for name in words if name not in out] == []


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_can_read_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    out = capsys.readouterr().out
    # `zsh -n` reads arrays of specifications as words; what is in them is read when something is completed.
    done = subprocess.run(["zsh", "-n"], input=out, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_value_in_zsh_has_what_zsh_reads_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    # Of limits --split, whose values are 3:1 and 2:2, it has the name alone.
    out = capsys.readouterr().out
    assert "--split" in out
    assert [word for word in ("3:1", "2:2") if f"({word}" in out or f":{word}" in out] == []


def test_tcsh_finds_it_with_its_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation._Called, "program", "./run")
    assert main(["completion", "tcsh"]) == 0
    assert re.search(r"^complete \{run,\*/run\} ", capsys.readouterr().out, re.MULTILINE)


# What is no name: sizes, numbers, files, and what a claim's verdict is, which has blanks.
NO_NAMES = {
    *("SIZE", "N", "SHARE", "RATE", "RATIO", "PFN"),
    *("FILE", "DIR", "RESULT", "PATH", "VERDICT", "COMMAND", "ARG", "PREFIX", "LINE"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_that_takes_a_name_has_names(command: str) -> None:
    own = import_module(f"p2mperf.cli.{command.replace('-', '_')}").command_parser()
    values = completion._values()
    for action in own._actions:
        completion._know(action, values, pytest.importorskip("shtab"))
    lacking = {
        "/".join(action.option_strings) or action.dest: action.metavar
        for action in own._actions
        if action.nargs != 0
        and action.choices is None
        and action.metavar not in NO_NAMES
        and action.type is None
    }
    # Of limits --split, whose values are 3:1 and 2:2, zsh would read the colon.
    assert set(lacking) <= {"--split"}


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "completion", "fsh")
    assert said.startswith("unknown shell 'fsh': did you mean 'zsh'")
    assert said.endswith("(known: bash, zsh, tcsh)")


def test_without_shtab_it_is_said_what_installs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    said = refused(capsys, "completion", "bash")
    assert said.startswith("shtab is not installed: ")
    assert "python -m pip install --editable " in said
    assert "[completion]" in said
