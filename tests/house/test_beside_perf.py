"""The tool that puts a recording beside perf's counts: what it takes for alike."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from checkout import load_tool

from p2mperf.workload.events import EVENTS, Event

TOOL = Path(__file__).resolve().parents[2] / "tools" / "beside_perf.py"


@pytest.fixture
def tool() -> ModuleType:
    return load_tool("beside_perf")


def test_counts_of_perf_are_read(tool: ModuleType) -> None:
    text = "# started on\n\n17,,sched:sched_process_exec,1,100.00,,\n5,,kmem:mm_page_free,1,100.00,,\n"
    assert tool.perf_counts(text) == {Event.EXEC: 17}


def test_counts_that_are_near_are_alike(tool: ModuleType) -> None:
    counted = dict.fromkeys(tool.MOST, 10_000)
    recorded = {event.name: 10_000 for event in tool.MOST}
    # 0.5 % of 10 000 are 50, and 1 % of allocations 100.
    for event, n_most in ((Event.FAULT_USER, 50), (Event.ALLOC, 100)):
        for apart in (n_most, -n_most):
            assert tool.table({**recorded, event.name: 10_000 + apart}, counted)[1]
            assert not tool.table({**recorded, event.name: 10_000 + apart + apart // n_most}, counted)[1]
    text, _ = tool.table({**recorded, "EXEC": 10_020}, counted)
    assert f"| {EVENTS[Event.EXEC].tracepoint} | 10020 | 10000 | +0.200% | 0.5% |" in text


def test_what_perf_did_not_count_is_not_alike(tool: ModuleType) -> None:
    counted = dict.fromkeys(tool.MOST, 10_000)
    recorded = {event.name: 10_000 for event in tool.MOST}
    del counted[Event.EXIT]
    assert not tool.table(recorded, counted)[1]
    assert not tool.table({}, dict.fromkeys(tool.MOST, 1))[1]


def test_it_says_how_it_is_called(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["beside_perf.py"])
    with pytest.raises(SystemExit, match="OUT"):
        tool.main([])
