"""Hosts that hand out machine frames, and maps of frames as runs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Geometry, Kind
from p2mperf.units import MIB, round_up

COMPAT_M2P_FRAMES = 168 * MIB // 4  # what a 32-bit guest's m2p shows: the hole above 0xF5800000


@dataclass(frozen=True)
class Machine:
    """A host whose frames are handed out in extents, in a seeded order.

    Parameters
    ----------
    n_frames : int
        Machine frames; mfns are below this, and the m2p has this many entries.
    seed : int
        Seed of the order.

    Raises
    ------
    BadInputError
        When it has no frames.
    """

    n_frames: int
    seed: int = 1

    def __post_init__(self) -> None:
        if self.n_frames <= 0:
            raise BadInputError(f"a machine needs at least one frame, not {self.n_frames}")

    @classmethod
    def for_guest(cls, n_pages: int, geometry: Geometry, seed: int) -> Machine:
        """Make a host a quarter larger than the guest, and 16 MiB for the hypervisor, in whole 2 MiB.

        Parameters
        ----------
        n_pages : int
            The guest's maximum [pages].
        geometry : Geometry
            Bounds the machine where entries are narrow.
        seed : int
            Seed of its layout.

        Returns
        -------
        Machine
        """
        n_frames = round_up(n_pages + n_pages // 4 + 4096, 512)
        limits = {"pv32": COMPAT_M2P_FRAMES, "lpae": geometry.max_frames}
        return cls(min(n_frames, limits.get(geometry.name, n_frames)), seed)

    def allocate(self, n_frames: int, keep: frozenset[int] = frozenset()) -> list[tuple[int, int]]:
        """Hand out frames as a host with a little history would: equal extents in random order.

        Parameters
        ----------
        n_frames : int
            How many.
        keep : frozenset of int
            Machine frames that are spoken for.

        Returns
        -------
        list of (int, int)
            (number of frames, first mfn) of each extent.

        Raises
        ------
        BadInputError
            When the machine is too small.

        Notes
        -----
        Extents are naturally aligned powers of two between one page and 1 GiB, as Xen's buddy allocator
        gives them, about a thousand to a machine. Python's Mersenne Twister keeps its promise of equal
        results across versions, so a seed means the same layout everywhere.
        """
        size = 1 << max(0, min(18, self.n_frames.bit_length() - 11))
        starts = list(range(0, self.n_frames - size + 1, size))
        random.Random(self.seed).shuffle(starts)
        extents: list[tuple[int, int]] = []
        left = n_frames
        for start in starts:
            for first, length in _around(start, size, keep):
                taken = min(length, left)
                if taken:
                    extents.append((taken, first))
                    left -= taken
        if left:
            raise BadInputError(
                f"the machine has {self.n_frames} frames, {left} fewer than the guest's {n_frames} need"
            )
        return extents


def _around(start: int, size: int, keep: frozenset[int]) -> list[tuple[int, int]]:
    cuts = [start - 1, *sorted(mfn for mfn in keep if start <= mfn < start + size), start + size]
    return [(low + 1, high - low - 1) for low, high in pairwise(cuts) if high - low > 1]


@dataclass(frozen=True)
class Runs:
    """Consecutive stretches of frames of one kind; values of a RAM run count up from `first_mfn`.

    Attributes
    ----------
    first_pfn, n_frames, first_mfn : ndarray of int64, shape (n_runs,)
        Where a run starts, its length, and the mfn of its first frame (0 unless RAM).
    kind : ndarray of int8, shape (n_runs,)
        `Kind` of the run.
    """

    first_pfn: NDArray[np.int64]
    n_frames: NDArray[np.int64]
    kind: NDArray[np.int8]
    first_mfn: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, int, int]]) -> Runs:
        """Build from rows (first pfn, frames, kind, first mfn), dropping empty ones."""
        table = np.array([row for row in rows if row[1] > 0], np.int64).reshape(-1, 4)
        return cls(table[:, 0], table[:, 1], table[:, 2].astype(np.int8), table[:, 3])

    @property
    def end_pfn(self) -> NDArray[np.int64]:
        return self.first_pfn + self.n_frames

    def select(self, *kinds: Kind) -> Runs:
        """Only the runs of these kinds."""
        return self.take(np.isin(self.kind, kinds))

    def take(self, index: Any) -> Runs:
        """Only the runs that `index` selects."""
        return Runs(self.first_pfn[index], self.n_frames[index], self.kind[index], self.first_mfn[index])

    def at(self, pfns: NDArray[np.int64]) -> NDArray[np.intp]:
        """Run that each pfn lies in, for runs without gaps between them."""
        return np.searchsorted(self.first_pfn, pfns, side="right") - 1

    def cut(self, points: NDArray[np.int64]) -> Runs:
        """Split so that no run crosses any of `points`."""
        inside = points[(points > self.first_pfn[0]) & (points < self.end_pfn[-1])]
        first = np.union1d(self.first_pfn, inside)
        run = self.at(first)
        n_frames = np.diff(np.append(first, self.end_pfn[-1]))
        shift = np.where(self.kind[run] == Kind.RAM, first - self.first_pfn[run], 0)
        return Runs(first, n_frames, self.kind[run], self.first_mfn[run] + shift)
