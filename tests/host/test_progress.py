"""What a long piece of work tells while it runs: a line on a terminal, lines in a log, a bar, or nothing."""

from __future__ import annotations

import sys

import pytest

from p2mperf.cli import show
from p2mperf.progress import Bar, Line, Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as a test wants it."""
    now = [100.0]
    monkeypatch.setattr("p2mperf.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(quiet=False)
    for second, n_done in ((1, 0), (5, 1), (12, 3), (13, 9)):
        clock[0] = 100.0 + second
        line.advance(n_done, 9, f"cell {n_done}")
    # Ten seconds apart, and the last in any case; three cells in 12 s leave six for 24 s.
    assert capsys.readouterr().err.splitlines() == [
        "0/9 cells, 1 s  cell 0",
        "3/9 cells, 12 s, about 24 s left  cell 3",
        "9/9 cells, 13 s, about 0 s left  cell 9",
    ]


def test_a_terminal_has_one_line_that_is_ended_before_anything_is_said(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Line(quiet=False) as line:
        line.progress.advance(4, 9, "cell")  # resumed: the first four cost nothing now
        line.progress.say("something")
        clock[0] += 10
        line.progress.advance(5, 9, "cell")
    written = (
        "\r\x1b[K4/9 cells, 0 s  cell\np2mperf: something\n\r\x1b[K5/9 cells, 10 s, about 40 s left  cell\n"
    )
    assert capsys.readouterr().err == written


def test_the_quiet_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Line(quiet=True) as line:
        line.say("something")
        line.advance(9, 9, "cell")
    Progress().say("something")
    Progress().advance(9, 9, "cell")
    assert capsys.readouterr() == ("", "")


def test_a_bar_ends_with_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    told = Bar().progress
    for n_done in (2, 3, 4):
        told.advance(n_done, 4, f"cell {n_done}")
    assert "4/4" in capsys.readouterr().err.split("\r")[-1]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    text = show.text_table(("name", "n"), [("a", 1), ("longer", 22)])
    assert text.splitlines() == ["name    n", "a       1", "longer  22"]
