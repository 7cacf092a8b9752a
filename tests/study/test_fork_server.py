"""Units are forked by one process a replicate: what dies is told, and leaves nobody behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sweeping import MOMENT, small_plan

from p2mperf.errors import P2mperfError
from p2mperf.study.executors.local import LocalExecutor
from p2mperf.study.executors.processes import ForkServer
from p2mperf.study.jobs import jobs
from p2mperf.study.order import Order

FIRST, SECOND = (job.order(MOMENT) for job in jobs(small_plan("16M", n_replicates=2, streams=("uniform",))))
# It warms up for a minute, once its tables are there.
LONG = replace(FIRST, settings=replace(MOMENT, warm_up_ns=60_000_000_000), warm_up=True)


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor()
    yield executor
    executor._end_server()


def server_of(executor: LocalExecutor) -> int:
    assert executor._server is not None
    return executor._server._process.pid


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_a_child_of(pid: int) -> int:
    while not (found := children_of(pid)):
        pass
    return found[0]


def is_gone(pid: int) -> bool:
    """Whether a process has ended, or does within a minute: it closes its streams before."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
    return False


def done(executor: LocalExecutor, order: Order) -> list[str]:
    return [str(record.get("status", record["record"])) for record in executor.run(order)]


def test_units_of_a_replicate_have_one_server_and_replicates_have_another(executor: LocalExecutor) -> None:
    servers = []
    for order in (FIRST, FIRST, SECOND):
        assert done(executor, order) == ["unit", "done"]
        servers.append(server_of(executor))
    assert servers[0] == servers[1] != servers[2]
    assert is_gone(servers[0])


def kill_while_a_unit_works(executor: LocalExecutor, number: int, whole_server: bool = False) -> int:
    """Kill a unit, or its server, once its process is there, and see that this is told; the unit's number."""
    server, fork, units = server_of(executor), ForkServer.fork, []

    def fork_and_kill(self: ForkServer, descriptors: list[int]) -> None:
        fork(self, descriptors)
        units.append(wait_for_a_child_of(server))
        os.kill(server if whole_server else units[0], number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForkServer, "fork", fork_and_kill)
        with pytest.raises(P2mperfError, match=f"the unit's process was killed by signal {int(number)}"):
            next(executor.run(LONG))
    return units[0]


def test_a_unit_that_is_killed_is_told_and_its_server_goes_on(executor: LocalExecutor) -> None:
    assert done(executor, FIRST) == ["unit", "done"]
    server = server_of(executor)
    kill_while_a_unit_works(executor, signal.SIGSEGV)
    assert done(executor, FIRST) == ["unit", "done"]
    assert server_of(executor) == server


def test_with_a_server_its_unit_is_killed_and_the_next_has_another(executor: LocalExecutor) -> None:
    assert done(executor, FIRST) == ["unit", "done"]
    server = server_of(executor)
    unit = kill_while_a_unit_works(executor, signal.SIGKILL, whole_server=True)
    assert is_gone(unit)
    assert done(executor, FIRST) == ["unit", "done"]
    assert server_of(executor) != server


def test_a_unit_that_is_not_waited_for_is_gone(executor: LocalExecutor) -> None:
    records = executor.run(FIRST)
    assert next(records)["record"] == "unit"
    server = server_of(executor)
    (unit,) = children_of(server) or (0,)
    records.close()
    assert is_gone(server)
    assert not unit or is_gone(unit)


def test_where_nothing_can_be_forked_a_fresh_interpreter_says_why(
    executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\ncase "$*" in *fork_server*) exit 1;; esac\necho "ImportError: x" >&2; exit 1\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(P2mperfError, match=r"the unit's process ended early \(ImportError: x\)$"):
        next(executor.run(FIRST))


def test_a_server_ends_when_nobody_asks_any_more(executor: LocalExecutor) -> None:
    assert done(executor, FIRST) == ["unit", "done"]
    assert executor._server is not None
    executor._server._near.close()
    assert executor._server._process.wait(60) == 0
