"""An operation of another package raises while it is planned or measured: only its own cells fail."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest
from sweeping import small_plan

from p2mperf import plugins
from p2mperf.cli import main
from p2mperf.measure.operations.base import Operation
from p2mperf.measure.operations.registry import OperationSpec
from p2mperf.results.fields import Record
from p2mperf.results.keys import CellSpec
from p2mperf.study.order import Order
from p2mperf.study.unit import run_unit

SAID = "operation rest is declared as another_package:Rest, which cannot be used: 'rest' (KeyError)"


class InWhyNot(Operation[int]):
    @classmethod
    def why_not(cls, kind: object, guest: object) -> str:
        raise KeyError("rest")


class InCheckRoom(Operation[int]):
    @classmethod
    def check_room(cls, guest: object, limit_bytes: int) -> None:
        raise KeyError("rest")


class InBegin(Operation[int]):
    n_fixed = 1

    def begin(self, designs: Mapping[str, Any], n_frames: int, shuffle: object) -> None:
        raise KeyError("rest")


class InPrepare(Operation[int]):
    n_fixed = 1

    def prepare(self, design: object, frames: object) -> Callable[[], int]:
        raise KeyError("rest")


class Ending(Operation[int]):
    n_fixed = 1

    def prepare(self, design: object, frames: object) -> Callable[[], int]:
        raise SystemExit(0)


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    """Offers a class as operation "rest", which takes part in plan quick by itself."""
    module = ModuleType("another_package")
    monkeypatch.setitem(sys.modules, "another_package", module)
    point = EntryPoint("rest", "another_package:SPEC", "p2mperf.operations")
    monkeypatch.setattr(plugins, "offered", lambda group: (point,) if group == point.group else ())
    monkeypatch.setattr("p2mperf.measure.operations.ability._unable", {})
    for kept in ("_unimportable", "_passed", "_refused"):
        monkeypatch.setattr(plugins, kept, {})

    def offered(kind: type) -> None:
        spec = OperationSpec("rest", "another_package:Rest", "frame", ("uniform",), plans=("quick",))
        vars(module).update(SPEC=spec, Rest=kind)

    return offered


@pytest.mark.parametrize("kind", [InWhyNot, InCheckRoom])
def test_what_it_raises_while_it_is_planned_stops_only_who_asks_for_it(
    offer: Callable[[type], None], capsys: pytest.CaptureFixture[str], kind: type
) -> None:
    offer(kind)
    assert main(["sweep", "--plan", "quick", "--size", "16M", "--dry-run"]) == 0
    assert capsys.readouterr().err == (f"p2mperf: {SAID}: left out\n" if kind is InWhyNot else "")
    assert main(["sweep", "--plan", "quick", "--size", "16M", "--dry-run", "--operation", "rest"]) == 2
    assert SAID in capsys.readouterr().err


@pytest.mark.parametrize("kind", [InWhyNot, InBegin, InPrepare, Ending])
def test_what_it_raises_while_it_is_measured_fails_its_own_cells(
    offer: Callable[[type], None], kind: type
) -> None:
    offer(kind)
    plan = small_plan("16M")
    (unit,) = plan.units()
    cells = tuple(CellSpec("pv", "uniform", 0.0, 0.0, name) for name in ("rest", "latency"))
    told: list[Record] = []
    assert run_unit(Order(unit, cells, plan.settings), told.append) == 1
    assert [record.get("status") for record in told] == [None, "failed", "done"]
    ends = "'rest' (KeyError)" if kind is not Ending else "0 (SystemExit)"
    assert told[1]["error"] == SAID.replace("'rest' (KeyError)", ends)
