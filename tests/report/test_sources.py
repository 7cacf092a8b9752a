"""Whose numbers a report shows, and what of them stands for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import record_samples as samples

import p2mperf
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.report.sources import numbers
from p2mperf.results.journal import Journal
from p2mperf.results.parquet import read_parquet, write_parquet


def measured(directory: Path, boot: str = "b001", **run: Any) -> str:
    """Two processes of a run, and a cell that did not fit."""
    with Journal.create(directory, samples.run(**run)) as journal:
        for replicate in (0, 1):
            journal.append(samples.unit(replicate=replicate, boot=boot) | {"boot": boot})
            journal.append(samples.cell(replicate=replicate))
        journal.append(samples.skipped(replicate=2))
    return str(directory)


def test_results_of_one_machine_and_boot_are_one_part(tmp_path: Path) -> None:
    names = [measured(tmp_path / "mon", run="a001"), measured(tmp_path / "tue", run="a002")]
    shown = numbers(names)
    (part,) = shown.parts
    assert part.title == "Machine fee1, an unnamed processor, boot b001, code c0de"
    pd.testing.assert_frame_equal(part.frame, p2mperf.load(names))
    assert part.frame.attrs == p2mperf.load(names).attrs


def test_a_machine_a_boot_and_a_code_are_parts_of_their_own(tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [
        {"run": "a001"},
        {"run": "a002", "boot": "b002"},
        {"run": "a003", "code": "c0da"},
        {"run": "a004", "machine_key": "fa2", "machine": {"cpu_model": "Other <1>", "key": "fa2"}},
    ]
    parts = numbers([measured(tmp_path / way["run"], **way) for way in ways]).parts
    assert [part.title for part in parts] == [
        "Machine fee1, an unnamed processor, boot b001, code c0de",
        "Machine fee1, an unnamed processor, boot b002, code c0de",
        "Machine fee1, an unnamed processor, boot b001, code c0da",
        "Machine fa2, Other <1>, boot b001, code c0de",
    ]
    for part, n_runs in zip(parts, (2, 2, 1, 1), strict=True):
        # Of a cell that was not measured it is not known in which boot: it stands with each of its machine.
        assert len(part.frame) == 8 + n_runs
        assert len({run["run"] for run in part.frame.attrs["runs"]}) == n_runs
        # Each part is a file that p2mperf reads.
        write_parquet(part.frame, tmp_path / "part.parquet")
        pd.testing.assert_frame_equal(read_parquet(tmp_path / "part.parquet"), part.frame)


def test_the_results_here_are_shown_before_the_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    measured(tmp_path / "results")
    shown = numbers()
    assert shown.names == ("results",)
    assert (
        shown.whose
        == "These numbers were read from `results`, and measured on another machine than this one."
    )


def test_results_in_which_nothing_was_measured_leave_the_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Journal.create(tmp_path / "results", samples.run()).close()
    monkeypatch.setattr("p2mperf.report.sources.SWEEPS", {"shipped": ""})
    shown = numbers()
    assert shown.names == ()
    assert shown.whose.startswith("These numbers ship with p2mperf and were measured on ")
    assert [part.source for part in shown.parts] == ["shipped"] * len(shown.parts)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    directory = measured(tmp_path / "here")
    (Path(directory) / "torn.jsonl").write_bytes(b"\xff\n")
    (told,) = numbers([directory]).passed_over
    assert "torn.jsonl" in told


def test_no_results_say_what_makes_some(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"no results in .*`python -m p2mperf sweep --out .*` measures"):
        numbers([str(tmp_path)])
    with Journal.create(tmp_path / "none", samples.run()) as journal:
        journal.append(samples.skipped())
    with pytest.raises(BadInputError, match="there is nothing to report; `python -m p2mperf sweep`"):
        numbers([str(tmp_path / "none")])
