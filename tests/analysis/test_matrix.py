"""Verdicts side by side, counted, and beside what a design says against itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from figure_frames import LARGE, SMALL, cell, frame_of

from p2mperf.analysis.matrix import counts, matrices
from p2mperf.analysis.noise import controls, noise_floor
from p2mperf.analysis.summary import summary

LOOKUPS, ENTERED = "lookups one after the other; uniform", "lookups of a kernel entry, at once; uniform"


def decided(directory: Path) -> pd.DataFrame:
    """Six processes of two guests: the tree takes 1.5 times as long, and in the larger one two thirds."""
    small = [cell(SMALL, number, (2000, 3000)) for number in range(6)]
    large = [cell(LARGE, number, (3000, 2000)) for number in range(6)]
    entered = [cell(SMALL, number, (2000, 2000), operation="entry", preamble="tight") for number in range(6)]
    return frame_of(directory, *small, *large, *entered)


def test_a_row_is_what_was_timed_and_a_column_a_guest(tmp_path: Path) -> None:
    (matrix,) = matrices(summary(decided(tmp_path)))
    assert (matrix.family, matrix.design, matrix.reference) == ("pv", "pv-tree", "pv-linear")
    assert matrix.rows == (LOOKUPS, ENTERED)
    assert matrix.guests == ("pv-64-256m", "pv-64-1g")  # by size
    # 3000 / 2000 and 2000 / 3000; entries of the larger guest were not measured.
    expected = {"pv-64-256m": ["1.50 list", "1.00 same"], "pv-64-1g": ["0.67 tree", ""]}
    assert matrix.as_frame().to_dict("list") == expected


def test_what_was_measured_in_several_ways_has_rows_of_its_own(tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [{"limit_bytes": 0}, {"limit_bytes": 16 << 30}, {"backing": "huge"}]
    cells = [cell(SMALL, number, (2000, 3000), **way) for number in range(6) for way in ways]
    (matrix,) = matrices(summary(frame_of(tmp_path, *cells)))
    assert matrix.rows == (
        f"{LOOKUPS}; 4k pages; no limit",
        f"{LOOKUPS}; 4k pages; room up to 16G",
        f"{LOOKUPS}; huge pages; no limit",
    )


def test_too_few_processes_say_nothing(tmp_path: Path) -> None:
    (matrix,) = matrices(summary(frame_of(tmp_path, cell(SMALL, 0, (2000, 3000)))))
    assert matrix.as_frame().to_numpy().tolist() == [["1.50 -"]]


def test_a_doubtful_cell_has_a_star(tmp_path: Path) -> None:
    # The list's second build takes 1.1 times what the first does, in each process: 1 is excluded.
    cells = [cell(SMALL, number, (2000, 3000, 2200)) for number in range(6)]
    (matrix,) = matrices(summary(frame_of(tmp_path, *cells)))
    # Both copies are the list, which so takes sqrt(2000 * 2200) = 2098 ns: 3000 / 2098 = 1.43.
    assert matrix.as_frame().to_numpy().tolist() == [["1.43 list*"]]


def test_verdicts_are_counted_by_operation(tmp_path: Path) -> None:
    table = counts(summary(decided(tmp_path)))
    assert table["operation"].tolist() == ["latency", "entry"]
    latency, entry = table.to_dict("records")
    names = ["n_comparisons", "n_design_faster", "n_reference_faster", "n_equivalent", "n_not_resolved"]
    # Two guests, of which each layout is faster in one; one comparison of entries, which are equal.
    assert [latency[name] for name in names] == [2, 1, 1, 0, 0]
    assert [entry[name] for name in names] == [1, 0, 0, 1, 0]
    assert (latency["lowest_ratio"], latency["highest_ratio"]) == pytest.approx((2 / 3, 3 / 2))


def test_the_noise_floor_is_what_controls_say(tmp_path: Path) -> None:
    # Controls take 1.02 and 1 / 1.05 times what their designs do: 2 % and 5 % off.
    small = [cell(SMALL, number, (10000, 20000, 10200)) for number in range(6)]
    large = [cell(LARGE, number, (10500, 20000, 10000)) for number in range(6)]
    found = controls(frame_of(tmp_path, *small, *large))
    assert found["ratio"].tolist() == pytest.approx([1.02, 1 / 1.05])
    assert found["excludes_one"].tolist() == [True, True]
    (row,) = noise_floor(found).to_dict("records")
    assert (row["family"], row["operation"], row["n_controls"]) == ("pv", "latency", 2)
    assert row["median_percent"] == pytest.approx((2 + 5) / 2)
    assert row["largest_percent"] == pytest.approx(5)
    assert row["interval_percent"] == pytest.approx(0)  # all processes say the same
    assert (row["n_excluding_one"], row["n_by_chance"]) == (2, pytest.approx(0.1))


def test_cells_without_a_control_have_no_floor(tmp_path: Path) -> None:
    found = controls(frame_of(tmp_path, cell(SMALL, 0, (2000, 3000))))
    assert len(found) == len(noise_floor(found)) == 0
