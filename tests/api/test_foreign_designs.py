"""A design of another package breaks in a unit: it is left out, unless it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sweeping import Listener, small_plan

from p2mperf.designs.pv.tree import PvTree
from p2mperf.errors import P2mperfError
from p2mperf.results.fields import Record
from p2mperf.results.journal import Journal
from p2mperf.results.keys import CellSpec
from p2mperf.study.executors import local
from p2mperf.study.order import Order
from p2mperf.study.sweep import sweep
from p2mperf.study.unit import run_unit

LATENCY = CellSpec("pv", "uniform", 0.0, 0.0, "latency")


class Building(PvTree):
    name = "mine"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise LookupError("no such table")


class Counting(PvTree):
    name = "mine"

    def footprint(self) -> Any:
        raise LookupError("no such table")


class Misreading(PvTree):
    name = "mine"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.set(0, 0x1234)


def run(told: list[Record], *asked: str) -> int:
    plan = replace(small_plan("16M", streams=("sequential",)), designs=asked)
    (unit,) = plan.units()
    cells = (replace(LATENCY, stream="sequential"),)
    return run_unit(Order(unit, cells, plan.settings), told.append)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Building, "no such table (LookupError)"),
        (Counting, "no such table (LookupError)"),
        (Misreading, "mine reads 0x1234 at frame 0x0"),
    ],
)
def test_it_is_left_out_with_a_sentence_in_its_unit(
    offer_design: Callable[[type], None], kind: type, reason: str
) -> None:
    offer_design(kind)
    told: list[Record] = []
    assert run(told) == 0
    unit, cell = told
    assert list(unit["designs"]) == ["pv-tree", "pv-linear"]
    (said,) = unit["left_out"]
    assert said.startswith("design mine is declared as another_package:Mine, which cannot be used: ")
    assert reason in said
    assert cell["status"] == "done"


@pytest.mark.parametrize("kind", [Building, Counting])
def test_who_asks_for_it_is_told(offer_design: Callable[[type], None], kind: type) -> None:
    offer_design(kind)
    with pytest.raises(LookupError, match="no such table"):
        run([], "mine", "pv-tree")


def test_the_journal_keeps_it_and_the_sweep_says_it(
    offer_design: Callable[[type], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_design(Building)

    def in_this_process(task: Record, seed: int = 0, meanwhile: Any = None) -> list[Record]:
        told: list[Record] = []
        run_unit(Order.from_json(task), told.append)
        return told

    monkeypatch.setattr(local, "child", in_this_process)
    listener = Listener()
    path = sweep(small_plan("16M"), tmp_path / "results", progress=listener.progress)
    ((_, unit), *_) = Journal.read(path).cells_with_units()
    assert unit
    # What it says of the machine, as of steal, comes in between or after.
    said = [sentence for sentence in listener.said if "left out" in sentence]
    assert said == [f"{reason}: left out of {unit['guest']}" for reason in unit["left_out"]]
    assert len(said) == 1


def test_where_nothing_else_is_there_it_is_told(
    offer_design: Callable[[type], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_design(Building)
    (unit,) = small_plan("16M").units()
    order = Order(replace(unit, designs=("mine",)), (LATENCY,), small_plan().settings)
    with pytest.raises(P2mperfError, match="no such table"):
        run_unit(order, lambda record: None)
