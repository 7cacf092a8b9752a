"""The published kernel build against arithmetic on the commit's own table."""

from __future__ import annotations

import pytest

from p2mperf.errors import BadInputError
from p2mperf.model.published_build import (
    ANCHOR,
    ELAPSED,
    N_BUSY_THREADS,
    PUBLISHED_TIMES,
    SYSTEM,
    USER,
    CountedBuild,
    PublishedTime,
    as_clock,
)


def test_the_table_is_the_commits() -> None:
    said = [f"{each.name}: {as_clock(each.before_s)} -> {as_clock(each.after_s)}" for each in PUBLISHED_TIMES]
    assert said == ["Elapsed time: 32:50 -> 32:35", "System: 18:07 -> 17:47", "User: 104:00 -> 103:30"]
    assert [each.change_s for each in PUBLISHED_TIMES] == [-15, -20, -30]


@pytest.mark.parametrize(
    ("time", "noise_s"),
    [
        (SYSTEM, 33.1),  # 1087 s x 0.011 x sqrt(2) x 1.96
        (USER, 51.9),  # 6240 s x 0.003 x sqrt(2) x 1.96
        (ELAPSED, 16.4),  # 1970 s x 0.003 x sqrt(2) x 1.96
    ],
)
def test_what_one_run_each_can_say(time: PublishedTime, noise_s: float) -> None:
    assert time.noise_s == pytest.approx(noise_s, abs=0.1)
    assert abs(time.change_s) < time.noise_s  # none of the three excludes 0


def test_pairs_that_show_a_change() -> None:
    # (33.14 / 11.5)**2 = 8.3; (33.14 / 33.2)**2 < 1
    assert SYSTEM.pairs_for(-11.5) == 9
    assert SYSTEM.pairs_for(33.2) == 1
    for wrong in (0, float("inf"), float("nan")):
        with pytest.raises(BadInputError, match="no number of pairs"):
            SYSTEM.pairs_for(wrong)


def test_busy_threads() -> None:
    # 6240 + 1087 = 7327 s of CPU time in 1970 s; all published CPU time saved, 50 s, gives 13.4 of 15 s.
    assert pytest.approx(7327 / 1970) == N_BUSY_THREADS
    assert (USER.change_s + SYSTEM.change_s) / N_BUSY_THREADS == pytest.approx(-13.44, abs=0.01)


def test_faults_by_the_published_anchor() -> None:
    # 31.49e6 / 1079 = 29 184 a user-second; x 6240 s = 182.1 million; / 1.6 = 113.8, x 1.6 = 291.4.
    low, middle, high = ANCHOR.faults_of(USER.before_s)
    assert (low / 1e6, middle / 1e6, high / 1e6) == pytest.approx((113.8, 182.1, 291.4), abs=0.05)
    # twice the faults, half the user time, factor 2: four times as many, and ends at a half and at twice that
    other = CountedBuild(2 * ANCHOR.n_faults, ANCHOR.user_s / 2, 2.0, "")
    assert other.faults_of(USER.before_s) == pytest.approx((2 * middle, 4 * middle, 8 * middle))


def test_times_as_the_commit_writes_them() -> None:
    # 59.6 s are a minute; what rounds to nothing has no sign
    assert [as_clock(each) for each in (59.6, 0.4, -0.4, -75)] == ["1:00", "0:00", "0:00", "-1:15"]
