"""What fails or does not fit stops nobody else, and is told: cells, units and their processes."""

from __future__ import annotations

import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sweeping import Units, small_plan
from watched_sweeps import KEYS, PLAN, Record, cells_of, order, records

from p2mperf.errors import NothingFitsError, P2mperfError
from p2mperf.host import card
from p2mperf.host.watch import Snapshot
from p2mperf.results.export import load
from p2mperf.results.runs import find_runs
from p2mperf.study.executors import local
from p2mperf.study.executors.processes import start_interpreter
from p2mperf.study.jobs import jobs
from p2mperf.study.sweep import sweep
from p2mperf.units import MIB


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine is busy with: what a sweep says of that is tried elsewhere."""
    monkeypatch.setattr(card, "snapshot", lambda root: Snapshot())


# ---- failures ----


def failing(*numbers: int) -> Any:
    def spoil(number: int, record: Record) -> Record:
        if number not in numbers:
            return record
        names = ("n_lookups", "checksum", "rounds")
        kept = {name: value for name, value in record.items() if name not in names}
        return kept | {"status": "failed", "error": "the tables disagree"}

    return spoil


def test_failed_cells_are_told_and_tried_again(tmp_path: Path, units: Units) -> None:
    units.spoil = failing(2)
    message = f"1 of 4 cells failed: {KEYS[1]}: the tables disagree"
    with pytest.raises(P2mperfError) as raised:
        sweep(PLAN, tmp_path)
    assert str(raised.value) == message
    assert raised.value.exit_code == 1
    (info,) = find_runs(tmp_path)
    assert (info.n_done, info.ended) == (3, False)
    units.orders.clear()
    units.spoil = failing()
    assert sweep(PLAN, tmp_path) == info.path
    assert [[cell["stream"] for cell in order["cells"]] for order in units.orders] == [["zipf"]]
    assert Counter(cells_of(info.path))[KEYS[1]] == 2
    assert find_runs(tmp_path)[0].n_done == 4


def test_a_unit_that_cannot_be_built_does_not_stop_the_others(
    tmp_path: Path, units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    def child(order: Record, start: Any = None, meanwhile: Any = None) -> Any:
        if order["replicate"] == 0:
            return iter([{"record": "error", "error": "could not map 2T", "fits": False}])
        return units(order)

    monkeypatch.setattr(local, "child", child)
    with pytest.raises(P2mperfError, match=r"2 of 4 cells failed: .*: could not map 2T"):
        sweep(PLAN, tmp_path)
    written = records(find_runs(tmp_path)[0].path)
    states = [record["status"] for record in written if record["record"] == "cell"]
    assert states == ["failed", "failed", "done", "done"]


def test_what_a_dead_unit_had_measured_is_kept(tmp_path: Path, units: Units) -> None:
    def spoil(number: int, record: Record) -> Record:
        if number == 2:
            raise P2mperfError("the unit's process was killed by signal 9")
        return record

    units.spoil = spoil
    with pytest.raises(P2mperfError, match=r"1 of 4 cells failed: .*killed by signal 9"):
        sweep(PLAN, tmp_path)
    assert find_runs(tmp_path)[0].n_done == 3


# ---- what does not fit ----


def test_what_does_not_fit_is_skipped_with_need_and_have(
    tmp_path: Path, units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan("16M", "8G")
    small, large = jobs(plan)
    have = (small.need_bytes + large.need_bytes) // 2
    monkeypatch.setattr(local, "available_memory_bytes", lambda: have)
    path = sweep(plan, tmp_path)
    names = ("status", "need_bytes", "have_bytes")
    states = {r["cell"]: tuple(map(r.get, names)) for r in records(path) if r["record"] == "cell"}
    for key in small.keys:
        assert states[key][0] == "done"
    for key in large.keys:
        assert states[key] == ("skipped_memory", large.need_bytes, have)
    # 8 GiB of list and tree: 16 MiB each.
    assert large.need_bytes - small.need_bytes > 28 * MIB
    assert find_runs(tmp_path)[0].ended
    frame = load(path)
    assert set(frame["status"]) == {"done", "skipped_memory"}


def test_what_needs_too_many_mappings_is_skipped(
    tmp_path: Path, units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "n_maps_available", lambda n_used: 5)
    with pytest.raises(NothingFitsError):
        sweep(small_plan(), tmp_path)
    path = find_runs(tmp_path)[0].path
    (record,) = [r for r in records(path) if r["record"] == "cell" and r["stream"] == "zipf"]
    assert record["status"] == "skipped_maps"
    assert "mappings, 5 are left: raise vm.max_map_count" in record["error"]


def test_a_plan_of_which_nothing_fits_is_an_error(
    tmp_path: Path, units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "available_memory_bytes", lambda: 1 * MIB)
    with pytest.raises(
        NothingFitsError, match=r"nothing of plan quick fits.* and 1M are available"
    ) as raised:
        sweep(PLAN, tmp_path)
    assert raised.value.exit_code == 4
    assert units.orders == []


# ---- the process of a unit ----


def fake_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_a_torn_last_line_of_a_unit_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path, monkeypatch, """echo '{"a": 1}'; printf '{"b":'""")
    assert list(local.child({})) == [{"a": 1}]


def test_a_unit_that_is_killed_says_by_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path, monkeypatch, """echo '{"a": 1}'; kill -9 $$""")
    found = local.child({})
    assert next(found) == {"a": 1}
    with pytest.raises(P2mperfError, match="killed by signal 9"):
        next(found)


def test_a_unit_ends_with_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path, monkeypatch, """echo '{"pid": '$$'}'; exec sleep 60""")
    found = local.child({})
    pid = next(found)["pid"]
    os.kill(pid, 0)
    found.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_unit_that_dies_at_once_yields_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    # More than a pipe holds, so that the order cannot be left in it.
    assert list(local.child({"note": "x" * (1 << 20)})) == []


def test_every_seed_has_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path, monkeypatch, """echo '{"n": '${#P2MPERF_PADDING}'}'""")
    lengths = [next(local.child({}, partial(start_interpreter, seed)))["n"] for seed in (1, 2, 3, 1)]
    assert lengths[0] == lengths[3]
    assert len(set(lengths)) == 3


def test_a_unit_goes_on_after_a_cell_that_fails() -> None:
    good = order()["cells"][0]
    bad = [good | {"hole_fraction": 0.5}, good | {"hole_pattern": "runs"}]
    unit, *failed, done = local.child(order(cells=[*bad, good]))
    assert (unit["record"], done["status"]) == ("unit", "done")
    assert [cell["status"] for cell in failed] == ["failed", "failed"]
    assert "has no holes" in failed[0]["error"]
    assert "nothing can come in runs" in failed[1]["error"]
    assert set(unit["designs"]) == {"pv-linear"}
    assert unit["designs"]["pv-linear"]["code_form"].keys() == {"latency"}


def test_a_unit_that_cannot_be_built_says_why() -> None:
    (error,) = local.child(order(designs=["pv-list"]))
    assert error["record"] == "error"
    assert "unknown design 'pv-list'" in error["error"]
