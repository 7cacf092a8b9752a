"""What is said of the designs of a cell: copies pooled, marks, and verdicts of the table that is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import record_samples as samples
from matplotlib.figure import Figure

from p2mperf.analysis.summary import pairs_of, summary, with_verdicts
from p2mperf.cli.sweep import as_text
from p2mperf.figures import life
from p2mperf.figures.lookups import cost, ratio
from p2mperf.results.export import load
from p2mperf.results.journal import Journal

ORDER = ("pv-linear", "pv-tree", "control:pv-linear")
GUESTS = [
    {"guest": f"pv-64-{2**n}g", "geometry": "pv64", "entry_bits": 64, "guest_pages": 2**18 << n}
    for n in range(4)
]


def noisy(replicate: int, n_rounds: int, *costs_ns: float, seed: int = 0) -> np.ndarray:
    """Times [round, design] of designs that differ by 1 % from round to round."""
    rng = np.random.default_rng([seed, replicate])
    return np.array(costs_ns) * np.exp(rng.normal(0, 0.01, (n_rounds, len(costs_ns))))


def cell(replicate: int, times: np.ndarray, visits: Any = None, **changes: Any) -> dict[str, Any]:
    blocks = [samples.block(*row.astype(int).tolist(), order=ORDER[: row.size]) for row in times]
    for block, visit in zip(blocks, visits or (), strict=bool(visits)):
        block["visit"] = visit
    return samples.cell(**GUESTS[0] | changes, replicate=replicate, rounds=blocks)


def sampled(directory: Path, *cells: dict[str, Any]) -> pd.DataFrame:
    with Journal.create(directory, samples.run(n_cells=len(cells))) as journal:
        for record in cells:
            journal.append(samples.unit(**{name: record[name] for name in (*GUESTS[0], "replicate")}))
            journal.append(record)
    return load(directory)


def summed(directory: Path, *cells: dict[str, Any]) -> pd.DataFrame:
    return summary(sampled(directory, *cells))


def test_both_copies_of_the_control_are_the_reference(tmp_path: Path) -> None:
    # The list's copies take 0.9 and 1 / 0.9 of 20000 ns, so that together they take 20000 ns.
    cells = [cell(n, np.array([[18000, 30000, 20000 / 0.9]] * 6)) for n in range(9)]
    (row,) = summed(tmp_path, *cells).itertuples()
    assert row.ratio == pytest.approx(1.5, rel=1e-4)
    assert row.control_low == pytest.approx(1 / 0.81, rel=1e-4)


def test_a_round_without_its_control_counts_with_the_design_alone(tmp_path: Path) -> None:
    cells = [
        samples.cell(**GUESTS[0], replicate=n, rounds=[samples.block(20000, 30000, order=ORDER[:2])])
        if n % 2
        else cell(n, np.array([[20000.0, 30000, 20000]]))
        for n in range(6)
    ]
    (row,) = summed(tmp_path, *cells).itertuples()
    assert (row.n_processes, row.ratio) == (6, pytest.approx(1.5))


def test_a_control_that_differs_from_its_design_marks_the_row(tmp_path: Path) -> None:
    cells = [cell(n, noisy(n, 6, 20000, 30000, 21000)) for n in range(9)]
    (row,) = summed(tmp_path, *cells).itertuples()
    assert (row.verdict, row.faster, row.marks) == ("resolved", "pv-linear", "biased")
    assert row.reason.endswith(
        f"; biased: the control's interval {row.control_low:.3f} to {row.control_high:.3f} excludes 1"
    )
    assert 1.03 < row.control_low < 1.05 < row.control_high < 1.07


def test_a_control_of_few_processes_marks_nothing(tmp_path: Path) -> None:
    cells = [cell(n, noisy(n, 6, 20000, 30000, 21000)) for n in range(5)]
    (row,) = summed(tmp_path, *cells).itertuples()
    assert (row.verdict, row.faster, row.marks) == ("no verdict", "", "")
    assert row.reason == "5 processes: an interval of 95 % takes 6"
    assert (row.low, row.level) == (pytest.approx(1.5, rel=0.05), 1 - 2 / 2**5)


@pytest.mark.parametrize("design", [0, 1])
def test_a_cost_that_falls_within_its_processes_marks_the_row(tmp_path: Path, design: int) -> None:
    falls = np.ones((6, 2))
    falls[:, design] = np.linspace(1.4, 1, 6)
    cells = [cell(n, noisy(n, 6, 20000, 30000) * falls) for n in range(9)]
    (row,) = summed(tmp_path, *cells).itertuples()
    assert (row.verdict, row.marks) == ("resolved", "unsteady")
    # From the mean of 1.4 and 1.32 to that of 1.08 and 1, by some 23.5 %; p of nine alike is 2 / 512.
    said = rf"; unsteady: {ORDER[design]} falls by 2[345] % over its rounds, p = 0\.0039$"
    assert re.search(said, row.reason)


def test_a_cost_that_rises_from_visit_to_visit_or_within_each_marks_the_row(tmp_path: Path) -> None:
    visits = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    by_visit, by_slice = np.repeat([1, 1.1, 1.2], 3), np.tile([1, 1.1, 1.2], 3)
    ways = {"visits": by_visit, "slices of a visit": by_slice, "": np.ones(9)}
    for index, (what, rises) in enumerate(ways.items()):
        cells = [cell(n, noisy(n, 9, 20000, 30000) * rises[:, None], visits) for n in range(9)]
        (row,) = summed(tmp_path / str(index), *cells).itertuples()
        assert (f"pv-tree rises by 20 % over its {what}" in row.trend) == bool(what)
        assert row.marks == ("unsteady" if what else "")


def test_verdicts_are_those_of_the_rows_that_are_shown(tmp_path: Path) -> None:
    # Six processes cannot have a p below 2 / 64 = 0.031: one such row stands alone, but not among four.
    cells = [
        cell(n, noisy(n, 6, 20000, 30000 if guest is GUESTS[0] else 20000, seed=place), **guest)
        for place, guest in enumerate(GUESTS)
        for n in range(6)
    ]
    table = summed(tmp_path, *cells)
    assert table["verdict"][0] == "not resolved"
    assert "not under Benjamini-Hochberg at 5 % over 4 rows" in table["reason"][0]
    shown = with_verdicts(table[table["guest"] == "pv-64-1g"])
    assert shown[["verdict", "faster"]].to_numpy().tolist() == [["resolved", "pv-linear"]]
    assert "over 1 row" in shown["reason"][0]
    # The rest of the row and the table's note are what they were.
    judged = ["verdict", "faster", "reason"]
    pd.testing.assert_frame_equal(shown.drop(columns=judged), table.head(1).drop(columns=judged))
    assert shown.attrs == table.attrs
    assert "intervals cover processes, not boots or machines" in table.attrs["note"]


def test_the_command_says_marks_and_what_they_mean(tmp_path: Path) -> None:
    cells = [cell(n, noisy(n, 6, 20000, 30000, 21000)) for n in range(9)]
    text = as_text(summed(tmp_path, *cells)).splitlines()
    assert text[0] == "pv-tree / pv-linear [96.1 % interval]"
    assert text[1].split() == ["guest", "stream", "operation", "pv-linear", "pv-tree", "ratio", "verdict"]
    # Nine processes of nine say the same, which is by chance so twice in 2 ** 9.
    biased = r"biased: the control's interval 1\.0\d+ to 1\.0\d+ excludes 1"
    assert re.search(rf"  pv-linear faster: p = 0\.0039; {biased}$", text[2])
    assert text[-2:-1] == ["intervals cover processes, not boots or machines"]
    assert text[-1].startswith("biased: a design that was timed twice differs from itself there")


@pytest.mark.parametrize(("control_ns", "n_rings"), [(20000, 0), (21000, 1)])
def test_the_figure_rings_what_is_marked(tmp_path: Path, control_ns: int, n_rings: int) -> None:
    cells = [cell(n, noisy(n, 6, 20000, 30000, control_ns)) for n in range(9)]
    ((_, panel),) = ratio.panels(ratio.data(sampled(tmp_path, *cells)))
    ax = Figure().subplots()
    ratio.draw(panel, ax)
    rings = [line for line in ax.lines if line.get_label() == "ringed: biased or unsteady"]
    assert [line.get_xdata().tolist() for line in rings] == [panel["ratio"].tolist()] * n_rings


def test_costs_are_ringed_like_ratios(tmp_path: Path) -> None:
    # The list's control takes 5 % more than the list; the tree becomes slower by 20 % over its visits.
    times = [noisy(n, 6, 20000, 30000, 21000) for n in range(9)]
    for rounds in times:
        rounds[:, 1] *= np.linspace(1, 1.2, 6)
    cells = [cell(n, rounds, visits=range(6)) for n, rounds in enumerate(times)]
    cells += [cell(n, noisy(n, 6, 20000, 30000, 20000), **GUESTS[1]) for n in range(9)]
    frame = sampled(tmp_path, *cells)
    table = cost.data(frame)
    marks = {(row.guest, row.design): row.marks for row in table.itertuples()}
    assert marks == {
        ("pv-64-1g", "pv-linear"): "biased",
        ("pv-64-1g", "pv-tree"): "biased, unsteady",
        ("pv-64-2g", "pv-linear"): "",
        ("pv-64-2g", "pv-tree"): "",
    }
    ax = Figure().subplots()
    cost.draw(table, ax)
    rings = [line for line in ax.lines if line.get_label() == "ringed: biased or unsteady"]
    where = [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in rings]
    small = table[table["guest"] == "pv-64-1g"]
    assert where == [([row.guest_bytes], [row.cost_ns]) for row in small.itertuples()]


def test_what_happened_to_a_p2m_is_ringed_too(tmp_path: Path) -> None:
    grown = {name: dict.fromkeys(ORDER, 0) for name in ("n_pages_grown", "n_vmas_grown")}
    cells = [cell(n, noisy(n, 6, 20000, 30000, 21000), operation="set") for n in range(9)]
    for record in cells:
        for block in record["rounds"]:
            block.update(grown)
    data = life.data(sampled(tmp_path, *cells))
    (_, panel), *_ = life.panels(data)
    ax = Figure().subplots()
    life.draw(panel, ax)
    rings = [line for line in ax.lines if line.get_label() == "ringed: biased or unsteady"]
    assert [line.get_xdata().tolist() for line in rings] == [data["ratio"].tolist()]


def test_a_verdict_comes_with_its_reason(tmp_path: Path) -> None:
    biased = [cell(n, noisy(n, 6, 20000, 30000, 21000)) for n in range(9)]
    equal = [cell(n, noisy(n, 6, 20000, 20000, 20000, seed=1), **GUESTS[1]) for n in range(9)]
    table = summed(tmp_path, *biased, *equal)
    _, _, first, second, *rest = as_text(table).splitlines()
    assert "  pv-linear faster: p = 0.0039; biased: " in first
    assert second.endswith("  equivalent: lies within 3 % of 1")
    assert "equivalent: the interval lies within 3 % of 1" in rest
    assert [line for line in rest if line.startswith("who is faster: the interval excludes 1")]
    assert not [line for line in rest if line.startswith("not resolved")]


def test_rows_are_pairs_again(tmp_path: Path) -> None:
    table = summed(tmp_path, *[cell(n, noisy(n, 6, 20000, 20000)) for n in range(9)])
    (pair,) = pairs_of(table)
    assert (pair.said, pair.reason) == ("equivalent", table["reason"][0])
    assert pair.as_ratio.level == 1 - 20 / 512
