"""The answer about superpages, of tables made by hand."""

from __future__ import annotations

import pandas as pd

from p2mperf.analysis.hap.words import superpage_answer


def test_the_answer_tells_the_tables() -> None:
    leaves = pd.DataFrame({"n_table_pages": [2056, 9, 7]})
    supply = pd.DataFrame({"broken_percent": [0.0, 40.0, 100.0], "in_4kib_percent": [0.1, 24.8, 100.0]})
    survival = pd.DataFrame(
        {
            "run_frames": [1, 1, 64, 64],
            "released_percent": [0.1, 0.99, 0.1, 1.0],
            "surviving_percent": [60.0, 0.6, 99.0, 92.4],
        }
    )
    costs = pd.DataFrame({"way": ["walk", "windows"], "1 GiB": [5.0, 4.0], "4 KiB": [50.0, 20.0]})
    outcomes = pd.DataFrame(
        [
            ("warm loops", 4, 3, 0, 0.6, 0.9),
            ("warm loops", 2, 2, 0, 0.5, 0.7),
            ("entries", 5, 1, 4, 0.9, 1.1),
        ],
        columns=[
            "when",
            "n_comparisons",
            "n_window_faster",
            "n_walk_faster",
            "lowest_ratio",
            "highest_ratio",
        ],
    )
    where, how_long, what, warm, cold = superpage_answer(
        leaves, supply, survival, costs, outcomes
    ).splitlines()
    assert "takes 7 pages, where leaves of 4 KiB alone take 2,056" in where
    assert "40 % of the host's 2 MiB blocks broken, 25 % of the guest" in where
    assert "After 0.99 % of it, frame by frame, 0.6 %" in how_long
    assert "in runs of 64 frames, 92 %" in how_long
    # 20 / 4 and 50 / 5
    assert "among leaves of 4 KiB takes 5.0 to 10.0 times as long as one among leaves of 1 GiB" in what
    assert "in warm loops:** it is faster than the walk in 5 of 6 comparisons, and the walk in 0" in warm
    assert "0.50 to 0.90 times the walk's time" in warm
    assert "in 1 of 5 comparisons, and the walk in 4" in cold
