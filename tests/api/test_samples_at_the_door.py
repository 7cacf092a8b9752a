"""Samples as users hand them over: rows of what `load` gives, however picked, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from refusals import Mute, case, refused

import p2mperf
from p2mperf.analysis.compare import compare
from p2mperf.figures import table

FRAME = p2mperf.load("shipped").head(300)
DOORS: dict[str, Callable[[Any], object]] = {
    "summary": p2mperf.summary,
    "figure": lambda frame: p2mperf.figure("cost", frame),
    "a computed figure": lambda frame: p2mperf.figure("arm-find", frame),
    "table": lambda frame: table("footprint", frame),
    "compare": lambda frame: compare(frame, FRAME),
    "compare with": lambda frame: compare(FRAME, frame),
}
each_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)

NO_FRAMES: list[Any] = [
    5,
    0,
    "shipped",
    {1, 2},
    [],
    [FRAME],
    Mute(),
    np.datetime64("2020-01-01"),
    np.rec.array([(1,)], dtype=[("a", "u8")]),
    FRAME["cost_ns"],
    FRAME.to_dict(),
    FRAME.to_numpy(),
]
NO_SAMPLES: dict[str, Callable[[], pd.DataFrame]] = {
    "turned": lambda: FRAME.T,
    "other columns": lambda: pd.DataFrame({"a": [1]}),
    "one column": lambda: FRAME[["guest"]],
    "a column less": lambda: FRAME.drop(columns="run"),
    "numbered columns": lambda: FRAME.set_axis(range(FRAME.shape[1]), axis=1),
    "columns twice": lambda: pd.concat([FRAME, FRAME], axis=1),
    "columns of columns": lambda: pd.concat({"a": FRAME}, axis=1),
    "in the index": lambda: FRAME.set_index("guest"),
    "text for numbers": lambda: FRAME.assign(cost_ns="x"),
    "no cost": lambda: FRAME.assign(cost_ns=np.nan),
    "negative cost": lambda: FRAME.assign(cost_ns=-1.0),
    "infinite cost": lambda: FRAME.assign(cost_ns=np.inf),
    "no design": lambda: FRAME.assign(design=None),
    "no replicate": lambda: FRAME.assign(replicate=None),
    "no status": lambda: FRAME.assign(status=None),
    "odd status": lambda: FRAME.assign(status="odd"),
    "negative size": lambda: FRAME.assign(guest_bytes=-1),
}
ODD_RUNS: list[Any] = [5, "x", [5], [{}], {1: 2}, [{"record": "run"}], np.zeros(3)]


@each_door
def test_what_is_no_frame(door: Callable[[Any], object]) -> None:
    for frame in NO_FRAMES:
        with refused():
            door(frame)


@each_door
@pytest.mark.parametrize("how", NO_SAMPLES)
def test_a_frame_that_is_none_of_samples(door: Callable[[Any], object], how: str) -> None:
    frame = NO_SAMPLES[how]()
    with refused():
        door(frame)


@pytest.mark.parametrize("runs", ODD_RUNS, ids=case)
def test_runs_that_are_none(runs: Any) -> None:
    frame = FRAME.copy()
    frame.attrs = {"runs": runs}
    for door in DOORS.values():
        with refused():
            door(frame)


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found.drop(columns="code"), expected.drop(columns="code"))


def test_rows_of_samples_may_be_picked_sorted_and_given_columns(tmp_path: Path) -> None:
    expected = p2mperf.summary(FRAME)
    assert len(expected)
    same(p2mperf.summary(FRAME[FRAME["status"] == "done"]), expected)
    same(p2mperf.summary(FRAME[FRAME.columns[::-1]]), expected)
    same(p2mperf.summary(FRAME.assign(mine=1)), expected)
    same(p2mperf.summary(FRAME.astype(object)), expected)
    one = FRAME[FRAME["guest"] == FRAME["guest"].iloc[0]]
    assert set(p2mperf.summary(one)["guest"]) == set(one["guest"])
    # As others' tools give them back: of other types, and without the runs.
    FRAME.to_csv(tmp_path / "samples.csv", index=False)
    read = pd.read_csv(tmp_path / "samples.csv", keep_default_na=True)
    same(p2mperf.summary(read), expected)
    assert p2mperf.figure("cost", read).axes


def test_a_check_changes_nothing_of_the_frame() -> None:
    before = FRAME.copy(deep=True)
    p2mperf.summary(FRAME)
    p2mperf.figure("footprint", FRAME)
    pd.testing.assert_frame_equal(FRAME, before)
    assert FRAME.attrs == before.attrs


def test_designs_that_share_no_round_are_not_compared() -> None:
    is_first = FRAME["round"] == 0
    apart = FRAME[(FRAME["design"] == "pv-tree") & is_first | (FRAME["design"] == "pv-linear") & ~is_first]
    assert set(apart["design"]) == {"pv-tree", "pv-linear"}
    assert p2mperf.summary(apart).empty
