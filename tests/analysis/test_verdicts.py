"""What is said of the rows of a table: verdicts, their reasons, and costs that do not stand still."""

from __future__ import annotations

from math import log, nan

import numpy as np
import pytest

from p2mperf.analysis.statistics import Ratio, ratio_interval
from p2mperf.analysis.verdicts import COVERS, benjamini_hochberg, change_within, is_unsteady, judge, notes_on


def ratio(low: float, high: float, p_value: float = 0.004, n_processes: int = 9) -> Ratio:
    level = 1 - 20 / 512 if n_processes >= 6 else 1 - 2 / 2**n_processes
    return Ratio((low + high) / 2, low, high, level, p_value, n_processes)


UNDER = "under Benjamini-Hochberg at 5 % over 1 row"


@pytest.mark.parametrize(
    ("one", "verdict", "reason"),
    [
        (
            ratio(1.02, 1.05),
            "resolved",
            f"interval 1.020 to 1.050 excludes 1, p = 0.004, stays {UNDER}",
        ),
        (
            ratio(0.90, 0.98),
            "resolved",
            f"interval 0.900 to 0.980 excludes 1, p = 0.004, stays {UNDER}",
        ),
        (
            ratio(1.004, 1.008),
            "resolved",
            f"interval 1.004 to 1.008 excludes 1, p = 0.004, stays {UNDER}; it lies within 3 % of 1",
        ),
        (ratio(0.98, 1.05), "not resolved", "interval 0.980 to 1.050 holds 1 and reaches beyond 3 %"),
        (ratio(0.971, 1.03), "equivalent", "interval 0.971 to 1.030 lies within 3 % of 1"),
        # The bounds are a ratio and its inverse: 1 / 1.03 is 0.9709.
        (ratio(0.9708, 1.0), "not resolved", "interval 0.971 to 1.000 holds 1 and reaches beyond 3 %"),
        (ratio(1.02, 1.05, n_processes=5), "no verdict", "5 processes: an interval of 95 % takes 6"),
        (ratio(nan, nan, n_processes=1), "no verdict", "1 process: an interval of 95 % takes 6"),
    ],
)
def test_verdicts_and_their_reasons(one: Ratio, verdict: str, reason: str) -> None:
    (said,) = judge([one])
    assert (said.verdict, said.reason) == (verdict, reason)


def test_a_verdict_is_that_of_the_table_it_stands_in() -> None:
    near, clear, open_ = ratio(1.01, 1.07, 0.039), ratio(1.2, 1.3, 0.004), ratio(0.9, 1.2, 0.4)
    assert [one.verdict for one in judge([near])] == ["resolved"]
    # Among four: 0.039 > 2/4 of 5 %.
    said = judge([open_, near, clear, open_])
    assert [one.verdict for one in said] == ["not resolved", "not resolved", "resolved", "not resolved"]
    assert said[1].reason == (
        "interval 1.010 to 1.070 excludes 1, p = 0.039, but not under Benjamini-Hochberg at 5 % over 4 rows"
    )
    # Between two that are clear: 0.039 <= 3/3 of 5 %; rows that allow no verdict are no tests.
    few = ratio(0.5, 2, 0.5, n_processes=3)
    assert [one.verdict for one in judge([clear, near, clear, few, few])][:3] == ["resolved"] * 3


def test_what_chance_alone_may_resolve_can_still_be_equivalent() -> None:
    said = judge([ratio(1.001, 1.02, 0.039), ratio(0.9, 1.2, 0.4)])[0]
    assert said.verdict == "equivalent"
    assert said.reason.endswith(
        "but not under Benjamini-Hochberg at 5 % over 2 rows; it lies within 3 % of 1"
    )


def test_the_procedure_of_benjamini_and_hochberg_on_their_own_example() -> None:
    # Benjamini and Hochberg (1995), section 4.3: of 15 the four smallest pass at 5 %.
    published = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    published += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert benjamini_hochberg(published[::-1]) == 0.0095
    assert benjamini_hochberg([]) == -1


def test_equal_designs_are_seldom_resolved_in_a_table() -> None:
    rng = np.random.default_rng(11)
    tables = [[ratio_interval(logs) for logs in rng.normal(0, 0.02, (20, 9))] for _ in range(100)]
    alone = sum(one.excludes_one for rows in tables for one in rows)
    # 3.9 % of 2000 are 78, give or take three standard errors of 8.7.
    assert 50 <= alone <= 105
    # Where nothing differs, any verdict of the table is a false one: at most 5 % of tables, 3 s.e. are 6.5.
    assert sum(any(one.verdict == "resolved" for one in judge(rows)) for rows in tables) <= 11


# Costs that do not stand still.


def test_a_change_is_that_from_the_first_third_to_the_last() -> None:
    # Thirds of six are two: (log 4 + log 1) / 2 over (log 2 + log 2) / 2 is 2 over 2; and 1 over 4.
    assert change_within([np.log([4, 1, 9, 9, 2, 2])]).estimate == pytest.approx(1)
    assert change_within([np.log([4, 4, 9, 9, 1, 1])]).estimate == pytest.approx(1 / 4)
    # Of two rounds one each; of a single one nothing can change.
    assert change_within([np.log([4, 1])]).estimate == pytest.approx(1 / 4)
    assert change_within([np.log([4])]).estimate == 1


@pytest.mark.parametrize(
    ("first_ns", "n_processes", "expected"),
    [
        ([211, 75, 36, 25, 22, 21.6], 6, True),  # pages that a memory daemon had marked, in every process
        ([18, 19, 20, 21, 22, 23], 9, True),
        ([20.4, 20.2, 20, 20, 20, 19.8], 9, False),  # less than 5 %
        ([30, 20, 20, 20, 20, 20], 9, True),  # not warm in the first round: by half of log 1.5
        ([20, 20, 20, 20, 20, 20], 9, False),
        ([211, 75, 36, 25, 22, 21.6], 5, False),  # too few to say
    ],
)
def test_costs_that_rise_or_fall_in_all_processes_are_unsteady(
    first_ns: list[float], n_processes: int, expected: bool
) -> None:
    noise = np.random.default_rng(n_processes).normal(0, 0.01, (n_processes, 6))
    assert is_unsteady(change_within(list(np.log(first_ns) + noise))) == expected


def test_costs_that_move_in_some_processes_only_are_not() -> None:
    falls, flat = np.log([211, 75, 36, 25, 22, 21.6]), np.log([20] * 6)
    noise = np.random.default_rng(2).normal(0, 0.01, (9, 6))
    assert not is_unsteady(change_within([falls + noise[0], falls + noise[1], *(flat + noise[2:])]))


def test_noise_alone_is_seldom_unsteady() -> None:
    rng = np.random.default_rng(5)
    found = [is_unsteady(change_within(list(run))) for run in rng.normal(log(20), 0.04, (500, 9, 6))]
    # The change of a process has a standard deviation of 4 %, the middle of nine one of some 1.4 %.
    assert sum(found) <= 5


def test_a_table_says_what_its_intervals_cover_and_explains_its_words() -> None:
    assert notes_on(["resolved"], [""]) == [COVERS]
    notes = notes_on(["no verdict", "resolved"], ["biased, unsteady", ""])
    assert [note.partition(":")[0] for note in notes] == [COVERS, "no verdict", "biased", "unsteady"]
