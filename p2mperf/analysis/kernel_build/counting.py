"""What a recording says of a build: faults, entries and lookups of all of it, where a sample is kept too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple

import numpy as np

from p2mperf.analysis.kernel_build.budget import factor_between
from p2mperf.analysis.kernel_build.counts import BuildCounts, ClassCount
from p2mperf.guests.guest import Guest
from p2mperf.model.e6440 import Asked
from p2mperf.units import flag
from p2mperf.workload.events import Event
from p2mperf.workload.faults import classify
from p2mperf.workload.locality import Sums, count_locality
from p2mperf.workload.recording import Recording
from p2mperf.workload.steps import Step
from p2mperf.workload.stream import count_translations, make_stream
from p2mperf.workload.translation_stream import Entered

# What enters the kernel otherwise than by a fault, by the event that tells of it.
_EVENTS = {
    Entered.FORK: Event.NEW_TASK,
    Entered.EXEC: Event.EXEC,
    Entered.EXIT: Event.EXIT_MMAP,
    Entered.MUNMAP: Event.MUNMAP,
    Entered.MPROTECT: Event.MPROTECT,
    Entered.SWITCH: Event.SWITCH,
}
_GEOMETRY = "pv64"


def count_build(
    recording: Recording, *, name: str = "", thp: bool = True, guest_memory: str | int = "8G"
) -> BuildCounts:
    """Count what a recorded build asks of a p2m.

    Parameters
    ----------
    recording : Recording
        A build, or a sample of one.
    name : str
        What it is to be called; default: the program that was run.
    thp : bool
        Whether the kernel has CONFIG_TRANSPARENT_HUGEPAGE.
    guest_memory : str or int
        Of the guest that recorded frames are spread over, for what entries share of its p2m.

    Returns
    -------
    BuildCounts

    Raises
    ------
    BadInputError
        For what is no recording, or has no page faults.

    Notes
    -----
    Of a sample, faults are scaled class by class to those of the whole recording, which were classified
    before it was cut; other entries by the number of the events that they come with.
    """
    thp = flag(thp, "thp")
    faults = classify(recording)
    kept = {**faults.counts, **_other_events(recording)}
    whole = recording.about.whole
    of_all = kept if whole is None else {**kept, **whole.n_faults, **_events_of(whole.n_events)}
    asked, other = (count_translations(recording, one) for one in (thp, not thp))
    guest = Guest.plain(guest_memory, geometry=_GEOMETRY)
    touched = count_locality(make_stream(recording, guest, thp=thp)).classes
    scale = {kind: of_all[kind] / n if (n := kept[kind]) else 0.0 for kind in kept}
    files = asked.by_class.get(Entered.FILE_READ.name)
    mapped = asked.by_step.get(Step.FILE_PAGE.name)
    return BuildCounts(
        name=name or recording.about.tool,
        n_faults=sum(of_all[kind] for kind in faults.counts),
        user_s=recording.about.usage.user_s,
        n_execs=of_all[Entered.EXEC.name],
        classes={
            kind: ClassCount(
                n_entries=scale[kind] * one.n,
                n_p2m=scale[kind] * one.p2m,
                n_m2p=scale[kind] * one.m2p,
                n_p2m_other_thp=scale[kind] * other.by_class[kind].p2m,
                asked=asked_of(touched[kind] if kind in touched else _of_all(touched.values())),
            )
            for kind, one in asked.by_class.items()
        },
        n_windows=float(of_all[Entered.FILE_READ.name]),
        window_pages=mapped.n / files.n if mapped and files else 0.0,
        events_factor=max(factor_between(asked.total.p2m, end.p2m) for end in (asked.low, asked.high)),
        thp=thp,
        of_whole=whole is not None,
    )


def _of_all(sums: Iterable[Sums]) -> Sums:
    """What the entries of all classes touch: it stands for one that the busiest CPU has none of."""
    return Sums(*map(sum, zip(*map(astuple, sums), strict=True)))


def asked_of(sums: Sums) -> Asked:
    """Means of one entry, from what a class's entries touch together."""
    n = sums.n_entries
    return Asked(
        n_calls=sums.n_items / n,
        n_tops=min(1.0, sums.n_top_lines / n),
        n_mids=sums.n_gib_slots / n,
        n_top_lines=sums.n_top_lines / n,
        n_mid_lines=sums.n_mid_lines / n,
    )


def _other_events(recording: Recording) -> dict[str, int]:
    numbers = np.bincount(recording.event, minlength=max(Event) + 1)
    return {kind.name: int(numbers[event]) for kind, event in _EVENTS.items()}


def _events_of(n_events: Mapping[str, int]) -> dict[str, int]:
    return {kind.name: n_events[event.name] for kind, event in _EVENTS.items() if event.name in n_events}
