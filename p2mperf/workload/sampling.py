"""A sample of a recording: whole lives of every so-many-th process, and counts of what it was cut from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, shown
from p2mperf.workload.events import Event
from p2mperf.workload.faults import classify
from p2mperf.workload.recording import Recording, Whole
from p2mperf.workload.recording_checks import COLUMNS, check_recording
from p2mperf.workload.translation_stream import Entered

# What lets the kernel in for work on memory; the time between two of them on one CPU is a gap.
ENTRIES = (
    *(Event.FAULT_USER, Event.FAULT_KERNEL, Event.NEW_TASK, Event.EXEC, Event.EXIT),
    *(Event.MMAP, Event.MUNMAP, Event.MPROTECT, Event.BRK),
)
_CLONE_VM, _CLONE_THREAD = 0x100, 0x10000
_OF_THREADS = (Event.NEW_TASK, Event.EXEC, Event.EXIT, Event.SWITCH)
_OF_FILES = (Event.MAP_PAGES, Event.CACHE_ADD)
# Bounds of the histogram of gaps: four in each octave.
GAP_BOUNDS_NS = np.unique(
    [0, *((4 + quarter) << octave >> 2 for octave in range(2, 50) for quarter in range(4))]
)
_MOVABLE = 1
# A sample is like its recording when shares are so near to each other: of themselves, or of everything.
MOST_SHARE_RATIO, MOST_SHARE, MOST_GAP_RATIO, MOST_STEP_SHARE = 0.03, 0.001, 0.1, 0.02
_MOST_TRIED = 64

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Likeness:
    """How a sample differs from the recording that it was cut from.

    Attributes
    ----------
    shares : dict of str to tuple of float
        Share of each event and of each class of faults, of the recording and of the sample.
    median_gap_ns : tuple of float
        Median time between entries that follow each other on one CPU, of both [ns].
    next_frame_share : tuple of float
        Share of allocations of data whose frame is next to that of the one before on its CPU, of both.
    """

    shares: dict[str, tuple[float, float]]
    median_gap_ns: tuple[float, float]
    next_frame_share: tuple[float, float]

    @property
    def deviation(self) -> float:
        """Largest difference, in units of what is allowed: a sample of up to 1 is like its recording."""
        return max(size for size, _ in self._differences())

    @property
    def complaints(self) -> list[str]:
        """One sentence for each difference beyond what is allowed."""
        return [sentence for size, sentence in self._differences() if size > 1]

    def _differences(self) -> list[tuple[float, str]]:
        found = []
        for name, (whole, sample) in self.shares.items():
            size = abs(sample - whole) / max(MOST_SHARE_RATIO * whole, MOST_SHARE)
            found.append((size, f"{name}: {sample:.2%} of the sample, {whole:.2%} of the whole"))
        whole, sample = self.median_gap_ns
        size = _gap_difference(whole, sample)
        found.append((size, f"median gap: {sample:.0f} ns in the sample, {whole:.0f} ns in the whole"))
        whole, sample = self.next_frame_share
        size = _step_difference(whole, sample)
        found.append(
            (size, f"next to the frame before: {sample:.1%} in the sample, {whole:.1%} in the whole")
        )
        return found


def _gap_difference(whole: float, sample: float) -> float:
    return abs(sample - whole) / max(MOST_GAP_RATIO * whole, 1)


def _step_difference(whole: float, sample: float) -> float:
    return abs(sample - whole) / MOST_STEP_SHARE


def sample(recording: Recording, every: int, first: int = 0) -> Recording:
    """Keep every so-many-th process of a recording, with all that happened to it.

    Parameters
    ----------
    recording : Recording
        A whole one.
    every : int
        How many processes there are for each that is kept, in the order of the number of their events.
    first : int
        The first that is kept, from 0 to below `every`; 0 is the one with most events.

    Returns
    -------
    Recording
        Events of the processes that are kept, at their own times; threads and files are numbered anew. Its
        ``about.whole`` has the counts of the recording.

    Raises
    ------
    BadInputError
        When it is a sample already, or nothing is kept.

    Notes
    -----
    An event is of the thread that it happened to; a switch from a thread of no process of the command is of
    the thread that comes next. So each is of one process, and all samples together are the whole.

    A build does the same few things again and again, so that every so-many-th process in the order of their
    beginnings may be a compiler; and of the few compilers of a sample some are ten times as long as others.
    In the order of their events each sample has small and large ones, as the whole has.
    """
    _require(recording, every)
    if not _is_whole_number(first) or not 0 <= first < every:
        raise BadInputError(f"the first process that is kept is from 0 to {every - 1}, not {shown(first)}")
    owners = _owner_of_events(recording)
    ranks = _ranks_of_threads(recording, owners)
    is_kept_thread = (ranks % every == first) & (ranks >= 0)
    kept = is_kept_thread[owners]
    if not kept.any():
        raise BadInputError(f"nothing is left of {int(ranks.max()) + 1} processes: keep more of them")
    columns = {name: getattr(recording, name)[kept] for name in COLUMNS}
    _renumber(columns, is_kept_thread)
    begins = _begins_space(recording)
    whole = Whole(
        every=every,
        first=first,
        n_spaces=int(np.count_nonzero(begins)),
        n_kept_spaces=int(np.count_nonzero(begins & kept)),
        n_events=count_events(recording),
        n_faults=_count_faults(recording),
        gaps_ns=gap_histogram(gaps_ns(recording)),
    )
    made = Recording(**columns, about=replace(recording.about, whole=whole))
    check_recording(made)
    return made


def best_first(recording: Recording, every: int) -> int:
    """Find which process to begin with, for a sample that is most like the whole.

    Parameters
    ----------
    recording : Recording
        A whole one.
    every : int
        As `sample` takes it.

    Returns
    -------
    int
        From 0 to below `every`.

    Raises
    ------
    BadInputError
        As `sample`.
    """
    _require(recording, every)
    faults = classify(recording)
    owners = _owner_of_events(recording)
    ranks = _ranks_of_threads(recording, owners)[owners]
    is_owned = ranks >= 0
    worst = np.maximum(
        _worst_shares(ranks[is_owned] % every, recording.event[is_owned], every),
        _worst_shares(ranks[faults.at] % every, faults.entered, every),
    )
    best, least = int(np.argmin(worst)), math.inf
    whole_gap, whole_step = _median(gaps_ns(recording)), _next_frame_share(recording)
    # Gaps and frames of each sample take a while: of many samples the likeliest are looked at.
    for first in np.argsort(worst, kind="stable")[:_MOST_TRIED].tolist():
        if worst[first] >= least:
            break
        kept = is_owned & (ranks % every == first)
        gap = _gap_difference(whole_gap, _median(gaps_ns(recording, kept)))
        step = _step_difference(whole_step, _next_frame_share(recording, kept))
        if max(worst[first], gap, step) < least:
            best, least = first, max(float(worst[first]), gap, step)
    return best


def _worst_shares(firsts: NDArray[np.int64], kinds: NDArray[np.integer], every: int) -> NDArray[np.float64]:
    """How much the shares of kinds differ at most from the whole's, for each sample that there can be."""
    n_kinds = int(kinds.max(initial=0)) + 1
    counts = np.bincount(firsts * n_kinds + kinds, minlength=every * n_kinds).reshape(every, n_kinds)
    whole = counts.sum(axis=0) / max(1, counts.sum())
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    worst: NDArray[np.float64] = np.max(
        np.abs(shares - whole) / np.maximum(MOST_SHARE_RATIO * whole, MOST_SHARE), axis=1
    )
    return worst


def likeness(recording: Recording, cut: Recording) -> Likeness:
    """Compare a sample with the recording that it was cut from.

    Parameters
    ----------
    recording, cut : Recording
        The whole, and the sample of it.

    Returns
    -------
    Likeness

    Raises
    ------
    BadInputError
        When the second is no sample.
    """
    if cut.about.whole is None:
        raise BadInputError("a recording is compared with a sample of it, and this is none")
    pairs = {
        **_shares(cut.about.whole.n_events, count_events(cut)),
        **_shares(cut.about.whole.n_faults, _count_faults(cut)),
    }
    gaps = [_median(gaps_ns(each)) for each in (recording, cut)]
    steps = [_next_frame_share(each) for each in (recording, cut)]
    return Likeness(pairs, (gaps[0], gaps[1]), (steps[0], steps[1]))


def count_events(recording: Recording) -> dict[str, int]:
    """Events of a recording by name; those that it has none of are left out.

    Parameters
    ----------
    recording : Recording
        Any.

    Returns
    -------
    dict of str to int
    """
    numbers = np.bincount(recording.event)
    return {Event(number).name: int(n) for number, n in enumerate(numbers) if n}


def gaps_ns(recording: Recording, kept: Mask | None = None) -> NDArray[np.int64]:
    """Times between entries into the kernel that follow each other on one CPU.

    Parameters
    ----------
    recording : Recording
        Any.
    kept : ndarray of bool, optional
        Which of its events count; default: all.

    Returns
    -------
    ndarray of int64
        From one of `ENTRIES` to the next, CPU after CPU [ns].
    """
    entries = _is_any(recording, ENTRIES)
    entries = entries if kept is None else entries & kept
    times, cpus = recording.time_ns[entries], recording.cpu[entries]
    found = [np.diff(times[cpus == cpu]) for cpu in np.unique(cpus)]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def gap_histogram(gaps: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Count gaps by their length.

    Parameters
    ----------
    gaps : ndarray of int64
        Times [ns].

    Returns
    -------
    tuple of (int, int)
        Lower bound [ns] and number of each class that is not empty, four classes an octave.
    """
    numbers = np.bincount(np.searchsorted(GAP_BOUNDS_NS, gaps, side="right") - 1, minlength=1)
    return tuple((int(GAP_BOUNDS_NS[at]), int(n)) for at, n in enumerate(numbers) if n)


def _require(recording: Recording, every: int) -> None:
    check_recording(recording)
    if recording.about.whole is not None:
        raise BadInputError("it is a sample already: cut another from the whole recording")
    if not _is_whole_number(every) or every < 1:
        raise BadInputError(f"every how-many-th process is kept is a whole number from 1, not {shown(every)}")


def _is_whole_number(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_any(recording: Recording, events: tuple[Event, ...]) -> Mask:
    is_any: Mask = np.isin(recording.event, events)
    return is_any


def _ranks_of_threads(recording: Recording, owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each thread the rank of its process, 0 for the one with most events; -1 for number 0, no thread."""
    made = recording.event == Event.NEW_TASK
    n_threads = 1 + max(int(recording.pid.max()), int(recording.value[made].max(initial=0)))
    leaders = np.arange(n_threads)
    is_thread = recording.aux[made] & _CLONE_THREAD != 0
    for parent, child in zip(
        recording.pid[made][is_thread].tolist(), recording.value[made][is_thread].tolist(), strict=True
    ):
        leaders[child] = leaders[parent]
    n_events = np.bincount(leaders[owners], minlength=n_threads)[1:]
    # Of two with as many events the one that began first.
    is_leader = np.unique(leaders[1:]) - 1
    ranks = np.zeros(n_threads - 1, np.int64)
    ranks[is_leader[np.argsort(-n_events[is_leader], kind="stable")]] = np.arange(is_leader.size)
    return np.concatenate([[-1], ranks[leaders[1:] - 1]])


def _owner_of_events(recording: Recording) -> NDArray[np.int64]:
    """Of each event the thread that it is counted to."""
    is_from_other = (recording.event == Event.SWITCH) & (recording.pid == 0)
    return np.where(is_from_other, recording.value, recording.pid)


def _begins_space(recording: Recording) -> Mask:
    """Which events begin an address space: a program, or a copy of one."""
    is_copy = (recording.event == Event.NEW_TASK) & (recording.aux & _CLONE_VM == 0)
    begins: Mask = is_copy | (recording.event == Event.EXEC)
    return begins


def _renumber(columns: dict[str, NDArray[np.signedinteger]], is_kept_thread: Mask) -> None:
    """Number threads and files in the order in which the sample has them; switches to others are to 0."""
    event, value = columns["event"], columns["value"]
    is_switch = event == Event.SWITCH
    for name in ("pid", "value"):
        chosen = is_switch & ~is_kept_thread[np.where(is_switch, columns[name], 0)]
        columns[name][chosen] = 0
    names = np.isin(event, _OF_THREADS)
    threads = np.stack([columns["pid"].astype(np.int64), np.where(names, value, 0)], axis=1)
    numbered = _by_first(threads.ravel()).reshape(threads.shape)
    columns["pid"] = numbered[:, 0].astype(np.int32)
    columns["value"] = np.where(names, numbered[:, 1], value)
    of_files = np.isin(event, _OF_FILES)
    files = columns["aux"][of_files]
    columns["aux"][of_files] = (files & 0xFFFF_FFFF) | _by_first(files >> 32) << 32


def _by_first(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number what is there anew, from 1 in the order in which it comes; 0 stays."""
    found, at, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    ranks = np.zeros(found.size, np.int64)
    others = np.flatnonzero(found != 0)
    ranks[others[np.argsort(at[others])]] = np.arange(1, others.size + 1)
    return ranks[inverse]


def _count_faults(recording: Recording) -> dict[str, int]:
    return {name: int(n) for name, n in classify(recording).counts.items() if name in Entered.__members__}


def _median(found: NDArray[np.int64]) -> float:
    return float(np.median(found)) if found.size else 0.0


def _shares(whole: Mapping[str, int], cut: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    totals = max(1, sum(whole.values())), max(1, sum(cut.values()))
    return {name: (n / totals[0], cut.get(name, 0) / totals[1]) for name, n in whole.items()}


def _next_frame_share(recording: Recording, kept: Mask | None = None) -> float:
    """Share of single movable frames that are next to the one that was allocated before on the same CPU."""
    is_data: Mask = (
        (recording.event == Event.ALLOC) & (recording.aux >> 32 == _MOVABLE << 8) & (recording.value >= 0)
    )
    is_data = is_data if kept is None else is_data & kept
    frames, cpus = recording.value[is_data], recording.cpu[is_data]
    steps = [np.diff(frames[cpus == cpu]) for cpu in np.unique(cpus)]
    n_steps = sum(step.size for step in steps)
    n_next: int = sum(int(np.count_nonzero(np.abs(step) == 1)) for step in steps)
    return float(n_next / max(1, n_steps))
