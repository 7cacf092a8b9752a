"""The recorder: over a kernel that is played here on any machine, and over the real one where root has it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import NamedTuple

import pytest
from played_kernel import PAGE, PlayedKernel
from trace_texts import needs_tracefs

from p2mperf.errors import BadInputError, DoesNotFitError, P2mperfError
from p2mperf.workload import recorder, running
from p2mperf.workload.raw_trace import RawCpu, RawTrace, read_raw_trace
from p2mperf.workload.recorder import Look, RawRun, record_raw
from p2mperf.workload.running import Running
from p2mperf.workload.trace_instance import CpuStats, NoTracingError


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedKernel]:
    made = PlayedKernel()

    @contextmanager
    def own_instance(buffer_bytes: int, places: Sequence[str]) -> Iterator[PlayedKernel]:
        yield made

    monkeypatch.setattr(recorder, "own_instance", own_instance)
    monkeypatch.setattr(recorder, "machine_card", dict)
    monkeypatch.setattr(recorder, "_LOOK_S", 0.01)
    yield made
    made.close()


def pages(n: int, letter: bytes) -> bytes:
    return letter * (n * PAGE)


def recorded(tmp_path: Path, *command: str) -> RawRun:
    return record_raw(command or ("true",), tmp_path / "raw")


# ---- what is recorded ----


def test_each_cpu_has_a_file_of_all_that_its_buffer_gave(tmp_path: Path, kernel: PlayedKernel) -> None:
    kernel.on, kernel.off = [pages(3, b"a"), b""], [pages(1, b"b"), pages(2, b"c")]
    run = recorded(tmp_path)
    assert run.raw.path_of(0).read_bytes() == pages(3, b"a") + pages(1, b"b")
    assert run.raw.path_of(1).read_bytes() == pages(2, b"c")
    assert run.raw.cpus == {0: RawCpu(100, 0, 0, 0), 1: RawCpu(101, 0, 0, 0)}
    assert (run.raw.finished, run.raw.complete_until_ns, run.stopped) == (True, -1, "")
    assert read_raw_trace(tmp_path / "raw") == run.raw


def test_a_command_begins_when_it_is_followed_and_recorded(tmp_path: Path, kernel: PlayedKernel) -> None:
    mark = tmp_path / "mark"
    before: list[bool] = []
    switch = kernel.switch

    def look_and_switch(on: bool) -> None:
        time.sleep(0.05)
        before.append(mark.exists())
        switch(on)

    kernel.switch = look_and_switch  # type: ignore[method-assign]
    run = recorded(tmp_path, "touch", str(mark))
    assert before[0] is False
    assert mark.exists()
    assert kernel.followed == [run.raw.root_pid]
    assert kernel.switched[:2] == [True, False]


def test_it_tells_how_far_it_is(tmp_path: Path, kernel: PlayedKernel) -> None:
    kernel.on = [pages(3, b"a"), b""]
    looks: list[Look] = []
    record_raw(["sleep", "0.2"], tmp_path / "raw", tell=looks.append)
    assert looks[-1].n_events == 100 + 101
    assert looks[-1].n_bytes == 3 * PAGE
    assert looks == sorted(looks, key=lambda look: look.elapsed_s)


def test_the_command_line_stays_with_its_user(tmp_path: Path, kernel: PlayedKernel) -> None:
    run = recorded(tmp_path, "/bin/sh", "-c", ": secret")
    assert run.raw.tool == "sh"
    assert "secret" not in (tmp_path / "raw" / "trace.json").read_text()


def test_losses_are_told(tmp_path: Path, kernel: PlayedKernel) -> None:
    kernel.lost = 7
    assert recorded(tmp_path).raw.n_lost == 2 * 7


# ---- how commands end ----


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("exec /nothing/there 2>&-", 127)]
)
def test_what_became_of_the_command_is_told(
    tmp_path: Path, kernel: PlayedKernel, script: str, code: int
) -> None:
    usage = recorded(tmp_path, "sh", "-c", script).raw.usage
    assert usage is not None
    assert usage.exit_code == code
    assert usage.n_minor_faults > 0


def test_a_command_is_not_left_without_sigpipe(tmp_path: Path, kernel: PlayedKernel) -> None:
    # Python ignores SIGPIPE; a shell that inherited that could not even set it back.
    usage = recorded(tmp_path, "sh", "-c", "kill -PIPE $$; exit 3").raw.usage
    assert usage is not None
    assert usage.exit_code == -signal.SIGPIPE


def test_a_command_has_no_descriptor_of_ours(tmp_path: Path, kernel: PlayedKernel) -> None:
    listed = tmp_path / "listed"
    recorded(
        tmp_path,
        sys.executable,
        "-ISc",
        f"import os; open({str(listed)!r}, 'w').write(' '.join(os.listdir('/proc/self/fd')))",
    )
    handed_on = {each for each in os.listdir("/proc/self/fd") if is_inheritable(int(each))}
    # What this process was itself started with is the command's too; 3 and 4 are its own file and listing.
    assert set(listed.read_text().split()) <= {"0", "1", "2", "3", "4", *handed_on}


def is_inheritable(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # of the listing itself
        return False


def test_its_output_goes_where_it_is_told(tmp_path: Path, kernel: PlayedKernel) -> None:
    with open(tmp_path / "said", "w") as file:
        record_raw(["echo", "hello"], tmp_path / "raw", stdout=file.fileno())
    assert (tmp_path / "said").read_text() == "hello\n"


def test_ctrl_c_is_the_commands_to_answer(
    tmp_path: Path, kernel: PlayedKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_FORWARD_S", 0.05)  # a terminal would have told it at once
    kernel.on = [pages(1, b"a"), b""]
    Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    run = recorded(tmp_path, "sleep", "30")
    assert run.is_interrupted
    assert run.raw.usage is not None
    assert run.raw.usage.exit_code == -signal.SIGINT
    assert run.raw.finished
    assert run.raw.path_of(0).read_bytes() == pages(1, b"a")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_ends_a_command_that_does_not_listen(
    tmp_path: Path, kernel: PlayedKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_FORWARD_S", 0.01)
    for seconds in (0.2, 0.4):
        Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
    run = recorded(tmp_path, "sh", "-c", "trap '' INT; exec sleep 30")
    assert run.raw.usage is not None
    assert (run.is_interrupted, run.raw.usage.exit_code) == (True, -signal.SIGKILL)


def test_a_command_that_was_not_let_go_does_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    held = Running(["touch", str(mark)])
    held.give_up()
    assert not mark.exists()


# ---- what goes wrong ----


def test_a_file_that_cannot_be_written_ends_the_recording_and_not_the_command(
    tmp_path: Path, kernel: PlayedKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.on = [pages(3, b"a"), pages(1, b"b")]
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) == 3 * PAGE and descriptor not in {end for _, end in kernel.pipes}:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", full)
    run = recorded(tmp_path, "sh", "-c", "sleep 0.2; exit 5")
    assert run.stopped == "CPU 0 could not be read or written on: No space left on device"
    assert run.raw.usage is not None
    assert run.raw.usage.exit_code == 5
    # What came when it was switched on is lost: it may be complete until then, and no longer.
    assert 0 <= run.raw.complete_until_ns < kernel.began_ns
    assert run.raw.whole_bytes(0) == 0


def test_the_last_of_the_disk_is_not_taken(
    tmp_path: Path, kernel: PlayedKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    left = iter([4 << 30, 4 << 30, 100 << 20])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(next(left, 0)))
    began_ns = time.monotonic_ns()
    run = recorded(tmp_path, "sleep", "0.3")
    assert run.stopped == "the disk has less than 512M left"
    assert began_ns < run.raw.complete_until_ns < time.monotonic_ns()
    assert kernel.switched[:2] == [True, False]


def test_no_recording_begins_without_room(
    tmp_path: Path, kernel: PlayedKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int = 1 << 20

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage())
    with pytest.raises(DoesNotFitError, match="has 1M left, and a recording begins with 1G at least"):
        recorded(tmp_path, "touch", str(tmp_path / "mark"))
    assert not (tmp_path / "mark").exists()


def test_nothing_is_written_into_what_is_there(tmp_path: Path, kernel: PlayedKernel) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "file").touch()
    with pytest.raises(BadInputError, match="is not empty: name a directory that is new"):
        recorded(tmp_path)
    with pytest.raises(BadInputError, match=r"cannot write a raw trace to .*: File exists"):
        record_raw(["true"], tmp_path / "raw" / "file")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((), "a command is a list of words"),
        ("make", "a command is a list of words"),
        (("make", 2), "a command is a list of words"),
        (5, "a command is a list of words"),
        (None, "a command is a list of words"),
        (("nothing-of-this-name",), "there is no program 'nothing-of-this-name' to run"),
        (("-x",), "there is no program '-x' to run"),
        (("true", "a\0b"), "no program can be told 'a"),
        (("true", "a\ud800b"), "no program can be told 'a"),
        (("",), "there is no program '' to run"),
    ],
    ids=["empty-list", "text", "number-in-it", "number", "none", "unknown", "option", "nul", "half", "empty"],
)
def test_what_is_no_command_is_refused_before_anything(
    tmp_path: Path, kernel: PlayedKernel, command: Sequence[str], said: str
) -> None:
    with pytest.raises(BadInputError, match=said):
        record_raw(command, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("n_bytes", [0, 1000, 1 << 40])
def test_a_buffer_that_makes_no_sense_is_refused(tmp_path: Path, kernel: PlayedKernel, n_bytes: int) -> None:
    with pytest.raises(BadInputError, match="a buffer of each CPU has from 64K to 4G"):
        record_raw(["true"], tmp_path / "raw", buffer_bytes=n_bytes)


def test_what_fails_while_it_looks_ends_everything(tmp_path: Path, kernel: PlayedKernel) -> None:
    def fail(look: Look) -> None:
        raise BadInputError("mine")

    with pytest.raises(BadInputError, match="mine"):
        record_raw(["sleep", "30"], tmp_path / "raw", tell=fail)
    assert kernel.switched[-1] is False
    with pytest.raises(ProcessLookupError):
        os.kill(kernel.followed[0], 0)


def test_a_tracefs_that_fails_later_is_no_reason_to_run_again(tmp_path: Path, kernel: PlayedKernel) -> None:
    def fail(cpu: int) -> CpuStats:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "stats")

    kernel.stats = fail  # type: ignore[method-assign]
    with pytest.raises(
        P2mperfError, match="broke off while the command ran: Input/output error of stats"
    ) as e:
        recorded(tmp_path)
    assert not isinstance(e.value, NoTracingError)


# ---- the kernel itself ----


def sizes(raw: RawTrace) -> list[int]:
    return [raw.whole_bytes(cpu) for cpu in raw.cpu_numbers]


@needs_tracefs
def test_a_real_command_is_recorded(tmp_path: Path) -> None:
    run = record_raw(["sh", "-c", "/bin/true; /bin/true"], tmp_path / "raw", buffer_bytes=1 << 20)
    assert run.raw.n_lost == 0
    # sh and two programs: each of them has more faults than that.
    assert run.raw.n_read > 3 * 20
    assert all(n_bytes % PAGE == 0 for n_bytes in sizes(run.raw))
    assert sum(sizes(run.raw)) >= run.raw.n_read * 12  # an event has 4 bytes and a payload of 8 at least
