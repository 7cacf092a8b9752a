"""From a recording to what it asks of a p2m: counted, or written down as a stream for a guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, DoesNotFitError
from p2mperf.guests.guest import Guest
from p2mperf.host.memory import require_memory
from p2mperf.units import flag, whole_number
from p2mperf.workload.events import Event
from p2mperf.workload.faults import Faults, classify
from p2mperf.workload.placing import Placed, nowhere, place
from p2mperf.workload.recording import Recording
from p2mperf.workload.steps import WINDOW_SHIFT, Role, Step
from p2mperf.workload.translation_stream import Entered, TranslationStream
from p2mperf.workload.translations import Translations, codes, tell

if TYPE_CHECKING:
    from p2mperf.workload.fault_walk_kernels import Events

Arrays = dict[str, NDArray[Any]]
_Addresses = TypeVar("_Addresses")

# Room for what is mapped at one time: 4 TiB sparsely, 256 GiB of pages side by side; it is only touched when
# it is used. Small recordings get by with less.
_LEAST_ROOM, _MOST_TABLES, _MOST_CHUNKS, _MOST_RUNS = 1 << 16, 1 << 21, 1 << 22, 1 << 22
_ROOM_PER_EVENT = 16
_MOST_ITEMS = 1 << 32
_ITEM_BYTES, _ENTRY_BYTES = 4, 13
_N_CPUS = 128


def count_translations(recording: Recording, thp: bool = True, cpu: int | None = None) -> Translations:
    """Count what a recording asks of the p2m and the m2p.

    Parameters
    ----------
    recording : Recording
        What a command asked of memory.
    thp : bool
        Whether the kernel is one with CONFIG_TRANSPARENT_HUGEPAGE.
    cpu : int, optional
        Only entries of this CPU; default: of all.

    Returns
    -------
    Translations

    Raises
    ------
    BadInputError
        When it is no recording, has no such CPU, or maps more at one time than can be.
    """
    thp = flag(thp, "thp")
    faults = classify(recording)
    walk = _Walk(recording, faults, thp, -1 if cpu is None else _checked_cpu(recording, cpu))
    return walk.translations(walk.count())


def make_stream(
    recording: Recording,
    guest: Guest,
    *,
    thp: bool = True,
    seed: int = 1,
    cpu: int | None = None,
    placement: str = "spread",
) -> TranslationStream:
    """Write down what one CPU of a recording asks, in the order in which the kernel does.

    Parameters
    ----------
    recording : Recording
        What a command asked of memory.
    guest : Guest
        Whose frames are asked for.
    thp : bool
        Whether the kernel is one with CONFIG_TRANSPARENT_HUGEPAGE.
    seed : int
        Of where frames stand.
    cpu : int, optional
        Whose entries; default: those of the CPU with most faults. Caches are a CPU's own.
    placement : str
        As `p2mperf.workload.placing.place`.

    Returns
    -------
    TranslationStream

    Raises
    ------
    BadInputError
        When it is no recording, has no such CPU, maps more than can be, or does not fit the guest.
    DoesNotFitError
        When the memory of this machine does not hold the stream.

    Notes
    -----
    A read-back of an entry is one item, with the p2m lookup that verifies it. Data and page-table pages
    follow each other as in the source that `p2mperf.workload.translations.STEPS` names. An address space is
    known from its first event on; what it mapped before is met as a frame that the recording does not tell.
    """
    thp = flag(thp, "thp")
    faults = classify(recording)
    core = _busiest(recording, faults) if cpu is None else _checked_cpu(recording, cpu)
    walk = _Walk(recording, faults, thp, core)
    placed = place(recording, faults, walk.n_runs, guest, seed, placement)
    return walk.written(walk.count(), placed, guest.covered_pfn)


def _checked_cpu(recording: Recording, cpu: object) -> int:
    number = whole_number(cpu, "cpu", 0, _N_CPUS - 1)
    if not (recording.cpu == number).any():
        raise BadInputError(f"nothing of the recording happened on CPU {number}")
    return number


def _busiest(recording: Recording, faults: Faults) -> int:
    of_faults = np.bincount(recording.cpu[faults.at], minlength=1)
    return int(of_faults.argmax())


class _Walk:
    """Goes through one recording, as often as it is asked to, from the beginning each time."""

    def __init__(self, recording: Recording, faults: Faults, thp: bool, cpu: int) -> None:
        self._recording, self._faults, self._thp, self._cpu = recording, faults, thp, cpu
        self._keys, self._slots, self.n_runs = self._number_runs()
        # By fault, those outside of faults left out.
        by_fault = np.argsort(faults.table_fault, kind="stable")
        n_outside = int(np.count_nonzero(faults.table_fault < 0))
        self._by_fault = by_fault[n_outside:]

    def count(self) -> _Gone:
        """What there is, unwritten."""
        placed = nowhere(self._recording, self._faults, self.n_runs)
        return self._gone_through(placed, 0, 0)

    def translations(self, out: _Gone) -> Translations:
        """What was counted."""
        from p2mperf.workload.emission_kernels import REVIVED, UNKNOWN

        return tell(self._thp, out.n_steps, out.n_entries, int(out.at[UNKNOWN]), int(out.at[REVIVED]))

    def written(self, counted: _Gone, placed: Placed, n_guest_frames: int) -> TranslationStream:
        """What was counted, for a guest."""
        from p2mperf.workload.emission_kernels import ENTRIES, ITEMS

        n_items, n_entries = int(counted.at[ITEMS]), int(counted.at[ENTRIES])
        if n_items > _MOST_ITEMS:
            raise BadInputError(f"the recording asks {n_items} times: more than a stream can hold, sample it")
        n_bytes = _ITEM_BYTES * n_items + _ENTRY_BYTES * n_entries
        require_memory(n_bytes, f"a stream of {n_items} lookups", "take a sample of the recording")
        out = self._gone_through(placed, n_items, n_entries)
        return TranslationStream(
            items=out.items,
            starts=out.starts,
            entered=out.entered,
            gaps_ns=out.gaps_ns,
            n_guest_frames=n_guest_frames,
            thp=self._thp,
        )

    def _number_runs(self) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
        from p2mperf.workload.file_kernels import Files, number_runs

        recording, window_at = self._recording, self._faults.window_at
        n_most = 2 * int(np.count_nonzero(window_at >= 0))
        n_most += int(np.count_nonzero(recording.event == Event.CACHE_ADD))
        keys, slots = _slots(n_most)
        nothing = np.empty(0, np.uint32)
        arrays: Arrays = {
            "keys": keys,
            "slots": slots,
            "frames": nothing,
            "window": nothing,
            "other": nothing,
        }
        files = addressed(Files, arrays, n_slots=slots.size, n_other=0)
        n_runs = int(number_runs(recording.event, recording.value, recording.aux, window_at, files))
        if n_runs > _MOST_RUNS:
            raise BadInputError(f"the recording maps {n_runs} runs of pages of files, more than {_MOST_RUNS}")
        return keys, slots, n_runs

    def _gone_through(self, placed: Placed, n_items: int, n_entries: int) -> _Gone:
        """Go through all events, writing so many items and entries down."""
        try:
            return self._go_through(placed, n_items, n_entries)
        except MemoryError as error:
            raise DoesNotFitError(
                f"no memory for the {self._recording.n_events} events of a recording: take a sample of it"
            ) from error

    def _go_through(self, placed: Placed, n_items: int, n_entries: int) -> _Gone:
        from p2mperf.workload import (
            emission_kernels,
            file_kernels,
            shadow_kernels,
            space_kernels,
            stream_kernels,
        )

        recording, faults, gone = self._recording, self._faults, _Gone(n_items, n_entries)
        n_threads = int(recording.pid.max(initial=0)) + 1
        # Each of these begins one at most; after an exit a thread that goes on has another.
        begin = (Event.NEW_TASK, Event.EXEC, Event.FAULT_KERNEL, Event.EXIT)
        n_spaces = n_threads + int(np.count_nonzero(np.isin(recording.event, begin)))
        tells_ends = bool((recording.event == Event.EXIT_MMAP).any())
        starts_of, step_codes = codes(self._thp)
        roles = np.zeros(len(Role), np.int32)
        roles[Role.VSYSCALL], roles[Role.SWAPPER] = placed.vsyscall, placed.swapper
        out: Arrays = gone.arrays | {"starts_of": starts_of, "codes": step_codes, "roles": roles}
        files: Arrays = {
            "keys": self._keys,
            "slots": self._slots,
            "frames": placed.runs.copy(),
            "window": np.zeros(1 << WINDOW_SHIFT, np.uint32),
            "other": placed.unknown,
        }
        room = max(_LEAST_ROOM, _ROOM_PER_EVENT * recording.n_events)
        shadow = _shadow(min(room, _MOST_TABLES), min(room, _MOST_CHUNKS), n_spaces)
        spaces: Arrays = _words(n_spaces, "n_users", "is_gone", "pgd", "user") | {
            "brk": np.empty(n_spaces, np.int64),
            "spare": np.empty(shadow_kernels.LEVELS * n_spaces, np.int32),
            "top": np.zeros(1, np.int64),
        }
        queues: Arrays = _words(n_threads, "head", "tail") | {
            "length": np.zeros(n_threads, np.int32),
            "following": np.empty(faults.table_at.size, np.int32),
            "frame": placed.tables,
            "unknown": placed.unknown,
        }
        threads: Arrays = _words(n_threads, "space", "pending") | {
            "asked": np.zeros(n_threads, np.int64),
            "flags": np.zeros(n_threads, np.int64),
        }
        loaded = np.full(stream_kernels.N_CPUS, -1, np.int32)
        n_unknown = placed.unknown.size
        of_files = addressed(file_kernels.Files, files, n_slots=self._slots.size, n_other=n_unknown)
        file_kernels.enter_cache(recording.event, recording.aux, placed.cached, of_files)
        known = stream_kernels.Known(
            addressed(emission_kernels.Out, out, most_items=n_items, most_entries=n_entries),
            of_files,
            addressed(
                shadow_kernels.Shadow,
                shadow,
                n_slots=shadow["slots"].size,
                n_tables=shadow["frame"].size,
                n_chunks=shadow["present"].size,
            ),
            addressed(space_kernels.Spaces, spaces, tells_ends=int(tells_ends)),
            addressed(space_kernels.Queues, queues, n_unknown=n_unknown),
            addressed(stream_kernels.Threads, threads, n_threads=n_threads),
            np.uint64(loaded.ctypes.data),
            np.int64(self._cpu),
        )
        stream_kernels.go_through(self._events(placed), known)
        _refuse(int(shadow["top"][shadow_kernels.STATUS]))
        return gone

    def _events(self, placed: Placed) -> Events:
        """The recording, its faults and their frames, all of which this object keeps."""
        from p2mperf.workload.fault_walk_kernels import Events

        recording, faults = self._recording, self._faults
        columns: Arrays = {
            "time_ns": recording.time_ns,
            "cpu": recording.cpu,
            "pid": recording.pid,
            "event": recording.event,
            "value": recording.value,
            "aux": recording.aux,
            "entered": faults.entered,
            "frame": placed.data,
            "missed": faults.missed,
            "window_at": faults.window_at,
            "table_at": faults.table_at,
            "table_fault": faults.table_fault,
            "by_fault": self._by_fault,
            "cached": placed.cached,
        }
        return addressed(
            Events,
            columns,
            zero_frame=placed.zero,
            n_events=recording.n_events,
            n_tables=faults.table_at.size,
            n_by_fault=self._by_fault.size,
        )


class _Gone:
    """What going through a recording has found: so many items and entries are written down."""

    def __init__(self, n_items: int, n_entries: int) -> None:
        from p2mperf.workload.emission_kernels import N_AT

        self.items = np.empty(n_items, np.uint32)
        self.starts = np.full(n_entries + 1, n_items, np.int64)
        self.entered, self.gaps_ns = np.empty(n_entries, np.uint8), np.empty(n_entries, np.uint32)
        self.n_steps = np.zeros((len(Entered), len(Step)), np.int64)
        self.n_entries, self.at = np.zeros(len(Entered), np.int64), np.zeros(N_AT, np.int64)

    @property
    def arrays(self) -> Arrays:
        """All of it by name."""
        return dict(vars(self))


def addressed(kind: Callable[..., _Addresses], arrays: Arrays, **numbers: int) -> _Addresses:
    """Make what compiled code takes of arrays, which the caller keeps, and of numbers."""
    addresses = {name: np.uint64(array.ctypes.data) for name, array in arrays.items()}
    return kind(**addresses, **{name: np.int64(value) for name, value in numbers.items()})


def _words(n: int, *names: str) -> Arrays:
    """Words of -1 under these names."""
    return {name: np.full(n, -1, np.int32) for name in names}


def _slots(n_most: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """An open-addressed array, never more than half full."""
    n_slots = 1 << max(4, (2 * n_most).bit_length())
    return np.empty(n_slots, np.int64), np.full(n_slots, -1, np.int32)


def _shadow(n_tables: int, n_chunks: int, n_spaces: int) -> Arrays:
    from p2mperf.workload.shadow_kernels import (
        CHUNK_PAGES,
        FREE_CHUNK,
        FREE_TABLE,
        N_TOP,
        TABLE_CHUNKS,
    )

    keys, slots = _slots(n_tables)
    top = np.zeros(N_TOP, np.int64)
    top[[FREE_TABLE, FREE_CHUNK]] = -1
    of_tables = ("space", "parent", "before", "after", "level", "frame", "n_present", "n_written", "is_freed")
    return {
        "keys": keys,
        "slots": slots,
        **{name: np.empty(n_tables, np.int32) for name in of_tables},
        "position": np.empty(n_tables, np.int64),
        "chunks": np.empty(TABLE_CHUNKS * n_tables, np.int32),
        "frames": np.empty(CHUNK_PAGES * n_chunks, np.uint32),
        **{name: np.empty(n_chunks, np.int32) for name in ("present", "written", "of_file")},
        "first": np.full(n_spaces, -1, np.int32),
        "top": top,
    }


def _refuse(status: int) -> None:
    """Refuse a recording that compiled code gave up on."""
    from p2mperf.workload.shadow_kernels import TOO_MANY_PAGES, TOO_MANY_TABLES, WELL
    from p2mperf.workload.stream_kernels import TOO_MUCH_WORK

    says = {
        TOO_MANY_TABLES: "its processes have more page tables at one time than any machine",
        TOO_MANY_PAGES: "its processes map more pages at one time than any machine has",
        TOO_MUCH_WORK: "its forks, exits and ranges go over more page tables than any machine does",
    }
    if status != WELL:
        raise BadInputError(f"this is no recording of a real command: {says[status]}")
