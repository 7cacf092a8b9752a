"""Address spaces as dictionaries, and what a kernel asks for ranges of them, and at their end."""

from __future__ import annotations

from dataclasses import dataclass

from naive_faults import USER_END

from p2mperf.workload.placing import Placed
from p2mperf.workload.translation_stream import M2P_ITEM, Entered


def _mixed(word: int) -> int:
    """SplitMix64's words (Steele, Lea and Flood 2014)."""
    mask = (1 << 64) - 1
    word = (word ^ word >> 30) * 0xBF58_476D_1CE4_E5B9 & mask
    word = (word ^ word >> 27) * 0x94D0_49BB_1331_11EB & mask
    return word ^ word >> 31


@dataclass
class Table:
    """A pte, pmd or pud page."""

    frame: int
    freed: bool = False


@dataclass
class Page:
    """A page that is mapped."""

    frame: int
    written: bool
    of_file: bool


class Space:
    """An address space."""

    def __init__(self, number: int, pgd: int) -> None:
        self.number, self.pgd, self.user = number, pgd, pgd ^ 1
        self.tables: dict[tuple[int, int], Table] = {}  # (level, which)
        self.pages: dict[int, Page] = {}
        self.spare: dict[int, int] = {}
        self.users, self.brk, self.gone = 1, -1, False

    def above(self, page: int) -> tuple[int, int, int]:
        """Frames of the pud, pmd and pte page of a page."""
        pud, pmd, pte = (self.tables[level, page >> 9 * (level + 1)].frame for level in (2, 1, 0))
        return pud, pmd, pte

    def in_order(self) -> list[tuple[int, int]]:
        """Level and number of all tables by address, upper ones first."""
        live = [key for key, table in self.tables.items() if not table.freed]
        return sorted(live, key=lambda key: (key[1] << 9 * (key[0] + 1), -key[0]))


class Asking:
    """Keeps what is asked; `entries` has (class, time, items) of what was wanted."""

    def __init__(self, placed: Placed, thp: bool) -> None:
        self.placed, self.thp = placed, thp
        self.entries: list[tuple[Entered, int, list[int]]] = []
        self.items: list[int] = []
        self.wanted, self.n_unknown, self.n_revived = True, 0, 0

    def p2m(self, *frames: int) -> None:
        self.items += frames

    def m2p(self, *frames: int) -> None:
        self.items += [frame | M2P_ITEM for frame in frames]

    def huge(self, frame: int) -> None:
        """pmd_trans_huge of a present entry."""
        if self.thp:
            self.m2p(frame)

    def end(self, entered: Entered, now: int) -> None:
        if self.items and self.wanted:
            self.entries.append((entered, now, self.items))
        self.items = []

    def unknown(self, space: int, level: int, which: int) -> int:
        self.n_unknown += 1
        key = (space << 29 | which) << 2 | level
        return int(self.placed.unknown[_mixed(key) % self.placed.unknown.size])

    def areas(self, space: Space, pages: list[int]) -> list[tuple[int, bool, bool]]:
        """Each page, and whether an area, or a pte page of it, begins there."""
        found = []
        before: tuple[int, bool] | None = None
        for page in pages:
            of_file = space.pages[page].of_file
            is_new = (
                before is None
                or before[1] != of_file
                or page >> 18 != before[0] >> 18
                or (page >> 9) - (before[0] >> 9) > 1
            )
            found.append((page, is_new, is_new or before is None or page >> 9 != before[0] >> 9))
            before = page, of_file
        return found

    def zap(self, space: Space, pages: list[int]) -> None:
        for page, is_area, is_table in self.areas(space, pages):
            pud, pmd, pte = space.above(page)
            if is_area:
                self.m2p(pud, pmd)
            if is_table:
                self.huge(pte)
                self.huge(pte)
                self.m2p(pte, pte)
            self.m2p(space.pages.pop(page).frame)

    def munmap(self, space: Space, first: int, n_pages: int, now: int) -> None:
        if not 0 <= first < USER_END or n_pages <= 0:
            return
        end = first + min(n_pages, USER_END)
        self.zap(space, sorted(page for page in space.pages if first <= page < end))
        for level, which in space.in_order():
            is_in_range = level == 0 and which << 9 < end and which + 1 << 9 > first
            if is_in_range and not any(page >> 9 == which for page in space.pages):
                pud, pmd, pte = space.above(which << 9)
                self.m2p(pud, pmd, pte)
                self.p2m(pmd, pte, pte)
                space.tables[0, which].freed = True
        self.end(Entered.MUNMAP, now)

    def mprotect(self, space: Space, first: int, end: int, now: int) -> None:
        for page, is_area, is_table in self.areas(space, sorted(p for p in space.pages if first <= p < end)):
            pud, pmd, pte = space.above(page)
            if is_area:
                self.m2p(pud, pmd)
            if is_table:
                self.huge(pte)
                self.huge(pte)
                self.m2p(pte, pte)
            frame = space.pages[page].frame
            self.m2p(frame)
            self.p2m(frame, pte)
        self.end(Entered.MPROTECT, now)

    def pin_walk(self, space: Space) -> None:
        """__xen_pgd_walk: pinning and unpinning look up the same."""
        for level, which in space.in_order():
            frame = space.tables[level, which].frame
            self.m2p(*([frame, frame] if level == 2 else [frame]))
            self.p2m(*([frame, frame] if level == 0 else [frame]))

    def exit_mmap(self, space: Space, now: int) -> None:
        self.p2m(self.placed.swapper, space.pgd, space.user, space.user)
        self.pin_walk(space)
        self.p2m(space.pgd)
        self.zap(space, sorted(space.pages))
        above: dict[int, int] = {}
        for level, which in [*space.in_order(), (3, 0)]:
            for ended in range(1, level + 1):
                if ended in above:
                    self.m2p(above.pop(ended))
            if level < 3:
                frame = space.tables[level, which].frame
                self.m2p(frame)
                if level:
                    above[level] = frame
        self.end(Entered.EXIT, now)
        space.tables, space.gone = {}, True
