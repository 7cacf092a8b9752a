"""The predicted kernel build: each number against a sum on paper, and what must change it."""

from __future__ import annotations

from dataclasses import replace
from math import exp, hypot, inf, log, sqrt

import pytest
from predicted_builds import COSTS, counts, found as found, interference, replay, replays

from p2mperf.analysis.kernel_build.budget import Factor, Number, combined, factor_between, spread
from p2mperf.analysis.kernel_build.deltas import build_deltas, modelled_delta, user_delta
from p2mperf.analysis.kernel_build.parts import elapsed_of, faults_of_commit
from p2mperf.analysis.kernel_build.prediction import KernelBuild, predict
from p2mperf.errors import BadInputError

# 31.49e6 / 1079 s x 6240 s
FAULTS = 31.49e6 / 1079 * 6240


# Counts.


def test_lookups_of_a_fault() -> None:
    # (800 x 9 + 4000) / 800; (5600 + 4000) / 800; without huge pages 800 x 7 in place of 800 x 9
    one = counts()
    assert (one.p2m_per_fault, one.m2p_per_fault, one.p2m_per_fault_other_thp) == (14.0, 12.0, 12.0)
    assert one.faults_per_user_s == 80_000


def test_a_build_without_faults_is_none() -> None:
    for changes in ({"n_faults": 0}, {"user_s": 0.0}, {"user_s": float("nan")}):
        with pytest.raises(BadInputError, match="no page faults or no user time"):
            counts(**changes)


# What a fault costs more.


def test_classes_are_weighed_as_the_build_has_them() -> None:
    tight, flushed, cold, large = build_deltas(counts(), replays())
    # 800 writes x 50 ns, and 4000 lookups of exits, of which 200 cost 400 ns: 8000 ns; over 800 faults.
    assert cold.per_fault_ns.estimate == pytest.approx((800 * 50 + 20 * 400) / 800) == 60
    assert tight.per_fault_ns.estimate == pytest.approx(5 + 20 * 80 / 800) == 7
    assert flushed.per_fault_ns.estimate == pytest.approx(40 + 20 * 200 / 800) == 45
    assert large.per_fault_ns.estimate == pytest.approx(70 + 20 * 600 / 800) == 85
    # the six processes are 2.5 ns around, and their whole range is an interval of 1 - 2 / 2**6
    assert (cold.per_fault_ns.low, cold.per_fault_ns.high) == pytest.approx((57.5, 62.5))
    assert cold.per_fault_ns.level == 0.96875
    assert cold.per_p2m_ns == pytest.approx(60 / 14)
    assert (cold.left_out, cold.large_pages) == (0, False)


def test_the_control_is_a_design_against_itself_by_the_same_sum() -> None:
    # 1 ns for each of the 800 writes and of the 20 exits
    control = build_deltas(counts(), replays())[2].control_ns
    assert control is not None
    assert control.estimate == pytest.approx(820 / 800)


def test_a_class_that_was_not_replayed_is_left_out_and_told() -> None:
    writes = replays(replays=(replay("cold", "8G", {"ANONYMOUS_WRITE": 50.0}),))
    (cold,) = build_deltas(counts(), writes)
    assert cold.per_fault_ns.estimate == pytest.approx(50)
    assert cold.left_out == pytest.approx(4000 / 11200)
    # Where a process has met no exit, the mean of the others stands: 60 with and without.
    whole = replay("cold", "8G", COSTS["cold", "8G"])
    first, *others = whole.processes
    classes = {name: cost for name, cost in first.classes.items() if name != "EXIT"}
    some = replace(whole, processes=(replace(first, classes=classes), *others))
    (cold,) = build_deltas(counts(), replays(replays=(some,)))
    assert cold.per_fault_ns == build_deltas(counts(), replays(replays=(whole,)))[0].per_fault_ns
    nothing = replays(replays=(replay("cold", "8G", {"FORK": 50.0}),))
    with pytest.raises(BadInputError, match="the cold replay of 8G has no class of entries in common"):
        build_deltas(counts(), nothing)


def test_few_faults_make_an_estimate_doubtful() -> None:
    def doubts(n_faults: int) -> list[str]:
        return [
            note for note in predict(replace(counts(), n_faults=n_faults), replays()).notes if "few" in note
        ]

    assert doubts(100_000) == []
    assert doubts(99_999) == ["99999 page faults are few: what they ask need not be what a kernel build asks"]


def test_what_was_not_replayed_is_named() -> None:
    with pytest.raises(BadInputError, match="nothing was replayed"):
        build_deltas(counts(), replays(replays=()))
    with pytest.raises(BadInputError, match="unknown design of the tight replay of 8G 'pv-other'"):
        build_deltas(counts(), replays(), "pv-other")
    with pytest.raises(BadInputError, match="has no process"):
        build_deltas(counts(), replays(replays=(replay("cold", "8G", {}, offsets=()),)))
    tight = replays(replays=replays().replays[:2])
    with pytest.raises(BadInputError, match="nothing was replayed cold"):
        predict(counts(), tight)
    with pytest.raises(BadInputError, match="unknown guest of these replays '4G'"):
        predict(counts(), replays(), guest="4G")


@pytest.mark.parametrize("ns", [1e12, -1e300, inf, float("nan")])
def test_times_that_cannot_be_are_refused(ns: float) -> None:
    with pytest.raises(BadInputError, match="no entry into the kernel takes"):
        build_deltas(counts(), replays(replays=(replay("cold", "8G", {"EXIT": ns}),)))


def test_a_fault_by_counts_and_latencies() -> None:
    span = modelled_delta(counts())
    assert span is not None
    # A write: 207.6 cycles (test_e6440.py). An exit: 9 x 33 + 32 x 24 x 0.8 + 400 x 4 - 45 = 2466.4.
    assert span.middle == pytest.approx((207.6 + 10 / 800 * 2466.4) / 3.3)
    # low: 77.2, and 9 x 17 + 32 x 12 x 0.8 + 400 x 3 - 60 = 1600.2; high: 341.8, and 9 x 50 + 32 x 36 x 0.8
    # + 400 x 5 - 30 = 3341.6
    assert span.low == pytest.approx((77.2 + 1600.2 / 80) / 3.3)
    assert span.high == pytest.approx((341.8 + 3341.6 / 80) / 3.3)
    assert modelled_delta(counts(), "pv-tree", "pv-linear-nested") is None


# Seconds.


def test_faults_of_the_commit(found: KernelBuild) -> None:
    assert found.faults.middle == pytest.approx(FAULTS)
    assert (found.faults.low, found.faults.high) == pytest.approx((FAULTS / 1.6, FAULTS * 1.6))
    assert found.faults.origin == "published"
    # 80 000 a user-second x 6240 s
    assert found.faults_by_user_time.high == pytest.approx(499.2e6)
    assert found.faults_by_user_time.origin == "measured"


def test_faults_that_are_given_have_no_range() -> None:
    given = predict(counts(), replays(), n_faults=100e6)
    assert (given.faults.low, given.faults.high, given.faults.origin) == (100e6, 100e6, "given")
    assert given.system.here is not None
    assert given.system.here.middle == pytest.approx(-6.0)  # 100e6 x 60 ns
    assert given.budget[0].factor == 1
    assert [each.n_faults for each in given.needed] == [100e6]
    assert not any(swing.name == "page faults" for swing in given.swings)
    for wrong in (0, -5, inf, float("nan"), "many", True):
        with pytest.raises(BadInputError, match="page faults"):
            faults_of_commit(wrong)  # type: ignore[arg-type]


def test_budget_and_interval(found: KernelBuild) -> None:
    named = {part.name: part.factor for part in found.budget}
    span = modelled_delta(counts())
    assert span is not None
    # The counts' range is wider than the roads are apart: sqrt(high / low) = 2.2 against 72.2 / 60 = 1.2.
    assert named["from this host to that laptop"] == pytest.approx(sqrt(span.high / span.low))
    assert named["page faults of that build"] == pytest.approx(1.6)
    assert named["this host's replay"] == pytest.approx(60 / 57.5)  # more than 62.5 / 60
    assert named["translations of an event"] == 1.15
    whole = exp(sqrt(sum(log(factor) ** 2 for factor in named.values())))
    system = found.system.here
    assert system is not None
    assert system.middle == pytest.approx(-FAULTS * 60e-9)
    assert (system.low, system.high) == pytest.approx((system.middle * whole, system.middle / whole))
    assert system.origin == "measured"


def test_roads_that_are_apart_widen_the_budget() -> None:
    far = predict(counts(), replays(replays=(replay("cold", "8G", {"ANONYMOUS_WRITE": 10.0, "EXIT": 0.0}),)))
    span = modelled_delta(counts())
    assert span is not None
    # 72.2 / 10 is more than sqrt(high / low)
    assert far.budget[1].factor == pytest.approx(span.middle / 10)
    assert "apart" in far.budget[1].source


def test_seconds_by_counts(found: KernelBuild) -> None:
    span, system = modelled_delta(counts()), found.system.modelled
    assert span is not None
    assert system is not None
    assert system.middle == pytest.approx(-FAULTS * span.middle * 1e-9)
    # each side by its own end, with faults and events
    others = log(1.6) ** 2 + log(1.15) ** 2
    smaller = exp(sqrt(others + log(span.middle / span.low) ** 2))
    larger = exp(sqrt(others + log(span.high / span.middle) ** 2))
    assert (system.low, system.high) == pytest.approx((system.middle * larger, system.middle / smaller))
    assert system.origin == "modelled"


def test_elapsed_time_is_cpu_time_over_busy_threads(found: KernelBuild) -> None:
    busy = (6240 + 1087) / 1970
    here, system = found.elapsed.here, found.system.here
    assert here is not None
    assert system is not None
    assert here.middle == pytest.approx(system.middle / busy)
    assert "system time alone" in here.source
    assert found.user.here is None
    one, other = Number(-10, -20, -5, "s", "measured", ""), Number(-1, -3, 2, "s", "measured", "")
    both = elapsed_of(one, other)
    assert both is not None
    # 10 and 2 below, 5 and 3 above: in quadrature
    ends = (-11 - sqrt(104)) / busy, (-11 + sqrt(34)) / busy
    assert (both.middle, both.low, both.high) == pytest.approx((-11 / busy, *ends))
    assert elapsed_of(None, other) is None


def test_user_time_by_what_was_measured() -> None:
    sizes = enumerate((1.0, 3.0, 2.0), start=20)
    asked = replays(interference=tuple(interference(ns, work_bytes=1 << size) for size, ns in sizes))
    span = user_delta(counts(), asked)
    assert span is not None
    # 810 entries for 800 faults; the median of 1, 3 and 2; from 1 - 2.5 to 3 + 2.5
    assert (span.low, span.middle, span.high) == pytest.approx(
        tuple(810 / 800 * ns for ns in (-1.5, 2.0, 5.5))
    )
    user = predict(counts(), asked).user.here
    assert user is not None
    assert user.middle == pytest.approx(-FAULTS * 2.0 * 810 / 800 * 1e-9)
    # 3.5 ns to either side, and 0.6 of 2 ns for the faults: in quadrature
    n = FAULTS * 810 / 800 * 1e-9
    assert (user.low, user.high) == pytest.approx((-n * (2 + hypot(3.5, 1.2)), -n * (2 - hypot(3.5, 1.2))))
    longer = interference(9.0, work_bytes=1 << 20, n_touches=101)
    assert user_delta(counts(), replays(interference=(longer, *asked.interference))) == span
    alone = user_delta(counts(), replays(interference=(interference(1.0, offsets=(0.0,)),)))
    assert alone is not None
    assert (alone.low, alone.high) == (-inf, inf)
    assert user_delta(counts(), replays()) is None


def test_what_would_have_to_be_true(found: KernelBuild) -> None:
    few, likely, many = found.needed
    # 20 s / 182.1 million = 109.8 ns; / 14 lookups; 109.8 / 60
    assert likely.per_fault_ns == pytest.approx(20e9 / FAULTS)
    assert likely.per_p2m_ns == pytest.approx(20e9 / FAULTS / 14)
    assert likely.of_estimate == pytest.approx(20e9 / FAULTS / 60)
    assert likely.of_tight == pytest.approx(20e9 / FAULTS / 7)
    assert few.per_fault_ns == pytest.approx(1.6 * likely.per_fault_ns)
    assert many.per_fault_ns == pytest.approx(likely.per_fault_ns / 1.6)


def test_swings(found: KernelBuild) -> None:
    named = {swing.name: swing for swing in found.swings}
    per_s = -FAULTS * 1e-9
    assert named["page faults"].seconds == pytest.approx((per_s * 60 / 1.6, per_s * 60 * 1.6))
    assert named["size of the guest"].seconds == pytest.approx((per_s * 85, per_s * 60))
    assert named["size of the guest"].ends == ("128G", "8G")
    # 14 - 12 lookups fewer, which cost 7 / 14 ns each in a tight loop
    assert named["CONFIG_TRANSPARENT_HUGEPAGE"].seconds == pytest.approx((per_s * 59, per_s * 60))
    other = predict(counts(thp=False), replays())
    assert next(one for one in other.swings if one.name.startswith("CONFIG")).ends == ("y", "n")
    # 80 windows of 14 pages, 2 lookups a page: 10 / 13.95 of the pages leave 80 x 28 x 0.283 / 800 out
    fewer = 80 * 28 * (1 - 10 / 13.95) / 800
    assert named["pages that a fault around maps"].seconds == pytest.approx(
        (per_s * (60 - fewer * 0.5), per_s * 60)
    )
    # tight on this host, and all lines from memory by counts
    coldest = named["how cold an entry is"]
    assert coldest.ends == ("tight", "all from memory")
    assert coldest.seconds[0] == pytest.approx(per_s * 7)
    assert named["clock of the laptop"].seconds[0] == pytest.approx(
        named["clock of the laptop"].seconds[1] * 3.3 / 3.6
    )
    widths = [swing.width_s for swing in found.swings]
    assert widths == sorted(widths, reverse=True)


def test_tables_on_large_pages_are_never_the_estimate() -> None:
    large = replay("cold", "8G", {"ANONYMOUS_WRITE": 9.0}, page_bytes=1 << 21)
    both = predict(counts(), replays(replays=(large, *replays().replays)))
    assert both.estimate.per_fault_ns.estimate == pytest.approx(60)
    named = {swing.name: swing for swing in both.swings}
    assert named["page size of the tables"].seconds[0] == pytest.approx(-FAULTS * 9e-9)
    with pytest.raises(BadInputError, match="cold on 4 KiB pages"):
        predict(counts(), replays(replays=(large,)))


# Arithmetic of factors.


def test_factors() -> None:
    assert combined([]) == 1
    assert combined([Factor("", 2.0, ""), Factor("", inf, "")]) == inf
    assert factor_between(3, 3) == 1
    for pair in ((0, 1), (-1, 1), (inf, 1), (float("nan"), 1)):
        assert factor_between(*pair) == inf
    assert spread(12.0, 2.0, 3.0) == (6.0, 36.0)
    assert spread(-12.0, 2.0, 3.0) == (-36.0, -6.0)
    assert spread(1.0, inf) == (-inf, inf)
