"""The interval between two sets of processes: against another algorithm, by counting, and by simulation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from p2mperf.analysis.shift import mann_whitney_rank, shift_interval

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def counted_level(n_a: int, n_b: int, rank: int) -> float:
    """Coverage of the interval from the rank-th lowest to the rank-th highest difference, order by order."""
    orders = list(combinations(range(n_a + n_b), n_a))
    below = [sum(place - number for number, place in enumerate(order)) for order in orders]
    return 1 - 2 * sum(u < rank for u in below) / len(orders)


@pytest.mark.parametrize(("n_a", "n_b"), [(1, 1), (2, 3), (3, 3), (3, 5), (4, 4), (6, 6), (4, 9), (7, 6)])
def test_ranks_and_levels_are_those_that_counting_finds(n_a: int, n_b: int) -> None:
    rank, level = mann_whitney_rank(n_a, n_b, 0.95)
    assert level == pytest.approx(counted_level(n_a, n_b, max(rank, 1)))
    assert (level >= 0.95) == (rank > 0)
    assert counted_level(n_a, n_b, rank + 1) < 0.95


def test_large_sets_are_as_the_exact_ranks_next_to_them() -> None:
    exact, approximate = mann_whitney_rank(50, 50, 0.95), mann_whitney_rank(50, 51, 0.95)
    # 25 more of 2500 on either side of the median, and some 1 % more of spread
    assert 0 < approximate[0] - exact[0] < 25
    assert approximate[1] == 0.95


def test_the_interval_is_made_of_the_quotients() -> None:
    a, b = np.log([1.0, 2.0, 4.0, 8.0]), np.log([3.0, 6.0, 12.0, 24.0])
    ratio = shift_interval(a, b)
    # four against four: all 16 differences, at 1 - 2 / C(8, 4)
    assert (ratio.low, ratio.estimate, ratio.high) == pytest.approx((3 / 8, 3.0, 24.0))
    assert ratio.level == pytest.approx(1 - 2 / 70)


def test_the_sets_may_be_turned_round_and_shifted() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 0.1, 7), rng.normal(0.2, 0.1, 9)
    there, back = shift_interval(a, b), shift_interval(b, a)
    turned = (1 / back.high, 1 / back.estimate, 1 / back.low)
    assert (there.low, there.estimate, there.high) == pytest.approx(turned)
    moved = shift_interval(a, b + np.log(3))
    assert (moved.low / 3, moved.high / 3) == pytest.approx((there.low, there.high))


def test_too_few_have_a_ratio_without_an_interval() -> None:
    ratio = shift_interval([0.0, 0.1, 0.2], [1.0, 1.1, 1.2])
    assert ratio.estimate == pytest.approx(np.e)
    assert np.isnan([ratio.low, ratio.high]).all()
    assert ratio.level == pytest.approx(0.9)  # which even all nine differences have


@pytest.mark.parametrize("sizes", [(4, 4), (6, 7), (51, 50)])
def test_the_interval_excludes_one_where_the_test_does(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(sizes)
    for moved in rng.uniform(-0.1, 0.1, 40):
        ratio = shift_interval(normal(rng, sizes[0]), normal(rng, sizes[1]) + moved)
        # Of large sets both are approximate, and a p of 5 % falls on either side.
        if min(sizes) < 50 or abs(ratio.p_value - 0.05) > 0.001:
            assert (ratio.low > 1 or ratio.high < 1) == (ratio.p_value <= 1 - ratio.level + 1e-12)
    # Four against four, all apart: 2 of C(8, 4) orders; two equal sets are no difference.
    assert shift_interval([0.0, 1, 2, 3], [4.0, 5, 6, 7]).p_value == pytest.approx(2 / 70)
    assert shift_interval([0.0] * 6, [0.0] * 6).p_value == 1


def normal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.normal(0, 0.03, n)


def heavy(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return 0.03 * rng.standard_t(3, n)


def contaminated(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """One process of six has bad luck throughout, and up to half as much again."""
    return normal(rng, n) + (rng.random(n) < 0.15) * np.abs(rng.normal(0, 0.5, n))


def share_covered(draw: Draw, n_a: int, n_b: int, n_runs: int, spread_of_b: float = 1) -> float:
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(n_runs):
        ratio = shift_interval(draw(rng, n_a), np.log(1.03) + spread_of_b * draw(rng, n_b))
        covered += ratio.low <= 1.03 <= ratio.high
    return covered / n_runs


@pytest.mark.parametrize("draw", [normal, heavy, contaminated])
@pytest.mark.parametrize(("n_a", "n_b"), [(6, 6), (9, 9), (6, 12)])
def test_it_covers_at_its_level_whatever_the_distribution(draw: Draw, n_a: int, n_b: int) -> None:
    level = mann_whitney_rank(n_a, n_b, 0.95)[1]
    assert share_covered(draw, n_a, n_b, 2000) == pytest.approx(level, abs=0.015)


def test_where_one_set_spreads_more_it_covers_less() -> None:
    """What it assumes, that the sets differ by a shift alone, matters: little where they are of one size."""
    assert 0.93 < share_covered(normal, 9, 9, 2000, spread_of_b=3) < 0.96
    assert 0.85 < share_covered(normal, 12, 6, 2000, spread_of_b=3) < 0.93


@pytest.mark.parametrize(
    ("a", "b", "confidence"), [([], [1.0], 0.95), ([1.0], [np.nan], 0.95), ([1.0], [1.0], 1.0)]
)
def test_what_gives_no_interval_is_refused(a: list[float], b: list[float], confidence: float) -> None:
    with pytest.raises(ValueError, match=r"no |finite|must|empty"):
        shift_interval(a, b, confidence)
