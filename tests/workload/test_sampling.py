"""A sample has whole processes with all their events, and says what it was cut from and how it differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_pages
from made_recordings import CLONE_VM, USER, WRITE, Made

from p2mperf.cli import main
from p2mperf.errors import BadInputError
from p2mperf.workload.events import Event
from p2mperf.workload.recording import CpuCount, Recording
from p2mperf.workload.recording_file import read_recording, write_recording
from p2mperf.workload.sampling import (
    best_first,
    count_events,
    gap_histogram,
    gaps_ns,
    likeness,
    sample,
)

CLONE_THREAD = 0x10000
COLUMNS = ("time_ns", "cpu", "pid", "event", "value", "aux")


def counted(made: Made) -> Recording:
    recording = made.recording()
    counts = {int(cpu): CpuCount(int(n), 0, 0) for cpu, n in enumerate(np.bincount(recording.cpu)) if n}
    return replace(recording, about=replace(recording.about, cpus=counts))


def anonymous(made: Made, pid: int, page: int) -> None:
    made.fault(pid, page, WRITE | USER)
    made.data(pid, 100 + page)


@pytest.fixture
def build() -> Recording:
    """A shell (thread 1) that starts 2, 3 with its thread 5, and 4: 4, 3 and 2 faults each; 1 has 1."""
    made = Made()
    anonymous(made, 1, 1)
    made.add(Event.NEW_TASK, 1, 2, CLONE_VM)
    made.add(Event.SWITCH, 1, 2)
    made.add(Event.EXEC, 2, 2)
    for page in range(4):
        anonymous(made, 2, 20 + page)
    made.window(2, 1, 0, 16)
    made.add(Event.NEW_TASK, 1, 3, 0)
    made.add(Event.SWITCH, 2, 0)
    made.add(Event.SWITCH, 0, 3)
    made.add(Event.NEW_TASK, 1, 4, CLONE_VM)
    made.add(Event.NEW_TASK, 3, 5, CLONE_VM | CLONE_THREAD)
    for page in range(2):
        anonymous(made, 3, 30 + page)
    anonymous(made, 5, 33)
    made.window(3, 2, 0, 16)
    made.add(Event.EXEC, 4, 4)
    made.window(4, 2, 0, 16)
    made.window(4, 3, 0, 16)
    for page in range(2):
        anonymous(made, 4, 40 + page)
    for pid in (2, 5, 3, 4):
        made.add(Event.EXIT, pid, pid, 1)
    return counted(made)


def kept_of(build: Recording, first: int) -> Recording:
    return sample(build, 4, first)


def test_processes_stand_in_the_order_of_their_events(build: Recording) -> None:
    # Events: of 2: exec, 8 of faults, window, switch, exit = 12; of 3 with its thread 5: the switch from
    # nobody to 3, new thread, 4 + 2 of faults, window, 2 exits = 11; of 4: exec, 2 windows, 4, exit = 8;
    # of 1: 2, 3 new tasks, switch = 6.
    sizes = [kept_of(build, first).n_events for first in range(4)]
    assert sizes == [12, 11, 8, 6]
    assert sum(sizes) == build.n_events


def test_a_process_is_kept_with_all_its_threads(build: Recording) -> None:
    kept = kept_of(build, 1)
    # Thread 3 is the first that comes, 5 the second; the window's file is the only one.
    assert kept.pid.tolist() == [0, 1, 1, 1, 1, 1, 2, 2, 1, 2, 1]
    assert kept.value.tolist()[:2] == [1, 2]
    assert (kept.aux[kept.event == Event.MAP_PAGES] >> 32).tolist() == [1]
    assert kept.value[kept.event == Event.EXIT].tolist() == [2, 1]


def test_times_pages_and_frames_stay(build: Recording) -> None:
    kept = kept_of(build, 2)
    chosen = build.pid == 4
    for name in ("time_ns", "cpu", "event"):
        assert getattr(kept, name).tolist() == getattr(build, name)[chosen].tolist()
    is_fault = kept.event == Event.FAULT_USER
    assert kept.value[is_fault].tolist() == [40, 41]
    assert kept.value[kept.event == Event.ALLOC].tolist() == [140, 141]
    # Files 2 and 3 of the build are the first and the second of the sample.
    assert (kept.aux[kept.event == Event.MAP_PAGES] >> 32).tolist() == [1, 2]


def test_switches_to_what_is_not_kept_are_to_others(build: Recording) -> None:
    kept = kept_of(build, 3)
    is_switch = kept.event == Event.SWITCH
    assert kept.value[is_switch].tolist() == [0]
    # Children keep a number of their own, in the order in which they are made.
    assert kept.value[kept.event == Event.NEW_TASK].tolist() == [2, 3, 4]


def test_the_whole_is_counted(build: Recording) -> None:
    whole = kept_of(build, 1).about.whole
    assert whole is not None
    assert (whole.every, whole.first) == (4, 1)
    # Spaces begin with two programs (2 and 4) and one copy (3), which the shell has made.
    assert (whole.n_spaces, whole.n_kept_spaces) == (3, 0)
    assert whole.n_events == count_events(build)
    assert whole.n_events["FAULT_USER"] == 1 + 4 + 3 + 2
    assert sum(whole.n_faults.values()) == 10
    assert whole.n_faults["ANONYMOUS_WRITE"] == 10
    # One CPU: as many gaps as entries less one. Entries are 10 faults, 4 new tasks, 2 execs and 4 exits.
    assert sum(n for _, n in whole.gaps_ns) == 19


def test_gaps_are_from_entry_to_entry_on_one_cpu() -> None:
    made = Made(step_ns=10)
    made.fault(1, 1)  # 0, CPU 0
    made.cpu = 1
    made.fault(2, 1)  # 10, CPU 1
    made.add(Event.SWITCH, 2, 0)  # 20: no entry
    made.fault(2, 1)  # 30: 20 after the one before
    made.cpu = 0
    made.add(Event.BRK, 1)  # 40: 40 after the one before
    assert gaps_ns(made.recording()).tolist() == [40, 20]


def test_gaps_are_counted_four_classes_an_octave() -> None:
    # 4, 5, 6, 7, 8, 10, 12, 14, 16 ... are the bounds; 9 is in the class of 8, 11 in that of 10.
    assert gap_histogram(np.array([0, 3, 4, 5, 8, 9, 11, 1 << 45])) == (
        *((0, 2), (4, 1), (5, 1), (8, 2), (10, 1)),
        (1 << 45, 1),
    )
    assert gap_histogram(np.array([], np.int64)) == ()


def alike(n_processes: int, odd: int) -> Recording:
    """Processes that do the same, but for one that only brings files in."""
    made = Made()
    for pid in range(1, n_processes + 1):
        for page in range(10):
            if pid == odd:
                made.fault(pid, page, USER)
                made.window(pid, 1, page, 16)
            else:
                anonymous(made, pid, page)
    return counted(made)


def test_the_best_beginning_is_that_of_the_sample_that_is_most_like_the_whole() -> None:
    # Of 12 processes with as many events the fifth is odd: 1 of 12 windows. Samples of one in three have
    # four processes each; that with the fifth (number 4, 4 % 3 = 1) has a quarter of them, the others none.
    build = alike(12, odd=5)
    differences = [likeness(build, sample(build, 3, first)).deviation for first in range(3)]
    assert np.argmin(differences) == best_first(build, 3) != 1
    # 10 of 240 events are windows, 4.17 %; of the odd sample 10 of 80, 12.5 %: off by 8.33 points, and the
    # bound is 3 % of 4.17 %; the same goes for the share of faults of files, 1 of 12 against 1 of 4.
    odd = likeness(build, sample(build, 3, 1))
    assert odd.shares["MAP_PAGES"] == (10 / 240, 10 / 80)
    assert odd.shares["FILE_READ"] == (1 / 12, 1 / 4)
    assert odd.deviation == pytest.approx((1 / 4 - 1 / 12) / (0.03 / 12))
    assert any("MAP_PAGES: 12.50% of the sample, 4.17% of the whole" in each for each in odd.complaints)


def test_a_sample_like_the_whole_has_no_complaint() -> None:
    build = alike(12, odd=0)
    found = likeness(build, sample(build, 3, 0))
    assert found.complaints == []
    # Frames 100 to 109 follow each other within each process: 9 steps of 1 of 10, but for the last process.
    assert found.next_frame_share == ((12 * 9) / 119, (4 * 9) / 39)
    assert found.deviation <= 1


@pytest.mark.parametrize(
    ("every", "first", "complaint"),
    [
        (0, 0, "a whole number from 1"),
        (2.5, 0, "a whole number from 1"),
        (True, 0, "a whole number from 1"),
        (4, 4, "from 0 to 3"),
        (4, -1, "from 0 to 3"),
        (4, "0", "from 0 to 3"),
        (50, 49, "nothing is left of 4 processes"),
    ],
)
def test_what_is_no_sample_is_refused(build: Recording, every: Any, first: Any, complaint: str) -> None:
    with pytest.raises(BadInputError, match=complaint):
        sample(build, every, first)


def test_a_sample_is_not_sampled_again(build: Recording) -> None:
    with pytest.raises(BadInputError, match="a sample already"):
        sample(kept_of(build, 1), 2)
    with pytest.raises(BadInputError, match="this is none"):
        likeness(build, build)


def test_the_command_cuts_a_sample(
    build: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "whole.parquet", tmp_path / "sample.parquet"
    write_recording(build, source)
    command = ["trace", "sample", str(source), "--every", "4", "--out", str(out)]
    assert main([*command, "--strict"]) == 2
    assert "is unlike the whole, and was not written" in capsys.readouterr().err
    assert not out.exists()
    assert main([*command, "--first", "1", "--json"]) == 0
    shown, told = capsys.readouterr()
    assert json.loads(shown)["n_events"] == 11
    assert "unlike the whole: " in told
    found = read_recording(out)
    for name in COLUMNS:
        assert getattr(found, name).tolist() == getattr(kept_of(build, 1), name).tolist()
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*command, "--force", "--first", "best"]) == 0
    whole = read_recording(out).about.whole
    assert whole is not None
    assert whole.first == best_first(build, 4)


def test_the_command_says_what_a_recording_is(
    build: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording.parquet"
    write_recording(build, path)
    assert main(["trace", "info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "37 events of 5 threads" in text
    assert "made, not recorded: by a test" in text
    assert f"{path.stat().st_size} bytes, " in text
    assert main(["trace", "info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["events"]["NEW_TASK"] == 4
    assert found["faults"]["ANONYMOUS_WRITE"] == 10
    assert found["is_complete"] is True
    write_recording(kept_of(build, 1), path, force=True)
    assert main(["trace", "info", str(path)]) == 0
    assert "a sample: one process of 4 by their events, from number 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["info"], "the following arguments are required: FILE"),
        (["show", "x"], "invalid choice"),
        (["info", "x", "--out", "y"], "trace info writes nothing"),
        (["info", "x", "--every", "3"], "are about `trace sample`"),
        (["sample", "x", "--every", "3"], "name the file to write"),
        (["sample", "x", "--out", "y"], "--every K"),
        (["recover", "x", "--out", "y", "--strict"], "are about `trace sample`"),
        (["recover", "none", "--out", "y"], "is no raw trace"),
        (["info", "none"], "cannot read none"),
        (["sample", "none", "--every", "3", "--out", "y"], "cannot read none"),
    ],
)
def test_a_wrong_command_is_answered_in_a_sentence(
    words: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["trace", *words]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_what_a_killed_recorder_left_is_recovered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [raw_pages.page(1000, *[raw_pages.event("mmap/exit_mmap", 10, 10)] * 5)]
    raw_pages.write_trace(tmp_path / "raw", {0: pages}, {}, finished=False, until_ns=1035)
    out = tmp_path / "recovered.parquet"
    assert main(["trace", "recover", str(tmp_path / "raw"), "--out", str(out)]) == 0
    # Events at 1010, 1020 and 1030; up to 25 ns after the first the recorder had read everything.
    assert "3 events, complete up to 0.000 s, and nothing later" in capsys.readouterr().out
    assert read_recording(out).about.complete_until_ns == 25
    assert main(["trace", "recover", str(tmp_path / "raw"), "--out", str(out), "--json"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["trace", "recover", str(tmp_path / "raw"), "--out", str(out), "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete_until_ns"] == 25
    assert main(["trace", "info", str(out)]) == 0
    text = capsys.readouterr().out
    assert "complete up to 0.000 s" in text
    assert "what it took is not known" in text


def test_a_first_that_is_no_number_is_refused(
    build: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recording(build, tmp_path / "a")
    words = ["trace", "sample", str(tmp_path / "a"), "--every", "4", "--first", "worst", "--out"]
    assert main([*words, str(tmp_path / "b")]) == 2
    assert "or best, not 'worst'" in capsys.readouterr().err
