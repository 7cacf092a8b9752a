"""Walk and window of ARM as tables and words, on samples made up by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import record_samples as samples
from figure_frames import frame_of, lookups

from p2mperf.analysis.arm import vlpt
from p2mperf.analysis.arm.costs import arm_costs, vlpt_answer
from p2mperf.errors import BadInputError

ARM = {"guest": "arm-1g", "geometry": "lpae", "entry_bits": 64, "guest_pages": 1 << 18, "family": "arm"}


def measured(directory: Path, walk_ns: int, window_ns: int) -> pd.DataFrame:
    """Nine processes of two rounds of 1000 lookups."""
    order = ("arm-vlpt", "arm-walk")
    records = [
        samples.cell(
            **ARM,
            replicate=replicate,
            rounds=[samples.block(1000 * window_ns + replicate, 1000 * walk_ns, order=order)] * 2,
        )
        for replicate in range(9)
    ]
    return frame_of(directory, *records)


def test_the_walk_is_compared_with_the_window(tmp_path: Path) -> None:
    table = arm_costs(measured(tmp_path, 30, 10))
    (row,) = table.itertuples()
    assert (row.walk_ns, row.window_ns, row.ratio) == pytest.approx((30, 10, 3), rel=1e-2)
    assert (row.operation, row.stream, row.guest) == ("latency", "uniform", "arm-1g")
    assert (row.verdict, row.faster) == ("resolved", "window")
    (swapped,) = arm_costs(measured(tmp_path / "swapped", 10, 30)).itertuples()
    assert swapped.faster == "walk"


def test_samples_without_both_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no cell of these samples has arm-walk and arm-vlpt"):
        arm_costs(frame_of(tmp_path, *lookups()))


def test_the_answer_tells_the_tables(tmp_path: Path) -> None:
    accepted = pd.DataFrame(
        [("accepted", "accepted", ""), ("accepted", "refused", "VMAP"), ("refused", "refused", "")],
        columns=["posted", "correct", "overwritten"],
    )
    defects = pd.DataFrame({"holds_as_posted": [False, False, True], "holds_mended": [True, True, True]})
    said = vlpt_answer(
        vlpt.vlpt_events("16M"),
        vlpt.board_costs(),
        arm_costs(measured(tmp_path, 30, 10)),
        accepted,
        defects,
    )
    counted, computed, timed, served, wrong = said.splitlines()
    # 6 DSB, 3 TLBI and 3 ISB of three maps.
    assert "with 1 load. The walk of 32-bit Xen reads 3 entries, and executes 12 barriers" in counted
    assert "times as long as the window" in computed
    assert "of 1 comparisons the window is faster in 1 and the walk in 0; the walk takes 3.0 to 3.0" in timed
    assert "of 3 guests the posted checks accept 1 that do not fit, and 1 for which" in served
    assert "2 of 3 scenarios fail as posted, and 0 of the mended patch" in wrong
