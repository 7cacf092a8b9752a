"""Page frames in one memfd, and the direct map through which software reads them.

The pool stands for the memory a kernel takes its table pages from. `Window` shows the same frames again, in
another order; a write through one view is seen through the other because there is only one memory.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import ClosedError, DoesNotFitError
from p2mperf.memory import smaps, vm
from p2mperf.memory.owned import Mapped, Owned, Process, require_own_process
from p2mperf.units import HUGE_SIZE, PAGE_SHIFT, PAGE_SIZE, format_size, round_up, whole_number

Frames = NDArray[np.int64]
_HUGE_FRAMES = HUGE_SIZE // PAGE_SIZE
_CLOSED = "this pool is closed: build the design again"


class PagePool(Owned):
    """Frames of 4 KiB in a memfd, allocated once and mapped as the direct map.

    Parameters
    ----------
    n_frames : int
        Frames that are made ready: touched, and collapsed to 2 MiB where the kernel can [frames].
    n_spare : int
        Further frames that only take address space until they are used [frames].
    page_bytes : int
        Page size wanted for the direct map, 4096 or 2 MiB; `direct_page_bytes` tells what it became.
    run_frames : int
        0 hands out frames in address order, as a kernel's boot-time allocator does; otherwise frames come in
        runs of this length, in a seeded random order [frames].
    seed : int
        Seed of that order.

    Attributes
    ----------
    fd : int
        The memfd.
    base : int
        Address of frame 0 in the direct map.
    kinds : dict of str to int
        Pages handed out, by kind.

    Raises
    ------
    DoesNotFitError
        When memory or address space gives out; nothing is kept then.

    Examples
    --------
    >>> with PagePool(4) as pool:
    ...     first, second = pool.allocate(2, "leaf")
    ...     pool.words(second, np.uint64)[0] = 7
    ...     int(pool.words(second, np.uint64)[0]), pool.kinds
    (7, {'leaf': 2})
    """

    def __init__(
        self,
        n_frames: int,
        *,
        n_spare: int = 0,
        page_bytes: int = HUGE_SIZE,
        run_frames: int = 0,
        seed: int = 0,
    ) -> None:
        run_frames = whole_number(run_frames, "run_frames", 0)
        self.n_frames = round_up(n_frames + n_spare, _HUGE_FRAMES)
        self.n_ready = round_up(n_frames, _HUGE_FRAMES)
        self.fd = os.memfd_create("p2mperf-pool", os.MFD_CLOEXEC)
        self.base = 0
        self.mapped: Mapped | None = None
        self._pid = Process.pid
        self._next = 0
        self._order = _run_order(self.n_ready, run_frames, seed) if run_frames else None
        self._kind_names: list[str] = []
        self._kind_of = np.full(self.n_frames, -1, np.int8)
        try:
            self._open(page_bytes)
        except BaseException:
            self.close()
            raise

    def _open(self, page_bytes: int) -> None:
        try:
            os.ftruncate(self.fd, self.n_frames << PAGE_SHIFT)
        except OSError as error:
            raise DoesNotFitError(
                f"a pool of {format_size(self.n_frames << PAGE_SHIFT)}: {error.strerror}"
            ) from error
        self.mapped = Mapped(vm.reserve_aligned(self.n_frames << PAGE_SHIFT), self.n_frames << PAGE_SHIFT)
        self.base = self.mapped.address
        vm.map_pages(self.base, self.n_frames << PAGE_SHIFT, vm.READ_WRITE, self.fd)
        self._make_ready(0, self.n_ready)
        if page_bytes == PAGE_SIZE:
            # A fresh mapping of the collapsed file with huge pages refused: same frames, 4 KiB entries.
            vm.map_pages(self.base, self.n_frames << PAGE_SHIFT, vm.READ_WRITE, self.fd)
            vm.advise(self.base, self.n_frames << PAGE_SHIFT, vm.MADV_NOHUGEPAGE)
        if self.n_ready:
            vm.populate(self.base, self.n_ready << PAGE_SHIFT, write=True)

    def _make_ready(self, first: int, end: int) -> None:
        """Take memory for all of 2 MiB at once, wherever a stretch of frames covers that much."""
        first, end = round_up(first, _HUGE_FRAMES), end // _HUGE_FRAMES * _HUGE_FRAMES
        # One touched word per 2 MiB and one collapse is several times faster than 512 faults.
        if first < end:
            self.words(first, np.uint8, end - first)[::HUGE_SIZE] = 0
            vm.advise(self.base + (first << PAGE_SHIFT), end - first << PAGE_SHIFT, vm.MADV_COLLAPSE)
            # Where the kernel cannot, or the map is on 4 KiB, there are faults left.
            vm.populate(self.base + (first << PAGE_SHIFT), end - first << PAGE_SHIFT, write=True)

    def __enter__(self) -> PagePool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back, and mapping and memory with the last view; a second call does nothing."""
        self.base, self.mapped = 0, None
        if getattr(self, "fd", -1) >= 0:
            os.close(self.fd)
            self.fd = -1

    def allocate(self, n_frames: int, kind: str, align: int = 1) -> Frames:
        """Take frames from the pool.

        Parameters
        ----------
        n_frames : int
            How many.
        kind : str
            What they are for, as `kinds` and a lookup's path will name them.
        align : int
            First frame is a multiple of this, where frames come in address order [frames].

        Returns
        -------
        ndarray of int64, shape (n_frames,)
            Frame numbers; consecutive unless the pool is scattered.

        Raises
        ------
        DoesNotFitError
            When the pool is used up; nothing is taken then.
        ClosedError
            When the pool was closed.
        """
        self._check_open()
        first = self._next if self._order is not None else round_up(self._next, align)
        if first + n_frames > self.n_frames:
            raise DoesNotFitError(
                f"the pool holds {self.n_frames} frames and cannot give {n_frames} more for {kind!r}"
            )
        frames = np.arange(first, first + n_frames, dtype=np.int64)
        if self._order is not None:
            inside = frames < self._order.size
            frames[inside] = self._order[frames[inside]]
        self._make_ready(max(first, self.n_ready), first + n_frames)
        self._next = first + n_frames
        if kind not in self._kind_names:
            self._kind_names.append(kind)
        self._kind_of[frames] = self._kind_names.index(kind)
        return frames

    def make_ready(self, n_frames: int) -> None:
        """Take memory for the frames that will be handed out next.

        Parameters
        ----------
        n_frames : int
            How many; as many as there are, where that is more.

        Raises
        ------
        DoesNotFitError
            When memory gives out.
        """
        n_frames = min(n_frames, self.n_frames - self._next)
        if n_frames > 0:
            vm.populate(self.base + (self._next << PAGE_SHIFT), n_frames << PAGE_SHIFT, write=True)

    def give_back(self, frames: Frames) -> None:
        """Return the frames that were taken last, for a change that could not be finished.

        Parameters
        ----------
        frames : ndarray of int64
            All frames of the last calls of `allocate`.
        """
        self._kind_of[frames] = -1
        self._next -= frames.size

    def _check_open(self) -> None:
        if self.fd < 0:
            raise ClosedError(_CLOSED)
        require_own_process(self._pid, "pool")

    def kind(self, frame: int) -> str:
        """Name what a frame was allocated for; "" if it was not."""
        index = self._kind_of[frame]
        return self._kind_names[index] if index >= 0 else ""

    @property
    def n_taken(self) -> int:
        """Frames handed out, those included that alignment has left out."""
        return self._next

    @property
    def kinds(self) -> dict[str, int]:
        """Pages handed out, by kind."""
        counts = Counter(self._kind_of[self._kind_of >= 0].tolist())
        return {self._kind_names[index]: n for index, n in sorted(counts.items())}

    def address(self, frame: int) -> int:
        """Address of a frame in the direct map."""
        return self.base + (int(frame) << PAGE_SHIFT)

    def frame_at(self, address: int) -> int:
        """Frame that an address of the direct map lies in; -1 for any other address."""
        frame = (address - self.base) >> PAGE_SHIFT
        return frame if 0 <= frame < self.n_frames else -1

    def words(self, first: int, dtype: type[vm.Word], n_frames: int = 1) -> NDArray[vm.Word]:
        """View frames [first, first + n_frames) through the direct map.

        Parameters
        ----------
        first : int
            First frame.
        dtype : type of numpy
            Type of a word.
        n_frames : int
            How many frames.

        Returns
        -------
        ndarray, shape (n_frames * 4096 / itemsize,)
            A view, not a copy; what it shows stays mapped as long as it is used.

        Raises
        ------
        ClosedError
            When the pool was closed, or belongs to another process.
        """
        self._check_open()
        mapped = self.mapped
        if mapped is None:
            raise ClosedError(_CLOSED)
        return mapped.view(first << PAGE_SHIFT, n_frames << PAGE_SHIFT, dtype)

    def pages(self, dtype: type[vm.Word]) -> NDArray[vm.Word]:
        """View the whole direct map as one row of words a frame, shape (n_frames, words a page)."""
        return self.words(0, dtype, self.n_frames).reshape(self.n_frames, -1)

    def stretches(self, *without: str) -> list[tuple[int, int]]:
        """Where the frames are that were handed out: address and length of each stretch [bytes].

        Parameters
        ----------
        *without : str
            Kinds of pages that are passed over.
        """
        passed = [number for number, kind in enumerate(self._kind_names) if kind in without]
        taken = (self._kind_of >= 0) & ~np.isin(self._kind_of, passed)
        return [(self.base + start, n_bytes) for start, n_bytes in page_runs(taken)]

    @property
    def memory_bytes(self) -> int:
        """Memory the memfd really holds [bytes]."""
        self._check_open()
        return os.fstat(self.fd).st_blocks * 512

    @property
    def direct_page_bytes(self) -> int:
        """Page size of the direct map as smaps tells it: 4096, 2 MiB, or 0 where it is mixed."""
        return smaps.view_page_bytes(self.base, self.n_frames << PAGE_SHIFT)


def page_runs(chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Offset and length of each run of chosen pages [bytes].

    Examples
    --------
    >>> page_runs(np.array([True, True, False, True]))
    [(0, 8192), (12288, 4096)]
    """
    edges = np.flatnonzero(np.diff(chosen, prepend=False, append=False)) << PAGE_SHIFT
    return list(zip(edges[::2].tolist(), np.diff(edges)[::2].tolist(), strict=True))


def _run_order(n_frames: int, run_frames: int, seed: int) -> Frames:
    run_frames = min(run_frames, max(1, n_frames))
    n_runs = n_frames // run_frames
    starts = np.random.default_rng(seed).permutation(n_runs) * run_frames
    order = (starts[:, None] + np.arange(run_frames)).ravel()
    return np.concatenate([order, np.arange(order.size, n_frames)]).astype(np.int64)
