"""What a long piece of work tells while it runs: a line on a terminal, lines in a log, a bar, or nothing."""

from __future__ import annotations

import io
import re
import sys
import threading

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


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A stderr that takes itself for a terminal; no fixture, as pytest sets its own before a test begins."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_terminal_has_a_bar_that_makes_room_for_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    with Line(quiet=False) as line:
        line.progress.advance(4, 9, "pv-64-8g")  # resumed
        line.progress.say("something")
        line.progress.advance(9, 9, "")
    written = stream.getvalue()
    # The bar, made empty before something is said, and there again after it.
    before, after = written.split("p2mperf: something\n")
    assert re.search(r"44% \|.*\| 4/9 cells in 00:00, \? left  pv-64-8g$", before.split("\r")[2])
    assert before.endswith("\r")
    assert not before.split("\r")[-2].strip()
    assert re.search(r"100% \|.*\| 9/9 cells in \d\d:\d\d, 00:00 left", after)
    assert after.endswith("\n")


def test_a_bar_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    n_threads = threading.active_count()
    with Line(quiet=False) as line:
        line.advance(1, 9, "cell")
        assert threading.active_count() == n_threads
    assert "1/9 cells" in stream.getvalue()


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


# ---- tables ----


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    text = show.text_table(("name", "n"), [("a", 1), ("longer", 22)])
    assert text.splitlines() == ["name    n", "a       1", "longer  22"]


ROWS = [("pv-64-400g", "lookups that overlap, one after the other"), ("pv-32-8g", "short")]


@pytest.mark.parametrize("width", [60, 40, 24])
def test_a_table_is_as_wide_as_there_is_room(width: int) -> None:
    text = show.text_table(("guest", "what is done"), ROWS, width)
    assert max(map(len, text.splitlines())) <= width
    # Nothing is lost, and no word is broken.
    words = [
        word
        for cell in ("guest", "what is done", *(cell for row in ROWS for cell in row))
        for word in cell.split()
    ]
    assert sorted(text.split()) == sorted(words)


def test_a_table_without_room_for_its_columns_becomes_blocks() -> None:
    # Its longest words, of 10 and 8 characters, and the 2 between them do not fit into 18.
    assert show.text_table(("guest", "what"), ROWS, 18).splitlines() == [
        "guest  pv-64-400g",
        "what   lookups",
        "       that",
        "       overlap,",
        "       one after",
        "       the other",
        "",
        "guest  pv-32-8g",
        "what   short",
    ]


def test_a_table_in_a_file_is_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: (_ for _ in ()).throw(OSError("no terminal")))
    wide = show.text_table(("a", "b"), [("x" * 300, "y z")])
    assert wide.splitlines()[1] == f"{'x' * 300}  y z"
    monkeypatch.setenv("COLUMNS", "60")
    assert show.terminal_width() == 60
