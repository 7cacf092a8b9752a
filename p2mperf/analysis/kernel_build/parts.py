"""Parts of a predicted kernel build: faults, seconds, error budget, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt
from typing import Literal

from p2mperf.analysis.kernel_build.budget import (
    Factor,
    Number,
    combined,
    factor_between,
    spread,
)
from p2mperf.analysis.kernel_build.counts import BuildCounts
from p2mperf.analysis.kernel_build.deltas import BuildDelta, modelled_delta
from p2mperf.errors import BadInputError, shown
from p2mperf.model.e6440 import E6440, E6440_FASTEST, Span, from_memory
from p2mperf.model.published_build import ANCHOR, N_BUSY_THREADS, SYSTEM, USER, PublishedTime
from p2mperf.units import real_number

ESTIMATE, TIGHT = "cold", "tight"
# Ends that are so many times apart say nothing of the size.
TOO_WIDE = 10.0
_HERE = "faults x what one costs more in the cold replay on this host"
_MODELLED = "faults x what one costs more by counts and latencies"
_NS = 1e-9
_MOST_FAULTS = 1e12  # one each 6 ns of the published user time

Kind = Literal["consistent", "not consistent", "cannot tell"]


@dataclass(frozen=True)
class PredictedTime:
    """One line of the commit's table.

    Attributes
    ----------
    published : PublishedTime
        As published.
    here : Number or None
        Predicted change, by the replay on this host [s]; None where it was not measured.
    modelled : Number or None
        The same by counts and latencies [s]; None where they say nothing of it.
    """

    published: PublishedTime
    here: Number | None
    modelled: Number | None


@dataclass(frozen=True)
class Needed:
    """What would have to be true for the p2m alone to make the published change of system time.

    Attributes
    ----------
    n_faults : float
        If that build had so many page faults.
    per_fault_ns, per_p2m_ns : float
        So much a fault would have to cost more, and so much a lookup of the p2m [ns].
    of_estimate : float
        How many times what was measured cold that is; negative where that has the other sign.
    of_tight : float
        And how many times what was measured in a tight loop; infinite without one.
    """

    n_faults: float
    per_fault_ns: float
    per_p2m_ns: float
    of_estimate: float
    of_tight: float


@dataclass(frozen=True)
class Verdict:
    """What a prediction says of a published change.

    Attributes
    ----------
    kind : str
        ``cannot tell``: it is not bounded, or its ends are more than ten times apart; ``consistent``: the
        published change lies in it; ``not consistent``: it does not.
    sentence : str
        The same in words, with what the published change can say for itself.
    """

    kind: Kind
    sentence: str


def faults_of_commit(n_faults: float | None = None) -> Number:
    """Page faults of the commit's build, by the published anchor, unless they are given.

    Parameters
    ----------
    n_faults : float, optional
        How many; they then have no range.

    Raises
    ------
    BadInputError
        For what is no number of faults.
    """
    if n_faults is None:
        low, middle, high = ANCHOR.faults_of(USER.before_s)
        return Number(middle, low, high, "faults", "published", ANCHOR.source)
    number = real_number(n_faults, "page faults")
    if not 1 <= number <= _MOST_FAULTS:
        raise BadInputError(f"page faults of a build are 1 to {_MOST_FAULTS:.0e}, not {shown(n_faults)}")
    return Number(number, number, number, "faults", "given", "by who asks")


def faults_by_user_time(counts: BuildCounts) -> Number:
    """Page faults of the commit's build if it faulted as often a second of user time as the recorded one did.

    An upper bound: of a laptop of 2014 with all threads busy, a second does less than of what recorded it.
    """
    n_faults = counts.faults_per_user_s * USER.before_s
    source = f"{counts.faults_per_user_s:.0f} faults a second of user time, as recorded"
    return Number(n_faults, 0.0, n_faults, "faults", "measured", source)


def modelled_deltas(counts: BuildCounts, before: str, after: str) -> tuple[Number, ...]:
    """Cost of a fault by counts and latencies: of the laptop, the fastest it may be, and with empty caches.

    Parameters
    ----------
    counts : BuildCounts
        The build.
    before, after : str
        Designs.

    Returns
    -------
    tuple of Number
        Three [ns], or none for designs whose loads are not counted.
    """
    machines = (E6440, E6440_FASTEST, from_memory(E6440))
    spans = [modelled_delta(counts, before, after, machine) for machine in machines]
    return tuple(
        Number(span.middle, span.low, span.high, "ns a fault", "modelled", span.source)
        for span in spans
        if span is not None
    )


def _events(counts: BuildCounts) -> Factor:
    return Factor(
        "translations of an event", counts.events_factor, "what recording and source leave open, step by step"
    )


def budget_of(
    counts: BuildCounts, faults: Number, estimate: BuildDelta, modelled: Sequence[Number]
) -> tuple[Factor, ...]:
    """List what is uncertain in the prediction by this host's replay.

    Parameters
    ----------
    counts : BuildCounts
        The recorded build.
    faults : Number
        Of the commit's build.
    estimate : BuildDelta
        The cold replay.
    modelled : sequence of Number
        As `modelled_deltas`.

    Returns
    -------
    tuple of Factor
        Faults, events, this host's own interval, and how far it may be from here to the laptop: as far as the
        counts' range reaches around its middle, or as the two roads are apart, whichever is more.
    """
    found = estimate.per_fault_ns
    own = max(factor_between(found.estimate, found.low), factor_between(found.estimate, found.high))
    if not found.allows_verdict:
        own = float("inf")
    reach, apart = float("inf"), float("inf")
    if modelled:
        reach = sqrt(factor_between(modelled[0].low, modelled[0].high))
        apart = factor_between(found.estimate, modelled[0].middle)
    wider = "the two roads are so far apart" if apart > reach else "range of the counts' road"
    return (
        Factor(
            "page faults of that build",
            sqrt(faults.width),
            "given" if faults.origin == "given" else "by another build, published",
        ),
        Factor("from this host to that laptop", max(reach, apart), wider if modelled else "it has no counts"),
        _events(counts),
        Factor("this host's replay", own, f"over {found.n} processes"),
    )


def system_here(faults: Number, estimate: BuildDelta, budget: Sequence[Factor]) -> Number:
    """Predict the change of system time by this host's replay [s].

    Parameters
    ----------
    faults : Number
        Of the commit's build.
    estimate : BuildDelta
        A replay.
    budget : sequence of Factor
        As `budget_of`.
    """
    middle = change_s(faults.middle, estimate.per_fault_ns.estimate)
    return Number(middle, *spread(middle, combined(budget)), "s", "measured", _HERE)


def system_modelled(counts: BuildCounts, faults: Number, modelled: Sequence[Number]) -> Number | None:
    """Predict it by counts and latencies [s]; None without them.

    Parameters
    ----------
    counts : BuildCounts
        The recorded build.
    faults : Number
        Of the commit's build.
    modelled : sequence of Number
        As `modelled_deltas`: its first is taken, with its own range on either side.
    """
    if not modelled:
        return None
    laptop, others = modelled[0], [Factor("", sqrt(faults.width), ""), _events(counts)]
    near, far = sorted((laptop.low, laptop.high), key=abs)
    smaller, larger = (
        combined([*others, Factor("", factor_between(laptop.middle, end), "")]) for end in (near, far)
    )
    middle = change_s(faults.middle, laptop.middle)
    return Number(middle, *spread(middle, smaller, larger), "s", "modelled", _MODELLED)


def user_here(faults: Number, per_fault_ns: Span | None) -> Number | None:
    """Predict the change of user time [s]: None where what entries do to user code was not measured.

    Parameters
    ----------
    faults : Number
        Of the commit's build.
    per_fault_ns : Span or None
        By how much user code runs longer after each [ns]. Its sign may be open, so that its range and that of
        the faults are combined as they are, not in logs.
    """
    if per_fault_ns is None:
        return None
    middle = change_s(faults.middle, per_fault_ns.middle)
    of_faults = abs(middle) * (sqrt(faults.width) - 1)
    low, high = (change_s(faults.middle, end) for end in (per_fault_ns.high, per_fault_ns.low))
    ends = middle - hypot(middle - low, of_faults), middle + hypot(high - middle, of_faults)
    return Number(middle, *ends, "s", "measured", per_fault_ns.source)


def elapsed_of(system: Number | None, user: Number | None) -> Number | None:
    """Divide the change of all CPU time by the threads that were busy, by the commit's own table [s].

    Parameters
    ----------
    system, user : Number or None
        Changes [s]; user time that was not measured is taken for unchanged, which is said.
    """
    if system is None:
        return None
    said = f"CPU time / {N_BUSY_THREADS:.2f} busy threads"
    if user is None:
        return system.scaled(1 / N_BUSY_THREADS, "s", f"{said}; system time alone")
    middle = system.middle + user.middle
    low = middle - hypot(system.middle - system.low, user.middle - user.low)
    high = middle + hypot(system.high - system.middle, user.high - user.middle)
    whole = replace(system, middle=middle, low=low, high=high)
    return whole.scaled(1 / N_BUSY_THREADS, "s", said)


def needed_for(
    counts: BuildCounts, faults: Number, deltas: Sequence[BuildDelta], estimate: BuildDelta
) -> tuple[Needed, ...]:
    """Say what a fault would have to cost more for the whole published change of system time.

    Parameters
    ----------
    counts : BuildCounts
        The recorded build.
    faults : Number
        Of the commit's build.
    deltas : sequence of BuildDelta
        All that was replayed.
    estimate : BuildDelta
        The cold replay among them.

    Returns
    -------
    tuple of Needed
        At the fewest, the likely and the most faults; one where they are given.
    """
    tight = tight_of(deltas, estimate)
    measured = [0.0 if one is None else one.per_fault_ns.estimate for one in (estimate, tight)]
    numbers = dict.fromkeys((faults.low, faults.middle, faults.high))
    costs = [(n, -SYSTEM.change_s / n / _NS) for n in numbers]
    return tuple(
        Needed(
            n, ns, ns / counts.p2m_per_fault, *(ns / found if found else float("inf") for found in measured)
        )
        for n, ns in costs
    )


def tight_of(deltas: Sequence[BuildDelta], estimate: BuildDelta) -> BuildDelta | None:
    """What the estimate's guest took in a tight loop, if that was replayed."""
    there = (one for one in deltas if (one.condition, one.guest) == (TIGHT, estimate.guest))
    return next((one for one in there if one.large_pages == estimate.large_pages), None)


def judge_both(here: Number, modelled: Number | None, published: PublishedTime) -> Verdict:
    """Say what two roads to one change are worth: a verdict has to hold on both.

    Parameters
    ----------
    here, modelled : Number
        Change by this host's replay, and by counts and latencies [s]; None where these say nothing.
    published : PublishedTime
        One run each.

    Returns
    -------
    Verdict
        What both say; where they differ, that nobody can tell.
    """
    first = judge(here, published)
    second = first if modelled is None else judge(modelled, published)
    for one in (first, second):
        if one.kind == "cannot tell":
            return one
    if first.kind == second.kind:
        return first
    apart = f"cannot tell: by this host's replay {first.kind}, by counts and latencies {second.kind}"
    return Verdict("cannot tell", f"{apart}; {_noise(published)}")


def judge(predicted: Number, published: PublishedTime) -> Verdict:
    """Say what a prediction is worth beside what was published.

    Parameters
    ----------
    predicted : Number
        Change [s].
    published : PublishedTime
        One run each.

    Returns
    -------
    Verdict
    """
    alone = _noise(published)
    if not predicted.is_bounded:
        return Verdict("cannot tell", f"cannot tell: what is predicted is not bounded; {alone}")
    interval = f"{predicted.low:.1f} to {predicted.high:.1f} s"
    if predicted.width > TOO_WIDE:
        wide = f"cannot tell: {interval} is wider than ten times"
        return Verdict("cannot tell", f"{wide}; {alone}")
    if predicted.low <= published.change_s <= predicted.high:
        words = "consistent with the p2m alone as main cause, not proven"
        return Verdict("consistent", f"{words}: {interval} holds the published change, and {alone}")
    words = "not consistent with the p2m alone as cause"
    return Verdict("not consistent", f"{words}: {interval} does not hold the published change; {alone}")


def _noise(published: PublishedTime) -> str:
    noise = f"{published.change_s:.0f} s +- {published.noise_s:.0f} s for one run each"
    blind = abs(published.change_s) <= published.noise_s
    return f"the published change, {noise}, cannot be told from none" if blind else f"published are {noise}"


def change_s(n_faults: float, per_fault_ns: float) -> float:
    """Change from before to after [s]: what costs more before is saved."""
    return -n_faults * per_fault_ns * _NS
