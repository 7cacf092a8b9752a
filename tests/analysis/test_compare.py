"""Two runs side by side: the numbers, the refusals, and what the command says and returns."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import record_samples as samples
from compared_results import N_PROCESSES, after as after, before as before, measured, rows

from p2mperf.analysis.compare import compare, in_words, slower_than, worst
from p2mperf.cli.compare import main
from p2mperf.errors import BadInputError
from p2mperf.results.export import load
from p2mperf.results.fields import VERSION
from p2mperf.results.journal import Journal


def compared(a: Path, b: Path, **options: Any) -> pd.DataFrame:
    return compare(load(a), load(b), **options)


def test_costs_and_ratios(before: Path, after: Path) -> None:
    table = compared(before, after).set_index("design")
    # 2000 ns, 3000 ns and 3600 ns over 1000 lookups; 3.6 / 3.0 = 1.2
    assert list(table.index) == ["pv-linear", "pv-tree"]
    assert table.loc["pv-linear", ["cost_a_ns", "cost_b_ns", "ratio"]].to_numpy().tolist() == [2.0, 2.0, 1.0]
    assert table.loc["pv-tree", ["cost_a_ns", "cost_b_ns"]].to_numpy().tolist() == [3.0, 3.6]
    # six equal processes: the interval is a point
    interval = table.loc["pv-tree", ["ratio_low", "ratio", "ratio_high"]]
    assert interval.to_numpy().tolist() == pytest.approx([1.2, 1.2, 1.2])
    assert table["n_processes_a"].tolist() == table["n_processes_b"].tolist() == [N_PROCESSES] * 2
    # six against six: 1 - 2 * 19 / C(12, 6), the exact level of the 6th and the 31st of 36 differences
    assert table["level"].tolist() == pytest.approx([1 - 38 / 924] * 2)
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


def test_processes_of_two_runs_are_no_pairs(tmp_path: Path) -> None:
    a = measured(tmp_path / "a", (1000, 1000), (2000, 2000), (4000, 4000))
    b = measured(tmp_path / "b", (1100, 1100), (2200, 2200), run="beef")
    table = compared(a, b)
    # all quotients: 1.1, 0.55, 0.275, 2.2, 1.1, 0.55; the median of their logs lies between 0.55 and 1.1
    assert table["ratio"].tolist() == pytest.approx([math.sqrt(0.55 * 1.1)] * 2)
    assert (table["n_processes_a"].tolist(), table["n_processes_b"].tolist()) == ([3, 3], [2, 2])
    assert table["cost_a_ns"].tolist() == [2.0, 2.0]
    assert table["cost_b_ns"].tolist() == pytest.approx([1.65, 1.65])


def test_a_cost_that_is_doubtful_is_marked(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In B the tree becomes slower within each process, and a second list takes 5 % more than the first."""
    order = ("pv-linear", "control:pv-linear", "pv-tree")
    with Journal.create(tmp_path / "b", samples.run(run="beef")) as journal:
        for replicate in range(N_PROCESSES):
            rounds = [samples.block(2000, 2100, 3000 + 200 * n, order=order) for n in range(4)]
            journal.append(samples.unit(replicate=replicate))
            journal.append(samples.cell(replicate=replicate, rounds=rounds))
    table = compared(before, tmp_path / "b").set_index("design")
    assert table["marks_a"].tolist() == ["", ""]
    assert table["marks_b"].to_dict() == {"pv-linear": "biased", "pv-tree": "biased, unsteady"}
    assert main([str(before), str(tmp_path / "b")]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"pv-tree .* biased, unsteady$", out, re.MULTILINE)
    assert "marks_a" not in out
    assert "\nunsteady: a cost there rises or falls by more than 5 % within its processes\n" in err


def test_one_process_has_a_ratio_without_an_interval(tmp_path: Path) -> None:
    table = compared(
        measured(tmp_path / "a", (1000, 1000)), measured(tmp_path / "b", (1500, 500), run="beef")
    )
    assert table["ratio"].tolist() == pytest.approx([1.5, 0.5])
    assert table["ratio_low"].isna().all()
    assert table["verdict"].tolist() == ["no verdict", "no verdict"]
    assert table["reason"][0] == "1 process: an interval of 95 % takes 6"


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


def test_several_runs_of_a_side_are_one_set_of_processes(before: Path, after: Path, tmp_path: Path) -> None:
    again = measured(tmp_path / "again", *[(2000, 3600)] * 2, run="feed")
    table = compare(load(before), load([after, again])).set_index("design")
    assert table["n_processes_b"].tolist() == [N_PROCESSES + 2] * 2
    assert table.loc["pv-tree", ["cost_b_ns", "ratio"]].to_numpy().tolist() == pytest.approx([3.6, 1.2])


def test_each_machine_is_compared_with_itself(tmp_path: Path) -> None:
    """The second machine is ten times slower, and there alone did anything change."""
    sides = [
        load(
            [
                measured(tmp_path / f"{side} near", *[(2000, 3000)] * 4, run=f"{side}001"),
                measured(tmp_path / f"{side} far", *[(20000, tree)] * 4, run=f"{side}002", machine_key="fa2"),
            ]
        )
        for side, tree in (("a", 30000), ("b", 33000))
    ]
    table = compare(*sides).set_index(["design", "machine"])
    assert table["ratio"].to_dict() == {
        ("pv-linear", "fee1"): pytest.approx(1.0),
        ("pv-linear", "fa2"): pytest.approx(1.0),
        ("pv-tree", "fee1"): pytest.approx(1.0),
        ("pv-tree", "fa2"): pytest.approx(1.1),
    }


def test_machines_of_one_side_alone_are_refused_or_left_out(
    before: Path, after: Path, tmp_path: Path
) -> None:
    far = measured(tmp_path / "far", (1000, 1000), run="fa22", machine_key="fa2")
    with pytest.raises(BadInputError, match="A was measured on machine fa2, fee1 and B on fee1: their costs"):
        compare(load([before, far]), load(after))
    table = compare(load([before, far]), load(after), force=True)
    assert (set(table["machine"]), table.attrs["n_only_a"]) == ({"fee1"}, 2)
    other = measured(tmp_path / "other", (1000, 1000), run="07e4", machine_key="07e4")
    with pytest.raises(BadInputError, match="which with which"):
        compare(load([before, far]), load(other), force=True)


def test_unlike_formats_are_refused_unless_forced(before: Path, tmp_path: Path) -> None:
    old = measured(tmp_path / "old", *[(1000, 1500)] * 4, run="01dd", schema=1)
    with pytest.raises(BadInputError, match=f"unlike formats, A of version 1 and B of version {VERSION}:"):
        compared(old, before)
    assert compared(old, before, force=True)["ratio"].tolist() == pytest.approx([2.0, 2.0])


def test_several_versions_of_the_code_on_one_side_are_refused_unless_forced(
    before: Path, after: Path, tmp_path: Path
) -> None:
    other = measured(tmp_path / "other", (2000, 3600), run="feed", code="c0da")
    with pytest.raises(BadInputError, match="B was measured by several versions of the code, c0da, c0de: "):
        compare(load(before), load([after, other]))
    assert len(compare(load(before), load([after, other]), force=True)) == 2
    assert len(compare(load(before), load(other))) == 2  # that A and B differ in it is what is asked about


@pytest.mark.parametrize(
    ("interval", "verdict", "words"),
    [
        ((1.041, 1.020, 1.063), "resolved", "B 4.1 % slower [2.0, 6.3]"),
        ((0.900, 0.850, 0.950), "resolved", "B 10.0 % faster [5.0, 15.0]"),
        ((2.500, 2.000, 3.000), "resolved", "B 150.0 % slower [100.0, 200.0]"),
        ((1.002, 0.995, 1.009), "equivalent", "B as A, 0.2 % slower [-0.5, 0.9]"),
        ((0.990, 0.950, 1.020), "not resolved", "B perhaps 1.0 % faster [-2.0, 5.0]"),
        ((1.000, 1.000, 1.000), "equivalent", "B as A, 0.0 % slower [0.0, 0.0]"),
        ((1.500, math.nan, math.nan), "not resolved", "B perhaps 50.0 % slower, no interval"),
    ],
)
def test_a_ratio_in_words(interval: tuple[float, float, float], verdict: str, words: str) -> None:
    assert in_words(*interval, verdict) == words


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
