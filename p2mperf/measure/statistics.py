"""Ratios with intervals: paired logs inside a process, distribution-free intervals over processes.

One round times every design of a cell, so a round gives one paired log ratio; the median of a process'
rounds is one observation; the interval is taken over processes, because layout luck is drawn anew
only there (Mytkowicz et al., ASPLOS 2009).  Nothing here drops a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, comb, cos, exp, isfinite, nan, pi, sin, sqrt, tan
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

OUTLIER_SCORE = 3.5
Verdict = Literal["resolved", "equivalent", "not resolved"]

# 1 / Phi^-1(0.75): the MAD of a normal sample times this is its standard deviation.
MAD_TO_SIGMA = 1.482602218505602
# sqrt(pi / 2): the same for the mean absolute deviation.
MEAN_DEVIATION_TO_SIGMA = 1.2533141373155001


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


def latin_orders(n_designs: int, n_rounds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Order the designs within each round so that drift favours none of them.

    Parameters
    ----------
    n_designs, n_rounds : int
        Size of the table to fill.
    rng : numpy.random.Generator
        Draws the labelling and the row order of each block.

    Returns
    -------
    ndarray of intp, shape (n_rounds, n_designs)
        Entry (r, p) is the design that runs at position p of round r.

    Raises
    ------
    ValueError
        When there is nothing to order.

    Notes
    -----
    Each block of `n_designs` rounds is a cyclic Latin square, as in nanobench 4.6 ``compare()``: every
    design stands once in every position.  Every other block mirrors the one before it, so that not
    only the mean but also the median distance between two designs is zero over both (with three
    designs one square has distances +1, +1 and -2).  Two designs give ABBA BAAB.

    Examples
    --------
    >>> orders = latin_orders(3, 6, np.random.default_rng(1))
    >>> [int(np.flatnonzero(orders == design).size) for design in range(3)]
    [6, 6, 6]
    """
    if n_designs < 1 or n_rounds < 1:
        raise ValueError(f"cannot order {n_designs} designs in {n_rounds} rounds: both must be positive")
    positions = np.arange(n_designs)
    blocks: list[NDArray[np.intp]] = []
    while len(blocks) * n_designs < n_rounds:
        labels = rng.permutation(n_designs)
        square = labels[(positions[:, None] + positions) % n_designs]
        block = square[rng.permutation(n_designs)]
        blocks += [block, block[:, ::-1]]
    return np.concatenate(blocks)[:n_rounds]


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
    a, b = _times(elapsed_a_ns), _times(elapsed_b_ns)
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
    logs = np.sort(_vector(process_log_ratios))
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


def flag_outliers(
    elapsed_ns: ArrayLike,
    steal_ticks: ArrayLike | None = None,
    n_involuntary_switches: ArrayLike | None = None,
) -> NDArray[np.str_]:
    """Name the likely cause of every outlying sample of one series; nothing is removed.

    Parameters
    ----------
    elapsed_ns : array_like of float, shape (n_samples,)
        Times of one design in one process [ns].
    steal_ticks, n_involuntary_switches : array_like of int, shape (n_samples,), optional
        What the hypervisor took and how often the scheduler interrupted while the sample ran.

    Returns
    -------
    ndarray of str, shape (n_samples,)
        Empty for samples that are no outliers, else ``steal``, ``involuntary switch`` or
        ``unexplained``.

    Raises
    ------
    ValueError
        When a time is not finite and positive, or the lengths differ.

    Notes
    -----
    A sample is an outlier when the modified z-score of its log exceeds 3.5 in magnitude (Iglewicz and
    Hoaglin, How to Detect and Handle Outliers, 1993).
    """
    logs = np.log(_times(elapsed_ns))
    outlying = np.abs(_modified_scores(logs)) > OUTLIER_SCORE
    stolen = _positive_counts(steal_ticks, logs.size)
    switched = _positive_counts(n_involuntary_switches, logs.size)
    cause = np.where(stolen, "steal", np.where(switched, "involuntary switch", "unexplained"))
    return np.where(outlying, cause, "")


def pairs_needed(sd_log: float, margin: float, confidence: float = 0.95) -> int:
    """How many pairs an interval of the wanted width takes.

    Parameters
    ----------
    sd_log : float
        Standard deviation of one pair's log ratio (sqrt(2) times that of one run).
    margin : float
        Wanted half width of the interval, as a part of 1.
    confidence : float
        Coverage of that interval.

    Returns
    -------
    int
        Number of pairs, by the normal approximation n = (z sd / margin)**2, at least 1.

    Raises
    ------
    ValueError
        When a parameter is out of range.

    Examples
    --------
    >>> pairs_needed(sd_log=0.003 * 2**0.5, margin=0.002)
    18
    """
    if not (isfinite(sd_log) and sd_log >= 0 and margin > 0 and 0 < confidence < 1):
        raise ValueError(f"no sample size for sd {sd_log}, margin {margin}, confidence {confidence}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return max(1, ceil((z * sd_log / margin) ** 2))


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
    n_ways_to_miss = 0
    for k in range(1, n // 2 + 1):
        n_ways_to_miss += comb(n, k - 1)
        if 1 - 2 * n_ways_to_miss / 2**n < confidence:
            return k - 1
    return n // 2


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

    Notes
    -----
    Abramowitz and Stegun 26.7.3 and 26.7.4 write the probability as a finite sum in
    theta = atan(t / sqrt(n)); it is inverted by bisection.  That spares a dependency on scipy.

    Examples
    --------
    >>> round(student_quantile(0.95, 4), 3)
    2.776
    """
    low, high = 0.0, pi / 2
    for _ in range(60):
        theta = (low + high) / 2
        if _student_probability(theta, n_degrees) < confidence:
            low = theta
        else:
            high = theta
    return sqrt(n_degrees) * tan(low)


def _student_probability(theta: float, n_degrees: int) -> float:
    odd = n_degrees % 2
    term = cos(theta) if odd else 1.0
    total = 0.0
    for j in range(odd + 1, n_degrees, 2):
        total += term
        term *= cos(theta) ** 2 * j / (j + 1)
    return 2 / pi * (theta + sin(theta) * total) if odd else sin(theta) * total


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


def _modified_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviations = values - np.median(values)
    magnitudes = np.abs(deviations)
    # A clock that ticks coarsely can make more than half of the values equal, and the MAD zero.
    sigma = MAD_TO_SIGMA * np.median(magnitudes) or MEAN_DEVIATION_TO_SIGMA * magnitudes.mean()
    return deviations / sigma if sigma else np.zeros_like(values)


def _positive_counts(counts: ArrayLike | None, n_samples: int) -> NDArray[np.bool_]:
    if counts is None:
        return np.zeros(n_samples, dtype=bool)
    values = _vector(counts)
    if values.size != n_samples:
        raise ValueError(f"{values.size} counts do not belong to {n_samples} samples")
    return values > 0


def _times(elapsed_ns: ArrayLike) -> NDArray[np.float64]:
    values = _vector(elapsed_ns)
    if values.min() <= 0:
        raise ValueError(f"an elapsed time of {values.min():g} ns cannot be: times are positive")
    return values


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    vector: NDArray[Any] = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"one non-empty series of numbers is needed, not shape {vector.shape}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{int((~np.isfinite(vector)).sum())} of {vector.size} values are not finite")
    return vector
