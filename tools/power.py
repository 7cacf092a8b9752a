"""What intervals and verdicts are worth, by simulation: ``python tools/power.py`` prints a markdown table.

A run has a number of processes, each with a shift of its own (its pages lie elsewhere), and rounds with noise
of their own; what is simulated is the log of the paired ratio of a round, both copies of the control pooled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import log
from typing import NamedTuple

import numpy as np

from p2mperf.analysis.statistics import Ratio, ratio_interval, trimmed_mean

DIFFERENCES = (0.0, 0.02, 0.05, 0.10)


class Plan(NamedTuple):
    """How a cell is measured, and how much it varies.

    Attributes
    ----------
    n_processes, n_rounds : int
        Processes, and rounds in each of them.
    round_noise, process_noise : float
        Standard deviations of the log ratio from round to round, and from process to process.
    """

    n_processes: int
    n_rounds: int = 6
    round_noise: float = 0.08
    process_noise: float = 0.02


PLANS = tuple(Plan(n, round_noise=noise) for noise in (0.08, 0.04) for n in (6, 9, 12))


def runs(plan: Plan, difference: float = 0.0, n_runs: int = 2000, seed: int = 1) -> Iterator[Ratio]:
    """Simulate runs in which one design takes longer than the other by `difference`.

    Parameters
    ----------
    plan : Plan
        Sizes and noise.
    difference : float
        The truth, as part of 1.
    n_runs : int
        How many.
    seed : int
        Of the noise.

    Yields
    ------
    Ratio
        Of each run, as the analysis finds it.
    """
    rng = np.random.default_rng([seed, *plan[:2]])
    processes = rng.normal(log(1 + difference), plan.process_noise, (n_runs, plan.n_processes, 1))
    rounds = processes + rng.normal(0, plan.round_noise, (n_runs, plan.n_processes, plan.n_rounds))
    for run in rounds:
        yield ratio_interval([trimmed_mean(process) for process in run])


def table(n_runs: int = 2000) -> str:
    """Lay out for every plan what its intervals cover, how wide they are, and how often they exclude 1."""
    truths = " / ".join(f"{100 * difference:g}" for difference in DIFFERENCES)
    lines = [
        "| processes, rounds | sd of rounds, processes | level | covers 1 | sign test: level | covers 1 "
        f"| width | excludes 1 at {truths} % true difference | equivalent at 0 % |",
        "|---|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    return "\n".join([*lines, *(_line(plan, n_runs) for plan in PLANS)])


def _line(plan: Plan, n_runs: int) -> str:
    same, *others = (list(runs(plan, difference, n_runs)) for difference in DIFFERENCES)
    excludes = [np.mean([run.excludes_one for run in found]) for found in (same, *others)]
    width = np.median([log(run.high / run.low) for run in same])
    covers = np.mean([run.low <= 1 <= run.high for run in same])
    sign_covers = np.mean([run.sign_low <= 1 <= run.sign_high for run in same])
    near = np.mean([run.low >= 1 / 1.03 and run.high <= 1.03 for run in same])
    return (
        f"| {plan.n_processes}, {plan.n_rounds} | {plan.round_noise:.0%}, {plan.process_noise:.0%} "
        f"| {same[0].level:.3f} | {covers:.3f} | {same[0].sign_level:.3f} | {sign_covers:.3f} "
        f"| {width:.1%} | {' / '.join(f'{part:.2f}' for part in excludes)} | {near:.2f} |"
    )


def main() -> int:
    """Print the table."""
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
