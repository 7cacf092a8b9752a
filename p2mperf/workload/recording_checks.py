"""What a recording must be for others to trust it: columns that no kernel contradicts, in step with About."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, shown
from p2mperf.workload.events import EVENTS, Event
from p2mperf.workload.faults import check_columns
from p2mperf.workload.recording import About, Recording, Whole
from p2mperf.workload.translation_stream import Entered

Column = NDArray[np.signedinteger]

COLUMNS = ("time_ns", "cpu", "pid", "event", "value", "aux")
COLUMN_TYPES = dict(zip(COLUMNS, map(np.dtype, ("i8", "i1", "i4", "i1", "i8", "i8")), strict=True))
LATEST_NS = 1 << 62
CHUNK_EVENTS = 1 << 20
_LONGEST_NAME = 200
_N_NUMBERS = 128
_PAGES, _WORD = (1 << 52) - 1, (1 << 32) - 1
_LARGEST = (1 << 63) - 1

_OF_THREADS = (Event.NEW_TASK, Event.EXEC, Event.EXIT, Event.SWITCH)
_OF_FILES = (Event.MAP_PAGES, Event.CACHE_ADD)
_MAY_BE_REFUSED = (Event.ALLOC, Event.MMAP_DONE)
_MOST_AUX: dict[Event, int] = {
    Event.ALLOC: (1 << 48) - 1,
    Event.MAP_PAGES: _LARGEST,
    Event.CACHE_ADD: _LARGEST,
    Event.EXEC: 0,
    Event.EXIT: _WORD,
    Event.EXIT_MMAP: 0,
    Event.SWITCH: 0,
    Event.MMAP: _LARGEST,
    Event.MMAP_DONE: 0,
    Event.MUNMAP: _PAGES,
    Event.MPROTECT: _LARGEST,
    Event.BRK: 0,
    Event.BRK_DONE: 0,
    **{event: _PAGES for event, recorded in EVENTS.items() if recorded.xen},
}


def _table(values: dict[Event, int], other: int) -> NDArray[np.int64]:
    table = np.full(_N_NUMBERS, other, np.int64)
    for event, value in values.items():
        table[event] = value
    return table


_IS_KNOWN = _table(dict.fromkeys(EVENTS, 1), 0).astype(bool)
_IS_OF_THREADS = _table(dict.fromkeys(_OF_THREADS, 1), 0).astype(bool)
_IS_OF_FILES = _table(dict.fromkeys(_OF_FILES, 1), 0).astype(bool)
_LEAST_VALUES = _table(dict.fromkeys(_MAY_BE_REFUSED, -1), 0)
_MOST_AUXES = _table(_MOST_AUX, _WORD)


@dataclass
class Checks:
    """Checks the columns of a recording stretch by stretch, in their order.

    Attributes
    ----------
    about : About
        What they must be in step with.
    n_by_event, n_by_cpu : ndarray of int64
        Events so far, by number.
    """

    about: About
    n_by_event: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_N_NUMBERS, np.int64))
    n_by_cpu: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_N_NUMBERS, np.int64))
    _n_threads: int = 0
    _n_files: int = 0
    _last_ns: int = 0

    def add(self, part: dict[str, Column]) -> None:
        """Check the next stretch.

        Parameters
        ----------
        part : dict of str to ndarray
            Its columns by name, of one length.

        Raises
        ------
        BadInputError
            Naming the first column that holds what cannot be.
        """
        times, cpus, events, values, auxes = (
            part[name] for name in ("time_ns", "cpu", "event", "value", "aux")
        )
        if not times.size:
            return
        if int(times[0]) < self._last_ns or np.any(np.diff(times) < 0) or int(times[-1]) > LATEST_NS:
            raise BadInputError("its times do not ascend")
        self._last_ns = int(times[-1])
        if cpus.min() < 0 or not set(np.flatnonzero(np.bincount(cpus)).tolist()) <= self.about.cpus.keys():
            raise BadInputError("it has events of a CPU that was not recorded")
        if events.min() < 0 or not _IS_KNOWN[events].all():
            raise BadInputError("it has an event that this p2mperf does not know")
        if np.any(values < _LEAST_VALUES[events]) or np.any(values > _PAGES):
            raise BadInputError("it has a value that no event has")
        if np.any(auxes < 0) or np.any(auxes > _MOST_AUXES[events]):
            raise BadInputError("it has an aux that no event has")
        self._check_threads(part)
        files = auxes[_IS_OF_FILES[events]] >> 32
        self._n_files = _last_number(files, self._n_files, 1, "files")
        self.n_by_event += np.bincount(events, minlength=_N_NUMBERS)
        self.n_by_cpu += np.bincount(cpus, minlength=_N_NUMBERS)

    def _check_threads(self, part: dict[str, Column]) -> None:
        """Threads are numbered as they come: those that an event names after the one that it happened to."""
        events = part["event"]
        named = np.stack([part["pid"].astype(np.int64), np.where(_IS_OF_THREADS[events], part["value"], 0)])
        if np.any(part["pid"] == 0) and np.any(events[part["pid"] == 0] != Event.SWITCH):
            raise BadInputError("it has an event that happened to no thread")
        self._n_threads = _last_number(named.T.ravel(), self._n_threads, 0, "threads")

    def end(self) -> None:
        """Check the numbers of events against those that are told.

        Raises
        ------
        BadInputError
            When they are others.
        """
        counts = {cpu: int(self.n_by_cpu[cpu]) for cpu in self.about.cpus}
        is_all = self.about.whole is None and self.about.complete_until_ns < 0
        for cpu, count in self.about.cpus.items():
            if counts[cpu] > count.n_read or (is_all and counts[cpu] != count.n_read):
                raise BadInputError(
                    f"it has {counts[cpu]} events of CPU {cpu}, of {count.n_read} that were read"
                )
        if 0 <= self.about.complete_until_ns < self._last_ns:
            raise BadInputError("it has events later than it says it is complete")
        if self.about.whole is not None:
            for event in EVENTS:
                if self.n_by_event[event] > self.about.whole.n_events.get(event.name, 0):
                    raise BadInputError(f"it has more events {event.name} than what it is a sample of")


def _last_number(numbers: Column, n_before: int, least: int, what: str) -> int:
    """How many there are now; each new number must be the next one."""
    if not numbers.size:
        return n_before
    so_far = np.maximum.accumulate(np.concatenate([[n_before], numbers]))
    if int(numbers.min()) < least or np.any(so_far[1:] > so_far[:-1] + 1):
        raise BadInputError(f"its {what} are not numbered in the order in which they come")
    return int(so_far[-1])


def check_about(about: About) -> None:
    """Check what a recording says of itself, whose types are right.

    Parameters
    ----------
    about : About
        What it says.

    Raises
    ------
    BadInputError
        Naming what cannot be.
    """
    usage = about.usage
    texts = {
        **{
            name: getattr(about, name) for name in ("tool", "kernel_release", "architecture", "clock", "made")
        },
        **{f"a name of gfp {shown(name)}": name for name in about.gfp},
    }
    for name, text in texts.items():
        if len(text) > _LONGEST_NAME or not text.isprintable():
            raise BadInputError(f"its {name} is no name: {shown(text)}")
    counts = [
        *(vars(count).values() for count in about.cpus.values()),
        [usage.n_minor_faults, usage.n_major_faults],
    ]
    is_possible = {
        "page_bytes": about.page_bytes == 4096,
        "subbuffer_bytes": 0 < about.subbuffer_bytes <= 1 << 20,
        "formats": set(about.formats) <= set(Event.__members__)
        and all(len(text) == 64 and text.isalnum() for text in about.formats.values()),
        "gfp": all(0 <= value < 1 << 64 for value in about.gfp.values()),
        "cpus": bool(about.cpus) and all(0 <= cpu < _N_NUMBERS for cpu in about.cpus),
        "counts": all(0 <= value < 1 << 62 for row in counts for value in row),
        "usage": all(0 <= value < 1e12 for value in (usage.elapsed_s, usage.user_s, usage.system_s))
        and abs(usage.exit_code) < 1 << 16,
        "complete_until_ns": -1 <= about.complete_until_ns <= LATEST_NS,
        "whole": about.whole is None or _is_possible(about.whole),
    }
    if wrong := next((name for name, holds in is_possible.items() if not holds), ""):
        raise BadInputError(f"its {wrong} is what no recording has")


def _is_possible(whole: Whole) -> bool:
    counts = [
        *whole.n_events.values(),
        *whole.n_faults.values(),
        *(each for gap in whole.gaps_ns for each in gap),
    ]
    bounds = [bound for bound, _ in whole.gaps_ns]
    return (
        all(0 <= count < 1 << 62 for count in counts)
        and bounds == sorted(set(bounds))
        and set(whole.n_events) <= set(Event.__members__)
        and set(whole.n_faults) <= set(Entered.__members__)
        and 0 <= whole.first < whole.every < 1 << 62
        and 0 <= whole.n_kept_spaces <= whole.n_spaces < 1 << 62
    )


def check_recording(recording: Recording) -> None:
    """Check a recording whole.

    Parameters
    ----------
    recording : Recording
        Whoever made it.

    Raises
    ------
    BadInputError
        Naming the first thing that is wrong with it.
    """
    check_columns(recording)
    if not recording.n_events:
        raise BadInputError("a recording of no events is none")
    columns: dict[str, Column] = {name: getattr(recording, name) for name in COLUMNS}
    check_about(recording.about)
    checks = Checks(recording.about)
    for start in range(0, recording.n_events, CHUNK_EVENTS):
        checks.add({name: column[start : start + CHUNK_EVENTS] for name, column in columns.items()})
    checks.end()
