"""SIGKILL of the recorder, beside a second instance that saw everything: nothing stays, nothing is short."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest
from naive_pages import Fields, Payload, payloads
from trace_texts import needs_tracefs

from p2mperf.errors import BadInputError
from p2mperf.workload.decode import decode
from p2mperf.workload.raw_trace import read_progress, read_raw_trace
from p2mperf.workload.trace_instance import Instance
from p2mperf.workload.tracefs import find_tracefs, own_instance

SECONDS = 15.0
# Two instances ask the clock one after the other for one and the same event.
SLACK_NS = 2_000_000
COMPILER = "cc -x c -c -o /dev/null -" if shutil.which("cc") else "sort"
LOOP = f'until [ -e "$2" ]; do ls -l / > /dev/null; echo "int one;" | {COMPILER}; done > /dev/null'
WORK = f'read -r go < "$1"; {LOOP}'
CALL = "from p2mperf.workload.recorder import record_raw; record_raw(sys.argv[2:], Path(sys.argv[1]))"


def wait_for(what: str, is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, f"{what} within {SECONDS} s"
        time.sleep(0.01)


def everything(instance: Instance) -> dict[int, list[Payload]]:
    """What an instance that was large enough has of each CPU."""
    found = {}
    for cpu in instance.cpus():
        assert instance.stats(cpu).n_lost == 0
        pipe, content = instance.open_pipe(cpu), bytearray()
        try:
            while True:
                content += os.read(pipe, 4096)
        except BlockingIOError:
            found[cpu] = list(payloads(bytes(content)))
        finally:
            os.close(pipe)
    return found


def kill_after(seconds: float, directory: Path, group: bool) -> tuple[dict[int, list[Payload]], int]:
    """Record, kill the recorder, let the command end; what a second instance saw, and the recorder's pid."""
    gate, stop, raw = directory / "gate", directory / "stop", directory / "raw"
    os.mkfifo(gate)
    command = ["sh", "-c", WORK, "sh", str(gate), str(stop)]
    program = f"import sys; from pathlib import Path; {CALL}"
    recorder = subprocess.Popen([sys.executable, "-c", program, str(raw), *command], start_new_session=True)
    with own_instance(64 << 20) as observer:
        with open(gate, "w") as go:  # once the command is there to read from it
            root = read_about(raw)
            observer.follow(root)
            observer.switch(True)
            go.write("go\n")
        time.sleep(seconds)
        (os.killpg if group else os.kill)(recorder.pid, signal.SIGKILL)
        assert recorder.wait() == -signal.SIGKILL
        time.sleep(0.05)
        stop.touch()
        wait_for("the command ends", lambda: not Path(f"/proc/{root}").exists())
        observer.switch(False)
        return everything(observer), recorder.pid


def read_about(raw: Path) -> int:
    return int(json.loads((raw / "trace.json").read_text())["root_pid"])


def _is_gone(pid: int) -> bool:
    return not instances_of(pid)


def instances_of(pid: int) -> list[Path]:
    root = find_tracefs()
    assert root is not None
    return list((root / "instances").glob(f"p2mperf-*-{pid}-*"))


def check(directory: Path, seconds: float, group: bool = False) -> float:
    """Kill, check, and tell how much of what there was is in what is left."""
    mounts = Path("/proc/mounts").read_text()
    seen, recorder = kill_after(seconds, directory, group)
    wait_for("its instance is gone", lambda: not instances_of(recorder))
    assert Path("/proc/mounts").read_text() == mounts
    if min(read_progress(directory / "raw", cpu)[1] for cpu in seen) == 0:
        with pytest.raises(BadInputError, match="nothing to recover"):
            read_raw_trace(directory / "raw")
        return 0.0
    raw = read_raw_trace(directory / "raw")
    assert not raw.finished
    until_ns, fields, n_kept, n_all = raw.complete_until_ns, Fields(raw.formats), 0, 0
    assert until_ns == min(read_progress(raw.directory, cpu)[1] for cpu in raw.cpu_numbers)
    for cpu in raw.cpu_numbers:
        content = raw.path_of(cpu).read_bytes()[: raw.whole_bytes(cpu)]
        kept = [each for each in payloads(content) if each.time_ns <= until_ns]
        n_kept += len(kept)
        n_all += len(seen[cpu])
        # The observer came when the command was there already, and stayed.
        common = [each for each in kept if seen[cpu] and each.time_ns > seen[cpu][0].time_ns - SLACK_NS]
        ours, theirs = [fields.of(each) for each in common], [fields.of(each) for each in seen[cpu]]
        n_before = next(
            (k for k in range(len(ours)) if ours[k : k + 50] == theirs[: len(ours) - k][:50]), len(ours)
        )
        assert ours[n_before:] == theirs[: len(ours) - n_before]
        n_due = sum(each.time_ns < until_ns - SLACK_NS for each in seen[cpu])
        assert len(ours) - n_before >= n_due
    if n_kept:
        assert decode(raw).n_events == n_kept
        assert decode(raw).about.complete_until_ns >= 0
    return n_kept / n_all


@needs_tracefs
def test_a_killed_recorder_leaves_no_instance_and_a_true_beginning(tmp_path: Path) -> None:
    assert check(tmp_path, 0.15) > 0


@needs_tracefs
@pytest.mark.slow
def test_twenty_kills_at_any_time(tmp_path: Path, tell: Callable[[object], None]) -> None:
    random, shares = Random(13), []
    for k in range(20):
        (tmp_path / str(k)).mkdir()
        shares.append(check(tmp_path / str(k), random.uniform(0, 0.6), group=k % 2 == 1))
    n_recovered = sum(share > 0 for share in shares)
    assert n_recovered > 0
    of_all = f"{min(shares):.2f} to {max(shares):.2f} of all events"
    tell(f"20 kills of a recorder: {n_recovered} recovered, with {of_all}")


@needs_tracefs
@pytest.mark.slow
def test_a_recorder_that_is_killed_as_it_begins_runs_nothing(tmp_path: Path) -> None:
    mark, random, n_run = tmp_path / "mark", Random(14), 0
    for k in range(20):
        program = f"import sys; from pathlib import Path; {CALL}"
        command = [sys.executable, "-c", program, str(tmp_path / str(k)), "touch", str(mark)]
        recorder = subprocess.Popen(command, start_new_session=True)
        time.sleep(random.uniform(0, 0.6))
        recorder.kill()
        recorder.wait()
        wait_for("its instance is gone", partial(_is_gone, recorder.pid))
        n_run += mark.exists()
        mark.unlink(missing_ok=True)
    assert n_run < 20  # some were killed before they let it go


@needs_tracefs
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_what_was_mounted_for_it_is_unmounted(tmp_path: Path) -> None:
    place = tmp_path / "tracing"
    place.mkdir()
    with own_instance(256 << 10, [str(place)]) as instance:
        assert instance.path.parent == place / "instances"
        assert str(place) in Path("/proc/mounts").read_text()
    assert str(place) not in Path("/proc/mounts").read_text()
    program = (
        "import sys, time; from p2mperf.workload.tracefs import own_instance\n"
        "with own_instance(1 << 18, sys.argv[1:]): print('there', flush=True); time.sleep(60)"
    )
    recorder = subprocess.Popen([sys.executable, "-c", program, str(place)], stdout=subprocess.PIPE)
    assert recorder.stdout is not None
    assert recorder.stdout.readline() == b"there\n"
    assert str(place) in Path("/proc/mounts").read_text()
    recorder.kill()
    recorder.communicate()
    wait_for("it is unmounted", lambda: str(place) not in Path("/proc/mounts").read_text())
    assert not instances_of(recorder.pid)
