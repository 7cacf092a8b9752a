"""A raw trace, decoded: the events of all CPUs in the order of their times, as a recording's columns."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, cut, shown
from p2mperf.host.memory import require_memory
from p2mperf.workload import decode_kernels as walking, merge_kernels as merging
from p2mperf.workload.decode_kernels import Found
from p2mperf.workload.events import EVENTS, Event
from p2mperf.workload.formats import parse_gfp_flags
from p2mperf.workload.layouts import EventLayout, PageLayout, event_layout, page_layout
from p2mperf.workload.raw_trace import RawTrace, read_progress
from p2mperf.workload.recording import About, CpuCount, Recording, Usage
from p2mperf.workload.recording_checks import check_about

# Pages of all CPUs that are decoded at a time: enough to be worth a call, few enough to stay in a cache.
_CHUNK_PAGES = 256
MOST_CPUS = 128  # what an int8 tells apart
_BUFFER_TYPES = (np.int64, np.int32, np.int8, np.int64, np.int64, np.int64, np.int64)
_COLUMN_TYPES = (np.int64, np.int8, np.int32, np.int8, np.int64, np.int64)
EVENT_BYTES = sum(np.dtype(kind).itemsize for kind in _COLUMN_TYPES)
# An event of 4 bytes before a payload of at least 8.
_LEAST_WORDS = 3
_NEVER_NS = (1 << 63) - 1

_WHAT = {
    Found.COMMIT: "says that it holds {detail} bytes, which no page does",
    Found.PAST: "has an event that goes on behind its end",
    Found.LENGTH: "has an event whose length is {detail}, less than the length itself takes",
    Found.UNKNOWN: "has an event of id {detail}, which was not recorded",
    Found.SHORT: "has an event that is shorter than its format says",
    Found.THREAD: "names thread {detail}, which no Linux has",
    Found.TIME: "has a time that no clock gives",
    Found.BACKWARDS: "has an event that is earlier than the one before it",
}


def decode(raw: RawTrace) -> Recording:
    """Decode a raw trace.

    Parameters
    ----------
    raw : RawTrace
        What a recorder left: finished, or as far as it came.

    Returns
    -------
    Recording
        All of it; or, of a trace that was not finished or lost events, what is complete, and nothing later.

    Raises
    ------
    BadInputError
        When it is damaged, when other than the events that the kernel counted are in it, when events were
        lost and nothing tells where, or when nothing of it is complete.
    DoesNotFitError
        When memory does not hold its events.

    Notes
    -----
    A page that says so has lost events after the last event before it: up to the earliest such event of all
    CPUs the trace is complete.
    """
    where = cut(str(raw.directory))
    cpus = sorted(raw.cpu_numbers)
    if not cpus or not 0 <= cpus[0] <= cpus[-1] < MOST_CPUS:
        raise BadInputError(f"a recording is of CPUs 0 to {MOST_CPUS - 1}, and {where} of others")
    if not 0 <= raw.root_pid <= walking.MOST_THREADS:
        raise BadInputError(f"{where} began with thread {shown(raw.root_pid)}, which no Linux has")
    if raw.page_bytes != 4096:
        raise BadInputError(f"{where} is of memory pages of {raw.page_bytes} bytes, and a recording of 4096")
    page, layout = page_layout(raw.header_page), event_layout(raw.formats)
    with ExitStack() as stack:
        sources = [_Source(raw, cpu, page, stack) for cpu in cpus]
        n_bytes = sum(source.n_bytes for source in sources)
        # An event takes 12 bytes of a page at least, and mostly three times as many.
        require_memory(n_bytes // 24 * EVENT_BYTES, f"decoding {where}", "decode it on a larger machine")
        merged = _Merge(sources, layout, page, raw.root_pid)
        columns = merged.run()
    is_whole = _is_settled(raw) and merged.until_ns == _NEVER_NS
    _check_counts(raw, merged, is_whole, where)
    until_ns = min(merged.until_ns, raw.complete_until_ns if raw.complete_until_ns >= 0 else _NEVER_NS)
    n_kept = int(np.searchsorted(columns[0], until_ns, side="right"))
    if n_kept == 0:
        raise BadInputError(f"{where} has no event up to where it is complete: record it again")
    time_ns, cpu, pid, event, value, aux = columns
    first_ns = int(time_ns[0])
    time_ns -= first_ns
    about = _about(raw, page, merged.n_decoded, -1 if is_whole else until_ns - first_ns)
    _check_about(about, where)
    if cpus != list(range(len(cpus))):
        cpu = np.array(cpus, np.int8)[cpu]
    recording = Recording(time_ns, cpu, pid, event, value, aux, about)
    return recording if n_kept == time_ns.size else _first(recording, n_kept)


def _check_about(about: About, where: str) -> None:
    try:
        check_about(about)
    except BadInputError as error:
        raise BadInputError(f"what {where} says of itself cannot be: {error}") from None


def _first(recording: Recording, n_kept: int) -> Recording:
    names = ("time_ns", "cpu", "pid", "event", "value", "aux")
    return replace(recording, **{name: getattr(recording, name)[:n_kept] for name in names})


def _is_settled(raw: RawTrace) -> bool:
    """Whether the recorder came to its end, so that nothing is missing but what the kernel says was lost."""
    return raw.finished and raw.complete_until_ns < 0


class _Source:
    """The file of one CPU."""

    def __init__(self, raw: RawTrace, cpu: int, page: PageLayout, stack: ExitStack) -> None:
        self.name = f"cpu{cpu}.raw of {cut(str(raw.directory))}"
        self.n_bytes = raw.whole_bytes(cpu)
        if not _is_settled(raw) and self.n_bytes < read_progress(raw.directory, cpu)[0]:
            raise BadInputError(f"{self.name} is shorter than its recorder left it: it was cut since")
        if self.n_bytes % page.n_bytes:
            raise BadInputError(
                f"{self.name} has {self.n_bytes} bytes, no whole pages of {page.n_bytes}: it was cut"
            )
        self.file = stack.enter_context(raw.path_of(cpu).open("rb", buffering=0))
        self.page_bytes = page.n_bytes
        self.n_pages_read = 0
        self.is_lossy = False

    def read_into(self, room: NDArray[np.uint32]) -> int:
        """Read the next pages, as many as there is room for; their number."""
        n_left = self.n_bytes // self.page_bytes - self.n_pages_read
        n_pages = min(room.nbytes // self.page_bytes, n_left)
        wanted = room.view(np.uint8)[: n_pages * self.page_bytes]
        while wanted.size and (n_read := self.file.readinto(wanted.data)):
            wanted = wanted[n_read:]
        if wanted.size:
            raise BadInputError(f"{self.name} became shorter while it was read")
        return n_pages


class _Merge:
    """Decodes all CPUs at once, a stretch of pages at a time, and puts their events into one order.

    Attributes
    ----------
    n_decoded : dict of int to int
        Events of each CPU, in the order of the sources.
    until_ns : int
        Time of the last event before the first that was lost.
    """

    def __init__(self, sources: list[_Source], layout: EventLayout, page: PageLayout, root: int) -> None:
        n_cpus = len(sources)
        self._sources, self._layout, self._root = sources, layout, root
        self._header = (page.n_words, page.time_word, page.commit_word, page.data_word)
        n_pages = max(1, _CHUNK_PAGES // n_cpus)
        self._words = np.empty(n_pages * page.n_words, "<u4")
        n_room = n_pages * ((page.n_words - page.data_word) // _LEAST_WORDS + 1)
        self._buffers = tuple(np.empty((n_cpus, n_room), kind) for kind in _BUFFER_TYPES)
        self._positions, self._ends = np.zeros(n_cpus, np.int64), np.zeros(n_cpus, np.int64)
        self._states = np.zeros((n_cpus, walking.N_STATE), np.int64)
        self._states[:, walking.LAST_NS] = -1
        self._threads = np.zeros(walking.MOST_THREADS + 1, np.int32)
        self._file_keys, self._file_numbers = np.zeros((1 << 10, 2), np.int64), np.zeros(1 << 10, np.int64)
        self._counts = np.zeros(merging.N_COUNTS, np.int64)
        self.n_decoded = [0] * n_cpus
        self.until_ns = _NEVER_NS

    def run(self) -> merging.Columns:
        """Columns of a recording; times are the clock's, CPUs numbered as the sources stand."""
        # Room for as many events as there can be: what is not written to takes no memory.
        n_room = sum(source.n_bytes for source in self._sources) // (4 * _LEAST_WORDS) + 1
        out = cast(merging.Columns, tuple(np.empty(n_room, kind) for kind in _COLUMN_TYPES))
        for cpu in range(len(self._sources)):
            self._refill(cpu)
        is_going = not any(self._is_over(cpu) for cpu in range(len(self._sources)))
        while is_going:
            used_up = merging.merge_events(
                cast(walking.Buffers, tuple(column.ravel() for column in self._buffers)),
                self._positions,
                self._ends,
                self._root,
                self._threads,
                self._file_keys,
                self._file_numbers,
                out,
                self._counts,
            )
            if used_up == merging.NONE_LEFT:
                break
            self._refill(used_up)
            is_going = not self._is_over(used_up)
        return cast(merging.Columns, tuple(column[: self._counts[merging.N_OUT]] for column in out))

    def _is_over(self, cpu: int) -> bool:
        """Whether what comes next of a CPU was lost."""
        return self._sources[cpu].is_lossy and self._positions[cpu] == self._ends[cpu]

    def _refill(self, cpu: int) -> None:
        """Decode more of a CPU's pages until there are events, or no pages, or some were lost."""
        source, state = self._sources[cpu], self._states[cpu]
        n_events = 0
        while not n_events:
            n_pages = source.read_into(self._words)
            if not n_pages:
                break
            found = walking.decode_pages(
                self._words,
                n_pages,
                self._header,
                self._layout.numbers,
                self._layout.least_bytes,
                self._layout.places,
                cast(walking.Buffers, tuple(column[cpu] for column in self._buffers)),
                state,
            )
            if found not in (Found.END, Found.LOST):
                self._refuse(source, Found(found), state)
            n_events = int(state[walking.N_EVENTS])
            source.n_pages_read += n_pages
            if found == Found.LOST:
                self.until_ns = min(self.until_ns, int(state[walking.LAST_NS]))
                source.is_lossy = True
                source.n_bytes = source.n_pages_read * source.page_bytes  # nothing behind it is asked for
                break
        self._positions[cpu], self._ends[cpu] = 0, n_events
        self.n_decoded[cpu] += n_events
        self._make_room(int(state[walking.N_FILES]))

    def _make_room(self, n_more: int) -> None:
        """Keep the table of files at least half empty, whatever files come."""
        needed = 2 * (int(self._counts[merging.N_FILES]) + n_more * len(self._sources) + 1)
        size = self._file_numbers.size
        if needed <= size:
            return
        size = 1 << needed.bit_length()
        keys, numbers = np.zeros((size, 2), np.int64), np.zeros(size, np.int64)
        merging.move_files(self._file_keys, self._file_numbers, keys, numbers)
        self._file_keys, self._file_numbers = keys, numbers

    @staticmethod
    def _refuse(source: _Source, found: Found, state: NDArray[np.int64]) -> None:
        page = source.n_pages_read + int(state[walking.PAGE])
        detail = int(state[walking.DETAIL])
        what = _WHAT[found].format(detail=detail)
        if found is Found.SHORT and detail >= 0:
            what += f" ({EVENTS[Event(detail)].tracepoint})"
        at = page * source.page_bytes + int(state[walking.BYTE])
        raise BadInputError(f"page {page} of {source.name} {what}, at byte {at}: the raw trace is damaged")


def _check_counts(raw: RawTrace, merged: _Merge, is_whole: bool, where: str) -> None:
    """Hold what was decoded to what the kernel counted."""
    if raw.finished and raw.n_lost and merged.until_ns == _NEVER_NS:
        raise BadInputError(
            f"{where} lost {raw.n_lost} events, and nothing tells where: record it again with larger buffers"
        )
    if not is_whole:
        return
    for cpu, n_decoded in zip(sorted(raw.cpu_numbers), merged.n_decoded, strict=True):
        if n_decoded != (n_read := raw.cpus[cpu].read):
            raise BadInputError(
                f"cpu{cpu}.raw of {where} has {n_decoded} events, but {n_read} were read: it was changed"
            )


def _about(raw: RawTrace, page: PageLayout, n_decoded: list[int], complete_until_ns: int) -> About:
    by_tracepoint = {recorded.tracepoint: event.name for event, recorded in EVENTS.items()}
    allocations = raw.formats.get(EVENTS[Event.ALLOC].tracepoint)
    lost = {cpu: (each.overrun, each.dropped + each.commit_overrun) for cpu, each in raw.cpus.items()}
    return About(
        tool=raw.tool,
        kernel_release=raw.kernel_release,
        architecture=raw.architecture,
        page_bytes=raw.page_bytes,
        subbuffer_bytes=page.n_bytes,
        clock=raw.clock,
        formats={
            by_tracepoint[name]: hashlib.sha256(text.encode()).hexdigest()
            for name, text in sorted(raw.formats.items())
        },
        gfp=parse_gfp_flags(allocations) if allocations is not None else {},
        cpus={
            cpu: CpuCount(n_events, *lost.get(cpu, (0, 0)))
            for cpu, n_events in zip(sorted(raw.cpu_numbers), n_decoded, strict=True)
        },
        usage=raw.usage or Usage(0.0, 0.0, 0.0, 0, 0, 0),
        complete_until_ns=complete_until_ns,
        machine=dict(raw.machine),
        made=raw.made,
    )
