"""The virtual windows in which Xen finds the p2m of the running guest: its tables, level by level, as data.

The monitor table of a vCPU has the p2m's root in the slot of RO_MPT, which moves every level one down: what
the MMU takes for the last page of its walk is an L1 table. Its recursive slot shows L2 and L3 in the same way
(xen/arch/x86/mm/hap/hap.c; RO_MPT_VIRT_START and LINEAR_PT_VIRT_START in config.h, 2007 to 4.2). A superpage
is then an entry that leads to the guest's own memory.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from p2mperf.designs.base import Load
from p2mperf.designs.hap.audit_kernels import find_shown
from p2mperf.designs.hap.layout import TablePlan
from p2mperf.designs.hap.table import HapTable
from p2mperf.designs.hap.view_kernels import MAPS_LEFT, N_REFUSED, Views
from p2mperf.errors import DoesNotFitError
from p2mperf.guests.hap import P2mBit, P2mType
from p2mperf.host.maps import n_maps_available
from p2mperf.memory import smaps
from p2mperf.memory.owned import Mapped, Owned
from p2mperf.memory.pool import Frames, page_runs
from p2mperf.memory.window import Window, n_runs
from p2mperf.units import HUGE_SIZE, PAGE_SHIFT, PAGE_SIZE, round_up

_HUGE_PAGES = HUGE_SIZE // PAGE_SIZE


def first_pages(plan: TablePlan) -> list[int]:
    """Where in their area windows begin, that of L1 first, and at last where the area ends [pages].

    Each begins on 2 MiB. In front of the first is room that is never mapped, so that its mappings are those
    of nothing else.
    """
    firsts = [_HUGE_PAGES]
    for n_pages in plan.window_pages:
        firsts.append(round_up(firsts[-1] + n_pages, _HUGE_PAGES))
    return firsts


def area_frames(plan: TablePlan, tables: dict[str, Frames], stand_in: int) -> Frames:
    """Frame on each page of the windows' area, from where the first window begins to the end.

    Parameters
    ----------
    plan, tables, stand_in
        As `TablePlan.shown`.
    """
    firsts = first_pages(plan)
    frames = np.full(firsts[-1] - firsts[0], -1, np.int64)
    for first, shown in zip(firsts, plan.shown(tables, stand_in), strict=False):
        frames[first - firsts[0] : first - firsts[0] + shown.size] = shown
    return frames


def n_mappings(frames: Frames) -> int:
    """Mappings that an area takes."""
    return n_runs(frames, np.zeros(frames.size, np.bool_), holes=True)


class HapWindows(Owned):
    """The windows of one p2m.

    Parameters
    ----------
    table : HapTable
        The p2m, with as many pages that stand in for guest RAM as a table has entries.
    page_bytes : int
        Page size wanted for them, 4096 or 2 MiB.

    Attributes
    ----------
    area : Window
        What this process reads: room, then the windows of L1, L2 ... Where Xen would fault, because no table
        is there, a read gives zeros.

    Raises
    ------
    DoesNotFitError
        When address space or mappings give out.

    Notes
    -----
    What stands in for guest RAM holds what a guest could have there: entries that look right.
    """

    def __init__(self, table: HapTable, page_bytes: int) -> None:
        self.table = table
        plan = table.plan
        self._firsts = first_pages(plan)
        self._fill_stand_ins()
        # The last page of the area is never mapped, either.
        self.area = Window(table.pool, self._firsts[-1] + 1, page_bytes=page_bytes, zero_holes=True)
        self._addressed: Mapped | None = Mapped.of(self.area)
        try:
            self._map(page_bytes)
        except BaseException:
            self.__exit__()
            raise

    def _fill_stand_ins(self) -> None:
        table, shape = self.table, self.table.plan.shape
        n_words = shape.leaf_frames**2
        random = np.random.default_rng(table.guest.seed)
        mfns = random.integers(0, table.guest.machine.n_frames, n_words, np.uint64)
        sizes = random.integers(0, 2, n_words, np.uint64) * np.uint64(P2mBit.SUPERPAGE)
        words = (mfns << np.uint64(PAGE_SHIFT)) | np.uint64(P2mType.RAM_RW.flags) | sizes
        table.pool.words(table.stand_in, shape.dtype, shape.leaf_frames)[:] = words.astype(shape.dtype)

    def _map(self, page_bytes: int) -> None:
        table, firsts = self.table, self._firsts
        radix = table.radix.frames
        tables = {"l1": table.plan.targets(np.arange(table.plan.n_l1)), **radix}
        frames = area_frames(table.plan, tables, table.stand_in)
        self.area.map(firsts[0], frames, np.zeros(frames.size, np.bool_))
        self.area.populate(firsts[0], frames.size)
        self._first_pages = np.array(firsts[:-1], np.uint64)
        self._counts = np.zeros(3, np.uint64)
        self.views = Views(
            np.uint64(self.area.base),
            np.uint64(self._first_pages.size),
            np.uint64(self._first_pages.ctypes.data),
            np.uint64(self.area.frames.ctypes.data),
            np.intc(table.pool.fd),
            np.uint64(table.stand_in),
            np.uint64(table.plan.shape.index_bits),
            page_bytes == PAGE_SIZE,
            np.uint64(self._counts.ctypes.data),
        )
        table.views, table.count_maps = self.views, self._count_maps

    def _count_maps(self) -> bool:
        """Count the mappings that may be added; whether there are more than compiled code knew of."""
        before, available = int(self._counts[MAPS_LEFT]), n_maps_available()
        self._counts[MAPS_LEFT] = available
        return available > max(before, 1)

    def __enter__(self) -> HapWindows:
        return self

    def __exit__(self, *exc: object) -> None:
        self.area.close()
        self._addressed = None

    def address(self, level: int) -> int:
        """Address of the entry of frame 0 in a window, that of L1 being 0."""
        return self.area.address(self._firsts[level])

    @property
    def _inside(self) -> tuple[int, int]:
        """Where the windows are, without the room around them: address and length [bytes]."""
        self.area.require_open()
        return self.address(0), (self._firsts[-1] - self._firsts[0]) << PAGE_SHIFT

    @property
    def n_vmas(self) -> int:
        """Mappings that they are made of, counted in /proc/self/maps."""
        return len(smaps.mappings(*self._inside))

    @property
    def page_bytes(self) -> int:
        """Page size of all windows as smaps tells it: 4096, 2 MiB, or 0 where it is mixed."""
        return smaps.view_page_bytes(*self._inside)

    def stretches(self) -> list[tuple[int, int]]:
        """Where tables are shown: address and length of each stretch [bytes]."""
        frames = self.area.frames
        is_table = (frames >= 0) & ~self._stands_in(frames)
        return [(self.area.base + start, n_bytes) for start, n_bytes in page_runs(is_table)]

    def _stands_in(self, frames: Frames) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        first = self.table.stand_in
        return (frames >= first) & (frames < first + self.table.plan.shape.leaf_frames)

    def load_at(self, address: int) -> Load | None:
        """Say what stands at an address that a lookup has read; None when that is in no window."""
        page = self.area.page_at(address)
        if not self._firsts[0] <= page < self._firsts[-1]:
            return None
        level = sum(page >= first for first in self._firsts) - 1
        frame = int(self.area.frames[page])
        kind = f"l{level + 1}" if frame >= 0 else "hole"  # where Xen would fault
        if self._stands_in(np.array([frame]))[0]:
            kind = "stand_in"
        index = (address & (PAGE_SIZE - 1)) // self.table.plan.shape.entry_bytes
        return Load(kind, "window", frame, index, address)

    def require_shown(self) -> None:
        """See that no change of what is shown was refused.

        Raises
        ------
        DoesNotFitError
            When one was.
        """
        if n_refused := int(self._counts[N_REFUSED]):
            raise DoesNotFitError(f"the system refused {n_refused} mappings of the windows: build them again")

    def fault(self) -> str:
        """Say what the windows show that the tables in memory do not ask for; "" for nothing."""
        expected = np.full(self.area.n_pages, -1, np.int64)
        find_shown(self.table.store, self.views, expected)
        first, n_pages = self._firsts[0], self._firsts[-1] - self._firsts[0]
        shown, writable = self.area.shown(first, n_pages)
        for level, (begin, end) in enumerate(pairwise(self._firsts), start=1):
            part = slice(begin - first, end - first)
            if wrong := np.flatnonzero(shown[part] != expected[begin:end]).tolist():
                return f"I8: the window of L{level} shows another page than the table at page {wrong[0]}"
        if writable.any():
            return "I8: a window can be written through"
        is_known = np.array_equal(shown, self.area.frames[first:-1])
        return "" if is_known else "I8: windows show others than they account for"
