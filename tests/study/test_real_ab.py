"""A command in two environments: the order of runs, what is measured, journals, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from p2mperf.analysis.kernel_build.real_ab import RealRun, compare_runs, order, whole_pairs
from p2mperf.errors import BadInputError, P2mperfError, ResultsError
from p2mperf.progress import Progress
from p2mperf.study.real_ab import Plan, make_plan, run_pairs


def run(pair: int, side: str, elapsed_s: float, user_s: float = 1.0, system_s: float = 0.5) -> RealRun:
    return RealRun(pair, side, "6.1.0", elapsed_s, user_s, system_s)


def plan(command: str, n_pairs: int = 1, **options: str) -> Plan:
    return make_plan(
        [command], options.pop("a", "env SIDE=a"), options.pop("b", "env SIDE=b"), n_pairs, **options
    )


# Pairs.


def test_each_comes_first_as_often_and_a_steady_drift_cancels() -> None:
    sides = "".join(side for pair in range(4) for side in order(pair))
    assert sides == "abbabaab"
    # each run takes 1 s more than the one before; over four pairs a and b have the same mean
    runs = [run(place // 2, side, 10.0 + place) for place, side in enumerate(sides)]
    elapsed = compare_runs(runs)[0]
    assert elapsed.a_s == elapsed.b_s == 13.5
    # b less a: 1, -1, -1, 1
    assert elapsed.change_s.estimate == 0
    assert (elapsed.change_s.low, elapsed.change_s.high) == (-1, 1)


def test_each_time_is_compared_for_itself() -> None:
    runs = [
        run(pair, side, 10 - (side == "b"), 8 - 2 * (side == "b"), 3 + pair)
        for pair in range(6)
        for side in "ab"
    ]
    elapsed, system, user = compare_runs(runs)
    assert [each.name for each in (elapsed, system, user)] == ["Elapsed time", "System", "User"]
    assert (elapsed.a_s, elapsed.b_s, elapsed.change_s.estimate) == (10, 9, -1)
    assert (user.change_s.low, user.change_s.high, user.change_s.level) == (-2, -2, 0.96875)
    assert (system.a_s, system.change_s.estimate) == (5.5, 0)


def test_half_pairs_are_left_out_and_later_runs_count() -> None:
    runs = [run(0, "a", 5), run(0, "b", 6), run(1, "b", 9), run(0, "a", 7), run(0, "b", 7.5)]
    assert whole_pairs(runs) == [(runs[3], runs[4])]
    with pytest.raises(BadInputError, match="no pair of runs is complete"):
        compare_runs(runs[:1])


# Runs.


def test_environments_commands_and_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    told: list[tuple[int, int, str]] = []
    runs = run_pairs(
        plan(f"echo $SIDE >> {log}; exit 0", 2, prepare=f"echo prepare >> {log}"),
        progress=Progress(advance=lambda *said: told.append(said)),
    )
    assert log.read_text().split() == ["prepare", "a", "prepare", "b", "prepare", "b", "prepare", "a"]
    assert [(one.pair, one.side) for one in runs] == [(0, "a"), (0, "b"), (1, "b"), (1, "a")]
    assert {one.kernel for one in runs} == {os.uname().release}
    assert told[0] == (0, 4, "pair 1, a")
    assert told[-1][:2] == (3, 4)


def test_the_commands_own_times_are_taken_and_preparing_is_not(tmp_path: Path) -> None:
    # As many turns of the shell's own loop before as in the command, and none in the other command.
    spin = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
    (busy, _) = run_pairs(plan(spin, directory=str(tmp_path)))
    (idle, _) = run_pairs(plan('test "$PWD" = "$(pwd)"', prepare=spin, directory=str(tmp_path)))
    assert busy.user_s + busy.system_s > 0
    assert idle.user_s + idle.system_s < busy.user_s + busy.system_s
    assert busy.elapsed_s > 0


def test_words_are_quoted_for_the_shell_and_one_word_is_a_line_of_it(tmp_path: Path) -> None:
    name = "a name; with $signs"
    several = make_plan(["touch", str(tmp_path / name)], "", "", 1)
    run_pairs(several)
    assert (tmp_path / name).exists()
    assert make_plan(["a && b"], "", "", 1).command == "a && b"
    inside = make_plan(["touch", "here"], "", "", 1, directory=str(tmp_path))
    run_pairs(inside)
    assert (tmp_path / "here").exists()


def test_the_command_does_not_read_what_the_shell_is_told() -> None:
    assert len(run_pairs(plan("cat"))) == 2


# Journals.


def test_a_journal_is_gone_on_with(tmp_path: Path) -> None:
    log, journal = tmp_path / "log", tmp_path / "pairs.jsonl"
    asked = plan(f"echo x >> {log}", 1)
    first = run_pairs(asked, journal)
    more = run_pairs(plan(f"echo x >> {log}", 2), journal)
    assert more[:2] == first
    assert log.read_text() == "x\n" * 4  # two runs, and two more
    assert run_pairs(plan(f"echo x >> {log}", 1), journal) == first  # fewer: nothing is run
    assert log.read_text() == "x\n" * 4


def test_half_a_pair_and_a_torn_line_are_run_again(tmp_path: Path) -> None:
    log, journal = tmp_path / "log", tmp_path / "pairs.jsonl"
    asked = plan(f"echo x >> {log}", 1)
    run_pairs(asked, journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    journal.write_bytes(lines[0] + lines[1] + lines[2][:20])
    assert len(whole_pairs(run_pairs(asked, journal))) == 1
    assert log.read_text() == "x\n" * 4
    assert [json.loads(line).get("side") for line in journal.read_text().splitlines()] == [
        None,
        "a",
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("no journal\n", "is no journal of --real-ab"),
        ('{"format": "other"}\n', "is no journal of --real-ab"),
        ("[]\n", "is no journal of --real-ab"),
        ("half", "is no journal of --real-ab"),
        ("{head}\n[1]\n", "a run of .* must be"),
        ('{head}\n{"pair": 0}\n', "a run of "),
        ("{head}\nhalf\n", "is no journal of --real-ab"),
        (
            '{head}\n{"pair": -1, "side": "a", "kernel": "", "elapsed_s": 1, "user_s": 1, "system_s": 1}\n',
            "no pair or side",
        ),
        (
            '{head}\n{"pair": 0, "side": "c", "kernel": "", "elapsed_s": 1, "user_s": 1, "system_s": 1}\n',
            "no pair or side",
        ),
    ],
)
def test_other_journals_are_refused_and_left_as_they_are(tmp_path: Path, content: str, sentence: str) -> None:
    journal = tmp_path / "pairs.jsonl"
    run_pairs(plan("true"), journal)
    head = journal.read_text().splitlines()[0]
    journal.write_text(content.replace("{head}", head))
    with pytest.raises((ResultsError, BadInputError), match=sentence):
        run_pairs(plan("true"), journal)
    assert journal.read_text() == content.replace("{head}", head)


def test_a_journal_of_another_plan_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "pairs.jsonl"
    run_pairs(plan("true"), journal)
    for other in (plan("exit 0"), plan("true", a="env SIDE=c"), plan("true", prepare="true")):
        with pytest.raises(ResultsError, match=r"has runs of another (command|a|prepare)"):
            run_pairs(other, journal)


# What goes wrong.


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"command": []}, "lacks the command to run"),
        ({"command": ["  "]}, "the command to run is empty"),
        ({"n_pairs": 0}, "pairs of runs are 1 to 10000, not 0"),
        (
            {"a": "no-such-program-here x"},
            "environment a begins with 'no-such-program-here', which is no program",
        ),
        ({"b": "env 'half"}, "environment b is no line of words"),
        ({"command": ["a\0b"]}, "zero byte"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(asked: dict[str, object], sentence: str) -> None:
    given = {"command": ["true"], "a": "", "b": "", "n_pairs": 1, **asked}
    with pytest.raises(BadInputError, match=sentence):
        make_plan(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (plan("echo why >&2; exit 3"), "run a of pair 1 failed with code 3: why"),
        (plan("test $SIDE = a"), "run b of pair 1 failed with code 1: it said nothing"),
        (plan("true", prepare="echo not yet >&2; false"), "failed before the command began: not yet"),
        (plan("true", directory="/nowhere/at/all"), "failed before the command began: .*/nowhere/at/all"),
        (plan("kill -KILL $$"), "run a of pair 1 failed by signal 9"),
        (plan("true", a="false"), "run a of pair 1 failed with code 1"),
        (plan("true", a="true"), "run a of pair 1 failed with code 0"),  # there is no shell behind it
    ],
)
def test_a_run_that_fails_says_which_and_why(asked: Plan, sentence: str) -> None:
    with pytest.raises(P2mperfError, match=sentence):
        run_pairs(asked)


def test_runs_before_a_failed_one_are_kept(tmp_path: Path) -> None:
    journal, flag = tmp_path / "pairs.jsonl", tmp_path / "flag"
    asked = plan(f"test $SIDE = a || test -e {flag}")
    with pytest.raises(P2mperfError, match="run b of pair 1 failed"):
        run_pairs(asked, journal)
    assert len(journal.read_text().splitlines()) == 2
    flag.touch()
    assert len(whole_pairs(run_pairs(asked, journal))) == 1


def test_an_interrupt_leaves_no_process_behind(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    # Written whole, and then moved to its name.
    asked = plan(f"sleep 600 & echo $! > {started}.new; mv {started}.new {started}; wait")

    def interrupt() -> None:
        while not started.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_pairs(asked)
    thread.join()
    # It was told to end together with its shell, whose end is all that is waited for.
    while state_of(int(started.read_text())) not in ("", "Z"):
        time.sleep(0.01)


def state_of(pid: int) -> str:
    """State of a process; "" for none. Who takes it over may be slow to bury it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
