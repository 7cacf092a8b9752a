"""Linear virtual areas that show pool frames in an order of their own, so that the MMU does the walk.

Everything "virtual linear" in the source documents is this: pages scattered in memory, mapped once more, in
order. Linux' p2m list (commit 054954eb051f), the VLPT of Xen/ARM and the RO_MPT views of HAP are windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, ClosedError, DoesNotFitError
from p2mperf.host.maps import n_maps_available, require_maps
from p2mperf.memory import smaps, vm
from p2mperf.memory.owned import Mapped, Owned, Process, require_own_process
from p2mperf.memory.pool import Frames, PagePool, page_runs
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE

_CLOSED = "this window is closed: build the design again"


def n_runs(frames: Frames, writable: NDArray[np.bool_], *, holes: bool = False) -> int:
    """Count the mappings a window needs: neighbours share one where frames continue and rights agree.

    Parameters
    ----------
    frames : ndarray of int64, shape (n_pages,)
        Frame shown on each page.
    writable : ndarray of bool, shape (n_pages,)
        False where the frame is shared and must not be written.
    holes : bool
        Whether a negative frame is a hole, and neighbouring holes one mapping; otherwise each stands for a
        shared frame that is not taken yet.

    Returns
    -------
    int
        Number of mappings (VMAs).
    """
    return _run_starts(frames, writable, holes).size


def _run_starts(frames: Frames, writable: NDArray[np.bool_], holes: bool = True) -> NDArray[np.intp]:
    joined = (np.diff(frames) == 1) & (writable[1:] == writable[:-1])
    if holes:
        hole = frames < 0
        joined = (joined & ~hole[:-1]) | (hole[1:] & hole[:-1])
    return np.concatenate([[0], np.flatnonzero(~joined) + 1])[: frames.size]


class Window(Owned):
    """A virtual area of `n_pages` pages over frames of `pool`.

    Parameters
    ----------
    pool : PagePool or None
        Where the frames live; must outlive the window. None where each `map` names a pool, as an area does
        that several domains show their frames in.
    n_pages : int
        Length of the area [pages].
    page_bytes : int
        Page size wanted, 4096 or 2 MiB. 2 MiB pages come only where the frames lie in the pool as they do
        in the area; `window_page_bytes` tells what it became.
    zero_holes : bool
        What a hole that is mapped does: True reads zeros, from the kernel's zero page; False traps, as a
        page does that was never mapped.

    Attributes
    ----------
    base : int
        Address of page 0, a multiple of 2 MiB.
    frames : ndarray of int64, shape (n_pages,)
        Frame shown on each page; -1 for a hole, and where nothing was mapped yet (a read traps there).
    writable : ndarray of bool, shape (n_pages,)
        Whether each page may be written through the window.
    n_vmas : int
        Mappings the area is made of.

    Raises
    ------
    DoesNotFitError
        When address space gives out.
    """

    def __init__(
        self, pool: PagePool | None, n_pages: int, *, page_bytes: int = PAGE_SIZE, zero_holes: bool = False
    ) -> None:
        self.pool = pool
        self.zero_holes = zero_holes
        self.n_pages = n_pages
        self.page_bytes = page_bytes
        self.frames = np.full(n_pages, -1, np.int64)
        self.writable = np.zeros(n_pages, np.bool_)
        self.mapped: Mapped | None = Mapped(vm.reserve_aligned(n_pages << PAGE_SHIFT), n_pages << PAGE_SHIFT)
        self.base = self.mapped.address
        self._pid = Process.pid
        self._maps_left = 0

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the area back, with the last view of it; a second call does nothing."""
        self.base, self.mapped = 0, None

    def map(
        self, first_page: int, frames: Frames, writable: NDArray[np.bool_], pool: PagePool | None = None
    ) -> None:
        """Show `frames` from `first_page` on, neighbouring frames in one call.

        Parameters
        ----------
        first_page : int
            Where in the area.
        frames : ndarray of int64, shape (n,)
            Frames to show; a frame may stand in many places, and -1 makes a hole.
        writable : ndarray of bool, shape (n,)
            False maps the page read-only, as shared frames must be.
        pool : PagePool, optional
            Whose frames; default: the window's own pool.

        Raises
        ------
        DoesNotFitError
            When the area would need more mappings than the process may still make; nothing is mapped then.
        ClosedError
            When the window was closed.
        """
        self.require_open()
        fd = self._fd(pool)
        writable = writable & (frames >= 0)
        starts = _run_starts(frames, writable)
        require_maps(starts.size, "this window")
        ends = np.append(starts[1:], frames.size)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self._map_run(first_page + start, int(frames[start]), end - start, bool(writable[start]), fd)
        self.frames[first_page : first_page + frames.size] = frames
        self.writable[first_page : first_page + frames.size] = writable
        if self.page_bytes == PAGE_SIZE and frames.size:
            vm.advise(self.address(first_page), frames.size << PAGE_SHIFT, vm.MADV_NOHUGEPAGE)

    def require_open(self) -> None:
        """Refuse to use a window that was closed.

        Raises
        ------
        ClosedError
            When it was, or when it belongs to another process.
        """
        if not self.base:
            raise ClosedError(_CLOSED)
        require_own_process(self._pid, "window")

    def hide(self, first_page: int, n_pages: int) -> None:
        """Let pages show nothing: a read traps there until something is mapped again."""
        self.require_open()
        vm.map_pages(self.address(first_page), n_pages << PAGE_SHIFT, 0)
        self.frames[first_page : first_page + n_pages] = -1
        self.writable[first_page : first_page + n_pages] = False

    def remap(self, pages: Frames, frames: Frames) -> None:
        """Show other frames of the window's pool, writable, on pages that may lie apart.

        Readers may be at work meanwhile.

        Parameters
        ----------
        pages : ndarray of int64, shape (n,)
            Pages of the area, in rising order.
        frames : ndarray of int64, shape (n,)
            Frame for each.

        Raises
        ------
        DoesNotFitError
            When the kernel refuses; the area is as before then.

        Notes
        -----
        MAP_FIXED replaces old pages by new ones under the lock that page faults wait for: a reader sees
        the old frame or the new one.
        """
        self.require_open()
        fd = self._fd(None)
        broken = (np.diff(pages) != 1) | (np.diff(frames) != 1)
        starts = np.concatenate([[0], np.flatnonzero(broken) + 1])[: pages.size].tolist()
        ends = [*starts[1:], pages.size]
        for position, (start, end) in enumerate(zip(starts, ends, strict=True)):
            try:
                self._map_run(int(pages[start]), int(frames[start]), end - start, True, fd)
            except DoesNotFitError:
                self._show_again(pages[: ends[position]])
                raise
            self._settle(int(pages[start]), end - start)
        self._maps_left -= 2 * len(starts)
        self.frames[pages] = frames
        self.writable[pages] = True

    def _settle(self, page: int, n_pages: int) -> None:
        """Choose the page size of what was mapped, and fill in its page-table entries."""
        address = self.address(page)
        if self.page_bytes == PAGE_SIZE:
            vm.advise(address, n_pages << PAGE_SHIFT, vm.MADV_NOHUGEPAGE)
        vm.populate(address, n_pages << PAGE_SHIFT)

    def _show_again(self, pages: Frames) -> None:
        for page in pages.tolist():
            self._map_run(page, int(self.frames[page]), 1, bool(self.writable[page]), self._fd(None))

    def has_room_for(self, n_runs: int) -> bool:
        """Tell whether `n_runs` stretches of pages can be remapped: each may cut one mapping into three."""
        self.require_open()
        if self._maps_left < 2 * n_runs:
            self._maps_left = n_maps_available()
        return self._maps_left >= 2 * n_runs

    def _fd(self, pool: PagePool | None) -> int:
        chosen = pool or self.pool
        if chosen is None:
            raise BadInputError("this window has no pool of its own: say whose frames it is to show")
        return chosen.fd

    def _map_run(self, page: int, frame: int, n_pages: int, writable: bool, fd: int) -> None:
        address, n_bytes = self.address(page), n_pages << PAGE_SHIFT
        if frame < 0:
            vm.map_pages(address, n_bytes, vm.READ if self.zero_holes else 0)
        else:
            rights = vm.READ_WRITE if writable else vm.READ
            vm.map_pages(address, n_bytes, rights, fd, frame << PAGE_SHIFT)

    def populate(self, first_page: int = 0, n_pages: int | None = None) -> None:
        """Fill in page-table entries, of the whole area or a part, so that no fault falls into a timed loop.

        Holes that trap cannot be filled in: where there are some, populate the parts between.
        """
        self.require_open()
        n_pages = self.n_pages - first_page if n_pages is None else n_pages
        vm.populate(self.address(first_page), n_pages << PAGE_SHIFT)

    def address(self, page: int) -> int:
        """Address of a page of the area."""
        return self.base + (page << PAGE_SHIFT)

    def words(self, dtype: type[vm.Word]) -> NDArray[vm.Word]:
        """View the whole area as one array, which keeps it mapped; it must not be read where it traps."""
        self.require_open()
        mapped = self.mapped
        if mapped is None:
            raise ClosedError(_CLOSED)
        return mapped.view(0, mapped.n_bytes, dtype)

    def shown(self, first_page: int = 0, n_pages: int | None = None) -> tuple[Frames, NDArray[np.bool_]]:
        """Read from /proc/self/maps what pages of the area really show.

        Parameters
        ----------
        first_page : int
            Where to begin.
        n_pages : int, optional
            How many; default: all that follow [pages].

        Returns
        -------
        frames : ndarray of int64, shape (n_pages,)
            Frame behind each page; -1 where it is none of a pool's.
        writable : ndarray of bool, shape (n_pages,)
            Whether each page can be written.
        """
        self.require_open()
        n_pages = self.n_pages - first_page if n_pages is None else n_pages
        frames, writable = np.full(n_pages, -1, np.int64), np.zeros(n_pages, np.bool_)
        start = self.address(first_page)
        for mapping in smaps.mappings(start, n_pages << PAGE_SHIFT):
            if mapping.inode:
                page, end = (mapping.start - start) >> PAGE_SHIFT, (mapping.end - start) >> PAGE_SHIFT
                frames[page:end] = (mapping.offset_bytes >> PAGE_SHIFT) + np.arange(end - page)
                writable[page:end] = mapping.writable
        return frames, writable

    def stretches(self) -> list[tuple[int, int]]:
        """Where frames are shown: address and length of each stretch of neighbouring pages [bytes]."""
        return [(self.base + start, n_bytes) for start, n_bytes in page_runs(self.frames >= 0)]

    @property
    def n_vmas(self) -> int:
        return n_runs(self.frames, self.writable, holes=True)

    def page_at(self, address: int) -> int:
        """Page of the area that an address lies in; -1 for any other address."""
        page = (address - self.base) >> PAGE_SHIFT
        return page if 0 <= page < self.n_pages else -1

    @property
    def window_page_bytes(self) -> int:
        """Page size of the area as smaps tells it: 4096, 2 MiB, or 0 where it is mixed."""
        return smaps.view_page_bytes(self.base, self.n_pages << PAGE_SHIFT)
