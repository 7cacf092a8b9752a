"""Unrest of a machine as a sweep tells and records it, and as those tell it who read a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import record_samples as samples
from calm_machine import CALM
from elsewhere import Elsewhere
from sweeping import Listener, Units, small_plan

from p2mperf.analysis.samples import unrest_of
from p2mperf.cli import main
from p2mperf.errors import ResultsError
from p2mperf.host import card as card_module
from p2mperf.host.watch import Snapshot, unrest
from p2mperf.results.export import export, load
from p2mperf.results.journal import Journal
from p2mperf.study.executors import local
from p2mperf.study.executors.base import Place
from p2mperf.study.sweep import sweep


@dataclass
class Changing(Elsewhere):
    """Another host, which is seen as `looks` say, one after the other; the last one stays."""

    looks: list[Snapshot] = field(default_factory=list)

    def place(self) -> Place:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return replace(super().place(), card={"n_cpus": 96, **look.to_json()})


def ran(tmp_path: Path, *looks: Snapshot) -> tuple[list[str], Path]:
    """What a sweep said on a machine in these states, the first of which its card has; and its journal."""
    listener = Listener()
    path = sweep(small_plan(), tmp_path, progress=listener.progress, executor=Changing(looks=[*looks]))
    return listener.said, path


def last_record(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text().splitlines()[-1])
    return record


def test_a_sweep_on_a_quiet_machine_says_nothing_and_records_it(tmp_path: Path) -> None:
    end = replace(CALM, n_busy_ticks=2000)
    said, path = ran(tmp_path, CALM, CALM, end)
    assert said == []
    assert last_record(path)["watched"] == {"start": CALM.to_json(), "end": end.to_json()}
    frame = load(path)
    assert unrest_of(frame) == []
    assert frame.attrs["runs"][0]["watched"]["end"]["n_busy_ticks"] == 2000


def test_a_sweep_says_at_its_start_and_its_end_what_is_new(tmp_path: Path) -> None:
    start = replace(CALM, damon=True)
    end = replace(start, n_khugepaged_collapsed=41)
    said, path = ran(tmp_path, start, start, end)
    assert said == list(map(str, unrest(start, end)))
    assert [one.name for one in unrest_of(load(path))] == ["DAMON", "khugepaged"]
    # An export tells it as the journal does.
    parquet = next(file for file in export(path, tmp_path) if file.suffix == ".parquet")
    assert unrest_of(load(parquet)) == unrest_of(load(path))


def test_unrest_of_the_session_that_began_a_run_is_told_too(tmp_path: Path) -> None:
    _, path = ran(tmp_path, replace(CALM, damon=True), CALM)
    assert [one.name for one in unrest_of(load(path))] == ["DAMON"]


def test_what_was_stolen_before_a_run_is_not_its_matter(tmp_path: Path) -> None:
    before = replace(CALM, n_steal_ticks=500)
    said, path = ran(tmp_path, before, before, replace(before, n_busy_ticks=2000))
    assert said == []
    assert unrest_of(load(path)) == []


def test_a_place_that_tells_nothing_records_nothing(tmp_path: Path) -> None:
    said, path = ran(tmp_path, Snapshot())
    assert said == []
    assert "watched" not in last_record(path)
    assert unrest_of(load(path)) == []


@pytest.fixture
def busy_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(card_module, "snapshot", lambda root: replace(CALM, damon=True))
    monkeypatch.setattr(local, "child", Units())
    monkeypatch.chdir(tmp_path)


SWEEP = ("sweep", "--plan", "quick", "--size", "16M", "--stream", "uniform")


@pytest.mark.usefixtures("busy_machine")
@pytest.mark.parametrize(("options", "n_told"), [((), 1), (("-q",), 0)])
def test_the_command_tells_unrest_once_and_under_its_table(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], n_told: int
) -> None:
    assert main([*SWEEP, *options]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("measured in unrest: DAMON watches memory")
    assert "p2mperf doctor" in out.splitlines()[-1]
    assert err.count("accessed bits") == n_told


@pytest.mark.usefixtures("busy_machine")
def test_as_json_the_table_stays_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SWEEP, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)
    assert "p2mperf: measured in unrest: DAMON" in err
    assert main([*SWEEP, "--json", "-q", "--fresh"]) == 0
    assert capsys.readouterr().err == ""


def written(directory: Path, run: str, **watched: Snapshot) -> Path:
    with Journal.create(directory, samples.run(run=run)) as journal:
        journal.append(samples.unit())
        journal.append(samples.cell())
        told = {name: look.to_json() for name, look in watched.items()}
        journal.append(samples.end() | ({"watched": told} if told else {}))
    return directory


def test_compare_warns_of_the_side_that_was_measured_in_unrest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = written(tmp_path / "a", "cafe", start=CALM, end=CALM)
    busy = written(tmp_path / "b", "beef", start=CALM, end=replace(CALM, n_steal_ticks=900))
    for order, which in (((quiet, busy), "B"), ((busy, quiet), "A")):
        assert main(["compare", *map(str, order)]) == 0
        told = [line for line in capsys.readouterr().err.splitlines() if "unrest" in line]
        assert len(told) == 1
        assert told[0].startswith(f"{which} was measured in unrest: the hypervisor gave 100.0%")


def test_runs_that_did_not_look_compare_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(written(tmp_path / "a", "cafe")), str(written(tmp_path / "b", "beef"))]) == 0
    assert "unrest" not in capsys.readouterr().err


def test_what_a_file_says_was_watched_may_be_anything_in_a_table(tmp_path: Path) -> None:
    with Journal.create(tmp_path, samples.run()) as journal:
        journal.append(samples.unit())
        journal.append(samples.cell())
        with pytest.raises(ResultsError, match="'watched' of a end record is 7, but must be a table"):
            journal.append(samples.end(watched=7))
        journal.append(samples.end(watched={"start": [1], "end": {"load_average": "x", "damon": 1}}))
    assert unrest_of(load(tmp_path)) == []
