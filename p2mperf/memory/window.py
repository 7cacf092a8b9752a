"""Linear virtual areas that show pool frames in an order of their own, so that the MMU does the walk.

Everything "virtual linear" in the source documents is this: pages scattered in memory, mapped once more, in
order. Linux' p2m list (commit 054954eb051f), the VLPT of Xen/ARM and the RO_MPT views of HAP are windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import ClosedError, DoesNotFitError
from p2mperf.host.maps import n_maps_available, require_maps
from p2mperf.memory import smaps, vm
from p2mperf.memory.pool import Frames, PagePool
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE


def n_runs(frames: Frames, writable: NDArray[np.bool_]) -> int:
    """Count the mappings a window needs: neighbours share one where frames continue and rights agree.

    Parameters
    ----------
    frames : ndarray of int64, shape (n_pages,)
        Frame shown on each page.
    writable : ndarray of bool, shape (n_pages,)
        False where the frame is shared and must not be written.

    Returns
    -------
    int
        Number of mappings (VMAs).
    """
    return _run_starts(frames, writable).size


def _run_starts(frames: Frames, writable: NDArray[np.bool_]) -> NDArray[np.intp]:
    broken = (np.diff(frames) != 1) | (np.diff(writable.view(np.int8)) != 0)
    return np.concatenate([[0], np.flatnonzero(broken) + 1])[: frames.size]


class Window:
    """A virtual area of `n_pages` pages over frames of `pool`.

    Parameters
    ----------
    pool : PagePool
        Where the frames live; must outlive the window.
    n_pages : int
        Length of the area [pages].
    page_bytes : int
        Page size wanted, 4096 or 2 MiB. 2 MiB pages come only where the frames lie in the pool as they do
        in the area; `window_page_bytes` tells what it became.

    Attributes
    ----------
    base : int
        Address of page 0, a multiple of 2 MiB.
    frames : ndarray of int64, shape (n_pages,)
        Frame shown on each page; -1 where nothing was mapped yet (a read traps there).
    n_vmas : int
        Mappings the area is made of.

    Raises
    ------
    DoesNotFitError
        When address space gives out.
    """

    def __init__(self, pool: PagePool, n_pages: int, *, page_bytes: int = PAGE_SIZE) -> None:
        self.pool = pool
        self.n_pages = n_pages
        self.page_bytes = page_bytes
        self.frames = np.full(n_pages, -1, np.int64)
        self.writable = np.zeros(n_pages, np.bool_)
        self.base = vm.reserve_aligned(n_pages << PAGE_SHIFT)
        self._maps_left = 0

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the area back; a second call does nothing."""
        if getattr(self, "base", 0):
            vm.unmap(self.base, self.n_pages << PAGE_SHIFT)
            self.base = 0

    def map(self, first_page: int, frames: Frames, writable: NDArray[np.bool_]) -> None:
        """Show `frames` from `first_page` on, neighbouring frames in one call.

        Parameters
        ----------
        first_page : int
            Where in the area.
        frames : ndarray of int64, shape (n,)
            Frames to show; a frame may stand in many places.
        writable : ndarray of bool, shape (n,)
            False maps the page read-only, as shared frames must be.

        Raises
        ------
        DoesNotFitError
            When the area would need more mappings than the process may still make; nothing is mapped then.
        ClosedError
            When the window was closed.
        """
        if not self.base:
            raise ClosedError("this window is closed: build the design again")
        starts = _run_starts(frames, writable)
        require_maps(starts.size, "this window")
        ends = np.append(starts[1:], frames.size)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self._map_run(first_page + start, int(frames[start]), end - start, bool(writable[start]))
        self.frames[first_page : first_page + frames.size] = frames
        self.writable[first_page : first_page + frames.size] = writable
        if self.page_bytes == PAGE_SIZE and frames.size:
            address = self.base + (first_page << PAGE_SHIFT)
            vm.advise(address, frames.size << PAGE_SHIFT, vm.MADV_NOHUGEPAGE)

    def remap(self, pages: Frames, frames: Frames) -> None:
        """Show other frames, writable, on pages that may lie apart; readers may be at work.

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
        broken = (np.diff(pages) != 1) | (np.diff(frames) != 1)
        starts = np.concatenate([[0], np.flatnonzero(broken) + 1])[: pages.size].tolist()
        ends = [*starts[1:], pages.size]
        for position, (start, end) in enumerate(zip(starts, ends, strict=True)):
            try:
                self._map_run(int(pages[start]), int(frames[start]), end - start, True)
            except DoesNotFitError:
                self._show_again(pages[: ends[position]])
                raise
            self._settle(int(pages[start]), end - start)
        self._maps_left -= 2 * len(starts)
        self.frames[pages] = frames
        self.writable[pages] = True

    def _settle(self, page: int, n_pages: int) -> None:
        """Choose the page size of what was mapped, and fill in its page-table entries."""
        address = self.base + (page << PAGE_SHIFT)
        if self.page_bytes == PAGE_SIZE:
            vm.advise(address, n_pages << PAGE_SHIFT, vm.MADV_NOHUGEPAGE)
        vm.populate(address, n_pages << PAGE_SHIFT)

    def _show_again(self, pages: Frames) -> None:
        for page in pages.tolist():
            self._map_run(page, int(self.frames[page]), 1, bool(self.writable[page]))

    def has_room_for(self, n_runs: int) -> bool:
        """Tell whether `n_runs` stretches of pages can be remapped: each may cut one mapping into three."""
        if self._maps_left < 2 * n_runs:
            self._maps_left = n_maps_available()
        return self._maps_left >= 2 * n_runs

    def _map_run(self, page: int, frame: int, n_pages: int, writable: bool) -> None:
        vm.map_pages(
            self.base + (page << PAGE_SHIFT),
            n_pages << PAGE_SHIFT,
            vm.READ_WRITE if writable else vm.READ,
            self.pool.fd,
            frame << PAGE_SHIFT,
        )

    def populate(self) -> None:
        """Fill in every page-table entry, so that no fault falls into a timed loop."""
        vm.populate(self.base, self.n_pages << PAGE_SHIFT)

    @property
    def n_vmas(self) -> int:
        return n_runs(self.frames, self.writable)

    def page_at(self, address: int) -> int:
        """Page of the area that an address lies in; -1 for any other address."""
        page = (address - self.base) >> PAGE_SHIFT
        return page if 0 <= page < self.n_pages else -1

    @property
    def window_page_bytes(self) -> int:
        """Page size of the area as smaps tells it: 4096, 2 MiB, or 0 where it is mixed."""
        return smaps.view_page_bytes(self.base, self.n_pages << PAGE_SHIFT)
