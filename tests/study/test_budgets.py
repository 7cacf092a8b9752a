"""One budget of memory and one of mappings: who plans, who builds and who maps agree on what there is."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import own_process
import pytest
from sweeping import MOMENT

import p2mperf
from p2mperf import Guest
from p2mperf.errors import BadInputError, DoesNotFitError, NothingFitsError
from p2mperf.host import maps, memory
from p2mperf.results.runs import find_runs
from p2mperf.sizing import limits
from p2mperf.sizing.proof import prove
from p2mperf.study.jobs import PROCESS_MAPS, jobs
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan
from p2mperf.study.sweep import sweep
from p2mperf.units import GIB, MIB

PLAN = replace(
    narrow(make_plan("quick"), sizes=("512M",), entry_bits=32, streams=("uniform",), n_replicates=1),
    settings=MOMENT,
)


def limit_mappings(limit: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and its children read another vm.max_map_count than the kernel's."""
    forged = f"from p2mperf.host import maps\nmaps.max_maps = lambda root='/': {limit}\n"
    (directory / "sitecustomize.py").write_text(forged)
    paths = [str(directory), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(maps, "max_maps", lambda root="/": limit)


def test_where_the_planner_sees_room_the_unit_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A list of 512 MiB at 32 bits shows 128 leaves in one mapping and, to the end of the mid, 896 times the
    # missing one. Two lists of 64 MiB are more, which are there while it is rehearsed: 16 leaves, 1008 times.
    (job,) = jobs(PLAN)
    assert job.need_maps == 897 + 2 * 1009 + PROCESS_MAPS
    limit = job.need_maps + maps.SPARE_MAPS
    limit_mappings(limit, tmp_path, monkeypatch)
    run = sweep(PLAN, tmp_path / "results")
    records = map(json.loads, run.read_text().splitlines())
    assert {record["status"] for record in records if record["record"] == "cell"} == {"done"}


def test_where_the_planner_sees_no_room_nothing_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With 4 000 spare and a process' own 1 000 nothing is left of 5 000. A planner that kept only the 1 000
    # would let the unit begin, whose windows keep the 4 000, and its cells would fail.
    limit_mappings(5000, tmp_path, monkeypatch)
    with pytest.raises(NothingFitsError) as refused:
        sweep(PLAN, tmp_path / "results")
    assert refused.value.exit_code == 4
    (info,) = find_runs(tmp_path / "results")
    assert info.ended
    assert '"skipped_maps"' in info.path.read_text()


@pytest.mark.parametrize("design", ["pv-tree", "pv-linear", "pv-linear-nested"])
def test_what_memory_does_not_hold_is_not_built(design: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # 64 GiB: 16 Mi entries of 8 bytes are 128 MiB, and a tree's mids and a list's page table are some more.
    guest, small = Guest.plain("64G"), Guest.plain("1G")
    p2mperf.build(design, small).close()
    before = own_process.n_held_areas(), own_process.n_memfds()
    monkeypatch.setattr(memory, "available_memory_bytes", lambda root="/": 128 * MIB)
    with pytest.raises(DoesNotFitError, match=rf"{design} of pv-64-64g needs \d.* and 128M are available"):
        p2mperf.build(design, guest)
    assert (own_process.n_held_areas(), own_process.n_memfds()) == before
    with p2mperf.build("pv-tree", small, limit="2G", run_frames=64, quirks=()) as p2m:
        p2m.audit()


def test_what_stands_on_the_tables_of_another_takes_no_memory_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 32 GiB: 8 Mi entries of 8 bytes are 64 MiB.
    guest = Guest.plain("32G", geometry="lpae")
    with p2mperf.build("arm-walk", guest) as walk:
        monkeypatch.setattr(memory, "available_memory_bytes", lambda root="/": 32 * MIB)
        with pytest.raises(DoesNotFitError, match=r"arm-walk of .* needs \d.* and 32M are available"):
            p2mperf.build("arm-walk", guest)
        p2mperf.build("arm-walk-direct", guest, like=walk).close()


def test_what_is_wrong_with_a_request_is_said_before_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory_bytes", lambda root="/": 0)
    for guest, options, wrong in (
        (Guest.plain("1G", geometry="lpae"), {}, "pv-tree is for PV guests"),
        (Guest.plain("1G"), {"nonsense": 1}, "pv-tree has no option nonsense"),
        (Guest.plain("1G"), {"backing": "paper"}, "unknown page backing"),
    ):
        with pytest.raises(BadInputError, match=wrong):
            p2mperf.build("pv-tree", guest, **options)


def test_a_proof_knows_the_limit_of_its_control_group(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2 Mi entries of 4 bytes are 8 MiB, and are kept twice. What is available is what the group leaves.
    monkeypatch.setattr(memory, "_cgroup_levels", lambda root: iter([(GIB, 15 * MIB)]))
    with pytest.raises(DoesNotFitError, match="the proof needs 16M and 15M are available: prove a smaller"):
        prove(limits("8G", entry_bits=32, vmalloc="16M"))
