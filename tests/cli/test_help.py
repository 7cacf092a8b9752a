"""Help texts: as wide as the terminal, with examples that a shell takes as they stand there."""

from __future__ import annotations

import contextlib
import re
import shlex

import pytest

from p2mperf.cli import COMMANDS, main
from p2mperf.cli.help import filled


def helped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with contextlib.suppress(SystemExit):
        assert main([*arguments, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = helped(capsys, *filter(None, [command])).splitlines()
    # What cannot be broken, as a path or a list without spaces, may stand out.
    assert [line for line in lines if len(line) > width and " " in line.strip()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_broken_example_is_the_same_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def examples(width: int) -> list[list[str]]:
        monkeypatch.setenv("COLUMNS", str(width))
        text = helped(capsys, command).partition("\nexamples:\n")[2].partition("\n\n")[0]
        return [shlex.split(line) for line in re.sub(r"\\\n", "", text).splitlines()]

    narrow, wide = examples(60), examples(300)
    assert narrow == wide
    assert narrow


def test_paragraphs_are_filled_anew_and_lists_hang() -> None:
    text = "A paragraph of\ntwo lines.\n\nplans:\n  quick    a first look at what there is\n"
    assert filled(text, 24) == (
        "A paragraph of two\nlines.\n\n"
        "plans:\n  quick    a first look\n           at what there\n           is"
    )
