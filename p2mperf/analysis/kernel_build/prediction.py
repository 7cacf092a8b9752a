"""The commit's kernel build, from what a recorded build asks: whether a p2m's lookups explain its seconds.

Page faults of that build x what one costs more with the tree = change of system time. The faults are
published, of another build. What a fault costs more is taken by two roads that share nothing but the
recording: replayed on this host, cold, as a kernel entry under Xen begins; and counted, times the latencies
of the commit's laptop. Each number says which it is: published, measured, modelled or counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING

from p2mperf.analysis.kernel_build.budget import Factor, Number, Swing
from p2mperf.analysis.kernel_build.counts import BuildCounts
from p2mperf.analysis.kernel_build.deltas import BuildDelta, build_deltas, user_delta
from p2mperf.analysis.kernel_build.parts import (
    ESTIMATE,
    Needed,
    PredictedTime,
    Verdict,
    budget_of,
    elapsed_of,
    faults_by_user_time,
    faults_of_commit,
    judge_both,
    modelled_deltas,
    needed_for,
    system_here,
    system_modelled,
    user_here,
)
from p2mperf.analysis.kernel_build.swings import swings_of
from p2mperf.analysis.statistics import N_FOR_VERDICT
from p2mperf.errors import BadInputError, cut, known, shown
from p2mperf.model.published_build import ELAPSED, SYSTEM, USER
from p2mperf.workload.recording import About, Recording
from p2mperf.workload.replays import Replays

if TYPE_CHECKING:
    import pandas as pd

# A build of tinyconfig, the smallest configuration, has 70 times as many.
_FEW_FAULTS = 100_000


@dataclass(frozen=True)
class KernelBuild:
    """All that is said of the commit's build.

    Attributes
    ----------
    counts : BuildCounts
        The recorded build.
    before, after : str
        Designs, in the order of the commit: tree, list.
    faults : Number
        Page faults of the commit's build.
    faults_by_user_time : Number
        The same by the recording's faults a second of user time: an upper bound.
    estimate : BuildDelta
        The cold replay that the prediction stands on.
    deltas : tuple of BuildDelta
        All that was replayed on this host.
    modelled : tuple of Number
        Cost of a fault by counts and latencies: on the laptop, on the fastest that it may have been, and with
        nothing in its caches [ns].
    elapsed, system, user : PredictedTime
        The lines of the commit's table.
    budget : tuple of Factor
        What the interval by this host's replay is made of.
    swings : tuple of Swing
        What the prediction hangs on, widest first.
    needed : tuple of Needed
        For the published change, at few, likely and many faults.
    verdict : Verdict
        What it comes to.
    notes : tuple of str
        What to know of it.
    """

    counts: BuildCounts
    before: str
    after: str
    faults: Number
    faults_by_user_time: Number
    estimate: BuildDelta
    deltas: tuple[BuildDelta, ...]
    modelled: tuple[Number, ...]
    elapsed: PredictedTime
    system: PredictedTime
    user: PredictedTime
    budget: tuple[Factor, ...]
    swings: tuple[Swing, ...]
    needed: tuple[Needed, ...]
    verdict: Verdict
    notes: tuple[str, ...] = ()

    @property
    def times(self) -> tuple[PredictedTime, ...]:
        """In the order of the commit's table."""
        return self.elapsed, self.system, self.user

    @property
    def sentence(self) -> str:
        """What was found, in one sentence; every number in it is one of this result's."""
        from p2mperf.analysis.kernel_build.words import sentence

        return sentence(self)

    @property
    def answer(self) -> str:
        """The same in a few sentences, as Markdown."""
        from p2mperf.analysis.kernel_build.words import answer

        return answer(self)

    def table(self, name: str) -> pd.DataFrame:
        """Lay out one part of it.

        Parameters
        ----------
        name : str
            "published", the commit's own lines; "asked", entries of each class and what they ask; "costs",
            what a page fault costs more with the first design, condition by condition; "predicted", the
            commit's table in words; "by-faults", seconds if that build had so many faults; "swings", what the
            prediction hangs on; or "needed", what would have to be true.

        Returns
        -------
        pandas.DataFrame
            Times in seconds or ns a page fault, as the names of its columns say.

        Raises
        ------
        BadInputError
            For another name.
        """
        from p2mperf.analysis.kernel_build.tables import build_table

        return build_table(self, name)

    def to_dict(self) -> dict[str, object]:
        """Give all of it as plain data, which JSON can hold: what is not bounded is None."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        counted = (
            "n_p2m",
            "p2m_per_fault",
            "m2p_per_fault",
            "p2m_per_fault_other_thp",
            "faults_per_user_s",
        )
        plain["counts"].update({name: getattr(self.counts, name) for name in counted})
        for delta in (plain["estimate"], *plain["deltas"]):
            delta["origin"] = "measured"
        for time, line in zip(self.times, (plain["elapsed"], plain["system"], plain["user"]), strict=True):
            line["published"] |= {
                "origin": "published",
                "change_s": time.published.change_s,
                "noise_s": time.published.noise_s,
            }
        return plain


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def kernel_build(
    recording: Recording,
    replays: Replays,
    *,
    name: str = "",
    digest: str = "",
    before: str = "pv-tree",
    after: str = "pv-linear",
    guest: str | None = None,
    n_faults: float | None = None,
) -> KernelBuild:
    """Count what a recorded build asks, and predict the commit's table by what its entries cost.

    Parameters
    ----------
    recording : Recording
        A build, or a sample of one.
    replays : Replays
        Entries of it, replayed on this host; they say of which kernel they are.
    name : str
        What the build is to be called; default: the program that was run.
    digest : str
        The recording's, where it is known: replays of another are said to be so.
    before, after, guest, n_faults
        As `predict`.

    Returns
    -------
    KernelBuild

    Raises
    ------
    BadInputError
        As `predict`, and for what is no recording or has no page faults.
    """
    from p2mperf.analysis.kernel_build.counting import count_build

    if not isinstance(replays, Replays):
        raise BadInputError(f"replays are wanted, not {shown(replays)}: `p2mperf.replay` makes some")
    found = predict(
        count_build(recording, name=name, thp=replays.thp),
        replays,
        before=before,
        after=after,
        guest=guest,
        n_faults=n_faults,
    )
    is_other = bool(digest and replays.recording and digest != replays.recording)
    return replace(found, notes=(*found.notes, *_notes_on(recording.about, is_other)))


def _notes_on(about: About, is_other: bool) -> tuple[str, ...]:
    """What makes the recording doubtful, or the replays another's."""
    n_lost = sum(count.n_overrun + count.n_dropped for count in about.cpus.values())
    doubts = {
        f"the recording is no kernel's, but made: {cut(about.made)}": about.made != "",
        f"the recording is complete up to {about.complete_until_ns / 1e9:.1f} s alone": (
            about.complete_until_ns >= 0
        ),
        f"{n_lost} events of the recording were lost": n_lost > 0,
        "the replays are of another recording: their entries are weighed class by class as this one's": (
            is_other
        ),
    }
    return tuple(note for note, holds in doubts.items() if holds)


def predict(
    counts: BuildCounts,
    replays: Replays,
    *,
    before: str = "pv-tree",
    after: str = "pv-linear",
    guest: str | None = None,
    n_faults: float | None = None,
) -> KernelBuild:
    """Predict the commit's table.

    Parameters
    ----------
    counts : BuildCounts
        A recorded build.
    replays : Replays
        Its entries, replayed on this host.
    before, after : str
        Designs, as the commit went from one to the other.
    guest : str, optional
        Whose cold replay is the estimate; default: the first.
    n_faults : float, optional
        Page faults of the commit's build, if they are known better than by the published anchor.

    Returns
    -------
    KernelBuild

    Raises
    ------
    BadInputError
        When there is no cold replay, or replays and build have nothing in common.
    """
    deltas = build_deltas(counts, replays, before, after)
    estimate = _estimate(deltas, guest)
    faults = faults_of_commit(n_faults)
    modelled = modelled_deltas(counts, before, after)
    budget = budget_of(counts, faults, estimate, modelled)
    here, computed = system_here(faults, estimate, budget), system_modelled(counts, faults, modelled)
    user = user_here(faults, user_delta(counts, replays, before, after))
    return KernelBuild(
        counts=counts,
        before=before,
        after=after,
        faults=faults,
        faults_by_user_time=faults_by_user_time(counts),
        estimate=estimate,
        deltas=deltas,
        modelled=modelled,
        elapsed=PredictedTime(ELAPSED, elapsed_of(here, user), elapsed_of(computed, None)),
        system=PredictedTime(SYSTEM, here, computed),
        user=PredictedTime(USER, user, None),
        budget=budget,
        swings=swings_of(counts, faults, deltas, estimate, modelled),
        needed=needed_for(counts, faults, deltas, estimate),
        verdict=judge_both(here, computed, SYSTEM),
        notes=_notes(counts, estimate, replays),
    )


def _notes(counts: BuildCounts, estimate: BuildDelta, replays: Replays) -> tuple[str, ...]:
    """What makes the estimate doubtful, or is left out of it."""
    control, n = estimate.control_ns, estimate.per_fault_ns.n
    lost = f"{estimate.left_out:.1%} of all lookups are of classes that were not replayed"
    doubts = {
        f"the cold replay has {n} process{'es' * (n != 1)}: an interval of 95 % takes {N_FOR_VERDICT}": (
            not estimate.per_fault_ns.allows_verdict
        ),
        f"{lost}: they cost nothing here": estimate.left_out > 0,
        "a design differs from its own second build there, and so may the two that are compared": (
            control is not None and control.allows_verdict and (control.low > 0 or control.high < 0)
        ),
        "the replays are of a kernel with the other CONFIG_TRANSPARENT_HUGEPAGE": replays.thp != counts.thp,
        f"{counts.n_faults} page faults are few: what they ask need not be what a kernel build asks": (
            counts.n_faults < _FEW_FAULTS
        ),
    }
    return tuple(note for note, holds in doubts.items() if holds)


def _estimate(deltas: tuple[BuildDelta, ...], guest: str | None) -> BuildDelta:
    cold = [one for one in deltas if one.condition == ESTIMATE and not one.large_pages]
    if not cold:
        raise BadInputError("nothing was replayed cold on 4 KiB pages: the estimate stands on that")
    if guest is None:
        return cold[0]
    known("guest of these replays", guest, [one.guest for one in cold])
    return next(one for one in cold if one.guest == guest)
