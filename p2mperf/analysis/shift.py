"""Two sets of processes that are no pairs: by how much the costs of one exceed those of the other.

Processes of two runs share neither pages nor hour, and where those of one number have one seed, that is no
more of a pair than any other two: the luck of a process is in its pages.  Pairing them by number would leave
only as many observations as the smaller set has, and wider intervals.  All differences between a process of
one set and a process of the other are looked at instead: their median is the shift (Hodges and Lehmann 1963),
and two of them, counted from either end, bound it exactly, whatever the distribution of the costs, as long as
the sets differ by a shift of logs alone (Mann and Whitney 1947; Lehmann, Nonparametrics, section 2.2).
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, exp, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.analysis.statistics import Ratio
from p2mperf.measure.rounds import vector

# Beyond so many differences the normal approximation is exact to all digits that are shown.
_MANY_DIFFERENCES = 2500


def shift_interval(logs_a: ArrayLike, logs_b: ArrayLike, confidence: float = 0.95) -> Ratio:
    """Ratio b / a of two independent sets of processes, and its confidence interval.

    Parameters
    ----------
    logs_a, logs_b : array_like of float, shape (n_processes,)
        Natural logs of the costs, one a process; the sets may be of different sizes.
    confidence : float
        Wanted coverage, between 0 and 1.

    Returns
    -------
    Ratio
        Median of all quotients, with the exact interval of the Mann-Whitney test where so few processes can
        give that confidence (four against four for 95 %), else with nan ends. `level` is the coverage
        that it really has, `n_processes` that of the smaller set.

    Raises
    ------
    ValueError
        When a set is empty, a log is not finite, or the confidence is out of range.

    Examples
    --------
    >>> ratio = shift_interval(np.log([10, 11, 12, 13]), np.log([20, 22, 24, 26]))
    >>> f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
    '2.00 [1.54, 2.60]'
    """
    if not 0 < confidence < 1:
        raise ValueError(f"no interval at confidence {confidence}")
    a, b = vector(logs_a), vector(logs_b)
    differences = np.sort(np.subtract.outer(b, a), axis=None)
    rank, level = mann_whitney_rank(a.size, b.size, confidence)
    estimate = float(np.median(differences))
    low, high = (differences[rank - 1], differences[-rank]) if rank else (nan, nan)
    return Ratio(
        estimate=exp(estimate),
        low=exp(low),
        high=exp(high),
        n_processes=min(a.size, b.size),
        level=level,
        p_value=_p_value(differences, a.size, b.size),
    )


@lru_cache(maxsize=256)
def mann_whitney_rank(n_a: int, n_b: int, confidence: float) -> tuple[int, float]:
    """Largest k such that [d(k), d(n_a n_b + 1 - k)] of the sorted differences covers the shift.

    Parameters
    ----------
    n_a, n_b : int
        Sizes of the two sets.
    confidence : float
        Wanted coverage, between 0 and 1.

    Returns
    -------
    int
        The rank, or 0 when even all differences do not reach the confidence.
    float
        Coverage of that interval; of all differences where the rank is 0.

    Notes
    -----
    Fewer than k of the differences lie below the shift with the probability P(U < k) of Mann and Whitney's
    statistic, so that the interval misses on either side with that: coverage = 1 - 2 P(U < k).

    Examples
    --------
    >>> mann_whitney_rank(6, 6, 0.95)[0], round(mann_whitney_rank(6, 6, 0.95)[1], 4)
    (6, 0.9589)
    >>> mann_whitney_rank(3, 3, 0.95)
    (0, 0.9)
    """
    from scipy.special import ndtri

    n_differences = n_a * n_b
    if n_differences > _MANY_DIFFERENCES:
        spread = sqrt(n_differences * (n_a + n_b + 1) / 12)
        # The rank is rounded down and half a difference is given away for the steps of U.
        return max(int(n_differences / 2 - float(ndtri((1 + confidence) / 2)) * spread), 1), confidence
    below = np.cumsum(_orders(n_a, n_b)[: n_differences // 2]) / comb(n_a + n_b, n_a)
    coverage = 1 - 2 * below  # of the interval from the (k + 1)th difference at place k; falls with it
    rank = int(np.count_nonzero(coverage >= confidence))
    return rank, float(coverage[max(rank, 1) - 1]) if n_differences > 1 else 0.0


def _p_value(differences: NDArray[np.float64], n_a: int, n_b: int) -> float:
    from scipy.special import ndtr

    # As for the interval, whose ends belong to it, a difference of 0 counts for both sides.
    smaller = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    if differences.size > _MANY_DIFFERENCES:
        spread = sqrt(n_a * n_b * (n_a + n_b + 1) / 12)
        return min(1.0, 2 * float(ndtr((smaller + 0.5 - n_a * n_b / 2) / spread)))
    return min(1.0, 2 * float(_orders(n_a, n_b)[: smaller + 1].sum()) / comb(n_a + n_b, n_a))


def _orders(n_a: int, n_b: int) -> NDArray[np.float64]:
    """Number of orders of both sets in which U pairs stand the wrong way round, for every U."""
    # By places in order: how many of set A are chosen so far, and how many of set B each of them has passed.
    counts = np.zeros((n_a + 1, n_a * n_b + 1))
    counts[0, 0] = 1
    for place in range(n_a + n_b):
        for chosen in range(min(place, n_a - 1), -1, -1):
            inversions = place - chosen
            if inversions <= n_b:
                counts[chosen + 1, inversions:] += counts[chosen, : counts.shape[1] - inversions]
    orders: NDArray[np.float64] = counts[n_a]
    return orders
