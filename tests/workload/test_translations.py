from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from made_recordings import CLONE_VM, PRESENT, USER, WRITE, Made

from p2mperf.workload.events import Event
from p2mperf.workload.steps import ARGUMENT_PAGES, Role, Step
from p2mperf.workload.stream import count_translations
from p2mperf.workload.translations import STEPS, Declared, Lookups, codes

# A fault's way down, and with its pte page made on the way: the first test of the entry finds none then.
WALK = [Step.WALK_PUD, Step.WALK_PMD, Step.WALK_TEST, Step.WALK_PTE]

# By event: steps, and (m2p, p2m) with transparent huge pages, and without. The sums were made from the source
# beforehand, reading Linux 3.18.20 function by function; a m2p lookup is verified by one of the p2m.
#
#   walk          pgd_val, pud_val, [2 pmd_trans_huge], pte_offset_map: 5 (3) of each
#   anonymous     lock and map 2; make 1, set 1: 5 + 2 m2p, and 2 p2m more
#   copy          pte_lockptr 1, vm_normal_page 1, is_zero_pfn(pte_pfn) 1, lock and map 2; make, set
#   new pte page  read-only 1, pin 1, make_pmd 1, set_pmd 1; less the first pmd_trans_huge
#   fork          pud, pmd of both 4; pmd_trans_huge 1; child's lock and map 2, parent's map and lock 2
#   tables        made 1, pinned: pte page 3/1, pmd page 2/1, pud page 3/2 (p2m/m2p); unpinned the same
#   freed         pte page 1, the others twice 1
LINES: list[tuple[str, list[Step], tuple[int, int], tuple[int, int]]] = [
    ("anonymous write, zero-page read", [*WALK, Step.ANONYMOUS], (7, 9), (5, 7)),
    ("private file write", [*WALK, Step.PRIVATE_FILE], (7, 9), (5, 7)),
    ("file, window of 1", [*WALK, Step.FILE_LOCK, Step.FILE_PAGE], (7, 7 + 2), (5, 5 + 2)),
    ("file, window of 16", [*WALK, Step.FILE_LOCK, *[Step.FILE_PAGE] * 16], (7, 7 + 32), (5, 5 + 32)),
    ("file page that the window missed", [Step.FILE_MISSED], (2, 4), (2, 4)),
    ("copy, write to the zero page", [*WALK, Step.COPY], (10, 12), (8, 10)),
    ("reuse", [*WALK, Step.REUSE], (7, 7), (5, 5)),
    ("spurious", [*WALK, Step.SPURIOUS], (6, 6), (4, 4)),
    ("new pmd page", [Step.NEW_PMD], (0, 3), (0, 3)),
    ("new pud page", [Step.NEW_PUD], (0, 4), (0, 4)),
    ("fork, a page", [Step.FORK_PAGE], (1, 2), (1, 2)),
    (
        "fork, an area and pmd",
        [Step.FORK_PUD, Step.FORK_PMD, Step.FORK_TEST, Step.FORK_LOCK],
        (9, 9),
        (8, 8),
    ),
    ("fork, a pte page", [Step.MAKE_PTE, Step.PIN_PTE], (1, 4), (1, 4)),
    ("fork, a pmd page", [Step.MAKE_PMD, Step.PIN_PMD], (1, 3), (1, 3)),
    ("fork, a pud page", [Step.MAKE_PUD, Step.PIN_PUD], (2, 4), (2, 4)),
    ("new pgd", [Step.NEW_PGD, Step.PIN_PGD], (0, 5), (0, 5)),
    ("unmapping, a page", [Step.ZAP_PAGE], (1, 1), (1, 1)),
    ("unmapping, an area and pmd", [Step.ZAP_AREA, Step.ZAP_PMD], (6, 6), (4, 4)),
    ("exit, a pte page", [Step.UNPIN_PTE, Step.FREE_PTE], (2, 4), (2, 4)),
    ("exit, a pmd page", [Step.UNPIN_PMD, *[Step.FREE_PMD] * 2], (3, 4), (3, 4)),
    ("exit, a pud page", [Step.UNPIN_PUD, *[Step.FREE_PUD] * 2], (4, 5), (4, 5)),
    ("exit, an address space", [Step.EXIT_MM, Step.UNPIN_PGD], (0, 5), (0, 5)),
    ("mprotect, a page", [Step.PROTECT_PAGE], (1, 3), (1, 3)),
    ("mprotect, an area and pmd", [Step.PROTECT_AREA, Step.PROTECT_PMD], (6, 6), (4, 4)),
    ("switch", [Step.LOAD_CR3], (0, 2), (0, 2)),
]


def summed(steps: list[Step], thp: bool) -> tuple[int, int]:
    counts = [STEPS[step].counts(thp) for step in steps]
    return sum(m2p for _, m2p in counts), sum(p2m for p2m, _ in counts)


@pytest.mark.parametrize(("line", "steps", "with_thp", "without"), LINES, ids=[line[0] for line in LINES])
def test_an_event_asks_what_its_derivation_says(
    line: str, steps: list[Step], with_thp: tuple[int, int], without: tuple[int, int]
) -> None:
    assert summed(steps, thp=True) == with_thp
    assert summed(steps, thp=False) == without


def test_a_new_pte_page_takes_the_place_of_the_first_test() -> None:
    for thp, more_m2p, more_p2m in ((True, -1, 3), (False, 0, 4)):
        new, known = (summed([step], thp) for step in (Step.NEW_PTE, Step.WALK_TEST))
        assert (new[0] - known[0], new[1] - known[1]) == (more_m2p, more_p2m)


def test_every_step_is_declared_with_its_reason_and_source() -> None:
    assert list(STEPS) == list(Step)
    for declared in STEPS.values():
        assert declared.why
        assert ".c " in declared.source or ".h " in declared.source
        assert 0 <= declared.low <= 1 <= declared.high
        assert len(declared.items(thp=False)) <= len(declared.items(thp=True))


def test_declarations_are_read() -> None:
    declared = Declared("?pud pte* ?old*", "", "")
    assert declared.items(thp=True) == ((Role.PUD, True), (Role.PTE, False), (Role.OLD, True))
    assert declared.items(thp=False) == ((Role.PUD, True),)
    assert declared.counts(thp=True) == (3, 2)
    with pytest.raises(KeyError):
        replace(declared, asks="?nobody").items(thp=True)


def test_codes_are_the_declarations() -> None:
    for thp in (True, False):
        starts, flat = codes(thp)
        assert starts.size == len(Step) + 1
        assert starts[-1] == flat.size
        for step in Step:
            items = [
                (code & 0xFF, code >> 31 == 1) for code in flat[starts[step] : starts[step + 1]].tolist()
            ]
            assert items == [(int(role), is_m2p) for role, is_m2p in STEPS[step].items(thp)]


def tables_then(build: Callable[[Made], object]) -> Made:
    """Address space 1 with its three tables, made by a fault whose costs are known."""
    made = Made().fault(1, 0).table(1, 10, 11, 12).data(1, 99)
    build(made)
    return made


# A fault that makes all tables, with transparent huge pages: 7 - 1 m2p, 9 + 3 + 3 + 4 p2m.
FIRST = Lookups(1, 19, 6)
SPACES: list[tuple[str, Callable[[Made], object], str, tuple[int, int]]] = [
    # Spaces of 3 tables and one page: 5; 4 + 4 + 5 p2m; an area and pmd 6, a page 1.
    ("exit", lambda made: made.add(Event.EXIT_MMAP, 1), "EXIT", (0 + 9 + 6 + 1, 5 + 13 + 6 + 1)),
    ("last thread", lambda made: made.add(Event.EXIT, 1), "EXIT", (0 + 9 + 6 + 1, 5 + 13 + 6 + 1)),
    (
        "told behind",
        lambda made: made.add(Event.EXIT, 1).add(Event.EXIT_MMAP, 1),
        "EXIT",
        (0 + 9 + 6 + 1, 5 + 13 + 6 + 1),
    ),
    (
        "told before",
        lambda made: made.add(Event.EXIT_MMAP, 1).add(Event.EXIT, 1),
        "EXIT",
        (0 + 9 + 6 + 1, 5 + 13 + 6 + 1),
    ),
    # Root 5; tables 4 + 3 + 4 p2m, 4 m2p; an area and pmd 9; a page 2 / 1.
    (
        "fork",
        lambda made: made.add(Event.NEW_TASK, 1, 2, 0).add(Event.SWITCH, 2),
        "FORK",
        (14, 5 + 11 + 9 + 2),
    ),
    # An area and pmd 6, the page 1; then the empty table: found 3, unset, unpinned, writable.
    ("munmap", lambda made: made.add(Event.MUNMAP, 1, 0, 1), "MUNMAP", (6 + 1 + 3, 6 + 1 + 6)),
    ("mprotect", lambda made: made.add(Event.MPROTECT, 1, 0, 1), "MPROTECT", (6 + 1, 6 + 3)),
]


@pytest.mark.parametrize(("name", "build", "entered", "expected"), SPACES, ids=[each[0] for each in SPACES])
def test_what_happens_to_an_address_space_is_counted(
    name: str, build: Callable[[Made], object], entered: str, expected: tuple[int, int]
) -> None:
    counted = count_translations(tables_then(build).recording())
    assert counted.by_class["ANONYMOUS_WRITE"] == FIRST
    found = counted.by_class[entered]
    assert (found.n, found.m2p, found.p2m) == (1, *expected)


def test_a_fork_copies_written_pages_alone_and_threads_copy_nothing() -> None:
    build = Made()
    for page in range(5):
        build.fault(1, page).data(1, page)
    build.fault(1, 600, 0).window(1, 3, 0, 16).fault(1, 30, 0)
    build.add(Event.NEW_TASK, 1, 2, CLONE_VM).add(Event.NEW_TASK, 1, 3, 0)
    build.add(Event.EXIT, 2).add(Event.EXIT, 3).add(Event.EXIT, 1)
    counted = count_translations(build.recording())
    assert counted.by_class["FORK"].n == 1
    assert counted.by_step["FORK_PAGE"].n == 5
    # 5 pages of the child; of the parent those 5, a window's 16 and the page of zeroes, at the end.
    assert counted.by_step["ZAP_PAGE"].n == 5 + 5 + 16 + 1
    assert counted.by_class["EXIT"].n == 2


def test_a_program_takes_the_place_of_another() -> None:
    counted = count_translations(tables_then(lambda made: made.add(Event.EXEC, 1, 1)).recording())
    # In order: the root 1; three tables made 3; walks 1 + 1 and for each of 3 pages of arguments 2, for the
    # second and third also a look of 7, and 3 to get there again; a page made and set 4, found again 7 + 1.
    m2p = 2 + ARGUMENT_PAGES * (2 + 2 + 7 + 1) + (ARGUMENT_PAGES - 1) * (7 + 3)
    p2m = m2p + 1 + 3 + ARGUMENT_PAGES * 2
    # Pinned: 3/2, 2/1, 3/1 and the roots 4; loaded 2.
    m2p, p2m = m2p + 4, p2m + 8 + 4 + 2
    # Moved: from 2; down again 1 and, with a new pmd page of 3, 1; a test 1; a new pte page of 4; locks 4;
    # each page set 1; the old tables freed, 4 found and 5 unset and made writable.
    m2p, p2m = m2p + 2 + 2 + 1 + 4 + 4, p2m + 2 + 2 + 3 + 1 + 4 + 4 + ARGUMENT_PAGES + 9
    assert counted.by_class["EXEC"] == Lookups(1, p2m, m2p)
    # The old one, whose end the recording does not tell, goes when nobody has it any more.
    assert counted.by_class["EXIT"].n == 1


def test_an_end_that_is_not_told_is_none_where_ends_are_told() -> None:
    # Thread 3 runs a program in the place of an address space whose beginning is not recorded.
    build = Made().fault(3, 0).data(3, 5).add(Event.EXEC, 3, 3).fault(1, 0).data(1, 6)
    assert count_translations(build.recording()).by_class["EXIT"].n == 1
    assert count_translations(build.add(Event.EXIT_MMAP, 1).recording()).by_class["EXIT"].n == 1
    assert count_translations(build.add(Event.EXIT_MMAP, 3).recording()).by_class["EXIT"].n == 2


def test_a_switch_asks_where_the_address_space_changes() -> None:
    build = Made().fault(1, 0).add(Event.NEW_TASK, 1, 2, CLONE_VM).add(Event.NEW_TASK, 1, 3, 0)
    # To its own thread, to nobody and back: nothing. To the child, and back: two.
    for thread in (2, 0, 1, 9, 3, 3, 1):
        build.add(Event.SWITCH, 1, thread)
    build.fault(3, 0)
    assert count_translations(build.recording()).by_class["SWITCH"] == Lookups(2, 4, 0)


def test_low_and_high_are_the_ranges_of_steps() -> None:
    build = Made().fault(1, 5, 0).window(1, 3, 0, 16).fault(1, 5, PRESENT | WRITE | USER)
    counted = count_translations(build.recording(), thp=False)
    # The first fault: tables from before the recording, 3; lock 2; 16 pairs, of which 10 in 13.95 at least;
    # the second: 3 + 2, of which the last 2 may be 1.
    assert counted.total == Lookups(2, 3 + 2 + 32 + 3 + 2, 3 + 2 + 3 + 2)
    assert counted.low == Lookups(2, int(3 + 2 + 32 * 10 / 13.95 + 3 + 1), 3 + 2 + 3 + 1)
    assert counted.high == counted.total


def test_thp_changes_tests_of_entries_alone() -> None:
    recording = tables_then(lambda made: made.add(Event.NEW_TASK, 1, 2, 0).add(Event.EXIT, 2)).recording()
    with_thp, without = (count_translations(recording, thp) for thp in (True, False))
    assert (with_thp.thp, without.thp) == (True, False)
    # One test of a fault whose table was new, one of a fork, two of an exit.
    assert with_thp.total.m2p - without.total.m2p == 1 + 1 + 2
    assert with_thp.total.p2m - without.total.p2m == 1 + 1 + 2


def test_what_was_before_the_recording_is_told() -> None:
    # The root; the three tables of a page that is there, and the page itself.
    assert (
        count_translations(Made().fault(1, 0, PRESENT | WRITE).data(1, 5, zero=False).recording()).n_unknown
        == 5
    )


def test_a_table_that_was_not_freed_is_told() -> None:
    build = tables_then(lambda made: made.add(Event.MUNMAP, 1, 0, 1).fault(1, 0).data(1, 98))
    counted = count_translations(build.recording())
    assert counted.n_revived == 1
    assert counted.by_step["WALK_TEST"].n == 1
    # With a page allocated for it, it was freed.
    build = tables_then(lambda made: made.add(Event.MUNMAP, 1, 0, 1).fault(1, 0).table(1, 13).data(1, 98))
    counted = count_translations(build.recording())
    assert (counted.n_revived, counted.by_step["NEW_PTE"].n) == (0, 2)


def shrunk_then_unmapped(first: int, n_pages: int) -> Made:
    """Four pages from 10 on, a heap whose end goes back to page 12, and what is unmapped then."""
    made = Made()
    for page in range(10, 14):
        made.fault(1, page).data(1, 100 + page)
    made.add(Event.BRK_DONE, 1, 14).add(Event.BRK_DONE, 1, 12)
    return made.add(Event.MUNMAP, 1, first, n_pages)


def test_a_heap_that_shrinks_gives_back_what_is_beyond_its_end() -> None:
    # Ends are first pages beyond: 12 and 13 go with the heap, 10 and 11 are there until they are unmapped.
    counted = count_translations(shrunk_then_unmapped(10, 2).recording())
    assert counted.by_class["MUNMAP"].n == 2
    assert counted.by_step["ZAP_PAGE"].n == 4
    # Nothing is left of those beyond.
    assert count_translations(shrunk_then_unmapped(12, 5).recording()).by_step["ZAP_PAGE"].n == 2
