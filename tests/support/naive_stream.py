"""What a recording asks of a p2m, once more: with dictionaries, a function for each thing that a kernel does.

Lookups are written here as the source makes them, and not as `p2mperf.workload.translations` declares them.
"""

from __future__ import annotations

from made_recordings import CLONE_VM
from naive_faults import USER_END, Fault, find_faults, rows_of
from naive_spaces import Asking, Page, Space, Table

from p2mperf.workload.events import Event
from p2mperf.workload.placing import Placed
from p2mperf.workload.recording import Recording
from p2mperf.workload.translation_stream import Entered

MAP_FIXED = 0x10
UNPLACED = 1 << 28
N_ARGUMENTS = 3


class Naive(Asking):
    """Goes through a recording."""

    def __init__(self, recording: Recording, placed: Placed, thp: bool, cpu: int) -> None:
        super().__init__(placed, thp)
        self.cpu, self.recording, self.rows = cpu, recording, rows_of(recording)
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
                self.munmap(space, value, space.brk - value, now)
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

    # ---- address spaces that begin ----

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
