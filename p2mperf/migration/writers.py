"""What a guest writes to while it is being moved, and how many different pages that makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, known, shown
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.guests.machine import checked_seed
from p2mperf.units import real_number, whole_number

# More of them would take memory, and tell nothing else.
MOST_WRITES_AT_ONCE = 1 << 24


class PageWriter(ABC):
    """A sequence of page writes that goes on for as long as it is asked.

    Parameters
    ----------
    guest : Guest
        Whose RAM it writes to.
    n_pages : int, optional
        Working set; default: all RAM [pages].
    seed : int
        Equal seeds give equal writes.

    Raises
    ------
    BadInputError
        When the working set is empty or larger than the guest's RAM.
    """

    name: ClassVar[str]

    def __init__(self, guest: Guest, n_pages: int | None = None, seed: int = 1) -> None:
        require_guest(guest)
        self.guest = guest
        n_ram = int(guest.ram.n_frames.sum())
        self.n_pages = n_ram if n_pages is None else whole_number(n_pages, "a working set")
        if not 0 < self.n_pages <= n_ram:
            raise BadInputError(
                f"a working set of {shown(self.n_pages)} pages is not within the {n_ram} of {guest.name}"
            )
        self._rng = np.random.default_rng(checked_seed(seed))

    def write(self, n_writes: int) -> Words:
        """Give the next `n_writes` frames.

        Raises
        ------
        BadInputError
            When that is no number, or one of more than can be made at once.
        """
        n_writes = whole_number(n_writes, "a number of writes", 0, MOST_WRITES_AT_ONCE)
        return frames_at(self.guest, self._ranks(n_writes))

    @abstractmethod
    def _ranks(self, n_writes: int) -> NDArray[np.int64]:
        """Pages by their number in the working set."""

    @abstractmethod
    def expected_dirty(self, n_writes: float) -> float:
        """How many different pages `n_writes` writes are expected to touch."""


def frames_at(guest: Guest, ranks: NDArray[np.int64]) -> Words:
    """Frames of a guest's RAM by their number in it."""
    ram = guest.ram
    ends = np.cumsum(ram.n_frames)
    bank = np.searchsorted(ends, ranks, side="right")
    gfns = ram.first_pfn[bank] + ranks - (ends[bank] - ram.n_frames[bank])
    return gfns.astype(np.uint64)


def all_frames(guest: Guest) -> Words:
    """Every frame of a guest's RAM, in order."""
    ram = guest.ram
    ranges = zip(ram.first_pfn.tolist(), ram.end_pfn.tolist(), strict=True)
    return np.concatenate([np.arange(first, end, dtype=np.uint64) for first, end in ranges])


class Sequential(PageWriter):
    """One page after the other, round and round; parameters as `PageWriter`."""

    name = "sequential"
    _next = 0

    def _ranks(self, n_writes: int) -> NDArray[np.int64]:
        ranks = (self._next + np.arange(n_writes)) % self.n_pages
        self._next = (self._next + n_writes) % self.n_pages
        return ranks

    def expected_dirty(self, n_writes: float) -> float:
        return min(float(self.n_pages), n_writes)


class Uniform(PageWriter):
    """Any page with equal chance; parameters as `PageWriter`."""

    name = "uniform"

    def _ranks(self, n_writes: int) -> NDArray[np.int64]:
        return self._rng.integers(self.n_pages, size=n_writes)

    def expected_dirty(self, n_writes: float) -> float:
        return _distinct(self.n_pages, n_writes)


class HotSet(PageWriter):
    """A share of all writes goes to a small part of the working set, the rest to all of it.

    Parameters
    ----------
    guest, n_pages, seed
        As `PageWriter`.
    hot_pages : int, optional
        Size of the hot part; default: a tenth of the working set [pages].
    hot_fraction : float
        Share of the writes that goes there.

    Raises
    ------
    BadInputError
        When hot part or share make no sense.
    """

    name = "hot"

    def __init__(
        self,
        guest: Guest,
        n_pages: int | None = None,
        seed: int = 1,
        *,
        hot_pages: int | None = None,
        hot_fraction: float = 0.9,
    ) -> None:
        super().__init__(guest, n_pages, seed)
        hot_pages = max(1, self.n_pages // 10) if hot_pages is None else hot_pages
        self.hot_pages = whole_number(hot_pages, "a hot set")
        self.hot_fraction = real_number(hot_fraction, "the share of a hot set")
        if not 0 < self.hot_pages <= self.n_pages or not 0 <= self.hot_fraction <= 1:
            raise BadInputError(
                f"a hot set of {shown(self.hot_pages)} pages with {self.hot_fraction} of the writes does not "
                f"lie in a working set of {self.n_pages} pages"
            )

    def _ranks(self, n_writes: int) -> NDArray[np.int64]:
        hot = self._rng.random(n_writes) < self.hot_fraction
        limit = np.where(hot, self.hot_pages, self.n_pages)
        return (self._rng.random(n_writes) * limit).astype(np.int64)

    def expected_dirty(self, n_writes: float) -> float:
        cold_writes = n_writes * (1 - self.hot_fraction)
        hot_writes = n_writes - cold_writes + cold_writes * self.hot_pages / self.n_pages
        n_cold = self.n_pages - self.hot_pages
        cold = _distinct(n_cold, cold_writes * n_cold / self.n_pages) if n_cold else 0.0
        return _distinct(self.hot_pages, hot_writes) + cold


WRITERS: dict[str, type[PageWriter]] = {kind.name: kind for kind in (Sequential, Uniform, HotSet)}


def make_writer(name: str, guest: Guest, n_pages: int | None = None, seed: int = 1) -> PageWriter:
    """Make a writer by name.

    Parameters
    ----------
    name : str
        One of `WRITERS`.
    guest : Guest
        Whose RAM it writes to.
    n_pages : int, optional
        Working set; default: all RAM [pages].
    seed : int
        Seed of its choices.

    Returns
    -------
    PageWriter

    Raises
    ------
    BadInputError
        For an unknown name, or a working set that does not lie in RAM.
    """
    return WRITERS[known("writer", name, WRITERS)](guest, n_pages, seed)


def _distinct(n_pages: float, n_writes: float) -> float:
    """Expected different values among `n_writes` uniform draws from `n_pages`."""
    if n_pages <= 1:
        return min(n_writes, 1.0)
    return float(n_pages * -np.expm1(n_writes * np.log1p(-1 / n_pages)))
