"""Raw traces are decoded to what stands in them, or refused in one sentence, whatever their pages hold."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_pages as made
from traced_pages import ALLOC, CHILD, FAULT, OTHER, ROOT, START, fault, one_page

from p2mperf.workload import decode as decoding
from p2mperf.workload.decode import decode
from p2mperf.workload.events import EVENTS, Event
from p2mperf.workload.recording import Recording


def rows(recording: Recording) -> list[tuple[Any, ...]]:
    columns = (
        recording.time_ns,
        recording.cpu,
        recording.pid,
        recording.event,
        recording.value,
        recording.aux,
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))


# What is kept of each event: values of its fields, then value and aux.
KEPT: list[tuple[Event, dict[str, int], int, int]] = [
    # Page 0x7F of the address 0x7FABC; error code 7 as it stands.
    (Event.FAULT_USER, {"address": 0x7FABC, "ip": 1, "error_code": 7}, 0x7F, 7),
    # A kernel's address has all its upper bits: 52 of them are the page.
    (Event.FAULT_KERNEL, {"address": 2**64 - 4096, "error_code": 0}, 2**52 - 1, 0),
    # Flags below, order 2 at bit 32, migrate type 1 at bit 40.
    (
        Event.ALLOC,
        {"pfn": 77, "gfp_flags": 0x140DCA, "order": 2, "migratetype": 1},
        77,
        0x140DCA + 2 * 2**32 + 2**40,
    ),
    # Linux writes ~0 where no page was there.
    (Event.ALLOC, {"pfn": 2**64 - 1, "gfp_flags": 1}, -1, 1),
    # Pages 16 to 31 are 16; the file is the first, 1.
    (Event.MAP_PAGES, {"index": 16, "last_index": 31, "i_ino": 5, "s_dev": 9}, 16, 16 + 2**32),
    (Event.CACHE_ADD, {"pfn": 4, "index": 6, "i_ino": 5, "s_dev": 9}, 4, 6 + 2**32),
    # The child is the second thread after the root.
    (Event.NEW_TASK, {"pid": CHILD, "clone_flags": 0x4111}, 2, 0x4111),
    (Event.EXEC, {"filename": 1, "pid": ROOT, "old_pid": ROOT}, 1, 0),
    (Event.EXIT, {"pid": ROOT, "group_dead": 1}, 1, 1),
    (Event.EXIT_MMAP, {"mm": 1}, 0, 0),
    # Comes next: the root, which is the first thread; or one that is none of the command's.
    (Event.SWITCH, {"next_pid": ROOT}, 1, 0),
    (Event.SWITCH, {"next_pid": OTHER}, 0, 0),
    # 4097 bytes are 2 pages; protection 3, flags 0x22 above.
    (Event.MMAP, {"len": 4097, "prot": 3, "flags": 0x22}, 2, 3 + 0x22 * 2**32),
    (Event.MMAP_DONE, {"ret": 0x7000}, 7, 0),
    (Event.MMAP_DONE, {"ret": -12}, -1, 0),
    (Event.MUNMAP, {"addr": 0x5000, "len": 8192}, 5, 2),
    (Event.MPROTECT, {"start": 0x5000, "len": 8192, "prot": 1}, 5, 2 + 2**32),
    # The end is within page 5, so the first beyond it is 6.
    (Event.BRK, {"brk": 0x5001}, 6, 0),
    (Event.BRK_DONE, {"ret": 0x5000}, 5, 0),
    # Entry 0x8000000012345067: frame 0x12345, its 12 low bits 0x067 from bit 40 on.
    (
        Event.XEN_SET_PTE,
        {"ptep": 0x9008, "pteval": 0x8000000012345067},
        9,
        0x12345 + 0x067 * 2**40,
    ),
    (Event.XEN_SET_PTE_AT, {"addr": 0x4000, "pteval": 0x1001}, 4, 1 + 2**40),
    (Event.XEN_SET_PMD, {"pmdp": 0x4000, "pmdval": 0x1001}, 4, 1 + 2**40),
    (Event.XEN_SET_PUD, {"pudp": 0x4000, "pudval": 0x1001}, 4, 1 + 2**40),
    (Event.XEN_SET_PGD, {"pgdp": 0x4000, "user_pgdp": 1, "pgdval": 0x1001}, 4, 1 + 2**40),
    (Event.XEN_PTE_CLEAR, {"addr": 0x4000}, 4, 0),
    (Event.XEN_MODIFY_PROT_START, {"addr": 0x4000, "pteval": 0x1001}, 4, 1 + 2**40),
    (Event.XEN_MODIFY_PROT_COMMIT, {"addr": 0x4000, "pteval": 0x1001}, 4, 1 + 2**40),
    # Level 1, pinned.
    (Event.XEN_ALLOC_PTPAGE, {"pfn": 8, "level": 1, "pinned": 1}, 8, 1 + 2**32),
    (Event.XEN_RELEASE_PTPAGE, {"pfn": 8, "level": 2, "pinned": 0}, 8, 2),
    (Event.XEN_PGD_PIN, {"pgd": 0x4000}, 4, 0),
    (Event.XEN_PGD_UNPIN, {"pgd": 0x4000}, 4, 0),
    (Event.XEN_WRITE_CR3, {"kernel": 1, "cr3": 0x4000}, 4, 1),
    (Event.XEN_FLUSH_TLB, {}, 0, 0),
    (Event.XEN_FLUSH_TLB_ALL, {}, 0, 0),
    (Event.XEN_FLUSH_TLB_SINGLE, {"addr": 0x4000}, 4, 0),
    (Event.XEN_FLUSH_TLB_OTHERS, {"ncpus": 3, "addr": 0x4000}, 4, 3),
]


@pytest.mark.parametrize(("event", "fields", "value", "aux"), KEPT)
def test_of_every_event_is_kept_what_is_declared(
    tmp_path: Path, event: Event, fields: dict[str, int], value: int, aux: int
) -> None:
    raw = one_page(tmp_path, fault(), made.event(EVENTS[event].tracepoint, 7, ROOT, **fields), n_read=2)
    assert rows(decode(raw))[1] == (7, 0, 1, event, value, aux)


def test_every_event_that_is_declared_is_tried() -> None:
    assert {event for event, *_ in KEPT} == set(Event) == set(EVENTS)
    assert {recorded.tracepoint for recorded in EVENTS.values()} == set(made.FIELDS)


def test_times_go_on_over_padding_extends_and_stamps(tmp_path: Path) -> None:
    late = START + 2**40
    raw = one_page(
        tmp_path,
        fault(delta=0),  # at the page's time: START, the first event
        made.padding(10, 24),  # discarded, but its 10 ns count
        fault(delta=1),  # 11
        made.extend(2**30),
        fault(delta=2),  # 11 + 2**30 + 2
        made.stamp(late),
        fault(delta=3),  # 2**40 + 3
        made.long_event(FAULT, 4, ROOT, extra=40, address=0x9000),  # 2**40 + 7, with 40 bytes behind it
        made.head(29, 0),  # no more on this page
        b"\xff" * 8,
        n_read=5,
    )
    recording = decode(raw)
    assert recording.time_ns.tolist() == [0, 11, 2**30 + 13, 2**40 + 3, 2**40 + 7]
    assert recording.value.tolist() == [3, 3, 3, 3, 9]


def test_upper_bits_of_a_stamp_are_those_before(tmp_path: Path) -> None:
    # A stamp has 59 bits; of a time beyond them the upper ones are kept, with a carry where it wrapped.
    high = 2**59 + 2**58
    pages = [made.page(high, fault(0), made.stamp(high + 5), fault(0), made.stamp(2**60 + 1), fault(0))]
    recording = decode(made.write_trace(tmp_path, {0: pages}, {0: 3}))
    # From 2**59 + 2**58 to 2**60 + 1 are 2**58 + 1.
    assert recording.time_ns.tolist() == [0, 5, 2**58 + 1]


def test_cpus_are_merged_by_time_and_ties_go_to_the_lower(tmp_path: Path) -> None:
    pages = {
        4: [
            made.page(START, fault(0, page=40), fault(10, page=41)),
            made.page(START + 30, fault(0, page=42)),
        ],
        1: [made.page(START, fault(0, page=10), fault(20, page=11), fault(20, page=12))],
    }
    recording = decode(made.write_trace(tmp_path, pages, {4: 3, 1: 3}))
    # CPU 4 at 0, 10, 30; CPU 1 at 0, 20, 40.
    assert recording.time_ns.tolist() == [0, 0, 10, 20, 30, 40]
    assert recording.value.tolist() == [10, 40, 41, 11, 42, 12]
    assert recording.cpu.tolist() == [1, 4, 4, 1, 4, 1]


def test_any_stretches_of_pages_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    pages: dict[int, list[bytes]] = {}
    for cpu in range(3):
        deltas = random.integers(0, 5, 400)
        numbers = random.integers(0, 50, 400)
        events = [
            made.event(
                "filemap/mm_filemap_map_pages", int(delta), ROOT + int(number) % 7, i_ino=int(number), index=1
            )
            for delta, number in zip(deltas, numbers, strict=True)
        ]
        starts = START + np.concatenate([[0], np.cumsum(deltas)[49::50]])
        pages[cpu] = [made.page(int(starts[at]), *events[50 * at : 50 * at + 50]) for at in range(8)]
    raw = made.write_trace(tmp_path, pages, dict.fromkeys(range(3), 400))
    expected = rows(decode(raw))
    times = [row[0] for row in expected]
    assert times == sorted(times)
    # Files and threads by their first events: each new number is the next one.
    for numbered in ([row[5] >> 32 for row in expected], [row[2] for row in expected]):
        firsts = list(dict.fromkeys(numbered))
        assert firsts == list(range(1, len(firsts) + 1))
    for n_pages in (1, 6, 9):
        monkeypatch.setattr(decoding, "_CHUNK_PAGES", n_pages)
        assert rows(decode(raw)) == expected


def test_more_files_than_the_table_begins_with_keep_their_numbers(tmp_path: Path) -> None:
    n_files = 3000
    events = [
        made.event("filemap/mm_filemap_map_pages", 1, ROOT, i_ino=file, s_dev=file % 3, index=file)
        for file in [*range(n_files), *range(n_files)]
    ]
    pages = [made.page(START + 50 * at, *events[50 * at : 50 * at + 50]) for at in range(len(events) // 50)]
    recording = decode(made.write_trace(tmp_path, {0: pages}, {0: len(events)}))
    assert (recording.aux >> 32).tolist() == [*range(1, n_files + 1)] * 2


def test_a_number_that_the_kernel_gives_again_is_another_thread(tmp_path: Path) -> None:
    new = {"pid": CHILD, "clone_flags": 0}
    raw = one_page(
        tmp_path,
        made.event("task/task_newtask", 1, ROOT, **new),
        fault(pid=CHILD),
        made.event("sched/sched_process_exit", 1, CHILD, pid=CHILD),
        made.event("task/task_newtask", 1, ROOT, **new),
        fault(pid=CHILD),
        made.event("sched/sched_switch", 1, OTHER, next_pid=CHILD),
        n_read=6,
    )
    recording = decode(raw)
    assert recording.pid.tolist() == [1, 2, 2, 1, 3, 0]
    assert recording.value.tolist()[3] == 3
    assert recording.value.tolist()[5] == 3


def test_a_kernel_that_does_not_tell_the_last_of_a_group(tmp_path: Path) -> None:
    tracepoint = "sched/sched_process_exit"
    raw = one_page(tmp_path, made.event(tracepoint, 1, ROOT, pid=ROOT), n_read=1)
    text = re.sub(r"\tfield:int group_dead.*\n", "", raw.formats[tracepoint])
    assert rows(decode(raw))[0][5] == 0
    assert rows(decode(replace(raw, formats={**raw.formats, tracepoint: text})))[0][5] == 1


def test_what_a_kernel_tells_is_in_about(tmp_path: Path) -> None:
    raw = one_page(tmp_path, fault(), n_read=1, tracepoints=[FAULT, ALLOC])
    about = decode(raw).about
    # GFP_KERNEL is bits 6 and 7 in these formats, __GFP_ZERO bit 8.
    assert about.gfp == {"GFP_KERNEL": 192, "__GFP_ZERO": 256}
    assert set(about.formats) == {"FAULT_USER", "ALLOC"}
    assert (about.subbuffer_bytes, about.cpus[0].n_read, about.usage, about.made) == (
        *(4096, 1, raw.usage),
        "by a test",
    )
    assert about.complete_until_ns == -1
