"""What a sweep keeps of memory between its units: never more than the largest needs, or than there is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from p2mperf.errors import DoesNotFitError
from p2mperf.memory import reserve as module, smaps, vm
from p2mperf.memory.reserve import Reserve
from p2mperf.study.executors import local, processes
from p2mperf.study.executors.local import LocalExecutor
from p2mperf.study.jobs import jobs
from p2mperf.study.plans import Plan
from p2mperf.study.specs import GuestSpec, StreamSpec
from p2mperf.units import MIB

PIECE = 4 * MIB


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", PIECE)
    monkeypatch.setattr(module, "available_memory_bytes", lambda: 1000 * PIECE)


@pytest.fixture
def reserve() -> Reserve:
    return Reserve()


def test_what_the_largest_unit_needed_is_kept_from_smaller_ones(reserve: Reserve) -> None:
    kept = []
    for n_pieces in (3, 1, 3, 5, 2, 0):
        reserve.make_room(n_pieces * PIECE)
        kept.append(reserve.n_bytes // PIECE)
    # Room for a unit and what is kept are together what the largest so far has needed.
    assert kept == [0, 2, 0, 0, 3, 5]
    reserve.close()
    assert reserve.n_bytes == 0


@pytest.mark.parametrize("advice", [vm.MADV_POPULATE_WRITE, 12345])  # kernels before 5.14 know none
def test_it_is_memory_and_no_promise(reserve: Reserve, advice: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm, "MADV_POPULATE_WRITE", advice)

    def resident() -> int:
        return sum(one.resident_bytes for one in smaps.everything())

    reserve.make_room(16 * PIECE)
    before = resident()
    reserve.make_room(0)
    assert resident() - before >= 15 * PIECE
    reserve.close()
    assert resident() - before < PIECE


def test_what_others_have_taken_meanwhile_is_not_kept(
    reserve: Reserve, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [100]
    monkeypatch.setattr(
        module, "available_memory_bytes", lambda: left[0] * PIECE - min(reserve.n_bytes, left[0] * PIECE)
    )
    reserve.make_room(10 * PIECE)
    reserve.make_room(4 * PIECE)
    assert reserve.n_bytes == 6 * PIECE
    left[0] = 7
    reserve.make_room(4 * PIECE)
    assert reserve.n_bytes == 3 * PIECE  # and the unit has its four
    left[0] = 2
    reserve.make_room(4 * PIECE)
    assert reserve.n_bytes == 0


def test_memory_that_cannot_be_kept_is_not(reserve: Reserve, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise DoesNotFitError("could not populate it: not enough memory")

    monkeypatch.setattr(vm, "populate", refuse)
    reserve.make_room(4 * PIECE)
    reserve.make_room(0)
    assert reserve.n_bytes == 0


def test_a_units_room_is_made_before_it_is_told_its_task(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guest = GuestSpec.plain("16M", "pv64")
    plan = Plan("one", (guest,), streams=(StreamSpec("uniform"),), n_replicates=1)
    (job,) = jobs(plan)
    happened = tmp_path / "happened"
    # A unit that notes when it is told what to do.
    noting = f"import sys; sys.stdin.read(); open({str(happened)!r}, 'a').write('told')"
    script = f"{noting}; print('{{\"record\": 1}}')"
    noting_unit = _popen_of([sys.executable, "-c", script], subprocess.Popen)
    monkeypatch.setattr("p2mperf.study.executors.processes.subprocess.Popen", noting_unit)
    monkeypatch.setattr("p2mperf.study.executors.local.ForkServer.__init__", lambda self, seed: None)
    monkeypatch.setattr(
        "p2mperf.study.executors.local.ForkServer.start", lambda self: processes.start_interpreter()
    )
    monkeypatch.setattr(
        Reserve, "make_room", lambda self, n_bytes: happened.write_text(f"room for {n_bytes}, ")
    )
    (record,) = LocalExecutor().run(job.order(plan.settings))
    assert json.dumps(record) == '{"record": 1}'
    assert happened.read_text() == f"room for {job.need_bytes}, told"


def _popen_of(argv: list[str], popen: type) -> object:
    return lambda _, **options: popen(argv, **options)


def test_what_is_kept_counts_as_room_and_ends_with_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "available_memory_bytes", lambda: 100 * PIECE)
    executor = LocalExecutor()
    assert executor.capacity().memory_bytes == 100 * PIECE
    with executor.alone():
        executor._reserve.make_room(8 * PIECE)
        executor._reserve.make_room(0)
        assert executor._reserve.n_bytes == 8 * PIECE
        assert executor.capacity().memory_bytes == 108 * PIECE
    assert executor._reserve.n_bytes == 0
