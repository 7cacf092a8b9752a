"""What a recording asks of a p2m, once more: with dictionaries, a function for each thing that a kernel does.

Lookups are written here as the source makes them, and not as `p2mperf.workload.translations` declares them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from made_recordings import CLONE_VM, FETCH, PRESENT, WRITE

from p2mperf.workload.events import Event
from p2mperf.workload.placing import Placed
from p2mperf.workload.recording import Recording
from p2mperf.workload.translation_stream import M2P_ITEM, Entered

USER_END = 1 << 35
MAP_FIXED = 0x10
UNPLACED = 1 << 28
N_ARGUMENTS = 3
ENDS_A_FAULT = set(Event) - {
    event
    for event in Event
    if event in (Event.ALLOC, Event.MAP_PAGES, Event.CACHE_ADD, Event.SWITCH) or event >= Event.XEN_SET_PTE
}


@dataclass
class Fault:
    """One fault: its class, and what came with it."""

    at: int
    page: int
    code: int
    data: int = -1
    zeroed: bool = False
    window: int = -1
    missed: bool = False
    tables: list[int] = field(default_factory=list)

    @property
    def entered(self) -> Entered:
        if not 0 <= self.page < USER_END:
            return Entered.UNCLASSIFIED
        if self.code & WRITE:
            if self.data < 0:
                return Entered.REUSE if self.code & PRESENT else Entered.UNCLASSIFIED
            if self.code & PRESENT:
                return Entered.ZERO_PAGE_WRITE if self.zeroed else Entered.COPY_ON_WRITE
            return Entered.ANONYMOUS_WRITE if self.zeroed else Entered.PRIVATE_FILE_WRITE
        if self.code & PRESENT:
            return Entered.UNCLASSIFIED
        if self.window >= 0 or self.missed:
            return Entered.FILE_READ
        return Entered.UNCLASSIFIED if self.code & FETCH else Entered.ZERO_READ


def find_faults(recording: Recording) -> tuple[list[Fault], set[int]]:
    """Faults in their order, and events of page tables outside of them; numbers are those of events."""
    gfp = recording.about.gfp
    bit = {name.removeprefix("__"): value for name, value in gfp.items()}
    faults, current, lone = [], {}, set()
    for i, (pid, event, value, aux) in enumerate(_rows(recording)):
        fault = current.get(pid)
        if event in (Event.FAULT_USER, Event.FAULT_KERNEL):
            current[pid] = Fault(i, value, aux)
            faults.append(current[pid])
        elif event == Event.ALLOC:
            flags, order = aux & 0xFFFF_FFFF, aux >> 32 & 0xFF
            of_table = bit["GFP_ZERO"] | bit["GFP_IO"] | bit["GFP_FS"] | bit.get("GFP_ACCOUNT", 0)
            of_data = bit["GFP_HIGHMEM"] | bit["GFP_MOVABLE"]
            if flags & of_table == of_table and not flags & of_data and order <= 1 and aux >> 40 == 0:
                if order == 1 or fault is None:
                    current.pop(pid, None)
                    lone.add(i)
                else:
                    fault.tables.append(i)
            elif fault is not None and flags & of_data == of_data and fault.data < 0:
                fault.data, fault.zeroed = i, bool(flags & bit["GFP_ZERO"])
        elif event == Event.MAP_PAGES and fault is not None and fault.window < 0:
            fault.window = i
        elif event == Event.CACHE_ADD and fault is not None:
            fault.missed = True
        elif event in ENDS_A_FAULT:
            current.pop(pid, None)
    return faults, lone


def _rows(recording: Recording) -> list[tuple[int, int, int, int]]:
    columns = recording.pid, recording.event, recording.value, recording.aux
    return list(zip(*(column.tolist() for column in columns), strict=True))


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


class Naive:
    """Goes through a recording; `entries` has (class, time, items) of those that were wanted."""

    def __init__(self, recording: Recording, placed: Placed, thp: bool, cpu: int) -> None:
        self.placed, self.thp, self.cpu, self.recording = placed, thp, cpu, recording
        self.entries: list[tuple[Entered, int, list[int]]] = []
        self.items: list[int] = []
        self.wanted, self.n_unknown, self.n_revived = True, 0, 0
        self.rows = _rows(recording)
        self.faults, self.lone = find_faults(recording)
        self.number = {fault.at: number for number, fault in enumerate(self.faults)}
        alloc = [i for i, row in enumerate(self.rows) if row[1] == Event.ALLOC]
        of_tables = self.lone.union(*(fault.tables for fault in self.faults))
        tables = [i for i in alloc if i in of_tables]
        self.table_frame = dict(zip(tables, placed.tables.tolist(), strict=True))
        self.space: dict[int, Space] = {}
        self.pending: dict[int, Space] = {}
        self.queue: dict[int, list[int]] = {}
        self.asked: dict[int, tuple[int, int]] = {}
        self.loaded: dict[int, Space | None] = {}
        self.n_spaces = 0
        self.tells_ends = Event.EXIT_MMAP in recording.event
        self.n_threads = int(recording.pid.max(initial=0)) + 1
        self._place_files()
        self._go()

    # ---- items ----

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

    # ---- files ----

    def _run(self, aux: int, page: int) -> tuple[int, int]:
        return aux >> 32, page >> 4 & 0xFFFF_FFFF

    def _place_files(self) -> None:
        runs: dict[tuple[int, int], int] = {}
        rows = self.rows
        for fault in self.faults:
            if fault.entered == Entered.FILE_READ and fault.window >= 0:
                _, _, first, aux = rows[fault.window]
                for page in (first, first + min(max(aux & 0xFFFF_FFFF, 1), 16) - 1):
                    runs.setdefault(self._run(aux, page), len(runs))
        added = [(aux, frame) for (_, event, _, aux), frame in self._cached(rows)]
        for aux, _ in added:
            runs.setdefault(self._run(aux, aux & 0xFFFF_FFFF), len(runs))
        self.runs = runs
        self.file_frames = self.placed.runs.tolist()
        for aux, frame in reversed(added):
            self.cache(aux, frame)

    def _cached(self, rows: list[tuple[int, int, int, int]]) -> list[tuple[tuple[int, int, int, int], int]]:
        added = [row for row in rows if row[1] == Event.CACHE_ADD]
        return list(zip(added, self.placed.cached.tolist(), strict=True))

    def cache(self, aux: int, frame: int) -> None:
        page = aux & 0xFFFF_FFFF
        self.file_frames[self.runs[self._run(aux, page)]][page & 15] = frame

    def file_frame(self, aux: int, page: int) -> int:
        return int(self.file_frames[self.runs[self._run(aux, page)]][page & 15])

    # ---- events ----

    def _go(self) -> None:
        columns = (self.recording.time_ns, self.recording.cpu)
        stamps = list(zip(*(column.tolist() for column in columns), strict=True))
        rows = self.rows
        faults, cached = iter(self.faults), iter(self._cached(rows))
        for i, (pid, event, value, aux) in enumerate(rows):
            now, cpu = stamps[i]
            self.wanted = self.cpu in (-1, cpu)
            if event == Event.ALLOC and i in self.lone:
                self.queue.setdefault(pid, []).append(self.table_frame[i])
            elif event == Event.CACHE_ADD:
                self.cache(aux, next(cached)[1])
            elif event in (Event.FAULT_USER, Event.FAULT_KERNEL):
                self.on_fault(next(faults), pid, event == Event.FAULT_USER, cpu, now)
            elif event == Event.SWITCH:
                self.on_switch(value, cpu, now)
            elif event == Event.NEW_TASK:
                self.on_new_task(pid, value, aux, now)
            elif event == Event.EXEC:
                space = self.pending.pop(pid, None) or self.run_program(pid, now)
                self.queue[pid] = []
                self.drop(self.space.get(pid), now)
                self.space[pid] = self.loaded[cpu] = space
            elif event in (Event.EXIT_MMAP, Event.EXIT):
                self.on_exit(pid, event == Event.EXIT, now)
            elif event < Event.XEN_SET_PTE and event not in (Event.ALLOC, Event.MAP_PAGES):
                self.on_call(pid, event, value, aux, now)

    def space_of(self, pid: int) -> Space:
        if self.space.get(pid) is None:
            self.space[pid] = self.new_space(pid)
        return self.space[pid]

    def new_space(self, pid: int) -> Space:
        number, self.n_spaces = self.n_spaces, self.n_spaces + 1
        return Space(number, self.pop(pid, number, 3, 0))

    def pop(self, pid: int, space: int, level: int, which: int) -> int:
        waiting = self.queue.get(pid)
        return waiting.pop(0) if waiting else self.unknown(space, level, which)

    def on_switch(self, to: int, cpu: int, now: int) -> None:
        space = self.space.get(to) if 0 < to < self.n_threads else None
        if space is not None and self.loaded.get(cpu) is not space:
            self.p2m(space.pgd, space.user)  # write_cr3
            self.end(Entered.SWITCH, now)
            self.loaded[cpu] = space

    def on_new_task(self, pid: int, child: int, flags: int, now: int) -> None:
        space = self.space_of(pid)
        if flags & CLONE_VM:
            space.users += 1
        else:
            space = self.fork(space, pid, now)
            self.queue[pid] = []
        if 0 < child < self.n_threads:
            self.drop(self.space.get(child), now)
            self.space[child] = space
        else:
            self.drop(space, now)

    def drop(self, space: Space | None, now: int) -> None:
        if space is not None:
            space.users -= 1
            if space.users == 0 and not space.gone:
                # An end that a recording does not tell of, where it tells of others, is none.
                wanted, self.wanted = self.wanted, self.wanted and not self.tells_ends
                self.exit_mmap(space, now)
                self.wanted = wanted

    def on_exit(self, pid: int, is_thread: bool, now: int) -> None:
        space = self.space.get(pid)
        if space is None:
            return
        if is_thread and self.tells_ends:
            space.users -= 1  # and its end is told behind
            return
        if is_thread:
            self.drop(space, now)
            del self.space[pid]
        else:
            self.exit_mmap(space, now)
        if not is_thread or space.users <= 0:
            self.loaded = {cpu: None if one is space else one for cpu, one in self.loaded.items()}

    def on_call(self, pid: int, event: int, value: int, aux: int, now: int) -> None:
        self.queue[pid] = []
        space = self.space_of(pid)
        if event == Event.MMAP:
            self.asked[pid] = value, aux >> 32
        elif event == Event.MMAP_DONE:
            n_pages, flags = self.asked.get(pid, (0, 0))
            if value >= 0 and flags & MAP_FIXED:
                self.munmap(space, value, n_pages, now)
            self.asked[pid] = 0, flags
        elif event == Event.MUNMAP:
            self.munmap(space, value, aux, now)
        elif event == Event.MPROTECT:
            if 0 <= value < USER_END:
                self.mprotect(space, value, value + (aux & 0xFFFF_FFFF), now)
        elif event == Event.BRK_DONE and value >= 0:
            if space.brk > value:
                self.munmap(space, value + 1, space.brk - value, now)
            space.brk = value

    # ---- faults: __handle_mm_fault and what it calls ----

    def on_fault(self, fault: Fault, pid: int, by_user: bool, cpu: int, now: int) -> None:
        if by_user:
            self.queue[pid] = []
            if pid in self.pending:
                wanted, self.wanted = self.wanted, False
                self.drop(self.pending.pop(pid), now)
                self.wanted = wanted
        elif pid not in self.pending and len(self.queue.get(pid, [])) >= 4:
            self.pending[pid] = self.run_program(pid, now)
        space = self.pending.get(pid) or self.space_of(pid)
        self.loaded[cpu], space.gone = space, False
        tables = [self.table_frame[i] for i in fault.tables]
        if 0 <= fault.page < USER_END:
            tables = self.walk(space, fault, tables)
            self.map_fault(space, fault)
        self.queue.setdefault(pid, []).extend(tables)
        self.end(fault.entered, now)

    def walk(self, space: Space, fault: Fault, tables: list[int]) -> list[int]:
        """Down to the pte page; tables that were not needed are given back."""
        page = fault.page
        was_there = fault.entered in (
            Entered.ZERO_PAGE_WRITE,
            Entered.COPY_ON_WRITE,
            Entered.REUSE,
            Entered.UNCLASSIFIED,
        )
        table = space.tables.get((0, page >> 9))
        if table is not None:
            is_new = table.freed and bool(tables) and not was_there
            if is_new:
                table.frame, *tables = tables
            elif table.freed:
                self.n_revived += 1
            table.freed = False
            pud, pmd, pte = space.above(page)
            self.m2p(pud, pmd)
            if is_new:
                self.p2m(pte, pte, pte, pmd)
            else:
                self.huge(pte)
            self.huge(pte)
            self.m2p(pte)
            return tables
        missing = [level for level in (2, 1, 0) if (level, page >> 9 * (level + 1)) not in space.tables]
        made = [] if was_there else missing[max(0, len(missing) - len(tables)) :]
        for level in missing:
            which = page >> 9 * (level + 1)
            if level in made:
                frame, *tables = tables
            elif level in space.spare:
                frame = space.spare.pop(level)
            else:
                frame = self.unknown(space.number, level, which)
            space.tables[level, which] = Table(frame)
        pud, pmd, pte = space.above(page)
        if 2 in made:
            self.p2m(pud, pud, space.pgd, space.user)
        self.m2p(pud)
        if 1 in made:
            self.p2m(pmd, pmd, pud)
        self.m2p(pmd)
        if 0 in made:
            self.p2m(pte, pte, pte, pmd)
        else:
            self.huge(pte)
        self.huge(pte)
        self.m2p(pte)
        return tables

    def map_fault(self, space: Space, fault: Fault) -> None:
        page, (_, _, pte) = fault.page, space.above(fault.page)
        there = space.pages.get(page)
        data = int(self.placed.data[self.number[fault.at]])
        match fault.entered:
            case Entered.ANONYMOUS_WRITE | Entered.ZERO_READ:
                is_written = fault.entered == Entered.ANONYMOUS_WRITE
                frame = data if is_written else self.placed.zero
                self.p2m(frame)
                self.m2p(pte, pte)
                self.p2m(pte)
                space.pages[page] = Page(frame, is_written, False)
            case Entered.PRIVATE_FILE_WRITE:
                self.m2p(pte, pte)
                self.p2m(data, pte)
                space.pages[page] = Page(data, True, True)
            case Entered.FILE_READ:
                self.read_file(space, fault, pte)
            case Entered.ZERO_PAGE_WRITE | Entered.COPY_ON_WRITE | Entered.REUSE:
                of_zero = fault.entered == Entered.ZERO_PAGE_WRITE
                if there is None:
                    old = self.placed.zero if of_zero else self.unknown(space.number, 3, page)
                    there = Page(old, True, not of_zero)
                    space.pages[page] = there
                self.m2p(pte, there.frame)
                if fault.entered != Entered.REUSE:
                    self.m2p(there.frame, pte, pte)
                    self.p2m(data, pte)
                    there.frame = data
                there.written = True
            case _:
                self.m2p(pte)

    def read_file(self, space: Space, fault: Fault, pte: int) -> None:
        page = fault.page
        frame = int(self.placed.unknown[page % self.placed.unknown.size])
        if fault.window >= 0:
            _, _, first, aux = self.rows[fault.window]
            n_pages = min(max(aux & 0xFFFF_FFFF, 1), 16)
            begin = page & ~15
            if page >= begin + n_pages:
                begin = min(begin + 16 - n_pages, page)
            frame = self.file_frame(aux, first + page - begin)
            self.m2p(pte, pte)
            for mapped in range(begin, begin + n_pages):
                if fault.missed if mapped == page else mapped in space.pages:
                    continue
                its_own = self.file_frame(aux, first + mapped - begin)
                self.p2m(its_own, pte)
                space.pages[mapped] = Page(its_own, False, True)
        if fault.window < 0 or fault.missed:
            self.m2p(pte, pte)
            self.p2m(frame, pte)
            space.pages[page] = Page(frame, False, True)

    # ---- ranges and whole address spaces ----

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

    def fork(self, parent: Space, pid: int, now: int) -> Space:
        child = self.new_space(pid)
        self.p2m(self.placed.vsyscall)
        written = sorted(page for page, one in parent.pages.items() if one.written)
        for page, is_area, is_table in self.areas(parent, written):
            parents = parent.above(page)
            for level in (2, 1, 0):
                which = page >> 9 * (level + 1)
                if is_area and level < 2:
                    self.m2p(child.tables[level + 1, page >> 9 * (level + 2)].frame, parents[1 - level])
                if is_table and level == 0:
                    self.huge(parents[2])
                if (level, which) not in child.tables:
                    frame = self.pop(pid, child.number, level, which)
                    child.tables[level, which] = Table(frame)
                    self.p2m(frame)
            pte = child.above(page)[2]
            if is_table:
                self.m2p(pte, pte, parents[2], parents[2])
            copied = parent.pages[page]
            self.m2p(copied.frame)
            self.p2m(pte)
            child.pages[page] = Page(copied.frame, True, copied.of_file)
        self.pin_walk(child)
        self.p2m(child.pgd, child.pgd, child.user, child.user)
        self.end(Entered.FORK, now)
        return child

    def run_program(self, pid: int, now: int) -> Space:
        space = self.new_space(pid)
        self.p2m(self.placed.vsyscall)
        # The first page of arguments finds no tables, as copy_strings goes down; then the others.
        frames = [self.pop(pid, space.number, level, UNPLACED) for level in (2, 1, 0)]
        pud, pmd, pte = frames
        self.p2m(pud)
        self.m2p(pud)
        self.p2m(pmd)
        self.m2p(pmd)
        self.p2m(pte)
        for number in range(N_ARGUMENTS):
            if number:
                self.follow(pud, pmd, pte)
                self.m2p(pud, pmd)
                self.huge(pte)
            self.huge(pte)
            self.m2p(pte)
            data = self.unknown(space.number, 0, UNPLACED + 2 + number)
            self.p2m(data)
            self.m2p(pte, pte)
            self.p2m(pte)
            self.follow(pud, pmd, pte)
            self.m2p(data)
        self.m2p(pud, pud)
        self.p2m(pud)
        self.m2p(pmd)
        self.p2m(pmd)
        self.m2p(pte)
        self.p2m(pte, pte)
        self.p2m(space.pgd, space.pgd, space.user, space.user)  # pinned
        self.p2m(space.pgd, space.user)  # loaded
        # shift_arg_pages.
        self.m2p(pud, pmd, pud)
        new_pmd = self.pop(pid, space.number, 1, UNPLACED + 1)
        self.p2m(new_pmd, new_pmd, pud)
        self.m2p(new_pmd)
        self.huge(pte)
        new_pte = self.pop(pid, space.number, 0, UNPLACED + 1)
        self.p2m(new_pte, new_pte, new_pte, new_pmd)
        self.m2p(pte, pte, new_pte, new_pte)
        self.p2m(*[new_pte] * N_ARGUMENTS)
        self.m2p(pud, pmd, pte)
        self.p2m(pmd, pte, pte)
        self.m2p(pmd)
        self.p2m(pud, pmd)
        space.spare = {2: pud, 1: new_pmd, 0: new_pte}
        self.end(Entered.EXEC, now)
        return space

    def follow(self, pud: int, pmd: int, pte: int) -> None:
        """follow_page_mask and follow_page_pte, up to the entry."""
        self.m2p(pud, pmd, pmd, pte)
        self.huge(pte)
        self.m2p(pte, pte)
