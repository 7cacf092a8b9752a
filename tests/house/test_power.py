"""Simulated runs: that intervals cover what they say, and what differences they find."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from checkout import load_tool

from p2mperf.analysis.statistics import Ratio, ratio_interval, trimmed_mean

power = load_tool("power")


def covered(ratios: list[Ratio]) -> tuple[float, float]:
    """Shares of the runs, of which the truth is 1, that each interval covers."""
    return (
        float(np.mean([one.low <= 1 <= one.high for one in ratios])),
        float(np.mean([one.sign_low <= 1 <= one.sign_high for one in ratios])),
    )


@pytest.mark.parametrize("n_processes", [6, 9, 12])
def test_intervals_cover_what_they_say(n_processes: int) -> None:
    ratios = list(power.runs(power.Plan(n_processes)))
    assert len(ratios) == 2000
    # The standard error of 96 % of 2000 is 0.44 %.
    assert covered(ratios) == pytest.approx((ratios[0].level, ratios[0].sign_level), abs=0.015)


@pytest.mark.parametrize("n_processes", [6, 9, 12])
def test_processes_of_two_kinds_are_covered_too(n_processes: int) -> None:
    # Two humps, as where pages fall into either of two places: no bell curve, but symmetric.
    rng = np.random.default_rng(n_processes)
    logs = rng.normal(0, 0.02, (2000, n_processes)) + 0.1 * rng.choice([-1, 1], (2000, n_processes))
    ratios = [ratio_interval(run) for run in logs]
    assert covered(ratios) == pytest.approx((ratios[0].level, ratios[0].sign_level), abs=0.015)


@pytest.mark.parametrize("n_processes", [6, 9, 12])
def test_a_process_that_is_slow_throughout_widens_the_interval_to_include_the_truth(n_processes: int) -> None:
    rng = np.random.default_rng(n_processes)
    # Costs of both designs, round by round; one process measures one of them 10 % slow, from first to last.
    costs = rng.normal(0, 0.04, (2, 1000, n_processes, 6))
    costs[0, :, 0] += log(1.1)
    slow = [ratio_interval([trimmed_mean(process) for process in run]) for run in costs[0] - costs[1]]
    costs[0, :, 0] -= log(1.1)
    clean = [ratio_interval([trimmed_mean(process) for process in run]) for run in costs[0] - costs[1]]
    assert min(covered(slow)) >= slow[0].level - 0.015 - 0.005  # three standard errors of 1000 runs are 1.9 %
    wider = [
        log(one.high / one.low) > log(other.high / other.low) for one, other in zip(slow, clean, strict=True)
    ]
    assert np.mean(wider) > 0.9
    # What takes the processes for a bell curve about their mean would be moved: by 1.9 %, 1.1 % or 0.8 %.
    assert np.median([one.estimate for one in slow]) < 1 + 0.1 / n_processes


def test_differences_are_found() -> None:
    # Nine processes of six rounds, 8 % from round to round and 2 % from process to process: 2, 5 and 10 %.
    found = [
        np.mean([one.excludes_one for one in power.runs(power.Plan(9), difference, n_runs=500)])
        for difference in (0.02, 0.05, 0.10)
    ]
    # Student's t on the same runs: 0.25, 0.87, 1; the medians of rounds and the sign test: 0.14, 0.62, 0.98.
    assert found == pytest.approx([0.22, 0.86, 1.0], abs=0.06)


@pytest.mark.slow
def test_the_table_of_power() -> None:
    lines = power.table(n_runs=400).splitlines()
    assert len(lines) == 2 + len(power.PLANS)
    assert lines[3].startswith("| 9, 6 | 8%, 2% | 0.961 | ")
