"""Where units run is the executor's: a sweep needs no process, and plans for the room it is told of."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from elsewhere import ROOM, Elsewhere, Record
from sweeping import MOMENT, Listener, small_plan

import p2mperf
from p2mperf.errors import NothingFitsError, P2mperfError
from p2mperf.results.export import load
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
from p2mperf.study.executors.base import Capacity, Executor, Knees
from p2mperf.study.jobs import jobs
from p2mperf.study.knees import measured_knees
from p2mperf.study.order import Order
from p2mperf.study.sweep import sweep
from p2mperf.units import GIB, MIB


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **options: pytest.fail("a process was started"))


def cells(out: Path) -> list[Record]:
    (info,) = find_runs(out)
    return [cell for cell, _ in Journal.read(info.path).cells_with_units()]


def test_a_plan_runs_without_any_process(tmp_path: Path) -> None:
    executor: Executor = Elsewhere()
    plan = small_plan("16M", "32M")
    path = sweep(plan, tmp_path, executor=executor)
    frame = load(path)
    # 2 guests, 2 streams, 2 rounds of 2 designs
    assert len(frame) == 16
    assert set(frame["status"]) == {"done"}
    assert [cell["cell"] for cell in cells(tmp_path)] == [key for job in jobs(plan) for key in job.keys]
    # The journal tells of where the units ran.
    assert path.name.startswith("elsewhere-")
    assert {name: set(frame[name]) for name in ("host", "machine", "code")} == {
        "host": {"elsewhere"},
        "machine": {"fee2"},
        "code": {"0c0de"},
    }
    assert frame.attrs["runs"][0]["machine"] == {"n_cpus": 96, "key": "fee2"}


def test_a_notebook_names_the_executor() -> None:
    executor = Elsewhere()
    frame = p2mperf.sweep(
        sizes=["16M"], designs=["pv-tree", "pv-linear"], n_replicates=1, quiet=True, executor=executor
    )
    assert set(frame["host"]) == {"elsewhere"}
    # One guest of the width that is there when none is named, one backing, one replicate.
    assert [order.unit.guest.n_bytes for order in executor.orders] == [16 * MIB]


@pytest.mark.parametrize(
    ("room", "status", "said"),
    [
        (Capacity(1 * MIB, ROOM.n_maps), "skipped_memory", r"needs 4..M, 1M are available"),
        (Capacity(ROOM.memory_bytes, 7), "skipped_maps", "needs .* mappings, 7 are left"),
    ],
)
def test_what_does_not_fit_there_is_skipped(tmp_path: Path, room: Capacity, status: str, said: str) -> None:
    executor, listener = Elsewhere(room), Listener()
    with pytest.raises(NothingFitsError, match="nothing of plan quick fits") as raised:
        sweep(small_plan(), tmp_path, progress=listener.progress, executor=executor)
    assert raised.value.exit_code == 4
    assert executor.orders == []
    assert [cell["status"] for cell in cells(tmp_path)] == [status] * 2
    assert len(listener.said) == 1
    assert re.search(said, listener.said[0])


def test_room_is_asked_for_before_every_unit(tmp_path: Path) -> None:
    class Shrinking(Elsewhere):
        def capacity(self) -> Capacity:
            return ROOM if not self.orders else Capacity(1 * MIB, ROOM.n_maps)

    sweep(small_plan(n_replicates=2), tmp_path, executor=Shrinking())
    assert [cell["status"] for cell in cells(tmp_path)] == ["done"] * 2 + ["skipped_memory"] * 2


def test_a_run_goes_on_only_where_it_was_begun(tmp_path: Path) -> None:
    class Breaking(Elsewhere):
        def run(self, order: Order) -> Iterator[Record]:
            yield from list(super().run(order))[:2]
            raise P2mperfError("the host is gone")

    with pytest.raises(P2mperfError, match=r"1 of 2 cells failed: .*: the host is gone"):
        sweep(small_plan(), tmp_path, executor=Breaking())
    (begun,) = find_runs(tmp_path)
    assert sweep(small_plan(), tmp_path, executor=Elsewhere(machine_key="fee3")) != begun.path
    again = Elsewhere()
    assert sweep(small_plan(), tmp_path, executor=again) == begun.path
    assert [cell.stream for order in again.orders for cell in order.cells] == ["zipf"]


def test_the_ladder_is_that_of_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(small_plan(), has_ladder=True)
    card = load(sweep(plan, tmp_path, executor=Elsewhere())).attrs["runs"][0]["machine"]
    assert Knees.from_json(card) == Elsewhere().knees()
    # A later plan takes them from the earlier run.
    known = Elsewhere()
    monkeypatch.setattr(known, "knees", lambda: pytest.fail("measured again"))
    assert measured_knees(tmp_path, known).sizes_bytes == [5 * MIB]


def test_an_order_survives_its_way() -> None:
    for job in jobs(small_plan("16M", streams=("uniform", "zipf"), limit_bytes=1 * GIB)):
        order = job.order(MOMENT, warm_up=True)
        assert Order.from_json(json.loads(json.dumps(order.to_json()))) == order
