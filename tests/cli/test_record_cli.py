"""`record`: what is recorded into a file, what it costs, and counts alone where nothing can be recorded."""

from __future__ import annotations

import json
import os
import signal
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import log
from pathlib import Path
from threading import Timer

import pytest
from played_kernel import PAGE, PlayedKernel
from trace_texts import COMMON, needs_tracefs

import p2mperf
from p2mperf.analysis.statistics import ratio_interval
from p2mperf.cli import main
from p2mperf.errors import BadInputError
from p2mperf.study import recording_cost
from p2mperf.study.recording_cost import Cost, Pair
from p2mperf.workload import counts, recorder, running
from p2mperf.workload.raw_trace import read_raw_trace, write_progress, write_raw_trace
from p2mperf.workload.recording import Usage
from p2mperf.workload.recording_file import read_recording
from p2mperf.workload.trace_instance import CpuStats, NoTracingError

FAULT_ID = 190
FAULT = f"name: page_fault_user\nID: {FAULT_ID}\nformat:\n{COMMON}" + (
    "\tfield:unsigned long address;\toffset:8;\tsize:8;\tsigned:0;\n"
    "\tfield:unsigned long ip;\toffset:16;\tsize:8;\tsigned:0;\n"
    "\tfield:unsigned long error_code;\toffset:24;\tsize:8;\tsigned:0;\n"
)
PAGE_HEADER = (
    "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    "\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n"
)


def page_of_faults(pid: int, *addresses: int, lost: bool = False, start_ns: int = 1000) -> bytes:
    """A sub-buffer with faults one nanosecond apart."""
    events = b""
    for address in addresses:
        head = 8 | 1 << 5  # eight words of payload, one nanosecond after what was before
        payload = struct.pack("<HBBi3Q", FAULT_ID, 0, 0, pid, address, 0, 6)
        events += struct.pack("<I", head) + payload
    return (struct.pack("<QQ", start_ns, len(events) | lost << 31) + events).ljust(PAGE, b"\0")


class Faulting(PlayedKernel):
    """A kernel whose command has faults on CPU 0."""

    formats = {"exceptions/page_fault_user": FAULT}  # noqa: RUF012
    header_page = PAGE_HEADER

    def __init__(self) -> None:
        super().__init__(1)
        self.n_faults = 3
        self.is_lossy = False

    def follow(self, pid: int) -> None:
        super().follow(pid)
        self.on = [page_of_faults(pid, *(0x1000 * (k + 1) for k in range(self.n_faults)))]
        if self.is_lossy:
            self.on[0] += page_of_faults(pid, 0x9000, lost=True, start_ns=9000)

    def stats(self, cpu: int) -> CpuStats:
        return CpuStats(self.n_faults + self.is_lossy, 0, 5 * self.is_lossy, 0, 0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Faulting]:
    made: list[Faulting] = [Faulting()]

    @contextmanager
    def own_instance(buffer_bytes: int, places: Sequence[str]) -> Iterator[Faulting]:
        made[0].switched.clear()
        yield made[0]

    monkeypatch.setattr(recorder, "own_instance", own_instance)
    monkeypatch.setattr(recorder, "machine_card", dict)
    monkeypatch.chdir(tmp_path)
    yield made[0]
    made[0].close()


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: object) -> None:
        raise NoTracingError("tracefs at /t is for root only: run this as root")

    monkeypatch.setattr(recorder, "own_instance", refuse)
    monkeypatch.chdir(tmp_path)


def there() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


# ---- what is recorded ----


def test_a_command_becomes_a_file(kernel: Faulting, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--out", "x.parquet", "--", "echo", "hello"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("hello\n")
    assert out.split("\n")[2].split() == ["fault", "user", "3"]
    assert "3 events, 0 lost; x.parquet has" in out
    assert "recording" in err
    found = read_recording("x.parquet")
    assert (found.value.tolist(), found.about.tool) == ([1, 2, 3], "echo")  # pages of 0x1000, 0x2000, 0x3000
    assert there() == ["x.parquet"]


def test_as_json(kernel: Faulting, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--json", "-q", "--", "echo", "hello"]) == 0
    out, err = capfd.readouterr()
    said = json.loads(out)
    assert err == "hello\n"  # what the command writes is not mixed with data
    assert (said["n_events"], said["events"], said["n_lost"]) == (3, {"FAULT_USER": 3}, 0)
    assert said["out"] == "recording.parquet"
    assert said["n_bytes"] == Path("recording.parquet").stat().st_size
    assert said["n_raw_bytes"] == PAGE
    assert said["usage"]["exit_code"] == 0


@pytest.mark.parametrize(
    ("script", "said"),
    [("exit 3", "the command ended with code 3"), ("kill -9 $$", "the command ended by signal 9")],
)
def test_a_command_that_fails_is_recorded_all_the_same(
    kernel: Faulting, capfd: pytest.CaptureFixture[str], script: str, said: str
) -> None:
    assert main(["record", "-q", "--", "sh", "-c", script]) == 1
    assert f"p2mperf: {said}: recording.parquet has what it did until then\n" in capfd.readouterr().err
    assert read_recording("recording.parquet").n_events == 3


def test_what_was_lost_is_said_and_nothing_after_it_is_kept(
    kernel: Faulting, capfd: pytest.CaptureFixture[str]
) -> None:
    kernel.is_lossy = True
    assert main(["record", "-q", "--", "true"]) == 1
    said = "recording.parquet is complete up to 0.000 s and ends there; raise --buffer"
    assert capfd.readouterr().err == f"p2mperf: 5 events were lost: {said}\n"
    found = read_recording("recording.parquet")
    # Faults at 1001, 1002 and 1003 ns; that of the second page came after the loss.
    assert (found.n_events, found.about.complete_until_ns) == (3, 2)


def test_after_ctrl_c_what_there_is_is_kept(
    kernel: Faulting, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_FORWARD_S", 0.01)
    Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert main(["record", "-q", "--", "sleep", "30"]) == 130
    assert capfd.readouterr().err.endswith(
        "p2mperf: interrupted: recording.parquet has what was recorded until then\n"
    )
    assert read_recording("recording.parquet").n_events == 3


def test_raw_traces_are_kept_where_they_are_asked_for(kernel: Faulting) -> None:
    assert main(["record", "-q", "--keep-raw", "a/raw", "--", "true"]) == 0
    assert read_raw_trace("a/raw").n_read == 3
    assert there() == ["a", "recording.parquet"]


def test_what_cannot_be_decoded_is_kept(kernel: Faulting, capfd: pytest.CaptureFixture[str]) -> None:
    kernel.n_faults = 0
    assert main(["record", "-q", "--", "true"]) == 2
    assert (
        "p2mperf: what was recorded is in recording.parquet.raw: `python -m p2mperf trace recover`"
        in capfd.readouterr().err
    )
    assert there() == ["recording.parquet.raw"]


def test_recordings_of_the_api(kernel: Faulting) -> None:
    found = p2mperf.record(["true"], "x.parquet", buffer="1M")
    assert found.value.tolist() == [1, 2, 3]
    with pytest.raises(BadInputError, match="is there already"):
        p2mperf.record(["true"], "x.parquet")
    kernel.n_faults = 2
    assert p2mperf.record(["false"], Path("x.parquet"), force=True).about.usage.exit_code == 1
    assert read_recording("x.parquet").n_events == 2


@needs_tracefs
def test_a_real_command_becomes_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "record",
                "--json",
                "--out",
                str(tmp_path / "x.parquet"),
                "--",
                "sh",
                "-c",
                "/bin/true; /bin/true",
            ]
        )
        == 0
    )
    said = json.loads(capfd.readouterr().out)
    assert said["n_lost"] == 0
    assert (
        said["n_events"] == sum(said["events"].values()) == sum(cpu["read"] for cpu in said["cpus"].values())
    )
    assert said["events"]["EXEC"] == 3  # sh, and two programs
    n_faults = said["events"]["FAULT_USER"] + said["events"]["FAULT_KERNEL"]
    assert n_faults > 3 * 20


# ---- what is refused ----


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "record: it lacks the command to run: give it after --"),
        (["make"], "a command comes after --: write `python -m p2mperf record -q -- make`"),
        (["--"], "record: it lacks the command to run"),
        (["--out", "--", "true"], "record: argument --out: expected one argument"),
        (["--", "no-such-program"], "there is no program 'no-such-program' to run"),
        (["--out", "x.json", "--", "true"], "a file that ends in .parquet, not to x.json"),
        (["--out", "there.parquet", "--", "true"], "there.parquet is there already"),
        (["--out", "dir.parquet", "--force", "--", "true"], "dir.parquet is no file that could be replaced"),
        (["--out", "left.parquet", "--", "true"], "left.parquet.raw is left of a recording that did not end"),
        (["--out", "strange.parquet", "--force", "--", "true"], "strange.parquet.raw is not removed: 'file'"),
        (["--buffer", "1K", "--", "true"], "a buffer of each CPU has from 64K to 4G, not 1K"),
        (["--buffer", "much", "--", "true"], "'much' is not a size"),
        (["--overhead", "0", "--", "true"], "--overhead must be a whole number from 1 on, not 0"),
        (["--overhead", "x", "--", "true"], "record: argument --overhead: invalid int value: 'x'"),
        (["--keep-raw", ".", "--", "true"], ". is not empty: name a directory that is new"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_mistakes_are_a_sentence(
    kernel: Faulting, capfd: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    Path("there.parquet").write_text("mine")
    Path("dir.parquet").mkdir()
    for name in ("left", "strange"):
        Path(f"{name}.parquet.raw").mkdir()
    Path("left.parquet.raw", "trace.json").touch()
    Path("strange.parquet.raw", "file").touch()
    before = there()
    assert main(["record", "-q", *arguments]) == 2
    assert said in capfd.readouterr().err
    assert there() == before
    assert Path("there.parquet").read_text() == "mine"
    assert kernel.followed == []


def test_what_is_left_is_thrown_away_when_asked(kernel: Faulting) -> None:
    Path("recording.parquet.raw").mkdir()
    for name in ("trace.json", "progress", "cpu0.raw", "cpu17.raw"):
        Path("recording.parquet.raw", name).touch()
    assert main(["record", "-q", "--force", "--", "true"]) == 0
    assert there() == ["recording.parquet"]


# ---- counts alone ----


def test_without_tracefs_there_are_counts(no_kernel: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--", "sh", "-c", "echo hello; exit 3"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("hello\ncounts only")
    assert "is for root only: run this as root; counts only: no event was recorded, and nothing can be" in err
    kept = json.loads(Path("recording.json").read_text())
    assert kept["format"] == "p2mperf-counts"
    assert kept["note"].startswith("counts only")
    assert kept["usage"]["exit_code"] == 3
    assert kept["usage"]["n_minor_faults"] > 0
    assert there() == ["recording.json"]


def test_a_command_is_counted_when_tracefs_refuses_it_at_the_last_moment(
    kernel: Faulting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> None:
        raise NoTracingError("tracefs refuses set_event_pid: Invalid argument")

    monkeypatch.setattr(kernel, "follow", refuse)
    assert main(["record", "-q", "--", "sh", "-c", "echo >> ran"]) == 0
    assert Path("ran").read_text() == "\n"  # once
    assert there() == ["ran", "recording.json"]


def test_what_a_killed_recorder_left_becomes_a_file(kernel: Faulting) -> None:
    assert main(["record", "-q", "--keep-raw", "raw", "--", "true"]) == 0
    raw = read_raw_trace("raw")
    write_raw_trace(replace(raw, finished=False, cpus={}, usage=None))
    descriptor = os.open("raw/progress", os.O_WRONLY)
    write_progress(descriptor, 0, PAGE, 1002)
    os.close(descriptor)
    assert main(["trace", "recover", "raw", "--out", "y.parquet", "-q"]) == 0
    # Faults at 1001, 1002 and 1003 ns: the last is not sure to be all.
    found = read_recording("y.parquet")
    assert (found.value.tolist(), found.about.complete_until_ns) == ([1, 2], 1)


def test_counts_as_json(no_kernel: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--json", "-q", "--", "true"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["tool"], said["usage"]["exit_code"]) == ("true", 0)
    with pytest.raises(NoTracingError):
        p2mperf.record(["true"])


def test_counts_of_the_machine_are_what_grew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(["pgfault 10\npgalloc_normal 5\nnr_dirty 7\n", "pgfault 25\npgalloc_normal 5\nnr_dirty 9\n"])
    stats = iter(["cpu 1\nctxt 100\nprocesses 3\n", "cpu 2\nctxt 140\nprocesses 4\n"])
    monkeypatch.setattr(
        counts, "read_text", lambda root, name: next(texts if name == "proc/vmstat" else stats)
    )
    monkeypatch.setattr(counts, "machine_card", dict)
    found = counts.count(["true"], "because")
    assert found.of_machine == {"pgfault": 15, "pgalloc_normal": 0, "ctxt": 40, "processes": 1}


def test_costs_need_a_recording(no_kernel: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "-q", "--overhead", "1", "--", "true"]) == 1
    assert capfd.readouterr().err == "p2mperf: tracefs at /t is for root only: run this as root\n"
    assert there() == []


# ---- what recording costs ----


def pair(plain_s: float, recorded_s: float, n_events: int = 1000) -> Pair:
    plain, recorded = (Usage(2 * each, each, each / 4, 5, 0, 0) for each in (plain_s, recorded_s))
    return Pair(plain, recorded, n_events, 0)


def test_ratios_are_paired() -> None:
    cost = Cost((pair(1.0, 1.1), pair(2.0, 2.4), pair(1.5, 1.5)))
    assert cost.ratio("user + system") == ratio_interval([log(1.1), log(1.2), log(1.0)])
    # System time is a quarter: (0.1 + 0.4 + 0) / 4 s more, over 3000 events.
    assert cost.system_ns_per_event == pytest.approx(0.5 / 4 / 3000 * 1e9)


def test_what_took_no_time_has_no_ratio() -> None:
    assert Cost((pair(1.0, 1.1), pair(0.0, 1.0))).ratio("system") is None


def test_runs_are_in_abba_order(kernel: Faulting, tmp_path: Path) -> None:
    said: list[tuple[int, str]] = []
    cost = recording_cost.recording_cost(
        ["true"], 3, tmp_path / "raw", 1 << 20, lambda n_done, what: said.append((n_done, what))
    )
    assert [what for _, what in said] == ["plain", "recorded", "recorded", "plain", "plain", "recorded"]
    assert [n_done for n_done, _ in said] == list(range(6))
    assert [each.n_events for each in cost.pairs] == [3, 3, 3]
    assert len(kernel.followed) == 3
    assert there() == []


def test_costs_are_shown(kernel: Faulting, capfd: pytest.CaptureFixture[str]) -> None:
    # Long enough for the clock of CPU times, which counts microseconds.
    spin = ["sh", "-c", "for each in 1 2 3 4 5; do /bin/true; done"]
    assert main(["record", "--overhead", "2", "--json", "--", *spin]) == 0
    out, err = capfd.readouterr()
    overhead = json.loads(out)["overhead"]
    assert len(overhead["pairs"]) == 2
    assert set(overhead["ratios"]) == {"elapsed", "user + system", "user", "system"}
    assert overhead["ratios"]["elapsed"]["estimate"] > 0
    assert "0 of 4 runs" in err
    assert main(["record", "--overhead", "1", "--force", "-q", "--", *spin]) == 0
    assert "one pair has no interval" in capfd.readouterr().out


def test_a_raw_trace_that_was_there_is_not_taken_for_that_of_a_cost(kernel: Faulting) -> None:
    assert main(["record", "-q", "--keep-raw", "raw", "--", "true"]) == 0
    assert (
        main(["record", "-q", "--keep-raw", "raw", "--overhead", "1", "--out", "y.parquet", "--", "true"])
        == 2
    )
    assert read_raw_trace("raw").n_read == 3


def test_a_command_that_fails_has_no_cost(kernel: Faulting, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--overhead", "2", "-q", "--", "false"]) == 1
    assert "the command failed with code 1, and its times say nothing" in capfd.readouterr().err
    assert there() == []
