from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_recordings import FETCH, GFP, OLD_GFP, PRESENT, USER, WRITE, Made

from p2mperf.errors import BadInputError
from p2mperf.workload.events import Event
from p2mperf.workload.faults import check_columns, classify
from p2mperf.workload.recording import Recording
from p2mperf.workload.translation_stream import Entered

# What tells each class: error code, and what follows on the thread. Linux mm/memory.c says which function
# allocates how.
SIGNATURES: list[tuple[Entered, int, Callable[[Made], object]]] = [
    (Entered.ANONYMOUS_WRITE, WRITE, lambda made: made.data(1, 77)),
    (Entered.PRIVATE_FILE_WRITE, WRITE, lambda made: made.data(1, 77, zero=False)),
    (Entered.FILE_READ, 0, lambda made: made.window(1, 3, 16, 16)),
    (Entered.FILE_READ, FETCH, lambda made: made.window(1, 3, 16, 16)),
    (Entered.FILE_READ, 0, lambda made: made.data(1, 77, zero=False).cached(1, 77, 3, 16)),
    (Entered.ZERO_READ, 0, lambda made: None),
    (Entered.ZERO_PAGE_WRITE, PRESENT | WRITE, lambda made: made.data(1, 77)),
    (Entered.COPY_ON_WRITE, PRESENT | WRITE, lambda made: made.data(1, 77, zero=False)),
    (Entered.REUSE, PRESENT | WRITE, lambda made: None),
    (Entered.UNCLASSIFIED, WRITE, lambda made: None),
    (Entered.UNCLASSIFIED, PRESENT, lambda made: None),
    (Entered.UNCLASSIFIED, FETCH, lambda made: None),
]
BRINGS_A_PAGE = {
    Entered.ANONYMOUS_WRITE,
    Entered.PRIVATE_FILE_WRITE,
    Entered.ZERO_PAGE_WRITE,
    Entered.COPY_ON_WRITE,
}


@pytest.mark.parametrize("gfp", [GFP, OLD_GFP], ids=["6.18", "4.4"])
@pytest.mark.parametrize("by_user", [USER, 0])
@pytest.mark.parametrize(
    ("expected", "code", "follows"),
    SIGNATURES,
    ids=[f"{expected.name}-{number}" for number, (expected, *_) in enumerate(SIGNATURES)],
)
def test_a_signature_says_the_class(
    expected: Entered, code: int, follows: Callable[[Made], object], by_user: int, gfp: dict[str, int]
) -> None:
    made = Made(gfp).fault(1, 0x1000, code | by_user)
    follows(made)
    # Another thread's fault between and behind changes nothing.
    faults = classify(made.fault(2, 5).data(2, 88).recording())
    assert Entered(faults.entered[0]) is expected
    assert faults.frame[0] == (77 if expected in BRINGS_A_PAGE else -1)
    assert faults.counts[expected.name] >= 1
    assert sum(faults.counts.values()) == faults.n_faults == 2
    assert faults.n_large == 0


def test_every_class_of_faults_is_met() -> None:
    assert {expected for expected, *_ in SIGNATURES} == {each for each in Entered if each < Entered.FORK}


def test_page_tables_belong_to_the_fault_and_others_to_none() -> None:
    made = Made().table(1, 5).fault(1, 0x1000).table(1, 10, 11, 12).data(1, 77)
    made.alloc(1, 90, "IO", "FS").alloc(1, 91, "IO", "FS", "ZERO", "ACCOUNT", order=3)
    made.add(Event.MUNMAP, 1, 0, 1).table(1, 13)
    recording = made.recording()
    faults = classify(recording)
    # Events: lone table 0, fault 1, its tables 2 to 4, its page 5, two of other uses, munmap, a table 9.
    assert faults.table_at.tolist() == [0, 2, 3, 4, 9]
    assert faults.table_fault.tolist() == [-1, 0, 0, 0, -1]
    assert recording.value[faults.table_at].tolist() == [5, 10, 11, 12, 13]


def test_page_tables_are_known_with_and_without_compound_pages() -> None:
    for names in (("IO", "FS", "ZERO", "ACCOUNT"), ("IO", "FS", "ZERO", "ACCOUNT", "COMP")):
        assert classify(Made().fault(1, 1).alloc(1, 10, *names).recording()).table_fault.tolist() == [0]
    # Accounted, but a kernel stack is not cleared by its allocation.
    assert classify(Made().fault(1, 1).alloc(1, 10, "IO", "FS", "ACCOUNT").recording()).table_at.size == 0


def test_a_pgd_with_its_users_half_ends_a_fault() -> None:
    faults = classify(Made().fault(1, 1).table(1, 20, order=1).data(1, 77).recording())
    assert faults.table_fault.tolist() == [-1]
    assert faults.counts["UNCLASSIFIED"] == 1  # the page that follows is not the fault's


@pytest.mark.parametrize(
    "event",
    [
        Event.MMAP,
        Event.MMAP_DONE,
        Event.MUNMAP,
        Event.MPROTECT,
        Event.BRK,
        Event.BRK_DONE,
        Event.EXEC,
        Event.EXIT,
        Event.EXIT_MMAP,
        Event.NEW_TASK,
    ],
)
def test_what_a_thread_does_after_another_event_is_not_the_faults(event: Event) -> None:
    faults = classify(Made().fault(1, 1, PRESENT | WRITE).add(event, 1).data(1, 77).recording())
    assert faults.counts["REUSE"] == 1


@pytest.mark.parametrize("event", [Event.SWITCH, Event.XEN_SET_PTE_AT, Event.XEN_ALLOC_PTPAGE])
def test_a_fault_goes_on_after_a_switch_and_what_xen_is_asked(event: Event) -> None:
    faults = classify(Made().fault(1, 1, PRESENT | WRITE).add(event, 1).data(1, 77).recording())
    assert faults.counts["ZERO_PAGE_WRITE"] == 1


def test_the_first_page_and_the_first_window_count() -> None:
    made = Made().fault(1, 1).data(1, 77).data(1, 78, zero=False).fault(1, 2, 0).window(1, 3, 0, 16)
    faults = classify(made.window(1, 3, 16, 16).recording())
    assert faults.counts["ANONYMOUS_WRITE"] == faults.counts["FILE_READ"] == 1
    assert faults.frame.tolist() == [77, -1]
    assert faults.window_at.tolist() == [-1, 4]


def test_a_page_that_is_read_in_a_writing_fault_is_not_its_window() -> None:
    # do_cow_fault: its own page first, then the page cache's.
    made = Made().fault(1, 1).data(1, 77, zero=False).data(1, 78, zero=False).cached(1, 78, 3, 0)
    faults = classify(made.recording())
    assert faults.counts["PRIVATE_FILE_WRITE"] == 1
    assert (faults.frame[0], faults.window_at[0], bool(faults.missed[0])) == (77, -1, True)


def test_blocks_of_pages_are_told() -> None:
    faults = classify(Made().fault(1, 512).data(1, 1024, order=9).fault(1, 1).data(1, 7).recording())
    assert (faults.counts["ANONYMOUS_WRITE"], faults.n_large) == (2, 1)


@pytest.mark.parametrize("page", [1 << 35, (1 << 52) - 1, -1, -(1 << 63), (1 << 63) - 1])
def test_addresses_that_are_no_users_are_not_classified(page: int) -> None:
    assert classify(Made().fault(1, page).data(1, 77).recording()).unclassified_ratio == 1
    assert classify(Made().fault(1, (1 << 35) - 1).data(1, 77).recording()).unclassified_ratio == 0


def test_no_events_are_no_faults() -> None:
    faults = classify(Made().recording())
    assert (faults.n_faults, faults.unclassified_ratio, sum(faults.counts.values())) == (0, 0, 0)


def _changed(**columns: Any) -> Recording:
    return replace(Made().fault(1, 1).data(1, 77).recording(), **columns)


@pytest.mark.parametrize(
    ("recording", "says"),
    [
        (5, "not in 5"),
        (_changed(pid=[1, 1]), "column pid"),
        (_changed(pid=np.ones(2)), "column pid"),
        (_changed(value=np.zeros((1, 2), np.int64)), "column value"),
        (_changed(aux=np.zeros(4, np.int64)[::2]), "no whole array"),
        (_changed(cpu=np.zeros(3, np.int8)), "have 2 and 3 events"),
        (_changed(cpu=np.array([0, -1], np.int8)), "CPU -1"),
        (_changed(event=np.array([-1, 0], np.int8)), "no kind: -1"),
        (_changed(pid=np.array([1, -1], np.int32)), "thread -1"),
        # Three numbers an event and 16 more: 22 is the first that cannot be.
        (_changed(pid=np.array([1, 22], np.int32)), "thread 22"),
    ],
)
def test_what_is_no_recording_is_refused_in_a_sentence(recording: Recording, says: str) -> None:
    with pytest.raises(BadInputError, match=says) as refused:
        check_columns(recording)
    assert "\n" not in str(refused.value)


def test_the_last_thread_that_can_be_is_taken() -> None:
    classify(_changed(pid=np.array([1, 21], np.int32)))


@pytest.mark.parametrize(
    "gfp",
    [{}, {**GFP, "__GFP_ZERO": 3}, {**GFP, "__GFP_FS": 0}, {**GFP, "__GFP_ACCOUNT": 1 << 32}, {"x" * 999: 1}],
)
def test_flags_that_are_not_said_or_no_bits_are_refused(gfp: dict[str, int]) -> None:
    made = Made().fault(1, 1).recording()
    with pytest.raises(BadInputError, match="__GFP_"):
        classify(replace(made, about=replace(made.about, gfp=gfp)))
