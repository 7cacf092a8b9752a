from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest
from fault_streams import fault_stream

import p2mperf
from benchmarks import memory, paired, recording, twin_library
from benchmarks.__main__ import NAMES, main
from benchmarks.build import first_touch
from benchmarks.effort import Effort
from benchmarks.entries import EntryTwin
from benchmarks.replays import ReplayTwin
from benchmarks.report import Criterion, Report
from benchmarks.take import _list_array, _take
from p2mperf import kernels
from p2mperf.guests.extents import Extents
from p2mperf.guests.guest import Guest
from p2mperf.measure.operations.entry import Entry
from p2mperf.measure.replay import Replayer, condition_of
from p2mperf.measure.replay_kernels import replay
from p2mperf.preambles import Preamble
from p2mperf.streams import make_stream
from p2mperf.workload.decode import decode
from p2mperf.workload.events import Event
from p2mperf.workload.recording_file import read_recording

FLUSH = Preamble("flush", True, 0, 0, "a test")
needs_gcc = pytest.mark.skipif(not twin_library.compiler(), reason="gcc is not installed")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin_library.compile_twins(tmp_path_factory.mktemp("twins"))


@needs_gcc
@pytest.mark.parametrize("operation", ["latency", "throughput"])
@pytest.mark.parametrize("guest", ["dom0-64-e820", "dom0-32-e820"])
@pytest.mark.parametrize("name", ["pv-tree", "pv-linear"])
def test_twin_gives_the_sum_of_the_loop(library: Path, name: str, guest: str, operation: str) -> None:
    with p2mperf.build(name, guest) as design:
        inside = make_stream("uniform", design.guest, 4096, hole_fraction=0.3, identity_fraction=0.3)
        above = np.arange(design.guest.covered_pfn - 64, design.guest.covered_pfn + 64, dtype=np.uint64)
        stream = np.concatenate([inside, above, above << np.uint64(8)])
        # The sum of what the guest's map says, entry by entry: wrong kinds, widths or shifts would differ.
        expected = int(np.sum(design.guest.entries(stream), dtype=np.uint64))
        loop = getattr(kernels, operation)
        assert int(loop(design.tables, design.state, stream, np.uint64(0))) == expected
        assert twin_library.Twin(library, design, operation)(stream) == expected


@needs_gcc
@pytest.mark.parametrize("operation", ["latency", "throughput"])
@pytest.mark.parametrize("name", ["hap-walk", "hap-linear"])
def test_twin_of_superpages_gives_the_sum_of_the_loop(library: Path, name: str, operation: str) -> None:
    # A leaf of each size, holes between and behind them.
    extents = Extents.of([(0, 1 << 18, 18), (1 << 18, 1 << 20, 9), ((1 << 18) + 700, 8, 2)])
    with p2mperf.build(name, Guest.from_extents(extents)) as design:
        random = np.random.default_rng(1)
        stream = random.integers(0, (1 << 18) + 2000, 1 << 14).astype(np.uint64)
        stream[::100] = random.integers(0, 2**64, stream[::100].size, np.uint64)
        stream[1::2] = random.integers(1 << 18, (1 << 18) + 1000, stream[1::2].size)
        expected = int(np.sum(design.guest.entries(stream), dtype=np.uint64))
        loop = getattr(kernels, operation)
        assert int(loop(design.tables, design.state, stream, np.uint64(0))) == expected
        assert twin_library.Twin(library, design, operation)(stream) == expected


@needs_gcc
@pytest.mark.parametrize("geometry", ["pv64", "pv32"])
@pytest.mark.parametrize("name", ["pv-tree", "pv-linear"])
def test_twin_of_entries_does_what_the_loop_does(library: Path, name: str, geometry: str) -> None:
    preamble = Preamble("both", FLUSH.is_possible, 1 << 20, 100, "a test")
    with p2mperf.build(name, Guest.plain("64M", geometry)) as design:
        operation = Entry(preamble)
        operation.begin({name: design}, 0, None)
        frames = make_stream("uniform", design.guest, 4 * 64)
        found = EntryTwin(library, design, operation.before)(frames)
        expected = operation.prepare(design, frames)()
        operation.finish(design, frames, found)
    assert (found.total, found.n_flushes, found.work) == expected[:1] + expected[-2:]
    assert found.took.shape == expected.took.shape == (64,)
    # Not their sum: what comes between the two readings before an entry is taken off it, an interrupt too.
    assert 0 < np.median(found.took) < found.whole


@needs_gcc
@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("name", ["pv-tree", "pv-linear"])
def test_twin_of_replays_does_what_the_loop_does(library: Path, name: str, called: bool) -> None:
    guest = Guest.plain("64M")
    condition = "cold" if FLUSH.is_possible else "tight"
    n_touches = np.arange(50, dtype=np.uint32) * (condition == "cold")
    before = condition_of(condition, 64 << 10, n_touches.astype(np.uint32))
    with Replayer(guest, (name,), fault_stream(50, guest.n_boot_pages), control=False) as replayer:
        design, took = replayer.designs[name], np.zeros(20, np.int64)
        twin = ReplayTwin(library, replayer, name, before, called and name == "pv-tree")
        found = twin(10, 30, took)
        expected = replay(
            design.tables, design.state, replayer.asked, before, 10, 30, np.zeros(20, np.int64), np.uint64(0)
        )
        replayer.check(name, 10, 30, found)
    assert found[:4] == expected[:4]
    assert 0 < np.median(took) < found.whole


@needs_gcc
def test_twins_are_as_scalar_as_the_loops(library: Path) -> None:
    with p2mperf.build("pv-linear", "dom0-64-e820") as design:
        code = twin_library.twin_code(library, design, "latency")
        if not code:
            pytest.skip("objdump is not installed")
        # One call: the slow path, which the twin keeps out of line.
        vectors = {"gathers": 0, "zmm": 0, "ymm": 0, "prefetches": 0, "calls": 1}
        assert code == {"instructions": code["instructions"], **vectors}
        found = twin_library.numba_code(kernels.latency, design)
    # A pass of the loop is a load of the frame, a compare, a load of the entry, a compare and an addition:
    # with counting and jumps more than 8 instructions, and no wrapper of hundreds around it.
    assert 8 < found["instructions"] < 300
    assert found["gathers"] == found["zmm"] == found["ymm"] == 0


def test_code_is_counted_by_kind() -> None:
    lines = [
        "movq (%rax), %rcx",
        "vpgatherqq %ymm1, (%rax,%ymm0,8), %ymm2",
        "callq 1100",
        "prefetcht0 (%rax)",
    ]
    expected = {"instructions": 4, "gathers": 1, "zmm": 0, "ymm": 1, "prefetches": 1, "calls": 1}
    assert twin_library.count_code(lines) == expected


def test_take_gives_the_entries_of_the_list() -> None:
    with p2mperf.build("pv-linear", Guest.plain("8M")) as design:
        stream = np.array([2047, 0, 1024], np.uint64)
        taken = _take(_list_array(design), stream.size)(stream)
        assert taken.tolist() == design.guest.entries(stream).tolist()


def test_paired_times_refuse_loops_that_differ() -> None:
    stream = np.arange(1 << 18, dtype=np.uint64)
    right, wrong = (lambda pfns: pfns), (lambda pfns: pfns[1:])
    options: dict[str, Any] = {"n_rounds": 4, "slice_ns": 1e5, "seed": 1}
    times = paired.paired_times({"a": right, "b": right}, stream, stream, **options)
    assert [len(row) for row in times.values()] == [4, 4]
    with pytest.raises(AssertionError, match="b sums its entries"):
        paired.paired_times({"a": right, "b": wrong}, stream, stream, **options)


def test_the_trace_that_is_decoded_is_a_real_build(tmp_path: Path) -> None:
    recording.write(tmp_path, 600_000)
    shipped = read_recording("shipped-tinyconfig")
    chosen = np.isin(shipped.event, list(recording.FIELDS))
    # Two rounds, as one has not enough; the second is as long after the first as the recording is long.
    assert int(np.count_nonzero(chosen)) < 600_000 <= 2 * int(np.count_nonzero(chosen))
    decoded = decode(recording.trace(tmp_path))
    once = shipped.time_ns[chosen] - shipped.time_ns[chosen][0]
    assert np.array_equal(decoded.time_ns, np.concatenate([once, once + shipped.time_ns[-1] + 1]))
    for name in ("cpu", "event"):
        assert np.array_equal(getattr(decoded, name), np.tile(getattr(shipped, name)[chosen], 2))
    is_frame = decoded.event == Event.ALLOC
    assert np.array_equal(decoded.value[is_frame], np.tile(shipped.value[shipped.event == Event.ALLOC], 2))


def test_first_touch_takes_time() -> None:
    # 512 faults of a fresh file; a warm page would take some 100 ns for all of them.
    assert first_touch(2 << 20) > 512 * 10


@pytest.mark.parametrize(("holds", "code"), [((True, True), 0), ((True, False), 1)])
def test_a_missed_criterion_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], holds: tuple[bool, ...], code: int
) -> None:
    criteria = [Criterion("fast", "3 ns", kept) for kept in holds]
    report = Report("title", ("a", "b"), [["1", "22"]], ["how"], criteria)
    monkeypatch.setattr("benchmarks.startup.run", lambda effort: report)
    assert main(["startup"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{sum(holds)} of 2 criteria hold"
    assert any("MISSED" in line for line in lines) == (code == 1)
    assert main(["startup", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["startup"]["rows"] == [["1", "22"]]


def test_the_memory_of_a_unit_is_said_in_parts() -> None:
    # What is sampled depends on how busy the machine is: interpreter and numba alone are there all the time.
    report = memory.run(Effort.SMOKE)
    found = {name: float(mebibytes) for name, mebibytes in report.rows}
    assert list(found) == ["memfd", "anonymous", "page tables", "together, at the peak", "predicted"]
    assert 10 < found["anonymous"] <= found["together, at the peak"] < found["predicted"]
    assert report.title == "memory: a unit of pv-64-64m, 2 cells of pv-tree and pv-linear"


def test_the_memory_of_a_process_is_seen_from_outside() -> None:
    made = "import os; fd = os.memfd_create('held'); os.posix_fallocate(fd, 0, 64 << 20)"
    command = [sys.executable, "-c", f"{made}; print(flush=True); input()"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in memory._descendants("self")
        memfds, anonymous, page_tables = memory._memory(child.pid)
        child.communicate(b"\n")
    assert memfds >= 64 << 20
    assert anonymous > 1 << 20
    assert page_tables > 0


def test_a_child_that_has_not_begun_its_program_is_not_looked_at() -> None:
    # It would be taken to hold what this process holds: CI once saw a unit of 1.1 GiB.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    seen = list(memory._descendants("self"))
    listed = Path("/proc/thread-self/children").read_text().split()
    os.close(reading)
    os.close(writing)
    os.waitpid(child, 0)
    assert str(child) in listed
    assert child not in seen


def test_what_runs_is_well_where_nothing_is_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    efforts = []

    def run(effort: Effort) -> Report:
        efforts.append(effort)
        return Report("title", ("a",), criteria=[Criterion("fast", "slow", False)])

    def lacks(effort: Effort) -> Report:
        raise twin_library.NoCompilerError

    monkeypatch.setattr("benchmarks.startup.run", run)
    monkeypatch.setattr("benchmarks.twins.run", lacks)
    assert main(["twins", "startup", "--smoke"]) == 0
    skipped, ran = capsys.readouterr().out.splitlines()
    assert skipped.startswith("twins: skipped, the twins need gcc")
    assert ran.startswith("startup: ran in ")
    assert main(["startup", "--quick"]) == 1
    assert efforts == [Effort.SMOKE, Effort.QUICK]


@pytest.mark.benchmark
@pytest.mark.parametrize("name", NAMES)
def test_every_criterion_holds(name: str) -> None:
    assert main([name]) == 0
