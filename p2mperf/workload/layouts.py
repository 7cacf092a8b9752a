"""Where things stand in a kernel's ring-buffer pages and events: what its own format files say, as arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, cut
from p2mperf.workload.events import EVENTS, Event
from p2mperf.workload.formats import Field, Format, parse_format

# Of each event the fields that are read, in the order in which `decode_kernels` takes them.
FIELDS: dict[Event, tuple[str, ...]] = {
    Event.FAULT_USER: ("address", "error_code"),
    Event.FAULT_KERNEL: ("address", "error_code"),
    Event.ALLOC: ("pfn", "gfp_flags", "order", "migratetype"),
    Event.MAP_PAGES: ("index", "last_index", "i_ino", "s_dev"),
    Event.CACHE_ADD: ("pfn", "index", "i_ino", "s_dev"),
    Event.NEW_TASK: ("pid", "clone_flags"),
    Event.EXEC: ("old_pid",),
    Event.EXIT: ("pid", "group_dead"),
    Event.EXIT_MMAP: (),
    Event.SWITCH: ("next_pid",),
    Event.MMAP: ("len", "prot", "flags"),
    Event.MMAP_DONE: ("ret",),
    Event.MUNMAP: ("addr", "len"),
    Event.MPROTECT: ("start", "len", "prot"),
    Event.BRK: ("brk",),
    Event.BRK_DONE: ("ret",),
    Event.XEN_SET_PTE: ("ptep", "pteval"),
    Event.XEN_SET_PTE_AT: ("addr", "pteval"),
    Event.XEN_SET_PMD: ("pmdp", "pmdval"),
    Event.XEN_SET_PUD: ("pudp", "pudval"),
    Event.XEN_SET_PGD: ("pgdp", "pgdval"),
    Event.XEN_PTE_CLEAR: ("addr",),
    Event.XEN_MODIFY_PROT_START: ("addr", "pteval"),
    Event.XEN_MODIFY_PROT_COMMIT: ("addr", "pteval"),
    Event.XEN_ALLOC_PTPAGE: ("pfn", "level", "pinned"),
    Event.XEN_RELEASE_PTPAGE: ("pfn", "level", "pinned"),
    Event.XEN_PGD_PIN: ("pgd",),
    Event.XEN_PGD_UNPIN: ("pgd",),
    Event.XEN_WRITE_CR3: ("cr3", "kernel"),
    Event.XEN_FLUSH_TLB: (),
    Event.XEN_FLUSH_TLB_ALL: (),
    Event.XEN_FLUSH_TLB_SINGLE: ("addr",),
    Event.XEN_FLUSH_TLB_OTHERS: ("addr", "ncpus"),
}
# Since Linux 6.16 an exit says whether it is its group's last; before, one of a thread looks like any other.
_MAY_LACK = {(Event.EXIT, "group_dead")}

N_PLACES = 4
N_EVENT_NUMBERS = 64
N_IDS = 1 << 16
_LARGEST_SUBBUFFER = 1 << 20
_WORD_BYTES = 4
_HEADER_FIELD = re.compile(r"field: *(\w[\w ]*?) (\w+);\s*offset:(\d{1,7});\s*size:(\d{1,7});")


@dataclass(frozen=True)
class PageLayout:
    """Where things stand in a page of the ring buffer.

    Attributes
    ----------
    time_word, commit_word, data_word : int
        Words at which its time, its commit word and its data begin [4 bytes].
    n_words : int
        Words of a page [4 bytes].
    """

    time_word: int
    commit_word: int
    data_word: int
    n_words: int

    @property
    def n_bytes(self) -> int:
        """Size of a page of the ring buffer [bytes]."""
        return _WORD_BYTES * self.n_words


@dataclass(frozen=True)
class EventLayout:
    """Where things stand in events, as `p2mperf.workload.decode_kernels.decode_pages` takes it.

    Attributes
    ----------
    numbers : ndarray of int8, shape (N_IDS,)
        `Event` of each id, -1 for none.
    least_bytes : ndarray of int64, shape (N_EVENT_NUMBERS + 1,)
        Payload that an event has at least, and at the end that all have [bytes].
    places : ndarray of int64, shape (N_EVENT_NUMBERS + 1, N_PLACES, 4)
        Places of what is read, and at the end those of id and thread, which all have: word, shift, bits,
        whether signed.
    """

    numbers: NDArray[np.int8]
    least_bytes: NDArray[np.int64]
    places: NDArray[np.int64]


def page_layout(text: str) -> PageLayout:
    """Read ``events/header_page`` of tracefs.

    Parameters
    ----------
    text : str
        The file.

    Returns
    -------
    PageLayout

    Raises
    ------
    BadInputError
        When it is none, or none that a page can have.

    Notes
    -----
    Linux kernel/trace/ring_buffer.c, ring_buffer_print_page_header (6.1).
    """
    found = {name: (int(offset), int(size)) for _, name, offset, size in _HEADER_FIELD.findall(text[:10_000])}
    if missing := [name for name in ("timestamp", "commit", "data") if name not in found]:
        raise BadInputError(f"header_page of the raw trace says nothing of {missing[0]}: it is no such file")
    (time, time_size), (commit, commit_size), (data, data_size) = (
        found[name] for name in ("timestamp", "commit", "data")
    )
    n_bytes = data + data_size
    if (
        any(each % _WORD_BYTES for each in (time, commit, data, data_size))
        or time_size != 8
        or commit_size not in (4, 8)
        or not max(time + time_size, commit + commit_size) <= data < n_bytes <= _LARGEST_SUBBUFFER
    ):
        raise BadInputError("header_page of the raw trace tells of no page that a ring buffer has")
    words = (each // _WORD_BYTES for each in (time, commit, data, n_bytes))
    return PageLayout(*words)


def event_layout(formats: Mapping[str, str]) -> EventLayout:
    """Lay out what is read of events.

    Parameters
    ----------
    formats : mapping of str to str
        Format file of each event that was recorded, by tracepoint.

    Returns
    -------
    EventLayout

    Raises
    ------
    BadInputError
        For an event that no recording keeps, a format that is none, one that lacks a field or has it at a
        place that no kernel gives it, and two events of one id.
    """
    by_name = {recorded.tracepoint: event for event, recorded in EVENTS.items()}
    numbers = np.full(N_IDS, -1, np.int8)
    least = np.zeros(N_EVENT_NUMBERS + 1, np.int64)
    places = np.zeros((N_EVENT_NUMBERS + 1, N_PLACES, 4), np.int64)
    common: list[list[int]] = []
    for tracepoint, text in formats.items():
        if tracepoint not in by_name:
            raise BadInputError(
                f"no recording keeps events of {cut(tracepoint)}: the raw trace is of another tool"
            )
        event, form = by_name[tracepoint], parse_format(text)
        if numbers[form.event_id] >= 0:
            raise BadInputError(f"two events of the raw trace have the id {form.event_id}")
        numbers[form.event_id] = event
        row = [_place(form, tracepoint, name) for name in ("common_type", "common_pid")]
        if common and common != row:
            raise BadInputError(f"the format of {tracepoint} begins otherwise than those of other events")
        common = row
        names = [name for name in FIELDS[event] if name in form.fields or (event, name) not in _MAY_LACK]
        for at, name in enumerate(names):
            places[event, at] = _place(form, tracepoint, name)
        least[event] = max(map(_end, (*row, *places[event].tolist())))
        least[-1] = max(map(_end, row))
    if not common:
        raise BadInputError("the raw trace has no format of any event")
    places[-1, : len(common)] = common
    return EventLayout(numbers, least, places)


def _end(place: list[int]) -> int:
    word, shift, bits, _ = place
    return _WORD_BYTES * word + (shift + bits + 7) // 8


def _place(form: Format, tracepoint: str, name: str) -> list[int]:
    """Word, shift, bits and sign of a field."""
    if name not in form.fields:
        raise BadInputError(
            f"the format of {tracepoint} has no field {name}: that kernel's events are others"
        )
    field: Field = form.fields[name]
    shift = field.offset % _WORD_BYTES
    fits = field.size in (1, 2, 4) and shift + field.size <= _WORD_BYTES
    if field.is_located or not (fits or (field.size == 8 and shift == 0)) or field.offset >= 4096:
        raise BadInputError(f"field {name} of {tracepoint} is no number at a place that a kernel gives one")
    return [field.offset // _WORD_BYTES, 8 * shift, 8 * field.size, int(field.is_signed)]
