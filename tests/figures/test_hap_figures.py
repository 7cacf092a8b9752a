"""The figures of HAP: their tables against the arithmetic, and that they draw."""

from __future__ import annotations

import io

import pytest

from p2mperf.figures import figure, find, table
from p2mperf.units import GIB


@pytest.mark.parametrize("name", ["hap-survival", "hap-footprint"])
def test_a_figure_draws_without_results(name: str) -> None:
    assert not find(name).measured
    drawn = io.BytesIO()
    figure(name).savefig(drawn, format="svg")
    assert b"computed for" in drawn.getvalue()


def test_survivors_lie_on_the_closed_form() -> None:
    rows = table("hap-survival")
    assert set(rows["run_frames"]) == {1, 8, 64}
    single = rows[rows["run_frames"] == 1]
    line, points = (single[single["part"] == part] for part in ("expected", "counted"))
    for row in points.itertuples():
        nearest = line.iloc[(line["released_share"] - row.released_share).abs().argmin()]
        # 2047 leaves: a share varies by less than 0.011
        assert row.surviving_share == pytest.approx(nearest["surviving_share"], abs=0.06)
    # runs of 64 frames hit fewer leaves than as many single frames
    few = rows[(rows["part"] == "counted") & rows["released_share"].between(0.001, 0.01)]
    left = few.groupby("run_frames")["surviving_share"].mean()
    assert left[64] > left[8] > left[1]


def test_footprints_are_predicted_as_they_are_counted() -> None:
    rows = table("hap-footprint")
    sizes = rows[rows["panel"].str.startswith("by")]
    both = sizes.pivot_table(index=["what", "x"], columns="part", values="table_bytes").dropna()
    assert len(both) > 10
    assert (both["counted"] == both["predicted"]).all()
    # 512 G + G + 4 pages and a page of L1 more, for 4 GiB of 4 KiB leaves: the sheet has 2056
    assert both.loc[("4K", 4.0 * GIB), "counted"] == 2056 * 4096
    course = rows[rows["panel"].str.startswith("while")]
    for _, part in course.groupby("what"):
        assert part.sort_values("x")["table_bytes"].is_monotonic_increasing
