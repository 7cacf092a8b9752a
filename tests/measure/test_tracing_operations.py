"""Faults, protection and the switch of the window as operations of sweeps: counted, checked, and undone."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import p2mperf
from p2mperf import Guest
from p2mperf.cli import main
from p2mperf.designs import find
from p2mperf.designs.arm.vlpt import ArmVlpt
from p2mperf.designs.capabilities import Traceable
from p2mperf.errors import BadInputError, P2mperfError
from p2mperf.measure.engine import measure_cell, rehearse
from p2mperf.measure.operations import faults
from p2mperf.measure.operations.ability import why_not
from p2mperf.measure.operations.registry import find_operation, operations
from p2mperf.measure.settings import Settings
from p2mperf.migration.tracing import n_protected, protect_all
from p2mperf.streams import make_stream
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import PLANS, make_plan

SETTINGS = Settings(n_visits=2, n_slices=1, target_ns=1000, min_lookups=64, max_lookups=64, control=False)
NAMES = ("arm-walk", "arm-walk-direct", "arm-vlpt")
# Two banks that begin and end inside a third-level page: 1024 + 3 and 700 frames.
BANKS = Guest.from_e820(
    [("1G", (1 << 30) + (1027 << 12), "ram"), ("3G", (3 << 30) + (700 << 12), "ram")],
    1727 << 12,
    geometry="lpae",
)
TRACING = ("fault", "protect", "restore")


@pytest.fixture
def designs() -> Iterator[dict[str, Any]]:
    built = {name: p2mperf.build(name, BANKS) for name in NAMES}
    yield built
    for p2m in built.values():
        p2m.close()


def measured(
    designs: dict[str, Any], operation: str, stream: str = "sequential", **settings: Any
) -> dict[str, Any]:
    seeds = itertools.count()

    def make(n_frames: int) -> Any:  # another stretch each time, as in a unit
        name = stream if stream in ("sequential", "uniform") else "uniform"
        return make_stream(name, BANKS, n_frames, seed=next(seeds))

    chosen = Settings(**{**vars(SETTINGS), **settings})
    return measure_cell(designs, make, operation, chosen, 1, stream != "sequential").to_json()


@pytest.mark.parametrize(
    ("operation", "stream"),
    [
        ("fault", "sequential"),
        ("fault", "uniform"),
        ("protect", "whole-table"),
        ("restore", "whole-table"),
    ],
)
def test_tables_are_afterwards_what_they_were(designs: dict[str, Any], operation: str, stream: str) -> None:
    before = {name: [words.copy() for words in p2m.third_tables()] for name, p2m in designs.items()}
    with designs["arm-walk"].again() as walk, designs["arm-vlpt"].again() as vlpt:
        controls = {"control:arm-walk": walk, "control:arm-vlpt": vlpt}
        cell = measured({**designs, **controls}, operation, stream)
    serving = [
        name for name, p2m in designs.items() if not why_not(find_operation(operation), type(p2m), BANKS)
    ]
    assert serving == (["arm-vlpt"] if operation == "restore" else list(NAMES))
    for block in cell["rounds"]:
        assert sorted(block["elapsed_ns"]) == sorted([*serving, f"control:{serving[0]}"])
    for name, p2m in designs.items():
        for words, as_before in zip(p2m.third_tables(), before[name], strict=True):
            assert np.array_equal(words, as_before)
        p2m.audit()


def test_a_fault_is_counted_for_each_frame_and_protection_for_each_entry(designs: dict[str, Any]) -> None:
    assert measured(designs, "fault", "uniform")["n_lookups"] == 64
    # No frame faults twice: a pass over more than there are is one over all of them, 1027 + 700.
    most = measured(designs, "fault", "uniform", min_lookups=5000, max_lookups=5000)
    assert most["n_lookups"] == 1727
    assert measured(designs, "protect", "whole-table")["n_lookups"] == 1727
    assert measured(designs, "restore", "whole-table")["n_lookups"] == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda design, stream, first, dirty: stream.size - 1, "handled 63 faults of 64"),
        (lambda design, stream, first, dirty: stream.size, "marked other frames"),
    ],
)
def test_faults_that_are_not_handled_are_seen(
    designs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, wrong: Any, message: str
) -> None:
    monkeypatch.setattr(faults, "handle_faults", wrong)
    with pytest.raises(P2mperfError, match=message):
        measured(designs, "fault")


def test_entries_that_stay_protected_are_seen(
    designs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mark_only(design: Any, stream: Any, first: int, dirty: Any) -> int:
        bits = (stream - np.uint64(first)).astype(np.int64)
        np.bitwise_or.at(dirty, bits >> 6, np.uint64(1) << (bits & 63).astype(np.uint64))
        return int(stream.size)

    monkeypatch.setattr(faults, "handle_faults", mark_only)
    with pytest.raises(P2mperfError, match="left 1727 frames protected of 1727"):
        measured(designs, "fault")


def test_protection_that_is_not_whole_or_not_undone_is_seen(
    designs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(faults, "protect_all", lambda tables: protect_all(tables[1:]))
        # Third-level pages follow each other: one array, of which none is left.
        with pytest.raises(P2mperfError, match="protected 0 entries of 1727"):
            measured(designs, "protect", "whole-table")
    monkeypatch.setattr(faults, "restore_all", lambda tables: None)
    with pytest.raises(P2mperfError, match="not put back as it was"):
        measured(designs, "protect", "whole-table")


def test_a_window_that_still_shows_the_other_guest_is_seen(
    designs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    only = {"arm-vlpt": designs["arm-vlpt"]}
    restore = ArmVlpt.restore

    def once_too_often(self: ArmVlpt) -> None:
        """A switch to the guest that is already shown: its neighbour's is."""
        if self is not only["arm-vlpt"]:
            restore(self)

    monkeypatch.setattr(ArmVlpt, "restore", once_too_often)
    with pytest.raises(P2mperfError, match="does not show its own entries again"):
        measured(only, "restore", "whole-table")


def test_a_neighbour_goes_with_its_design_if_nothing_else_ends_it() -> None:
    with ArmVlpt(BANKS) as p2m:
        work = find_operation("restore").load()()
        work.begin({"arm-vlpt": p2m}, 1, None)
        assert p2m.window.domids == {0, 1}
        assert p2m.window.owner is not None
        pools = [p2m.pool, p2m.window.owner.table.pool]
    assert [pool.fd for pool in pools] == [-1, -1]


def test_all_of_it_can_be_rehearsed() -> None:
    for name in NAMES:
        with p2mperf.build(name, BANKS) as p2m:
            for operation in TRACING:
                rehearse(operation, p2m, lambda n: make_stream("sequential", BANKS, n))
            assert n_protected(cast(Traceable, p2m).third_tables()) == 0
            p2m.audit()


def test_who_can_be_traced() -> None:
    for operation in TRACING:
        reason = why_not(find_operation(operation), find("pv-tree"), Guest.plain("16M"))
        needed = "SharesWindow" if operation == "restore" else "Traceable"
        assert reason == f"pv-tree is not {needed}"
        assert operations()[operation].plans == ()
    for name in PLANS:
        assert not set(TRACING) & set(make_plan(name).operations)
    with pytest.raises(BadInputError, match="not for restore"):
        narrow(make_plan("default"), sizes=["1G"], designs=["arm-walk"], operations=["restore"])


def test_a_sweep_of_all_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [word for name in ("arm-walk", "arm-vlpt") for word in ("--design", name)]
    asked += [word for name in TRACING for word in ("--operation", name)]
    assert main(["sweep", "--size", "16M", *asked, "--replicates", "1", "--out", str(tmp_path), "-q"]) == 0
    rows = [
        (line["stream"], line["operation"], sorted(line["rounds"][0]["elapsed_ns"]))
        for line in map(json.loads, next(tmp_path.glob("*.jsonl")).read_text().splitlines())
        if line["record"] == "cell" and line["status"] == "done"
    ]
    both = ["arm-vlpt", "arm-walk", "control:arm-walk"]
    assert rows == [
        ("sequential", "fault", both),
        ("uniform", "fault", both),
        ("whole-table", "protect", both),
        ("whole-table", "restore", ["arm-vlpt", "control:arm-vlpt"]),
    ]
    assert "protect" in capsys.readouterr().out
