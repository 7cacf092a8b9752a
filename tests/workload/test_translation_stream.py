"""None"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from made_recordings import CLONE_VM, FETCH, PRESENT, USER, WRITE, Made
from naive_stream import MAP_FIXED
from stream_cases import entries, frames_recorded, naive, of

from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest
from p2mperf.workload.events import Event
from p2mperf.workload.stream import count_translations, make_stream
from p2mperf.workload.translation_stream import M2P_ITEM, Entered

GUEST = Guest.plain("256M")

# Pages under several pud, pmd and pte pages, and neighbours around a window's end.
PAGES = [
    base + page
    for base in (0, 1 << 9, 1 << 18, 1 << 27, (1 << 35) - (1 << 9))
    for page in (0, 1, 14, 16, 17, 200, 511)
]


Step = tuple[int, int, int, int, int]


def made(steps: list[Step]) -> Made:
    """Events of random steps: what is done, by whom, where, how much, and on which CPU."""
    build, frame = Made(), 0x4000
    for what, pid, where, much, cpu in steps:
        page, n_tables, build.cpu = PAGES[where], much % 4, cpu
        frame += 1 + 300 * (much == 7)
        tables = range(frame + 1000, frame + 1000 + n_tables)
        by = USER if much & 4 else 0
        match what:
            case 0 | 1:
                build.fault(pid, page, WRITE | by).table(pid, *tables).data(pid, frame)
            case 2:
                build.fault(pid, page, by).table(pid, *tables)
            case 3:
                build.fault(pid, page, WRITE | by).table(pid, *tables).data(pid, frame, zero=False)
            case 4 | 5:
                build.fault(pid, page, (FETCH if much & 2 else 0) | by).table(pid, *tables)
                build.window(pid, 7 + much % 2, where % 5 * 9, (16, 16, 5, 1, 0, 40, 9, 16)[much])
                if what == 5:
                    build.cached(pid, frame, 7 + much % 2, where % 5 * 9 + 3)
            case 6:
                build.fault(pid, page, by).cached(pid, frame, 9, where)
            case 7 | 8:
                build.fault(pid, page, PRESENT | WRITE | by).data(pid, frame, zero=what == 7)
            case 9:
                build.fault(pid, page, (PRESENT | WRITE if much & 1 else PRESENT) | by).table(pid, *tables)
            case 10 | 11:
                build.table(pid, *range(frame + 1000, frame + 1000 + much), order=int(much == 5))
            case 12 | 13:
                build.add(Event.NEW_TASK, pid, where % 7, CLONE_VM if what == 13 else 0)
            case 14:
                build.add(Event.EXEC, pid, pid)
            case 15:
                build.add(Event.EXIT_MMAP, pid)
            case 16:
                build.add(Event.EXIT, pid, pid, 1)
            case 17:
                build.add(Event.SWITCH, pid, where % 7)
            case 18:
                build.add(Event.MMAP, pid, 1 << much * 3, (MAP_FIXED if much & 1 else 0) << 32)
                build.add(Event.MMAP_DONE, pid, page if where % 7 else -1)
            case 19:
                build.add(Event.MUNMAP, pid, page, (1, 0, 16, 600, 1 << 18, 1 << 27, 1 << 52, -1)[much])
            case 20:
                build.add(Event.MPROTECT, pid, page, (1, 0, 16, 600, 1 << 18, 1 << 31, 20, 3)[much] | 5 << 32)
            case 21:
                build.add(Event.BRK_DONE, pid, page)
            case 22:
                build.fault(pid, (1 << 35, 1 << 52, -1, -(1 << 63))[much % 4], by).table(pid, *tables)
            case 23:
                build.cached(pid, frame, 7, where)
    return build


steps_of = st.lists(
    st.tuples(
        st.integers(0, 23),
        st.integers(1, 5),
        st.integers(0, len(PAGES) - 1),
        st.integers(0, 7),
        st.integers(0, 1),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(steps=steps_of, thp=st.booleans(), placement=st.sampled_from(["spread", "recorded"]))
def test_the_stream_is_what_a_naive_kernel_asks(steps: list[Step], thp: bool, placement: str) -> None:
    recording = made(steps).recording()
    for cpu in sorted(set(recording.cpu.tolist())):
        stream, placed = of(
            recording, lambda one, cpu=cpu: make_stream(one, GUEST, thp=thp, cpu=cpu, placement=placement)
        )
        expected, _ = naive(recording, placed, thp, cpu)
        assert entries(stream) == expected
        assert (stream.thp, stream.n_guest_frames) == (thp, GUEST.covered_pfn)
        assert int(stream.starts[-1]) == stream.items.size
        counted = count_translations(recording, thp, cpu)
        assert counted.total.n == stream.n_entries
        assert (counted.total.p2m, counted.total.m2p) == (stream.n_p2m, stream.n_m2p)


@settings(max_examples=100)
@given(steps=steps_of, thp=st.booleans())
def test_counts_of_all_cpus_are_those_of_a_naive_kernel(steps: list[Step], thp: bool) -> None:
    recording = made(steps).recording()
    _, placed = of(recording, lambda one: make_stream(one, GUEST, thp=thp))
    expected, found = naive(recording, placed, thp, -1)
    counted = count_translations(recording, thp)
    by_class: dict[str, list[int]] = {}
    for entered, items, _ in expected:
        row = by_class.setdefault(entered.name, [0, 0, 0])
        row[0] += 1
        row[1] += len(items)
        row[2] += sum(item >= M2P_ITEM for item in items)
    assert {name: [one.n, one.p2m, one.m2p] for name, one in counted.by_class.items()} == by_class
    assert (counted.n_unknown, counted.n_revived) == (found.n_unknown, found.n_revived)


def test_an_anonymous_fault_asks_in_the_order_of_the_source() -> None:
    build = Made().fault(1, 0).table(1, 11, 12, 13).data(1, 14).fault(1, 1).data(1, 15)
    stream = make_stream(build.recording(), GUEST, placement="recorded")
    pud, pmd, pte, data, other = range(11, 16)
    pgd = int(stream.items[2])  # from before the recording
    back = M2P_ITEM
    assert stream.items.tolist() == [
        # The new pud page, read-only, made, set in both roots; then the pmd page, and the pte page.
        *(pud, pud, pgd, pgd ^ 1, pud | back),
        *(pmd, pmd, pud, pmd | back),
        *(pte, pte, pte, pmd, pte | back, pte | back),
        *(data, pte | back, pte | back, pte),
        # All is there: 7 read-backs and 2 more of the p2m.
        *(pud | back, pmd | back, pte | back, pte | back, pte | back),
        *(other, pte | back, pte | back, pte),
    ]
    assert stream.starts.tolist() == [0, 19, 28]
    assert stream.entered.tolist() == [Entered.ANONYMOUS_WRITE] * 2
    # Five events of 1000 ns lie between the two faults.
    assert stream.gaps_ns.tolist() == [0, 5000]


def test_a_window_pairs_data_and_its_table() -> None:
    build = Made().fault(1, 20, 0).table(1, 11, 12, 13).window(1, 3, 100, 16)
    build.fault(1, 40, 0).window(1, 3, 116, 4)
    stream = make_stream(build.recording(), GUEST, thp=False, placement="recorded")
    # 4 + 1, 3 + 1, 4 + 1 for the tables, the lock's 2, then 16 pairs; a walk of 3 and 2, then 4 pairs: page
    # 40 lies beyond the 4 pages from 32 on, so that they are the last of its 16.
    assert stream.starts.tolist() == [0, 14 + 2 + 32, 48 + 3 + 2 + 8]
    pairs = stream.items[16:48].reshape(16, 2)
    assert (pairs[:, 1] == 13).all()
    data = pairs[:, 0].tolist()
    # Page 100 is the 5th of its run of 16: a run ends after 12 pages.
    assert np.diff(data[:12]).tolist() == [1] * 11
    assert np.diff(data[12:]).tolist() == [1] * 3
    assert data[12] % 16 == 0
    # Pages 116 to 119 of the file follow in the second run.
    assert stream.items[53::2].tolist() == [data[15] + 1 + page for page in range(4)]


def test_a_page_of_the_page_cache_stands_where_it_was_put() -> None:
    build = Made().fault(1, 20, 0).window(1, 3, 16, 16).cached(1, 999, 3, 20)
    build.fault(2, 20, 0).window(2, 3, 16, 16)
    recording = build.recording()
    (stream, placed) = of(recording, lambda one: make_stream(one, GUEST, placement="recorded"))
    first, second = entries(stream)
    expected = int(placed.cached[0])
    # The first fault reads page 20 of the file and maps it last; the second finds it in its window.
    assert first[1][-2] == expected
    assert second[1].count(expected) == 1


def test_what_is_mapped_already_is_left_out_of_a_window() -> None:
    build = Made()
    for page, n_pages in ((5, 16), (5, 16), (6, 16)):
        build.fault(1, page, 0).window(1, 3, 0, n_pages)
    counted = count_translations(build.recording())
    # 16 pages, and then only the page of the fault itself.
    assert counted.by_step["FILE_PAGE"].n == 16 + 1 + 1


def test_a_window_of_more_than_64_kib_is_one_of_64_kib() -> None:
    counted = count_translations(Made().fault(1, 5, 0).window(1, 3, 0, 400).recording())
    assert counted.by_step["FILE_PAGE"].n == 16


def test_entries_of_the_busiest_cpu_are_taken() -> None:
    build = Made().fault(1, 0).data(1, 5)
    build.cpu = 3
    build.fault(2, 0).data(2, 6).fault(2, 1).data(2, 7)
    stream = make_stream(build.recording(), GUEST)
    assert stream.n_entries == 2
    assert make_stream(build.recording(), GUEST, cpu=0).n_entries == 1
    # 2000 ns: a fault and its allocation.
    assert stream.gaps_ns.tolist() == [0, 2000]


def test_gaps_beyond_32_bits_are_cut() -> None:
    build = Made().fault(1, 0)
    build.now_ns = 1 << 40
    assert make_stream(build.fault(1, 1).recording(), GUEST).gaps_ns.tolist() == [0, (1 << 32) - 1]
    # Times that go back, as no reader lets them, are no gap.
    build.now_ns = 0
    assert make_stream(build.fault(1, 2).recording(), GUEST).gaps_ns.tolist()[-1] == 0


def test_no_events_are_no_entries() -> None:
    stream = make_stream(Made().recording(), GUEST)
    assert (stream.n_entries, stream.n_p2m, stream.starts.tolist()) == (0, 0, [0])
    assert count_translations(Made().recording()).total.n == 0


# ---- what is refused ----


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cpu": 1}, "CPU 1"),
        ({"cpu": -1}, "from 0 on"),
        ({"cpu": 1.5}, "whole number"),
        ({"thp": 1}, "thp must be True or False"),
        ({"seed": -1}, "seed"),
        ({"placement": "nearby"}, "unknown placement"),
        ({"guest": "8G"}, "for a Guest"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    recording = frames_recorded(5)
    guest = options.pop("guest", GUEST)
    with pytest.raises(BadInputError, match=says):
        make_stream(recording, guest, **options)


def test_a_recording_that_maps_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    build = Made()
    for number in range(40):
        build.fault(1, number << 9).data(1, number)
    recording = build.recording()
    count_translations(recording)
    for limit, says in (("_MOST_TABLES", "page tables at one time"), ("_MOST_CHUNKS", "pages at one time")):
        with monkeypatch.context() as patch:
            patch.setattr(f"p2mperf.workload.stream.{limit}", 30)
            with pytest.raises(BadInputError, match=says):
                count_translations(recording)
    with monkeypatch.context() as patch:
        patch.setattr("p2mperf.workload.stream._MOST_RUNS", 1)
        with pytest.raises(BadInputError, match="2 runs"):
            count_translations(Made().fault(1, 5, 0).window(1, 3, 9, 16).recording())


def test_forks_of_forks_of_large_processes_end() -> None:
    # 2000 pages in tables of their own, and 500 forks: a million tables, and those of parents never go.
    build = Made()
    for number in range(2000):
        build.fault(1, number << 9).data(1, number)
    for child in range(2, 502):
        build.add(Event.NEW_TASK, 1, child).add(Event.SWITCH, child)
    with pytest.raises(BadInputError, match="no recording of a real command"):
        count_translations(build.recording())


def test_threads_that_go_on_after_their_exit_have_room() -> None:
    build = Made()
    for _ in range(500):
        build.fault(1, 0).data(1, 5).add(Event.EXIT, 1)
    counted = count_translations(build.recording())
    assert (counted.by_class["ANONYMOUS_WRITE"].n, counted.by_class["EXIT"].n) == (500, 500)
