"""Ratios with intervals: paired logs inside a process, exact intervals over processes.

One round times every design of a cell, so a round gives one paired log ratio; the trimmed mean of a process'
rounds is one observation; intervals are taken over processes, because layout luck is drawn anew only there
(Mytkowicz et al., ASPLOS 2009).  They stand on ranks and not on a bell curve, so that a process which was
slow throughout widens them in place of moving them.  Nothing here drops a process, no interval is widened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.measure.rounds import times, vector

# Part of a process' rounds that is left out at either end, rounded down: none of four, one of six.
TRIM = 0.2
CONFIDENCE = 0.95
# With five processes even their whole range covers the truth in no more than 1 - 2 / 2**5 = 93.75 % of cases.
N_FOR_VERDICT = 6


@dataclass(frozen=True)
class Ratio:
    """Cost of one design over the cost of another, with its intervals.

    Attributes
    ----------
    estimate : float
        The ratio.
    low, high : float
        Ends of its interval; nan where there is none.
    level : float
        Coverage that this interval has exactly.
    p_value : float
        Of the same test, two-sided, for a ratio of 1.
    n_processes : int
        Observations that it stands on.
    sign_low, sign_high, sign_level : float
        The interval of the sign test, which asks less of the processes and is wider as a rule.
    """

    estimate: float
    low: float
    high: float
    level: float
    p_value: float
    n_processes: int
    sign_low: float = nan
    sign_high: float = nan
    sign_level: float = 0.0

    @property
    def allows_verdict(self) -> bool:
        """Whether there are so many processes that the interval may be called one of 95 %."""
        return self.n_processes >= N_FOR_VERDICT and self.level >= CONFIDENCE

    @property
    def excludes_one(self) -> bool:
        """Whether the interval lies on one side of 1, and is one to go by."""
        return self.allows_verdict and (self.low > 1 or self.high < 1)


@dataclass(frozen=True)
class Difference:
    """By how much one thing exceeds another, with its interval.

    Attributes
    ----------
    estimate : float
        The difference, in the unit of what was handed over.
    low, high : float
        Ends of its interval; nan where there is none.
    level : float
        Coverage that this interval has exactly.
    n : int
        Observations that it stands on.
    """

    estimate: float
    low: float
    high: float
    level: float
    n: int

    @property
    def allows_verdict(self) -> bool:
        """Whether there are so many observations that the interval may be called one of 95 %."""
        return self.n >= N_FOR_VERDICT and self.level >= CONFIDENCE


def paired_log_ratios(elapsed_a_ns: ArrayLike, elapsed_b_ns: ArrayLike) -> NDArray[np.float64]:
    """Natural logs of the ratio a / b, round by round.

    Parameters
    ----------
    elapsed_a_ns, elapsed_b_ns : array_like of float, shape (n_rounds,)
        Times of the two designs in the same rounds, for the same number of lookups [ns].

    Returns
    -------
    ndarray of float64, shape (n_rounds,)

    Raises
    ------
    ValueError
        When the lengths differ, nothing was measured, or a time is not finite and positive.
    """
    a, b = times(elapsed_a_ns), times(elapsed_b_ns)
    if a.size != b.size:
        raise ValueError(f"rounds cannot be paired: {a.size} times against {b.size}")
    return np.log(a) - np.log(b)


def trimmed_mean(logs: ArrayLike) -> float:
    """Mean of what is left when a fifth is left out at either end.

    Parameters
    ----------
    logs : array_like of float, shape (n_rounds,)
        One value a round.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        When there is no value, or one that is not finite.

    Examples
    --------
    >>> trimmed_mean([0.1, 0.2, 0.3, 0.4, 0.5, 9.0])
    0.35
    """
    ordered = np.sort(vector(logs))
    n_left_out = int(TRIM * ordered.size)
    return float(ordered[n_left_out : ordered.size - n_left_out].mean())


def process_ratio(elapsed_a_ns: ArrayLike, elapsed_b_ns: ArrayLike) -> float:
    """One process' observation: the trimmed mean of its paired logs.

    Parameters
    ----------
    elapsed_a_ns, elapsed_b_ns : array_like of float, shape (n_rounds,)
        As `paired_log_ratios`.

    Returns
    -------
    float
        Natural log of the ratio a / b, which is what `ratio_interval` takes.

    Raises
    ------
    ValueError
        As `paired_log_ratios`.
    """
    return trimmed_mean(paired_log_ratios(elapsed_a_ns, elapsed_b_ns))


def ratio_interval(process_log_ratios: ArrayLike, confidence: float = CONFIDENCE) -> Ratio:
    """Ratio over processes with its exact intervals.

    Parameters
    ----------
    process_log_ratios : array_like of float, shape (n_processes,)
        One natural log ratio a process.
    confidence : float
        Wanted coverage, between 0 and 1; each interval states the one it has.

    Returns
    -------
    Ratio
        The Hodges-Lehmann estimate with the interval of Wilcoxon's signed-rank test, and the interval of the
        sign test. Where so few processes cannot give the confidence (five for 95 %), both are the range of
        the processes with the level that it has; a single process has none.

    Raises
    ------
    ValueError
        When there is no process, a log ratio is not finite, or the confidence is out of range.

    Notes
    -----
    The signed-rank interval takes the distribution of processes to be symmetric, on the scale of logs; the
    sign test takes nothing to be so. Ends belong to the intervals, and a Walsh average of exactly 0 counts
    for both sides of the test: ties and zeros make an interval cover more than it says, never less.

    Examples
    --------
    >>> ratio = ratio_interval(np.log([1.10, 1.11, 1.12, 1.13, 1.14, 1.15]))
    >>> f"{ratio.estimate:.3f} [{ratio.low:.2f}, {ratio.high:.2f}] at {ratio.level:.1%}"
    '1.125 [1.10, 1.15] at 96.9%'
    """
    if not 0 < confidence < 1:
        raise ValueError(f"no interval at confidence {confidence}")
    logs = vector(process_log_ratios)
    averages, ordered = walsh_averages(logs), np.sort(logs)
    low, high, level = _ends(averages, *signed_rank(logs.size, confidence))
    sign_low, sign_high, sign_level = _ends(ordered, *sign_test_rank(logs.size, confidence))
    return Ratio(
        estimate=exp(float(np.median(averages))),
        low=low,
        high=high,
        level=level,
        p_value=_p_value(averages, logs.size),
        n_processes=logs.size,
        sign_low=sign_low,
        sign_high=sign_high,
        sign_level=sign_level,
    )


def difference_interval(differences: ArrayLike, confidence: float = CONFIDENCE) -> Difference:
    """Difference over processes, or over pairs of runs, with its exact interval.

    Parameters
    ----------
    differences : array_like of float, shape (n,)
        One an observation; it may be of either sign.
    confidence : float
        As `ratio_interval`.

    Returns
    -------
    Difference
        The Hodges-Lehmann estimate with the interval of Wilcoxon's signed-rank test, which is the whole range
        where so few observations cannot give the confidence; a single one has none.

    Raises
    ------
    ValueError
        As `ratio_interval`.

    Examples
    --------
    >>> found = difference_interval([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0])
    >>> found.estimate, found.low, found.high, found.level
    (-0.5, -3.0, 2.0, 0.96875)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"no interval at confidence {confidence}")
    values = vector(differences)
    averages = walsh_averages(values)
    k, level = signed_rank(values.size, confidence)
    estimate = float(np.median(averages))
    if values.size == 1:
        return Difference(estimate, nan, nan, 0.0, 1)
    return Difference(estimate, float(averages[k - 1]), float(averages[-k]), level, values.size)


def walsh_averages(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sort the means of all pairs, each value paired with itself as well.

    Parameters
    ----------
    logs : ndarray of float64, shape (..., n)
        Samples along the last axis.

    Returns
    -------
    ndarray of float64, shape (..., n * (n + 1) / 2)
        In rising order; their median is the estimate of Hodges and Lehmann (1963).
    """
    first, second = np.triu_indices(logs.shape[-1])
    return np.sort((logs[..., first] + logs[..., second]) / 2, axis=-1)


def signed_rank(n: int, confidence: float) -> tuple[int, float]:
    """Largest k such that the k-th Walsh averages from both ends cover the centre with `confidence`.

    Parameters
    ----------
    n : int
        Number of observations.
    confidence : float
        Wanted coverage, between 0 and 1.

    Returns
    -------
    k : int
        Rank from 1 on; 1, which is the whole range, where none reaches the confidence.
    level : float
        Coverage of that interval, exactly: 1 - 2 P(W < k) for Wilcoxon's W (Tukey 1949; Hollander and Wolfe,
        Nonparametric Statistical Methods, section 3.3).

    Examples
    --------
    >>> signed_rank(9, 0.95)  # P(W < 6) = 10 / 512
    (6, 0.9609375)
    """
    coverage = 1 - 2 * np.cumsum(_wilcoxon(n))
    k = max(1, int(np.count_nonzero(coverage >= confidence)))
    return k, float(coverage[k - 1])


def sign_test_rank(n: int, confidence: float) -> tuple[int, float]:
    """Largest k such that the k-th observations from either end cover the median with at least `confidence`.

    Parameters
    ----------
    n : int
        Number of observations.
    confidence : float
        Wanted coverage, between 0 and 1.

    Returns
    -------
    k : int
        Rank from 1 to n / 2; 1, which is the whole range, where none reaches the confidence.
    level : float
        Coverage of that interval, exactly.

    Notes
    -----
    The number of observations below the median is Bin(n, 1/2), so the interval misses on one side
    when fewer than k of them lie there: coverage = 1 - 2 P(Bin(n, 1/2) < k).

    Examples
    --------
    >>> [sign_test_rank(n, 0.95) for n in (5, 6, 9)]
    [(1, 0.9375), (1, 0.96875), (2, 0.9609375)]
    """
    from scipy.special import bdtr

    coverage = 1 - 2 * bdtr(np.arange(max(1, n // 2)), n, 0.5)  # falls with the rank
    k = max(1, int(np.count_nonzero(coverage >= confidence)))
    return k, float(coverage[k - 1])


def _ends(ordered: NDArray[np.float64], k: int, level: float) -> tuple[float, float, float]:
    if ordered.size == 1:
        return nan, nan, 0.0
    return exp(float(ordered[k - 1])), exp(float(ordered[-k])), level


def _p_value(averages: NDArray[np.float64], n: int) -> float:
    # The sum of the ranks of one sign is the number of Walsh averages of that sign.
    smaller = min(np.count_nonzero(averages <= 0), np.count_nonzero(averages >= 0))
    return min(1.0, 2 * float(_wilcoxon(n)[: smaller + 1].sum()))


@lru_cache(maxsize=64)
def _wilcoxon(n: int) -> NDArray[np.float64]:
    """P(W = w) for w from 0 to n (n + 1) / 2: each rank is in the sum or not, with even odds."""
    probability = np.zeros(n * (n + 1) // 2 + 1)
    probability[0] = 1.0
    for rank in range(1, n + 1):
        with_it = probability[:-rank].copy()
        probability[rank:] += with_it
        probability /= 2
    probability.flags.writeable = False  # one array for all who ask
    return probability
