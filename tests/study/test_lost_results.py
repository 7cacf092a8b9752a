"""What befalls a sweep's results from outside: no export at its end, and a directory that disappears."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import record_samples as samples
from sweeping import Listener, Units, small_plan
from written_results import written

from p2mperf.errors import ResultsLostError
from p2mperf.results.export import export, load
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
from p2mperf.study import sweep as module
from p2mperf.study.executors import local


def swept(out: Path, units: Units, **options: Any) -> tuple[Path, int, list[str]]:
    """The journal, how many cells were measured for it, and what was said."""
    before, listener = units.n_cells, Listener()
    path = module.sweep(small_plan(), out, progress=listener.progress, **({"will_export": True} | options))
    return path, units.n_cells - before, listener.said


@pytest.mark.parametrize("lost", [(".parquet", ".csv"), (".csv",), (".parquet",)])
def test_a_run_that_lacks_its_export_is_not_measured_again(
    tmp_path: Path, units: Units, lost: tuple[str, ...]
) -> None:
    path, n_cells, _ = swept(tmp_path, units)
    assert n_cells == 2
    for file in export(path, tmp_path):
        if file.suffix in lost:
            file.unlink()
    again, n_cells, said = swept(tmp_path, units)
    assert (again, n_cells) == (path, 0)
    assert [path.name in sentence and "not exported" in sentence for sentence in said] == [True]
    export(again, tmp_path)
    assert len(load(tmp_path)) == 4 * 2
    # With its export it is finished, and the same command is another run, as ever.
    later, n_cells, _ = swept(tmp_path, units)
    assert later != path
    assert n_cells == 2


def test_only_the_same_run_is_taken_for_its_export(
    tmp_path: Path, units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, *_ = swept(tmp_path, units)
    for options in ({"fresh": True}, {"will_export": False}):
        other, n_cells, _ = swept(tmp_path, units, **options)
        assert other != path
        assert n_cells == 2
        other.unlink()
    monkeypatch.setattr(local, "source_hash", lambda patterns: "other")
    other, n_cells, _ = swept(tmp_path, units)
    assert other != path
    assert n_cells == 2


def test_a_run_of_which_nothing_fitted_is_tried_again(tmp_path: Path, units: Units) -> None:
    path, *_ = swept(tmp_path, units)
    run = Journal.read(path).run
    path.unlink()
    with Journal.create(tmp_path, run | {"run": "beef"}) as journal:
        unit = {"guest": "pv-64-16m", "geometry": "pv64", "entry_bits": 64, "guest_pages": 4096}
        journal.append(samples.skipped(**unit, backing="kernel"))
        journal.append(samples.end(n_done=0))
    assert swept(tmp_path, units)[1] == 2


def remove(path: Path) -> None:
    shutil.rmtree(path.parent)


def move(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace(path: Path) -> None:
    path.unlink()
    path.write_text("other")


@pytest.mark.parametrize("act", [remove, move, replace])
def test_results_that_disappear_end_the_sweep_at_the_next_cell(
    tmp_path: Path, units: Units, act: Any
) -> None:
    def spoil(number: int, record: dict[str, Any]) -> dict[str, Any]:
        if number == 2:
            act(find_runs(tmp_path / "results")[0].path)
        return record

    units.spoil = spoil
    with pytest.raises(ResultsLostError, match="is no longer there") as lost:
        module.sweep(small_plan("16M", "32M", "64M"), tmp_path / "results")
    assert lost.value.exit_code == 1
    assert units.n_cells == 2
    assert "\n" not in str(lost.value)


def test_a_journal_that_is_there_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "results", samples.unit())
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with Journal.open(link) as journal:
        journal.append(samples.cell())
    assert Journal.read(path).n_done == 1
