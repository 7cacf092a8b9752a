"""Hosts that hand out machine frames."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Geometry
from p2mperf.units import round_up, whole_number

MAX_FRAMES = 1 << 40  # 52 bits of physical address


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
        When it has no frames, or more than physical addresses reach, or the seed is none.
    """

    n_frames: int
    seed: int = 1

    def __post_init__(self) -> None:
        n_frames = whole_number(self.n_frames, "a machine's number of frames", 1, MAX_FRAMES)
        object.__setattr__(self, "n_frames", n_frames)
        object.__setattr__(self, "seed", checked_seed(self.seed))

    @classmethod
    def for_guest(cls, n_pages: int, geometry: Geometry, seed: int) -> Machine:
        """Make a host a quarter larger than the guest, with what the geometry wants beside, in whole 2 MiB.

        Parameters
        ----------
        n_pages : int
            The guest's maximum [pages].
        geometry : Geometry
            Bounds the machine where entries are narrow; 16 MiB for the hypervisor unless it says more.
        seed : int
            Seed of its layout.

        Returns
        -------
        Machine
        """
        n_frames = round_up(n_pages + n_pages // 4 + geometry.spare_machine_frames, 512)
        return cls(min(n_frames, geometry.max_machine_frames or n_frames), seed)

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
        n_frames = whole_number(n_frames, "a number of frames", 0, MAX_FRAMES)
        size = 1 << max(0, min(18, self.n_frames.bit_length() - 11))
        starts = list(range(0, self.n_frames - size + 1, size))
        random.Random(self.seed).shuffle(starts)
        extents: list[tuple[int, int]] = []
        left = n_frames
        for start in starts:
            if not left:
                break
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

    def blocks(self, order: int, n_blocks: int) -> list[int]:
        """Hand out naturally aligned blocks, as a host without history would: in a seeded order.

        Parameters
        ----------
        order : int
            Size of each [log2 frames].
        n_blocks : int
            How many.

        Returns
        -------
        list of int
            First mfn of each; empty when there are not so many. The lowest is Xen's own.
        """
        found = list(range(1, self.n_frames >> order))
        random.Random(self.seed).shuffle(found)
        return [block << order for block in found[:n_blocks]] if n_blocks <= len(found) else []


def checked_seed(seed: object) -> int:
    """Take a seed: equal ones give equal results in every generator.

    Raises
    ------
    BadInputError
        When it is no whole number of at most 64 bits.
    """
    return whole_number(seed, "a seed", 0, 2**64 - 1)


def _around(start: int, size: int, keep: frozenset[int]) -> list[tuple[int, int]]:
    cuts = [start - 1, *sorted(mfn for mfn in keep if start <= mfn < start + size), start + size]
    return [(low + 1, high - low - 1) for low, high in pairwise(cuts) if high - low > 1]
