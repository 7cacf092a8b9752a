"""A sweep keeps what it has, goes on where it was, and says so when it does not."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import record_samples as samples
from sweeping import Listener, Units, small_plan
from watched_sweeps import KEYS, PLAN, Record, cells_of, records

import p2mperf
from p2mperf.errors import P2mperfError, ResultsError
from p2mperf.host import card
from p2mperf.host.watch import Snapshot
from p2mperf.results.export import load
from p2mperf.results.fields import VERSION
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
from p2mperf.study.executors import local
from p2mperf.study.jobs import jobs
from p2mperf.study.knees import measured_knees
from p2mperf.study.plans import make_plan
from p2mperf.study.sweep import sweep
from p2mperf.units import GIB, MIB


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine is busy with: what a sweep says of that is tried elsewhere."""
    monkeypatch.setattr(card, "snapshot", lambda root: Snapshot())


def interrupted_at(n_cells: int) -> Any:
    """The user presses Ctrl-C when this cell would be written."""

    def spoil(number: int, record: Record) -> Record:
        if number == n_cells:
            raise KeyboardInterrupt
        return record

    return spoil


def unfinished(out: Path, units: Units, n_cells: int = 3) -> Path:
    """A run of `PLAN` that was interrupted before its cell number `n_cells`."""
    units.spoil = interrupted_at(n_cells)
    with pytest.raises(KeyboardInterrupt):
        sweep(PLAN, out)
    units.spoil = lambda number, record: record
    units.orders.clear()
    (info,) = find_runs(out)
    assert (info.n_finished, info.ended) == (n_cells - 1, False)
    return info.path


# ---- a whole run ----


def test_a_real_sweep_measures_every_cell(tmp_path: Path) -> None:
    listener = Listener()
    plan = small_plan("16M", streams=("uniform", "leaf-stride"))
    path = sweep(plan, tmp_path / "out", progress=listener.progress)
    kinds = [record["record"] for record in records(path)]
    assert kinds == ["run", "unit", "cell", "cell", "end"]
    assert cells_of(path) == [key for job in jobs(plan) for key in job.keys]
    frame = load(path)
    # 2 cells of 2 rounds of 2 designs
    assert len(frame) == 8
    assert set(frame["status"]) == {"done"}
    assert set(frame["design"]) == {"pv-tree", "pv-linear"}
    assert (frame["n_lookups"] == 128).all()
    assert (frame["memory_bytes"] == frame["predicted_memory_bytes"]).all()
    # 16 MiB are 8 leaves, and each design has two shared ones.
    assert set(frame["footprint_leaf_pages"]) == {8}
    assert listener.told[0][:2] == (0, 2)
    assert listener.told[-1][:2] == (2, 2)


def test_a_run_tells_of_its_machine_code_and_plan(tmp_path: Path, units: Units) -> None:
    run = records(sweep(PLAN, tmp_path))[0]
    assert run["plan"] == json.loads(json.dumps(PLAN.as_dict()))
    assert (run["n_units"], run["n_cells"]) == (2, 4)
    assert run["machine_key"] == run["machine"]["key"]
    # 16 digits for the sources, 8 for what surrounds them: other packages' designs and settings.
    assert [len(part) for part in run["code"].split("-")] == [16, 8]


def test_progress_only_grows_and_ends_at_all(tmp_path: Path, units: Units) -> None:
    listener = Listener()
    sweep(PLAN, tmp_path, progress=listener.progress)
    done = [n_done for n_done, _, _ in listener.told]
    assert done == sorted(done)
    assert {n_cells for _, n_cells, _ in listener.told} == {4}
    assert done[-1] == 4


def test_only_the_first_process_warms_the_machine_up(tmp_path: Path, units: Units) -> None:
    sweep(small_plan(n_replicates=3), tmp_path)
    assert [order["warm_up"] for order in units.orders] == [True, False, False]
    assert [order["seed"] for order in units.orders] == [1, 2, 3]


def test_a_finished_run_is_not_gone_on_with(tmp_path: Path, units: Units) -> None:
    first, second = sweep(PLAN, tmp_path), sweep(PLAN, tmp_path)
    assert first != second
    assert cells_of(first) == cells_of(second) == KEYS


def test_what_differs_in_its_limit_alone_has_other_keys(tmp_path: Path, units: Units) -> None:
    keys = [
        {key for job in jobs(small_plan(limit_bytes=limit)) for key in job.keys}
        for limit in (0, 1 * GIB, 2 * GIB)
    ]
    assert len(set.union(*keys)) == sum(map(len, keys)) == 6
    # Cells that were measured say the limit too: their keys can be checked.
    path = sweep(small_plan(limit_bytes=1 * GIB), tmp_path)
    assert set(cells_of(path)) == keys[1]
    assert {record["limit_bytes"] for record in records(path) if record["record"] == "cell"} == {1 * GIB}


def test_a_real_unit_names_its_limit(tmp_path: Path) -> None:
    plan = small_plan("16M", streams=("uniform",), limit_bytes=1 * GIB)
    (key,) = [key for job in jobs(plan) for key in job.keys]
    assert cells_of(sweep(plan, tmp_path)) == [key]
    assert set(load(tmp_path)["limit_bytes"]) == {1 * GIB}
    assert set(load(tmp_path)["boot"]) == {card.boot_key()} != {""}


# ---- going on ----


@pytest.mark.parametrize("n_cells", [1, 2, 3, 4])
def test_the_same_command_goes_on(tmp_path: Path, units: Units, n_cells: int) -> None:
    path = unfinished(tmp_path, units, n_cells)
    listener = Listener()
    assert sweep(PLAN, tmp_path, progress=listener.progress) == path
    assert listener.said == [f"resuming {path.name}: {n_cells - 1} of 4 cells are there"]
    assert listener.told[0][:2] == (n_cells - 1, 4)
    # Only what was missing is ordered, and nothing stands there twice.
    ordered = [cell["stream"] for order in units.orders for cell in order["cells"]]
    assert ordered == ["uniform", "zipf", "uniform", "zipf"][n_cells - 1 :]
    assert sorted(cells_of(path)) == sorted(KEYS)
    assert records(path)[-1]["record"] == "end"


def test_another_plan_does_not_go_on(tmp_path: Path, units: Units) -> None:
    path = unfinished(tmp_path, units)
    before = path.read_bytes()
    other = sweep(small_plan(n_replicates=3), tmp_path)
    assert other != path
    assert path.read_bytes() == before


def test_fresh_begins_anew(tmp_path: Path, units: Units) -> None:
    path = unfinished(tmp_path, units)
    before = path.read_bytes()
    listener = Listener()
    assert sweep(PLAN, tmp_path, fresh=True, progress=listener.progress) != path
    assert listener.said == []
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "what"), [("source_hash", "by other code"), ("card_key", "on another machine")]
)
def test_what_another_made_is_left_alone_and_said(
    tmp_path: Path, units: Units, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    path = unfinished(tmp_path, units)
    before = path.read_bytes()
    monkeypatch.setattr(local, name, lambda *arguments: "0123456789abcdef")
    listener = Listener()
    other = sweep(PLAN, tmp_path, progress=listener.progress)
    assert other != path
    assert listener.said == [f"{path.name} is unfinished, but was made {what}: left as it is"]
    assert cells_of(other) == KEYS
    assert path.read_bytes() == before
    # Back on the old code or machine the old run is still there to be gone on with.
    monkeypatch.undo()
    monkeypatch.setattr(local, "child", units)
    assert sweep(PLAN, tmp_path) == path


@pytest.mark.parametrize("is_ended", [False, True])
def test_a_run_of_an_earlier_version_is_left_alone_and_said(
    tmp_path: Path, units: Units, is_ended: bool
) -> None:
    path = sweep(PLAN, tmp_path) if is_ended else unfinished(tmp_path, units)
    path.write_bytes(path.read_bytes().replace(f'"schema":{VERSION}'.encode(), b'"schema":2'))
    before, listener = path.read_bytes(), Listener()
    # Nor is one that came to its end, but was not exported, taken for a run of today.
    other = sweep(PLAN, tmp_path, progress=listener.progress, will_export=True)
    assert other != path
    said = f"{path.name} is unfinished, but of an earlier version of results: left as it is"
    assert listener.said == ([] if is_ended else [said])
    assert cells_of(other) == KEYS
    assert path.read_bytes() == before


def test_a_torn_line_is_recovered_from_and_said(tmp_path: Path, units: Units) -> None:
    path = unfinished(tmp_path, units)
    whole = path.read_bytes()
    torn = b'{"record":"cell","cell":"pv-64-16m/pv64/40'
    path.write_bytes(whole + torn)
    listener = Listener()
    assert sweep(PLAN, tmp_path, progress=listener.progress) == path
    assert listener.said[1] == (
        f"{path.name} ended in a torn line of {len(torn)} bytes: cut off; its cell is measured again"
    )
    assert path.read_bytes().startswith(whole)
    assert sorted(cells_of(path)) == sorted(KEYS)


def test_a_run_in_use_is_not_gone_on_with(tmp_path: Path, units: Units) -> None:
    path = unfinished(tmp_path, units)
    with Journal.open(path), pytest.raises(ResultsError, match="in use by another sweep"):
        sweep(PLAN, tmp_path)


# ---- knees ----


def run_with_knees(out: Path, machine_key: str) -> None:
    knees = [
        {"name": "L2", "bytes": 5 * MIB, "source": "s"},
        {"name": "L1", "bytes": 48 << 10, "source": "s"},
    ]
    machine = {"ladder": {"sizes": []}, "knees": knees}
    Journal.create(out, samples.run(machine=machine, machine_key=machine_key)).close()


def test_knees_are_taken_from_an_earlier_run_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "card_key", lambda card: "fee1")
    monkeypatch.setattr(local, "child", lambda order: pytest.fail("measured again"))
    run_with_knees(tmp_path, "fee1")
    assert measured_knees(tmp_path).sizes_bytes == [48 << 10, 5 * MIB]


def test_knees_of_another_machine_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"ladder": {"sizes": []}, "knees": [{"name": "L3", "bytes": 1 * GIB, "source": "s"}]}
    monkeypatch.setattr(local, "card_key", lambda card: "fee2")
    monkeypatch.setattr(local, "child", lambda order: iter([found]))
    run_with_knees(tmp_path, "fee1")
    assert measured_knees(tmp_path).sizes_bytes == [1 * GIB]


def test_a_plan_that_is_not_quick_keeps_its_ladder(
    tmp_path: Path, units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"ladder": {"sizes": [1]}, "knees": []}
    tasks: list[str] = []

    def child(order: Record, start: Any = None, meanwhile: Any = None) -> Any:
        tasks.append(order["task"])
        return iter([found]) if order["task"] == "ladder" else units(order)

    monkeypatch.setattr(local, "child", child)
    plan = replace(PLAN, has_ladder=True)
    run = records(sweep(plan, tmp_path))[0]
    assert tasks == ["ladder", "unit", "unit"]
    assert run["machine"]["ladder"] == found["ladder"]


@pytest.mark.parametrize("answer", [[], [{"record": "error", "error": "could not map 1G", "fits": False}]])
def test_a_ladder_that_fails_is_said(
    tmp_path: Path, units: Units, monkeypatch: pytest.MonkeyPatch, answer: list[Record]
) -> None:
    def child(order: Record, start: Any = None, meanwhile: Any = None) -> Any:
        return iter(answer) if order["task"] == "ladder" else units(order)

    monkeypatch.setattr(local, "child", child)
    why = "could not map 1G" if answer else "its process ended early"
    # The full plan needs the knees; another only shows them.
    with pytest.raises(P2mperfError, match=f"ladder of this machine could not be measured: {why}"):
        measured_knees(tmp_path)
    listener = Listener()
    path = sweep(replace(PLAN, has_ladder=True), tmp_path, progress=listener.progress)
    assert listener.said == [
        f"the latency ladder of this machine could not be measured: {why}; going on without it"
    ]
    assert cells_of(path) == KEYS


# ---- from Python ----


def test_a_sweep_from_python_gives_a_frame(capfd: pytest.CaptureFixture[str]) -> None:
    frame = p2mperf.sweep(
        "quick", sizes=["16M"], streams=["uniform"], operations=["throughput"], n_replicates=1, quiet=True
    )
    assert set(frame["design"]) == {"pv-tree", "pv-linear"}
    # as many rounds of two designs as there are timed passes in the visits to each
    settings = make_plan("quick").settings
    assert len(frame) == settings.n_visits * settings.n_slices * 2
    assert (frame["cost_ns"] > 0).all()
    assert capfd.readouterr() == ("", "")
    table = p2mperf.summary(frame)
    assert table[["design", "reference"]].to_numpy().tolist() == [["pv-tree", "pv-linear"]]


@pytest.mark.parametrize(("control", "wanted"), [(None, False), (False, False), (True, True)])
def test_a_control_can_be_asked_for_from_python(
    tmp_path: Path, units: Units, control: bool | None, wanted: bool
) -> None:
    p2mperf.sweep("quick", sizes=["16M"], n_replicates=1, control=control, out=tmp_path, quiet=True)
    assert [order["settings"]["control"] for order in units.orders] == [wanted]


def test_a_sweep_from_python_takes_what_the_command_takes() -> None:
    from p2mperf.study.narrow import narrow

    wanted = set(inspect.signature(narrow).parameters) - {"plan"}
    assert wanted <= set(inspect.signature(p2mperf.sweep).parameters)


def test_a_sweep_from_python_tells_its_progress(
    tmp_path: Path, units: Units, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        frame = p2mperf.sweep("quick", sizes=["16M"], n_replicates=1, out=tmp_path)
    assert set(frame["stream"]) == {"sequential", "uniform"}
    assert len(find_runs(tmp_path)) == 2
    told = capfd.readouterr().err
    assert "4/4" in told
