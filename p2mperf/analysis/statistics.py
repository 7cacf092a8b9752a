"""Ratios with intervals: paired logs inside a process, distribution-free intervals over processes.

One round times every design of a cell, so a round gives one paired log ratio; the median of a process'
rounds is one observation; the interval is taken over processes, because layout luck is drawn anew
only there (Mytkowicz et al., ASPLOS 2009).  Nothing here drops a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, nan, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.measure.rounds import times, vector

Verdict = Literal["resolved", "equivalent", "not resolved"]


@dataclass(frozen=True)
class Ratio:
    """Cost of one design over the cost of another, with its interval.

    Attributes
    ----------
    estimate, low, high : float
        Median ratio and the ends of its interval; nan ends say that there is no interval.
    n_processes : int
        Observations that the interval stands on.
    confidence : float
        Level that all `n_comparisons` intervals hold together.
    method : str
        ``sign-test``, ``student-t`` or ``none``.
    hodges_lehmann : float
        Median of the Walsh averages, as a ratio: a second opinion on `estimate`.
    """

    estimate: float
    low: float
    high: float
    n_processes: int
    confidence: float
    method: str
    hodges_lehmann: float


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


def process_ratio(elapsed_a_ns: ArrayLike, elapsed_b_ns: ArrayLike) -> float:
    """One process' observation: the median of its paired logs.

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
    return float(np.median(paired_log_ratios(elapsed_a_ns, elapsed_b_ns)))


def ratio_interval(process_log_ratios: ArrayLike, confidence: float = 0.95, n_comparisons: int = 1) -> Ratio:
    """Median ratio over processes and its confidence interval.

    Parameters
    ----------
    process_log_ratios : array_like of float, shape (n_processes,)
        One natural log ratio a process.
    confidence : float
        Wanted coverage, between 0 and 1.
    n_comparisons : int
        Number of intervals that shall hold together; each is widened to 1 - (1 - confidence) / n
        (Bonferroni).

    Returns
    -------
    Ratio
        With the exact sign-test interval [x(k), x(n + 1 - k)] where n processes can give that
        confidence (6 for one comparison at 95 %), else Student's t around the mean of the logs, and
        with nan ends for a single process.

    Raises
    ------
    ValueError
        When there is no process, a log ratio is not finite, or a parameter is out of range.

    Examples
    --------
    >>> ratio = ratio_interval(np.log([1.10, 1.11, 1.12, 1.13, 1.14, 1.15]))
    >>> f"{ratio.estimate:.3f} [{ratio.low:.2f}, {ratio.high:.2f}] by {ratio.method}"
    '1.125 [1.10, 1.15] by sign-test'
    """
    if not 0 < confidence < 1 or n_comparisons < 1:
        raise ValueError(f"no interval at confidence {confidence} for {n_comparisons} comparisons")
    logs = np.sort(vector(process_log_ratios))
    each = 1 - (1 - confidence) / n_comparisons
    low, high, method = _interval(logs, each)
    return Ratio(
        estimate=exp(float(np.median(logs))),
        low=exp(low),
        high=exp(high),
        n_processes=logs.size,
        confidence=confidence,
        method=method,
        hodges_lehmann=exp(_hodges_lehmann(logs)),
    )


def verdict(ratio: Ratio, equivalence: float = 0.01, control: Ratio | None = None) -> Verdict:
    """Say what the interval allows to be said.

    Parameters
    ----------
    ratio : Ratio
        The comparison.
    equivalence : float
        Differences up to this part of 1 count as none.
    control : Ratio, optional
        The same plan with a copy in place of the other design (A/A): the noise floor.

    Returns
    -------
    str
        ``resolved``: the interval excludes 1 and, if there is a control, does not touch its interval;
        ``equivalent``: otherwise, if it lies wholly within 1 +- `equivalence`; else ``not resolved``,
        which is also the answer when there is no interval.
    """
    excludes_one = ratio.low > 1 or ratio.high < 1
    # Written so that a control without an interval (nan ends) can never count as passed.
    beyond_control = control is None or ratio.low > control.high or ratio.high < control.low
    if excludes_one and beyond_control:
        return "resolved"
    if ratio.low >= 1 - equivalence and ratio.high <= 1 + equivalence:
        return "equivalent"
    return "not resolved"


def sign_test_rank(n: int, confidence: float) -> int:
    """Largest k such that [x(k), x(n + 1 - k)] covers the median with at least `confidence`.

    Parameters
    ----------
    n : int
        Number of observations.
    confidence : float
        Wanted coverage, between 0 and 1.

    Returns
    -------
    int
        Rank from 1 to n / 2, or 0 when even the whole range does not reach the confidence.

    Notes
    -----
    The number of observations below the median is Bin(n, 1/2), so the interval misses on one side
    when fewer than k of them lie there: coverage = 1 - 2 P(Bin(n, 1/2) < k).

    Examples
    --------
    >>> [sign_test_rank(n, 0.95) for n in (5, 6, 9, 20)]
    [0, 1, 2, 6]
    """
    from scipy.special import bdtr

    ranks = np.arange(1, n // 2 + 1)
    coverage = 1 - 2 * bdtr(ranks - 1, n, 0.5)  # falls with the rank
    return int(np.count_nonzero(coverage >= confidence))


def student_quantile(confidence: float, n_degrees: int) -> float:
    """Find t with P(-t < T < t) = `confidence` for Student's T.

    Parameters
    ----------
    confidence : float
        Probability, between 0 and 1.
    n_degrees : int
        Degrees of freedom, at least 1.

    Returns
    -------
    float

    Examples
    --------
    >>> round(student_quantile(0.95, 4), 3)
    2.776
    """
    from scipy.special import stdtrit

    return float(stdtrit(n_degrees, (1 + confidence) / 2))


def _interval(sorted_logs: NDArray[np.float64], confidence: float) -> tuple[float, float, str]:
    n = sorted_logs.size
    rank = sign_test_rank(n, confidence)
    if rank:
        return float(sorted_logs[rank - 1]), float(sorted_logs[n - rank]), "sign-test"
    if n == 1:
        return nan, nan, "none"
    mean = float(sorted_logs.mean())
    margin = student_quantile(confidence, n - 1) * float(sorted_logs.std(ddof=1)) / sqrt(n)
    return mean - margin, mean + margin, "student-t"


def _hodges_lehmann(logs: NDArray[np.float64]) -> float:
    first, second = np.triu_indices(logs.size)
    return float(np.median((logs[first] + logs[second]) / 2))
