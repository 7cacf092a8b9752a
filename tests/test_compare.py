"""Two runs side by side: the numbers, the refusals, and what the command says and returns."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import record_samples as samples

from p2mperf.analysis.compare import compare, slower_than, worst
from p2mperf.cli.compare import main
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.results.export import load
from p2mperf.results.journal import Journal

N_PROCESSES = 6


def measured(directory: Path, *elapsed_ns: tuple[int, int], **run: Any) -> Path:
    """Run with one process for every pair of times (list, tree), 1000 lookups each."""
    with Journal.create(directory, samples.run(**run)) as journal:
        for replicate, times in enumerate(elapsed_ns):
            journal.append(samples.unit(replicate=replicate))
            journal.append(samples.cell(replicate=replicate, rounds=[samples.block(*times)] * 3))
    return directory


def compared(a: Path, b: Path, **options: Any) -> pd.DataFrame:
    return compare(load(a), load(b), **options)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return measured(tmp_path / "before", *[(2000, 3000)] * N_PROCESSES)


@pytest.fixture
def after(tmp_path: Path) -> Path:
    """The list as before, the tree 20 % slower."""
    return measured(tmp_path / "after", *[(2000, 3600)] * N_PROCESSES, run="beef")


def test_costs_and_ratios(before: Path, after: Path) -> None:
    table = compared(before, after).set_index("design")
    # 2000 ns, 3000 ns and 3600 ns over 1000 lookups; 3.6 / 3.0 = 1.2
    assert list(table.index) == ["pv-linear", "pv-tree"]
    assert table.loc["pv-linear", ["cost_a_ns", "cost_b_ns", "ratio"]].tolist() == [2.0, 2.0, 1.0]
    assert table.loc["pv-tree", ["cost_a_ns", "cost_b_ns"]].tolist() == [3.0, 3.6]
    # six equal processes: the interval is a point
    interval = table.loc["pv-tree", ["ratio_low", "ratio", "ratio_high"]]
    assert interval.tolist() == pytest.approx([1.2, 1.2, 1.2])
    assert table["n_processes"].tolist() == [N_PROCESSES] * 2
    assert table["verdict"].tolist() == ["equivalent", "resolved"]
    assert table["differs"].tolist() == ["", ""]


def test_a_process_counts_once_however_many_rounds_it_has(tmp_path: Path) -> None:
    a = measured(tmp_path / "a", (1000, 1000), (1000, 1000), (1000, 1000))
    with Journal.create(tmp_path / "b", samples.run(run="beef")) as journal:
        for replicate, (time, n_rounds) in enumerate([(1100, 1), (1200, 1), (4000, 9)]):
            journal.append(samples.unit(replicate=replicate))
            journal.append(samples.cell(replicate=replicate, rounds=[samples.block(time, time)] * n_rounds))
    table = compared(a, tmp_path / "b")
    # medians of the processes 1.1, 1.2, 4.0: their median is 1.2; that of all 11 rounds would be 4.0
    assert table["cost_b_ns"].tolist() == [1.2, 1.2]
    assert table["ratio"].tolist() == pytest.approx([1.2, 1.2])


def test_one_outlying_round_does_not_move_a_process(tmp_path: Path) -> None:
    a = measured(tmp_path / "a", (1000, 1000))
    with Journal.create(tmp_path / "b", samples.run(run="beef")) as journal:
        rounds = [samples.block(time, time) for time in (1000, 90000, 1000)]
        journal.append(samples.unit())
        journal.append(samples.cell(rounds=rounds))
    assert compared(a, tmp_path / "b")["ratio"].tolist() == [1.0, 1.0]


def test_processes_are_matched_by_replicate(tmp_path: Path) -> None:
    a = measured(tmp_path / "a", (1000, 1000), (2000, 2000), (4000, 4000))
    b = measured(tmp_path / "b", (1100, 1100), (2200, 2200), run="beef")
    table = compared(a, b)
    # 1.1 / 1 and 2.2 / 2; the third process of A has no counterpart but counts in its cost: median of 1, 2, 4
    assert table["n_processes"].tolist() == [2, 2]
    assert table["ratio"].tolist() == pytest.approx([1.1, 1.1])
    assert table["cost_a_ns"].tolist() == [2.0, 2.0]
    assert table["cost_b_ns"].tolist() == pytest.approx([1.65, 1.65])


def test_one_process_has_a_ratio_without_an_interval(tmp_path: Path) -> None:
    table = compared(
        measured(tmp_path / "a", (1000, 1000)), measured(tmp_path / "b", (1500, 500), run="beef")
    )
    assert table["ratio"].tolist() == pytest.approx([1.5, 0.5])
    assert table["ratio_low"].isna().all()
    assert table["verdict"].tolist() == ["not resolved", "not resolved"]


def test_what_is_only_in_one_is_counted_and_left_out(before: Path, after: Path) -> None:
    (journal,) = after.glob("*.jsonl")
    with Journal.open(journal) as opened:
        opened.append(samples.cell(stream="zipf"))
        opened.append(samples.skipped(stream="sequential"))
    table = compared(before, after)
    assert set(table["stream"]) == {"uniform"}
    # zipf by two designs; the skipped cell has no cost in either
    assert table.attrs == {"n_only_a": 0, "n_only_b": 2}


def test_controls_are_left_out(before: Path, tmp_path: Path) -> None:
    with Journal.create(tmp_path / "after", samples.run(run="beef")) as journal:
        rounds = [samples.block(2000, 2100, 3000, order=("pv-linear", "control:pv-linear", "pv-tree"))]
        journal.append(samples.unit())
        journal.append(samples.cell(rounds=rounds))
    table = compared(tmp_path / "after", before)
    assert table["design"].tolist() == ["pv-linear", "pv-tree"]
    assert table.attrs == {"n_only_a": 0, "n_only_b": 0}


def test_unlike_forms_are_named(before: Path, tmp_path: Path) -> None:
    gathers = samples.design(code_form={"latency": "gather:5"}, view_page_bytes=2**21)
    with Journal.create(tmp_path / "after", samples.run(run="beef")) as journal:
        journal.append(samples.unit(designs={"pv-linear": samples.design(), "pv-tree": gathers}))
        journal.append(samples.cell())
    assert compared(before, tmp_path / "after")["differs"].tolist() == ["", "code_form view_page_bytes"]


def test_other_machines_are_refused_unless_forced(before: Path, tmp_path: Path) -> None:
    other = measured(tmp_path / "other", (1000, 1500), run="beef", machine_key="bead")
    with pytest.raises(BadInputError, match="A was measured on machine fee1 and B on bead"):
        compared(before, other)
    assert compared(before, other, force=True)["ratio"].tolist() == pytest.approx([0.5, 0.5])


def test_several_runs_are_refused(before: Path) -> None:
    measured(before, (1000, 1000), run="beef", started="2026-11-22T10:00:00+00:00")
    with pytest.raises(BadInputError, match="B holds 2 runs: choose one of 0123456789ab, beef"):
        compare(load(before), load(before, run="all"))


def test_nothing_in_common_is_refused(before: Path, tmp_path: Path) -> None:
    with Journal.create(tmp_path / "after", samples.run()) as journal:
        journal.append(samples.unit())
        journal.append(samples.cell(stream="zipf"))
    with pytest.raises(BadInputError, match="no measured cell in common"):
        compared(before, tmp_path / "after")


def test_guests_of_one_name_and_other_sizes_are_not_compared(before: Path, tmp_path: Path) -> None:
    with Journal.create(tmp_path / "after", samples.run()) as journal:
        journal.append(samples.unit(guest_pages=7))
        journal.append(samples.cell(guest_pages=7))
    with pytest.raises(BadInputError, match="no measured cell in common"):
        compared(before, tmp_path / "after")


def rows(*ratios: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(ratios, columns=["ratio_low", "ratio", "ratio_high"])


def test_the_worst_row_has_the_highest_ratio() -> None:
    assert worst(rows((0.9, 1.0, 1.1), (1.0, 1.3, 1.5), (1.1, 1.2, 1.3)))["ratio"] == 1.3


def test_a_regression_is_above_the_limit_and_no_noise() -> None:
    table = rows(
        (1.15, 1.20, 1.25),
        (1.02, 1.11, 1.20),  # surely slower, and above the limit as far as one can tell
        (0.90, 1.20, 1.60),  # may be noise
        (1.05, 1.09, 1.12),  # slower, but within what is accepted
        (math.nan, 1.30, math.nan),  # one process: only the ratio is known
    )
    assert list(slower_than(table, 1.10).index) == [0, 1, 4]
    assert slower_than(table, 2.0).empty


# ---- the command ----


def test_the_table_goes_to_stdout_and_the_talk_to_stderr(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(before), str(after)]) == 0
    output, talk = capsys.readouterr()
    header, *lines = output.splitlines()
    assert header.split()[:4] == ["guest", "design", "stream", "operation"]
    assert [line.split()[1] for line in lines] == ["pv-linear", "pv-tree"]
    assert lines[1].split()[4:7] == ["3.000", "3.600", "1.200"]
    assert "A: run 0123456789ab, host alpha, plan quick, code c0de" in talk
    assert "B: run beef" in talk
    assert "in all rows: geometry pv32, guest_pages 131072, backing 4k" in talk
    assert "highest ratio: 1.200 [1.200, 1.200] for domu-32-512m, 4k, pv-tree, uniform, latency" in talk


def test_json_has_the_same_rows(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(before), str(after), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["design"] for row in rows] == ["pv-linear", "pv-tree"]
    assert rows[1]["ratio"] == pytest.approx(1.2)
    assert rows[1]["guest_pages"] == 131072


def test_json_has_null_where_there_is_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = measured(tmp_path / "a", (1000, 1000))
    assert main([str(a), str(a), "--json"]) == 0
    assert [row["ratio_low"] for row in json.loads(capsys.readouterr().out)] == [None, None]


@pytest.mark.parametrize(("limit", "code"), [("1.10", 3), ("1.25", 0)])
def test_a_regression_has_its_exit_code(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str], limit: str, code: int
) -> None:
    assert main([str(before), str(after), "--fail-above", limit]) == code
    talk = capsys.readouterr().err
    assert ("slower than 1.1: 1.200 [1.200, 1.200] for domu-32-512m" in talk) == (code == 3)
    # the other way round the tree became faster
    assert main([str(after), str(before), "--fail-above", limit]) == 0


def test_files_are_taken_too(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (journal_a,), (journal_b,) = before.glob("*.jsonl"), after.glob("*.jsonl")
    assert main([str(journal_a), str(journal_b), "--fail-above", "1.10"]) == 3
    assert "pv-tree" in capsys.readouterr().out


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "ten"])
def test_a_limit_that_is_no_ratio(limit: str) -> None:
    said = f"'{limit}' is not a ratio: give a positive number such as 1.10"
    with pytest.raises(BadInputError, match=re.escape(said)):
        main(["a", "b", f"--fail-above={limit}"])


def test_where_there_are_no_results(before: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no results in"):
        main([str(before), str(tmp_path / "missing")])


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert (
        "python -m p2mperf compare results-before results-after --fail-above 1.10" in capsys.readouterr().out
    )
