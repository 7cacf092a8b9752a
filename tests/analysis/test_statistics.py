"""Intervals against simulated truth, orders against drift, and refusal of bad samples."""

from __future__ import annotations

from itertools import product
from math import exp, inf, log, nan
from typing import Any

import numpy as np
import pytest

from p2mperf.analysis.statistics import (
    difference_interval,
    paired_log_ratios,
    process_ratio,
    ratio_interval,
    sign_test_rank,
    signed_rank,
    trimmed_mean,
    walsh_averages,
)
from p2mperf.measure.rounds import flag_outliers, latin_orders


def timed(orders: np.ndarray, cost_ns: np.ndarray, drift: float) -> np.ndarray:
    """Elapsed times [round, design] of a run that becomes linearly slower by `drift` in all."""
    n_rounds, n_designs = orders.shape
    slowness = 1 + drift * np.linspace(0, 1, orders.size).reshape(orders.shape)
    elapsed_ns = np.empty((n_rounds, n_designs))
    np.put_along_axis(elapsed_ns, orders, cost_ns[orders] * slowness, axis=1)
    return elapsed_ns


# Orders.


@pytest.mark.parametrize("n_designs", [1, 2, 3, 5, 8])
def test_every_full_block_has_each_design_once_in_each_position_and_round(n_designs: int) -> None:
    orders = latin_orders(n_designs, 4 * n_designs, np.random.default_rng(3))
    everyone = list(range(n_designs))
    for block in orders.reshape(4, n_designs, n_designs):
        assert all(sorted(row) == everyone for row in block.tolist())
        assert all(sorted(column) == everyone for column in block.T.tolist())


def test_two_designs_run_in_abba_baab_order() -> None:
    starts = set()
    for seed in range(20):
        a, b, *rest = latin_orders(2, 4, np.random.default_rng(seed)).tolist()
        # One square of two is AB BA (or BA AB); its mirror image swaps both rounds.
        assert (b, *rest) == (a[::-1], a[::-1], a)
        starts.add(tuple(a))
    assert starts == {(0, 1), (1, 0)}


def test_orders_are_seeded_and_can_end_inside_a_block() -> None:
    orders = [latin_orders(3, 7, np.random.default_rng(seed)).tolist() for seed in (5, 5, 6)]
    assert orders[0] == orders[1] != orders[2]
    assert len(orders[0]) == 7


@pytest.mark.parametrize(("n_designs", "n_rounds"), [(0, 3), (2, 0)])
def test_nothing_to_order_is_refused(n_designs: int, n_rounds: int) -> None:
    with pytest.raises(ValueError, match="cannot order"):
        latin_orders(n_designs, n_rounds, np.random.default_rng())


@pytest.mark.parametrize("n_designs", [2, 3, 4, 7])
@pytest.mark.parametrize("seed", range(5))
def test_linear_drift_cancels(n_designs: int, seed: int) -> None:
    cost_ns = np.linspace(1e6, 1.5e6, n_designs)
    orders = latin_orders(n_designs, 20, np.random.default_rng(seed))
    elapsed_ns = timed(orders, cost_ns, drift=0.10)
    measured = exp(process_ratio(elapsed_ns[:, -1], elapsed_ns[:, 0]))
    # The costs are 1.5e6 over 1.0e6, so the true ratio is 1.5.
    assert abs(measured / 1.5 - 1) < 0.003


def test_a_fixed_order_or_blocks_of_one_design_would_not_have_cancelled_the_drift() -> None:
    # All of A and then all of B: half of a run apart, so 10 % drift shifts the ratio by about 5 %.
    one_after_the_other = 1 + 0.10 * np.linspace(0, 1, 40).reshape(2, 20)
    shift = exp(process_ratio(one_after_the_other[1], one_after_the_other[0])) - 1
    assert shift == pytest.approx(0.05, rel=0.1)
    # Always AB: each B runs 1/39 of the drift later than its A, 0.26 % of a cost that grows to 1.1.
    always_ab = timed(np.tile([0, 1], (20, 1)), np.ones(2), drift=0.10)
    assert exp(process_ratio(always_ab[:, 1], always_ab[:, 0])) - 1 == pytest.approx(0.0026 / 1.05, rel=0.1)


# Paired logs.


def test_pairing_removes_what_both_sides_of_a_round_share() -> None:
    noise = np.array([1.0, 3.0, 0.5, 7.0])
    # 20 / 10 in each round, whatever the round's common factor: log 2.
    assert paired_log_ratios(20 * noise, 10 * noise) == pytest.approx([log(2)] * 4)
    # log ratios log 1, log 2, log 8, of which three lose none: their mean is log(16) / 3.
    assert process_ratio([5, 6, 8], [5, 3, 1]) == pytest.approx(log(16) / 3)


@pytest.mark.parametrize(
    ("n_rounds", "n_left_out"), [(1, 0), (4, 0), (5, 1), (6, 1), (9, 1), (10, 2), (24, 4)]
)
def test_a_fifth_of_the_rounds_is_left_out_at_either_end(n_rounds: int, n_left_out: int) -> None:
    # Rounds 0 to n - 1 with as many of them as are left out at an end made arbitrarily large, or small.
    rounds = np.random.default_rng(n_rounds).permutation(n_rounds).astype(float)
    inner = np.arange(n_left_out, n_rounds - n_left_out)
    assert trimmed_mean(rounds) == pytest.approx(inner.mean())
    wild = np.where(rounds >= n_rounds - n_left_out, 1e6, np.where(rounds < n_left_out, -1e6, rounds))
    assert trimmed_mean(wild) == pytest.approx(inner.mean())


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 2, 3], [1, 2], "3 times against 2"),
        ([1, nan], [1, 2], "1 of 2 values are not finite"),
        ([1, 2], [inf, 2], "not finite"),
        ([1, 0], [1, 2], "positive"),
        ([1, 2], [-1, 2], "positive"),
        ([], [], "non-empty"),
        ([[1, 2]], [[1, 2]], "one non-empty series"),
    ],
)
def test_rounds_that_cannot_be_paired_are_refused(a: list[Any], b: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_log_ratios(a, b)


# Intervals.


def test_ranks_of_the_sign_test() -> None:
    # P(Bin(5, 1/2) < 1) = 1/32: the whole range of 5 covers 1 - 2/32 = 93.75 %, which is stated.
    assert sign_test_rank(5, 0.95) == (1, 0.9375)
    # P(Bin(6, 1/2) < 1) = 1/64: the whole range of 6 covers 1 - 2/64 = 96.875 %.
    assert sign_test_rank(6, 0.95) == (1, 0.96875)
    # n = 8: k = 2 covers 1 - 2 (1 + 8) / 256 = 92.97 %, so still k = 1; n = 9: 1 - 2 (1 + 9) / 512 = 96.09 %.
    assert [sign_test_rank(n, 0.95) for n in (8, 9)] == [(1, 1 - 2 / 256), (2, 1 - 20 / 512)]
    # n = 20: P(Bin < 6) = (1 + 20 + 190 + 1140 + 4845 + 15504) / 2**20 = 21700 / 1048576, coverage 95.86 %;
    # one rank further in adds 38760: 1 - 2 * 60460 / 1048576 = 88.47 %.
    assert sign_test_rank(20, 0.95) == pytest.approx((6, 1 - 2 * 21700 / 2**20))
    # 21700 / 2**20 * 2 = 4.139 % is missed, so a demand of 95.9 % steps back to k = 5.
    assert sign_test_rank(20, 0.959)[0] == 5


def test_ranks_of_the_signed_rank_test_are_those_of_its_tables() -> None:
    # Wilcoxon's critical sums at 5 %, two-sided: 0, 2, 3, 5, 8, 10, 13 of 6 to 12; k is one more.
    assert [signed_rank(n, 0.95)[0] for n in range(6, 13)] == [1, 3, 4, 6, 9, 11, 14]
    # Sets of ranks 1 to 9 with a sum below 6: {}, 1 to 5, 1+2, 1+3, 1+4, 2+3: 10 of 512.
    assert signed_rank(9, 0.95)[1] == 1 - 20 / 512
    # 12: the table of McCornack (1965) has P(W <= 13) = 0.0212.
    assert signed_rank(12, 0.95)[1] == pytest.approx(1 - 2 * 0.0212, abs=1e-4)
    assert [signed_rank(n, 0.95) for n in (1, 2, 5)] == [(1, 0.0), (1, 0.5), (1, 0.9375)]


@pytest.mark.parametrize("n", [4, 7, 9])
def test_levels_are_those_of_all_signs_counted(n: int) -> None:
    # With the sizes of the differences given, every pattern of signs is equally likely around the truth.
    sizes = np.random.default_rng(n).uniform(0.01, 0.1, n)
    ratios = [ratio_interval(sizes * signs) for signs in product((-1, 1), repeat=n)]
    assert np.mean([ratio.low <= 1 <= ratio.high for ratio in ratios]) == pytest.approx(ratios[0].level)
    assert np.mean([r.sign_low <= 1 <= r.sign_high for r in ratios]) == pytest.approx(ratios[0].sign_level)
    # And the interval excludes 1 exactly where the test says so.
    for ratio in ratios:
        assert (ratio.low > 1 or ratio.high < 1) == (ratio.p_value <= 1 - ratio.level + 1e-12 < 1)
        assert np.mean([one.p_value <= ratio.p_value for one in ratios]) == pytest.approx(ratio.p_value)


def test_intervals_take_those_order_statistics() -> None:
    # n = 9, sign test: k = 2, the second smallest and second largest.
    logs = np.array([9.0, 1, 5, 3, 7, 2, 8, 4, 6])
    ratio = ratio_interval(logs)
    assert (log(ratio.sign_low), log(ratio.sign_high)) == pytest.approx((2, 8))
    # Signed rank: k = 6 of the averages 1, 1.5, 2, 2, 2.5, 2.5: the sixth is 2.5, and 7.5 from the other end.
    assert (log(ratio.low), log(ratio.estimate), log(ratio.high)) == pytest.approx((2.5, 5, 7.5))
    assert (ratio.n_processes, ratio.level, ratio.sign_level) == (9, 1 - 20 / 512, 1 - 20 / 512)


def test_p_values_count_walsh_averages() -> None:
    # 1, 2, 3, -1.5: ranks 1, 3, 4 against 2; P(W <= 2) = |{}, 1, 2| / 16 = 3/16, twice.
    assert ratio_interval([1.0, 2.0, 3.0, -1.5]).p_value == pytest.approx(6 / 16)
    assert ratio_interval([0.1] * 6).p_value == pytest.approx(2 / 64)
    assert ratio_interval([0.1]).p_value == 1


def test_zeros_and_ties_are_never_taken_for_a_difference() -> None:
    same = ratio_interval([0.0] * 9)
    assert (same.low, same.estimate, same.high, same.p_value) == (1, 1, 1, 1)
    # Three zeros of nine: 6 averages of them alone count for both sides, P(W <= 6) = 14 / 512.
    some = ratio_interval([0.0] * 3 + [0.1] * 6)
    assert some.p_value == pytest.approx(28 / 512)
    assert some.low == 1
    # Equal and opposite: their averages are 0 too.
    assert ratio_interval([-0.1, 0.1] * 4).p_value == 1


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_too_few_processes_give_their_range_with_its_level(n: int) -> None:
    logs = np.random.default_rng(n).normal(0, 0.01, n)
    ratio = ratio_interval(logs)
    assert (ratio.low, ratio.high) == pytest.approx((exp(logs.min()), exp(logs.max())))
    # All on one side of the truth: 2 of 2**n patterns of signs.
    assert ratio.level == ratio.sign_level == 1 - 2 / 2**n
    assert not ratio.allows_verdict
    assert not ratio_interval([0.1] * n).excludes_one


def test_one_process_has_no_interval() -> None:
    ratio = ratio_interval([log(2)])
    assert ratio.estimate == pytest.approx(2)
    assert np.isnan([ratio.low, ratio.high, ratio.sign_low, ratio.sign_high]).all()
    assert (ratio.level, ratio.sign_level) == (0, 0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "non-empty"),
        ([0.1, nan, 0.2], "1 of 3 values are not finite"),
        ([inf] * 6, "not finite"),
        ([[0.1, 0.2]], "one non-empty series"),
    ],
)
def test_bad_logs_are_refused_and_never_significant(bad: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ratio_interval(bad)


@pytest.mark.parametrize("confidence", [1.0, 0.0])
def test_a_confidence_out_of_range_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        ratio_interval([0.1, 0.2], confidence)


def test_the_estimate_is_the_median_of_the_walsh_averages() -> None:
    # Of 0, 1, 5: averages 0, 1, 5, 0.5, 2.5, 3, sorted 0 0.5 1 2.5 3 5, median 1.75.
    assert walsh_averages(np.array([5.0, 0.0, 1.0])) == pytest.approx([0, 0.5, 1, 2.5, 3, 5])
    assert log(ratio_interval([0.0, 1.0, 5.0]).estimate) == pytest.approx(1.75)


def test_dropping_any_process_moves_the_estimate_less_than_the_interval() -> None:
    logs = np.random.default_rng(4).normal(0.05, 0.01, 12)
    full = ratio_interval(logs)
    for left_out in range(logs.size):
        estimate = ratio_interval(np.delete(logs, left_out)).estimate
        assert full.low < estimate < full.high


# Outliers.


def test_outliers_are_named_by_cause_and_all_samples_kept() -> None:
    elapsed_ns = np.array([100.0, 101, 99, 100, 102, 150, 160, 170, 98, 101])
    # Deviations of the logs: median about log 100.5..101, MAD about 1.5 %, so 150 and more lie tens of
    # sigmas out; the sample 9 was stolen from but is no outlier.
    steal = [0, 0, 0, 0, 0, 2, 0, 0, 0, 1]
    switches = [0, 0, 0, 0, 0, 3, 1, 0, 0, 0]
    flags = flag_outliers(elapsed_ns, steal, switches)
    assert flags.tolist() == ["", "", "", "", "", "steal", "involuntary switch", "unexplained", "", ""]
    assert flag_outliers(elapsed_ns).tolist()[5:8] == ["unexplained"] * 3


def test_a_sample_at_the_score_limit() -> None:
    # Logs -1, 0, 1, x with x > 1: median 0.5, deviations 1.5, 0.5, 0.5, x - 0.5, MAD = (0.5 + 1.5) / 2 = 1
    # as long as x - 0.5 >= 1.5; the limit is x = 0.5 + 3.5 * 1.4826 = 5.6891.
    inside, outside = ([exp(v) for v in (-1, 0, 1, x)] for x in (5.688, 5.690))
    assert flag_outliers(inside).tolist() == [""] * 4
    assert flag_outliers(outside).tolist() == ["", "", "", "unexplained"]


def test_a_coarse_clock_does_not_hide_or_invent_outliers() -> None:
    assert set(flag_outliers([7.0] * 5).tolist()) == {""}
    # MAD is 0; the mean absolute deviation is log(2) / 20, so the score is 20 / 1.2533 = 15.96.
    assert flag_outliers([7.0] * 19 + [14.0]).tolist() == [""] * 19 + ["unexplained"]


def test_counts_must_belong_to_the_samples() -> None:
    with pytest.raises(ValueError, match="2 counts do not belong to 3 samples"):
        flag_outliers([1, 2, 3], steal_ticks=[0, 1])


# Differences.


def test_a_difference_is_the_log_of_the_ratio_of_its_exponentials() -> None:
    logs = [0.3, -0.1, 0.2, 0.5, 0.4, 0.1, -0.3]
    found, ratio = difference_interval(logs), ratio_interval(logs)
    assert (exp(found.estimate), exp(found.low), exp(found.high)) == (ratio.estimate, ratio.low, ratio.high)
    assert (found.level, found.n, found.allows_verdict) == (ratio.level, 7, True)


def test_five_differences_allow_no_verdict_and_one_has_no_interval() -> None:
    # 1 - 2 / 2**5: the whole range covers no more.
    five = difference_interval([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (five.low, five.high, five.level, five.allows_verdict) == (1.0, 5.0, 0.9375, False)
    one = difference_interval([2.5])
    assert one.estimate == 2.5
    assert np.isnan([one.low, one.high]).all()
    with pytest.raises(ValueError, match="no interval at confidence 1"):
        difference_interval([1.0, 2.0], confidence=1)
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        difference_interval([1.0, nan])
