"""Claims of the commit's kernel build, and of what a build asks of a p2m: from a recorded one, replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2mperf.analysis.claims.base import Finding, decided
from p2mperf.analysis.claims.evidence import Evidence

if TYPE_CHECKING:
    from p2mperf.analysis.kernel_build.budget import Number
    from p2mperf.model.published_build import PublishedTime

# What "critical" is taken for: no document says how much of system time that is.
_CRITICAL = 0.01


def beyond_noise(evidence: Evidence) -> Finding:
    """The commit's times, against what two runs of one kernel differ by."""
    times = evidence.published_times
    said = ", ".join(f"{one.name.lower()} {one.change_s:+.0f} s against {one.noise_s:.0f} s" for one in times)
    ours = f"Each change, against what two runs of one kernel differ by in 95 of 100 cases: {said}."
    if all(abs(one.change_s) > one.noise_s for one in times):
        return Finding(
            ours, "reproduced", "Each change is larger than what two runs of one kernel differ by."
        )
    n_pairs = max(one.pairs_for(one.change_s) for one in times)
    why = (
        "By the spread of repeated builds that others published, one run of each kernel cannot show it;"
        f" {n_pairs} pairs of runs would."
    )
    return Finding(ours, "not resolved", why)


def predicted(name: str, evidence: Evidence) -> Finding:
    """One line of the commit's table, against what the p2m alone explains of it."""
    from p2mperf.analysis.kernel_build.words import interval

    build = evidence.kernel_build
    (time,) = (one for one in build.times if one.published.name == name)
    roads = {"by cold replays here": time.here, "by counts and latencies": time.modelled}
    found = {road: number for road, number in roads.items() if number is not None}
    ours = "; ".join(f"{number.middle:+.1f} s{interval(number)}, {road}" for road, number in found.items())
    return _as_predicted(
        f"Predicted from what a recorded build asks: {ours}.", list(found.values()), time.published
    )


def _as_predicted(ours: str, changes: list[Number], published: PublishedTime) -> Finding:
    change, noise = published.change_s, published.noise_s
    alone = f"the published {change:+.0f} s are of one run each, which may be off by {noise:.0f} s"
    if all(one.low <= change <= one.high and not one.low <= 0 <= one.high for one in changes):
        holds = "What follows from the p2m alone holds that change"
        if abs(change) > noise:
            return Finding(ours, "reproduced", f"{holds}, which is beyond its own noise, {noise:.0f} s.")
        # What holds a change that its own noise hides from none holds no more than that noise.
        return Finding(ours, "not resolved", f"{holds}: consistent, not proven, as {alone}.")
    if all(one.low <= change + noise and change - noise <= one.high for one in changes):
        why = f"What follows from the p2m alone cannot be told from that change, as {alone}."
        return Finding(ours, "not resolved", why)
    return Finding(
        ours, "contradicted", f"What follows from the p2m alone is another change, although {alone}."
    )


def in_page_faults(evidence: Evidence) -> Finding:
    """Lookups of a page fault."""
    counts = evidence.kernel_build.counts
    return decided(
        counts.p2m_per_fault >= 1,
        f"A page fault of a recorded kernel build asks the p2m {counts.p2m_per_fault:.1f} times, and the m2p"
        f" {counts.m2p_per_fault:.1f} times.",
        "Every entry that is made, set or read back is translated, as the source of 3.18 has it.",
        "Most page faults ask the p2m for nothing.",
    )


def is_critical(evidence: Evidence) -> Finding:
    """What the tree costs more than the list, as a share of system time."""
    system = evidence.kernel_build.system
    assert system.here is not None, "the replay here always says something of system time"
    ends = sorted(-100 * end / system.published.before_s for end in (system.here.low, system.here.high))
    low, high = ends
    middle = -100 * system.here.middle / system.published.before_s
    ours = (
        f"What the tree's walk costs more than the list is {middle:.1f} % of the system time of the"
        f" commit's build ({low:.1f} to {high:.1f} %)."
    )
    of = f"{100 * _CRITICAL:g} % of system time"
    if low > 100 * _CRITICAL:
        return Finding(ours, "reproduced", f"It is more than {of}.")
    if high < 100 * _CRITICAL:
        return Finding(ours, "contradicted", f"It is less than {of}.")
    return Finding(
        ours, "not resolved", f"It may be more or less than {of}, which critical is taken for here."
    )
