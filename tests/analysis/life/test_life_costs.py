"""What the life of a p2m costs, as tables, on samples made up by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from figure_frames import SMALL, cell, changes, frame_of, lookups

from p2mperf.analysis.life.costs import life_answer, life_costs, life_growth, live_through, scenario_totals
from p2mperf.errors import BadInputError


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    return frame_of(tmp_path, *lookups(), *changes())


def test_costs_are_those_of_tree_and_list(frame: pd.DataFrame) -> None:
    found = life_costs(frame).set_index("what")
    assert list(found.index) == ["shared leaf broken, alone", "boot rebuild from the flat list"]
    assert found["kind"].tolist() == ["made private", "built as a whole"]
    # 120 ms and 40 ms for a whole table; of 1000 leaves 2 and 4 us with the list, 1 us with the tree.
    assert found["list_ns"].tolist() == pytest.approx([3000, 120e6], rel=1e-3)
    assert found["tree_ns"].tolist() == pytest.approx([1000, 40e6], rel=1e-3)
    # Rounds are paired: sqrt(1/2 x 1/4), and a third.
    assert found["ratio"].tolist() == pytest.approx([8**-0.5, 1 / 3], rel=1e-3)
    assert set(found["verdict"]) == {"no verdict"}  # of two processes
    assert set(found["faster"]) == {""}


def test_who_is_faster_follows_the_data(tmp_path: Path) -> None:
    slow = [
        cell(SMALL, number, (2_000_000 + number, 1_000_000), operation="cow", stream="uniform")
        for number in range(9)
    ]
    faster = {}
    for way, renamed in (("as measured", {}), ("swapped", {"pv-tree": "pv-linear", "pv-linear": "pv-tree"})):
        frame = frame_of(tmp_path / way.replace(" ", "-"), *slow)
        faster[way] = life_costs(frame.assign(design=frame["design"].replace(renamed)))["faster"].item()
    assert faster == {"as measured": "tree", "swapped": "list"}


def test_growth_is_counted_for_one(frame: pd.DataFrame) -> None:
    found = life_growth(frame)
    broken = found[found["what"] == "shared leaf broken, alone"].sort_values("design")
    assert broken["design"].tolist() == ["pv-linear", "pv-tree"]
    # Passes of 1000 leaves took 1000 and 1002 pages, and 2000 mappings of the list.
    assert broken["n_pages"].tolist() == pytest.approx([1.001, 1])
    assert broken["n_mappings"].tolist() == pytest.approx([2, 0])


def test_the_answer_tells_the_tables(frame: pd.DataFrame) -> None:
    costs = life_costs(frame).assign(faster=["tree", ""])
    said = life_answer(costs, life_growth(frame), {"pv-tree": 2, "pv-linear": 1025})
    private, whole, pages, mappings = said.splitlines()
    assert "**Made private:** of 1 comparisons the list is faster in 0 and the tree in 1" in private
    # sqrt(1/2 x 1/4)
    assert "takes 0.35 to 0.35 times the list's time" in private
    assert "the list is faster in 0 and the tree in 0" in whole
    assert "takes 1,025 leaves of the list from boot on, and 2 of the tree" in pages
    assert "up to 2.0 mappings of the list, and 0 of the tree" in mappings


def test_lookups_alone_are_no_life(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, *lookups())
    for table in (life_costs, life_growth):
        with pytest.raises(BadInputError, match="of lookups alone"):
            table(frame)


def test_scenarios_are_summed_up() -> None:
    steps = live_through(["domu-64-2049m"], ["balloon"])
    found = scenario_totals(steps)
    assert found["design"].tolist() == ["pv-tree", "pv-linear"]
    assert found["is_as_wanted"].all()
    for (_, design), row in zip(steps.groupby("design", sort=False), found.itertuples(), strict=True):
        assert (row.n_steps, row.n_frames) == (len(design), design["n_frames"].sum())
        assert (row.n_pages_before, row.n_pages_after) == (
            design["pages_before"].iloc[0],
            design["pages_after"].iloc[-1],
        )
    refused = steps.assign(done=False)
    assert not scenario_totals(refused)["is_as_wanted"].any()
