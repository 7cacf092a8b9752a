"""Faults of a recording, each told apart by its own signature.

The error code says whether the page was there and what was wanted; the allocations and the fault-around
window that follow on the same thread, until its next fault or recorded system call, say what the kernel did.
No address space needs to be kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, cut, shown
from p2mperf.workload.events import Event
from p2mperf.workload.recording import About, Recording
from p2mperf.workload.translation_stream import Entered

# What GFP_KERNEL allows beside reclaim. Since 4.6 page tables are accounted to a control group as well.
_KERNEL = ("IO", "FS")
_MOST_EVENTS = (1 << 31) - 1
# A thread is numbered at its first event, or at the first that names it; no event names more than two others.
_THREADS_PER_EVENT, _SPARE_THREADS = 3, 16
_COLUMNS = {
    "time_ns": np.int64,
    "cpu": np.int8,
    "pid": np.int32,
    "event": np.int8,
    "value": np.int64,
    "aux": np.int64,
}


@dataclass(frozen=True)
class Faults:
    """Page faults of a recording in their order, and the pages of page tables.

    Attributes
    ----------
    at : ndarray of int64, shape (n_faults,)
        Which event of the recording each is.
    entered : ndarray of uint8, shape (n_faults,)
        Its class, one of the first eight of `Entered`.
    frame : ndarray of int64, shape (n_faults,)
        Frame, as recorded, of the page that it brought; -1 where none was allocated.
    window_at : ndarray of int64, shape (n_faults,)
        For faults of files: the event of the fault-around window, or -1.
    missed : ndarray of bool, shape (n_faults,)
        Whether a page entered the page cache during it.
    table_fault : ndarray of int64, shape (n_tables,)
        The fault that each page of a page table was allocated in, -1 for outside of faults.
    table_at : ndarray of int64, shape (n_tables,)
        Its event, ascending.
    n_large : int
        Faults that were given blocks of several pages at once, as transparent huge pages are. A PV kernel has
        none, and would have met a fault for each page of them that is used.
    """

    at: NDArray[np.int64]
    entered: NDArray[np.uint8]
    frame: NDArray[np.int64]
    window_at: NDArray[np.int64]
    missed: NDArray[np.bool_]
    table_fault: NDArray[np.int64]
    table_at: NDArray[np.int64]
    n_large: int

    @property
    def n_faults(self) -> int:
        """Number of faults."""
        return int(self.at.size)

    @property
    def counts(self) -> dict[str, int]:
        """Faults by the name of their class, all eight of them."""
        numbers = np.bincount(self.entered, minlength=Entered.UNCLASSIFIED + 1).tolist()
        return {Entered(number).name: n for number, n in enumerate(numbers)}

    @property
    def unclassified_ratio(self) -> float:
        """Share of faults whose signature is none of those that are known; 0 without faults."""
        return self.counts[Entered.UNCLASSIFIED.name] / max(1, self.n_faults)


def classify(recording: Recording) -> Faults:
    """Tell the faults of a recording apart.

    Parameters
    ----------
    recording : Recording
        Events of a kernel of any version: what its gfp flags are called, and their values, it brings along.

    Returns
    -------
    Faults

    Raises
    ------
    BadInputError
        When it is no recording: columns of other types or lengths, threads or CPUs whose numbers cannot be,
        or gfp flags that it does not say.

    Notes
    -----
    Linux mm/memory.c: do_anonymous_page, do_read_fault, do_cow_fault and do_wp_page each allocate in their
    own way. Pages that a reading fault brings into the page cache are none of its own.
    """
    check_columns(recording)
    from p2mperf.workload.fault_kernels import Flags, Found, classify_into

    flags = Flags(*map(np.int64, _bits(recording.about)))
    event = recording.event
    n_faults = int(np.count_nonzero(event <= Event.FAULT_KERNEL))
    n_allocations = int(np.count_nonzero(event == Event.ALLOC))
    found = Found(
        at=np.empty(n_faults, np.int64),
        entered=np.empty(n_faults, np.uint8),
        frame=np.empty(n_faults, np.int64),
        window_at=np.empty(n_faults, np.int64),
        missed=np.zeros(n_faults, np.bool_),
        table_fault=np.empty(n_allocations, np.int64),
        table_at=np.empty(n_allocations, np.int64),
    )
    last = np.full(n_threads(recording), -1, np.int64)
    columns = recording.pid, event, recording.value, recording.aux
    n_tables, n_large = classify_into(*columns, flags, last, found)
    return Faults(
        at=found.at,
        entered=found.entered,
        frame=found.frame,
        window_at=found.window_at,
        missed=found.missed,
        table_fault=found.table_fault[:n_tables].copy(),
        table_at=found.table_at[:n_tables].copy(),
        n_large=int(n_large),
    )


def check_columns(recording: Recording) -> None:
    """Refuse what compiled code could not go through.

    Parameters
    ----------
    recording : Recording
        Whatever it is.

    Raises
    ------
    BadInputError
        Saying what cannot be.
    """
    if not isinstance(recording, Recording):
        raise BadInputError(f"events come in a Recording, not in {shown(recording)}")
    columns = {name: getattr(recording, name) for name in _COLUMNS}
    for name, column in columns.items():
        if not (isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype == _COLUMNS[name]):
            raise BadInputError(
                f"column {name} of a recording is an array of {np.dtype(_COLUMNS[name])}, not {shown(column)}"
            )
        if not column.flags.c_contiguous:
            raise BadInputError(f"column {name} of the recording is no whole array: copy it")
    sizes = {column.size for column in columns.values()}
    if len(sizes) != 1:
        raise BadInputError(f"columns of one recording have {' and '.join(map(str, sorted(sizes)))} events")
    (n_events,) = sizes
    if n_events > _MOST_EVENTS:
        raise BadInputError(f"a recording has at most {_MOST_EVENTS} events, not {n_events}: sample it")
    if not n_events:
        return
    if int(recording.cpu.min()) < 0:
        raise BadInputError(f"an event of the recording happened on CPU {int(recording.cpu.min())}")
    if int(recording.event.min()) < 0:
        raise BadInputError(f"an event of the recording is of no kind: {int(recording.event.min())}")
    least, most = int(recording.pid.min()), int(recording.pid.max())
    if least < 0 or most >= n_threads(recording):
        raise BadInputError(
            f"threads of a recording are numbered as they come: of {n_events} events none can be of thread"
            f" {least if least < 0 else most}"
        )


def n_threads(recording: Recording) -> int:
    """Bound of the numbers that threads of a recording can have."""
    return _THREADS_PER_EVENT * recording.n_events + _SPARE_THREADS


def _bits(about: object) -> tuple[int, int, int, int]:
    """What tells allocations apart: bits of a page table, bits that it has not, of data, of clearing."""
    gfp = about.gfp if isinstance(about, About) else {}
    highmem, movable, zero = (_bit(gfp, name) for name in ("HIGHMEM", "MOVABLE", "ZERO"))
    accounted = sum(_bit(gfp, name) for name in _KERNEL)
    if any(_named(gfp, "ACCOUNT")):
        accounted |= _bit(gfp, "ACCOUNT")
    return zero | accounted, highmem | movable, highmem | movable, zero


def _named(gfp: Mapping[str, int], name: str) -> list[int]:
    # Since 4.6 a kernel prints names with their underscores.
    return [gfp[written] for written in (f"__GFP_{name}", f"GFP_{name}") if written in gfp]


def _bit(gfp: Mapping[str, int], name: str) -> int:
    values = _named(gfp, name)
    if not values:
        raise BadInputError(
            f"the recording does not say which bit __GFP_{name} is: faults cannot be told apart without"
        )
    if not (0 < values[0] < 1 << 32 and values[0].bit_count() == 1):
        raise BadInputError(f"__GFP_{name} is one bit of 32, not {cut(shown(values[0]))}")
    return values[0]
