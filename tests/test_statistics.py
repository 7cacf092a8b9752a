"""Intervals against simulated truth, orders against drift, and refusal of bad samples."""

from __future__ import annotations

from math import cos, exp, inf, log, nan, pi, sin, tan

import numpy as np
import pytest

from p2mperf.analysis.statistics import (
    Ratio,
    paired_log_ratios,
    process_ratio,
    ratio_interval,
    sign_test_rank,
    student_quantile,
    verdict,
)
from p2mperf.measure.rounds import flag_outliers, latin_orders


def interval(low: float, high: float) -> Ratio:
    middle = (low + high) / 2
    return Ratio(middle, low, high, 10, 0.95, "sign-test", middle)


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
    # log ratios log 1, log 2, log 8: the median is log 2.
    assert process_ratio([5, 6, 8], [5, 3, 1]) == pytest.approx(log(2))


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
def test_rounds_that_cannot_be_paired_are_refused(a: list, b: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_log_ratios(a, b)


# Intervals.


def test_ranks_of_the_sign_test() -> None:
    # P(Bin(5, 1/2) < 1) = 1/32: the whole range of 5 covers 1 - 2/32 = 93.75 %, not enough.
    assert sign_test_rank(5, 0.95) == 0
    # P(Bin(6, 1/2) < 1) = 1/64: the whole range of 6 covers 1 - 2/64 = 96.875 %.
    assert sign_test_rank(6, 0.95) == 1
    # n = 8: k = 2 covers 1 - 2 (1 + 8) / 256 = 92.97 %, so still k = 1; n = 9: 1 - 2 (1 + 9) / 512 = 96.09 %.
    assert [sign_test_rank(n, 0.95) for n in (8, 9)] == [1, 2]
    # n = 20: P(Bin < 6) = (1 + 20 + 190 + 1140 + 4845 + 15504) / 2**20 = 21700 / 1048576, coverage 95.86 %;
    # one rank further in adds 38760: 1 - 2 * 60460 / 1048576 = 88.47 %.
    assert sign_test_rank(20, 0.95) == 6
    # 21700 / 2**20 * 2 = 4.139 % is missed, so a demand of 95.9 % steps back to k = 5.
    assert sign_test_rank(20, 0.959) == 5


def test_interval_takes_those_order_statistics() -> None:
    # n = 9, k = 2: the second smallest and second largest; the median is the fifth.
    ratio = ratio_interval(np.log([9, 1, 5, 3, 7, 2, 8, 4, 6]))
    assert (ratio.low, ratio.estimate, ratio.high) == pytest.approx((2, 5, 8))
    assert (ratio.n_processes, ratio.confidence, ratio.method) == (9, 0.95, "sign-test")


def test_comparisons_widen_the_interval() -> None:
    logs = np.log(np.arange(1, 21))
    # Ten at once need 99.5 % each: k = 4 misses 2 (1 + 20 + 190 + 1140) / 2**20 = 0.2577 %,
    # k = 5 would miss 2 (1351 + 4845) / 2**20 = 1.18 %.
    ratio = ratio_interval(logs, n_comparisons=10)
    assert (ratio.low, ratio.high) == pytest.approx((4, 17))
    alone = ratio_interval(logs)
    assert (alone.low, alone.high) == pytest.approx((6, 15))
    # Six observations cannot carry 97.5 %: the widened interval falls back to Student.
    assert ratio_interval(logs[:6], n_comparisons=2).method == "student-t"


def test_student_quantiles() -> None:
    # One degree of freedom is Cauchy: P(|T| < t) = 2 atan(t) / pi, so t = tan(0.95 pi / 2).
    assert student_quantile(0.95, 1) == pytest.approx(tan(0.95 * pi / 2))
    # Two degrees: P(|T| < t) = t / sqrt(2 + t^2), so t = p sqrt(2 / (1 - p^2)).
    assert student_quantile(0.95, 2) == pytest.approx(0.95 * (2 / (1 - 0.95**2)) ** 0.5)
    # Three degrees, put back: P = 2/pi (theta + sin theta cos theta) with theta = atan(t / sqrt 3).
    theta = np.arctan(student_quantile(0.95, 3) / 3**0.5)
    assert 2 / pi * (theta + sin(theta) * cos(theta)) == pytest.approx(0.95)
    # Four degrees: P = sin theta (1 + cos^2 theta / 2) with theta = atan(t / 2).
    theta = np.arctan(student_quantile(0.95, 4) / 2)
    assert sin(theta) * (1 + cos(theta) ** 2 / 2) == pytest.approx(0.95)


def test_two_processes_give_student_intervals() -> None:
    # Logs 0 and 0.2: mean 0.1, sd 0.1 sqrt 2, standard error 0.1, t(95 %, 1) = tan(0.475 pi) = 12.706.
    ratio = ratio_interval([0.0, 0.2])
    margin = 0.1 * tan(0.475 * pi)
    assert (log(ratio.low), log(ratio.high)) == pytest.approx((0.1 - margin, 0.1 + margin))
    assert (log(ratio.estimate), ratio.method) == (pytest.approx(0.1), "student-t")


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_too_few_for_a_sign_test_use_student_and_contain_the_median(n: int) -> None:
    ratio = ratio_interval(np.random.default_rng(n).normal(0, 0.01, n))
    assert ratio.method == "student-t"
    assert ratio.low < ratio.estimate < ratio.high


def test_one_process_has_no_interval_and_no_verdict() -> None:
    ratio = ratio_interval([log(2)])
    assert (ratio.estimate, ratio.hodges_lehmann, ratio.method) == (
        pytest.approx(2),
        pytest.approx(2),
        "none",
    )
    assert np.isnan([ratio.low, ratio.high]).all()
    assert verdict(ratio) == "not resolved"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "non-empty"),
        ([0.1, nan, 0.2], "1 of 3 values are not finite"),
        ([inf] * 6, "not finite"),
        ([[0.1, 0.2]], "one non-empty series"),
    ],
)
def test_bad_logs_are_refused_and_never_significant(bad: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ratio_interval(bad)


@pytest.mark.parametrize("parameters", [{"confidence": 1.0}, {"confidence": 0.0}, {"n_comparisons": 0}])
def test_parameters_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match="no interval"):
        ratio_interval([0.1, 0.2], **parameters)


def test_hodges_lehmann_is_the_median_of_the_walsh_averages() -> None:
    # Of 0, 1, 5: averages 0, 1, 5, 0.5, 2.5, 3, sorted 0 0.5 1 2.5 3 5, median 1.75.
    assert log(ratio_interval([0.0, 1.0, 5.0]).hodges_lehmann) == pytest.approx(1.75)


# Two humps only where the sign test answers: Student's t promises nothing for them.
@pytest.mark.parametrize(
    ("n_processes", "hump"),
    [(2, 0), (4, 0), (6, 0), (6, 0.1), (9, 0), (9, 0.1), (12, 0), (12, 0.1), (20, 0), (20, 0.1)],
)
def test_coverage_of_simulated_copies(n_processes: int, hump: float) -> None:
    rng = np.random.default_rng(n_processes)
    logs = rng.normal(0, 0.02, (2000, n_processes))
    logs += hump * rng.choice([-1, 1], logs.shape)
    ratios = [ratio_interval(row) for row in logs]
    covered = np.mean([ratio.low <= 1 <= ratio.high for ratio in ratios])
    # 95 % asked; 2000 draws have a standard error of 0.5 %; exact ranks give up to 97 % here.
    assert 0.93 <= covered <= 0.99


def test_two_copies_are_rarely_resolved() -> None:
    rng = np.random.default_rng(11)
    n_seeds, n_processes, n_rounds = 400, 10, 20
    layout = rng.normal(0, 0.02, (n_seeds, n_processes, 1))
    elapsed_ns = np.exp(rng.normal(0, 0.01, (2, n_seeds, n_processes, n_rounds)))
    resolved = 0
    for seed in range(n_seeds):
        a, b = elapsed_ns[0, seed] * np.exp(layout[seed]), elapsed_ns[1, seed]
        logs = [process_ratio(a[process], b[process]) for process in range(n_processes)]
        resolved += verdict(ratio_interval(logs)) == "resolved"
    # At most 5 % of 400 are 20; three standard errors are 3 sqrt(400 * 0.05 * 0.95) = 13.
    assert resolved <= 33
    # The sign test of ten covers 1 - 2 (1 + 10) / 1024 = 97.85 %, so 8.6 are expected: not none either.
    assert resolved >= 1


def test_dropping_any_process_moves_the_estimate_less_than_the_interval() -> None:
    logs = np.random.default_rng(4).normal(0.05, 0.01, 12)
    full = ratio_interval(logs)
    for left_out in range(logs.size):
        estimate = ratio_interval(np.delete(logs, left_out)).estimate
        assert full.low < estimate < full.high


# Verdicts.


@pytest.mark.parametrize(
    ("ratio", "control", "expected"),
    [
        (interval(1.02, 1.05), None, "resolved"),
        (interval(0.90, 0.98), None, "resolved"),
        (interval(0.98, 1.05), None, "not resolved"),
        (interval(0.992, 1.008), None, "equivalent"),
        (interval(1.02, 1.05), interval(0.99, 1.01), "resolved"),
        (interval(0.90, 0.98), interval(0.99, 1.01), "resolved"),
        (interval(1.02, 1.05), interval(0.97, 1.03), "not resolved"),
        (interval(1.002, 1.004), interval(0.99, 1.01), "equivalent"),
        (interval(1.02, 1.05), interval(nan, nan), "not resolved"),
        (interval(nan, nan), None, "not resolved"),
    ],
)
def test_verdicts(ratio: Ratio, control: Ratio | None, expected: str) -> None:
    assert verdict(ratio, control=control) == expected


def test_equivalence_margin_is_the_callers() -> None:
    assert verdict(interval(0.97, 1.02), equivalence=0.05) == "equivalent"
    assert verdict(interval(0.997, 1.002), equivalence=0.001) == "not resolved"


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
