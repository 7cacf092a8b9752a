"""The host's free memory: a buddy allocator as Xen's, new, or with a history that has broken blocks of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2mperf.errors import BadInputError, DoesNotFitError, shown
from p2mperf.guests.extents import MAX_ORDER
from p2mperf.guests.geometry import Words
from p2mperf.guests.machine import Machine
from p2mperf.streams import seeded_draws
from p2mperf.units import real_number, whole_number

MEGA, GIGA = 9, 18
MAX_HEAP_FRAMES = (1 << 32) - 1  # lists have words of 32 bits, and one value stands for none


@dataclass(frozen=True)
class Fragmentation:
    """How much of a machine gives no superpages any more.

    Attributes
    ----------
    share : float
        Of the machine's whole, aligned 2 MiB blocks, this share is broken: one frame of each, anywhere in it,
        is somebody else's, so that no extent of order 9 can come from it. The blocks are drawn by the
        machine's seed, each set of them equally likely.
    share_1gb : float, optional
        Broken blocks lie in this share of the machine's whole, aligned 1 GiB blocks only (and in what the
        machine has beyond the last one), at least one in each: no extent of order 18 can come from those, and
        the others are whole. Without it broken blocks lie anywhere, and the first few leave no whole GiB.

    Raises
    ------
    BadInputError
        For what are no shares.
    """

    share: float = 0.0
    share_1gb: float | None = None

    def __post_init__(self) -> None:
        """Take numbers from 0 to 1 only."""
        object.__setattr__(self, "share", _share(self.share, "fragmentation"))
        if self.share_1gb is not None:
            share = _share(self.share_1gb, "the share of broken 1 GiB blocks")
            object.__setattr__(self, "share_1gb", share)

    def broken_blocks(self, machine: Machine) -> Words:
        """Numbers of the 2 MiB blocks that are broken, sorted.

        Parameters
        ----------
        machine : Machine
            Whose blocks; its seed draws them.

        Returns
        -------
        ndarray of uint64
            First frames, in units of 512.

        Raises
        ------
        BadInputError
            When so many blocks do not lie in so many GiB.
        """
        n_blocks = machine.n_frames >> MEGA
        n_broken = round(self.share * n_blocks)
        if not n_broken and not self.share_1gb:
            return np.zeros(0, np.uint64)
        if self.share_1gb is None:
            return _drawn(np.arange(n_blocks, dtype=np.uint64), n_broken, machine.seed, "blocks")
        return self._within(machine, n_blocks, n_broken)

    def _within(self, machine: Machine, n_blocks: int, n_broken: int) -> Words:
        n_gigabytes = machine.n_frames >> GIGA
        n_chosen = round((self.share_1gb or 0.0) * n_gigabytes)
        gigabytes = _drawn(np.arange(n_gigabytes, dtype=np.uint64), n_chosen, machine.seed, "gigabytes")
        inside = (gigabytes[:, None] * np.uint64(512) + np.arange(512, dtype=np.uint64)).ravel()
        candidates = np.append(inside, np.arange(n_gigabytes * 512, n_blocks, dtype=np.uint64))
        if not n_chosen <= n_broken <= candidates.size:
            raise BadInputError(
                f"{n_broken} broken 2 MiB blocks cannot lie in {n_chosen} of {n_gigabytes} GiB, each of which"
                f" has at least one, and in the {n_blocks % 512} blocks beyond: take other shares"
            )
        places = _places(n_chosen, "first broken blocks", machine.seed)
        firsts = inside[np.arange(n_chosen, dtype=np.uint64) * np.uint64(512) + places]
        others = np.setdiff1d(candidates, firsts, assume_unique=True)
        rest = _drawn(others, n_broken - n_chosen, machine.seed, "blocks")
        return np.sort(np.append(firsts, rest))


def _share(value: object, what: str) -> float:
    share = real_number(value, what)
    if not 0 <= share <= 1:
        raise BadInputError(f"{what} must be a share from 0 to 1, not {shown(value)}")
    return share


def _drawn(numbers: Words, n_drawn: int, seed: int, what: str) -> Words:
    """Some of the numbers, sorted."""
    from p2mperf.populating.heap_kernels import choose

    choose(numbers, np.uint64(n_drawn), seeded_draws(f"broken {what}", (seed,)))
    return np.sort(numbers[:n_drawn])


def _places(n_places: int, what: str, seed: int) -> Words:
    """A place in each of several blocks of 512."""
    from p2mperf.populating.heap_kernels import draw_places

    places = np.empty(n_places, np.uint64)
    draw_places(places, np.uint64(MEGA), seeded_draws(what, (seed,)))
    return places


class MachineHeap:
    """All memory of a machine that a guest can be given, in free blocks.

    Parameters
    ----------
    machine : Machine
        Of which nothing is in use, but for what `fragmentation` says.
    fragmentation : Fragmentation, optional
        What somebody else has; default: nothing.

    Attributes
    ----------
    blocks : Heap
        What compiled loops take; it has addresses of what this object keeps.
    n_broken_2mb, n_broken_1gb : int
        Whole, aligned blocks of that size of which somebody else has a part.

    Raises
    ------
    BadInputError
        When the machine is too large, or cannot be broken in that way.
    DoesNotFitError
        When memory does not suffice for the lists of free blocks.

    Examples
    --------
    >>> heap = MachineHeap(Machine(1024))
    >>> heap.take(9), heap.take(0), heap.n_free
    (512, 511, 511)
    """

    def __init__(self, machine: Machine, fragmentation: Fragmentation | None = None) -> None:
        from p2mperf.populating.heap_kernels import Heap, give_all, take_each

        if machine.n_frames > MAX_HEAP_FRAMES:
            raise BadInputError(
                f"a machine's free memory is kept in up to {MAX_HEAP_FRAMES} frames, not {machine.n_frames}"
            )
        self.machine, self.fragmentation = machine, fragmentation or Fragmentation()
        broken = self.fragmentation.broken_blocks(machine)
        n_leaves = 1 << (machine.n_frames - 1).bit_length()
        try:
            self._bits = np.zeros(-(-2 * n_leaves // 64), np.uint64)
            self._lists = np.empty(2 * n_leaves, np.uint32)
        except MemoryError:
            raise DoesNotFitError(
                f"memory does not suffice for the free blocks of {machine.n_frames} frames: take a smaller"
                " machine"
            ) from None
        self._n_listed, self._n_blocks = (np.zeros(MAX_ORDER + 1, np.uint64) for _ in range(2))
        kept = self._bits, self._lists, self._n_listed, self._n_blocks
        numbers = (machine.n_frames, n_leaves, *(array.ctypes.data for array in kept))
        self.blocks = Heap(*map(np.uint64, numbers))
        give_all(self.blocks)
        places = _places(broken.size, "broken frames", machine.seed)
        take_each(self.blocks, (broken << np.uint64(MEGA)) | places)
        self.n_broken_2mb = broken.size
        self.n_broken_1gb = int(
            np.count_nonzero(np.unique(broken >> np.uint64(9)) < machine.n_frames >> GIGA)
        )

    @property
    def n_free(self) -> int:
        """Free frames."""
        return sum(int(n_blocks) << order for order, n_blocks in enumerate(self._n_blocks))

    def take(self, order: int) -> int | None:
        """Allocate an aligned block.

        Parameters
        ----------
        order : int
            Its size [log2 frames].

        Returns
        -------
        int or None
            Its first frame; None when there is no such block.

        Raises
        ------
        BadInputError
            When it is no order.
        """
        from p2mperf.populating.heap_kernels import NONE, take

        mfn = int(take(self.blocks, np.uint64(whole_number(order, "an order", 0, MAX_ORDER))))
        return None if mfn == NONE else mfn

    def give(self, mfn: int, order: int) -> None:
        """Give a block back, or a part of one.

        Parameters
        ----------
        mfn, order : int
            Its first frame and size [log2 frames].

        Raises
        ------
        BadInputError
            When it is no aligned block of the machine, or some of it is free already.
        """
        from p2mperf.populating.heap_kernels import give

        order = whole_number(order, "an order", 0, MAX_ORDER)
        mfn = whole_number(mfn, "a machine frame", 0, self.machine.n_frames - 1)
        if mfn % (1 << order) or mfn + (1 << order) > self.machine.n_frames:
            raise BadInputError(f"no block of order {order} begins at mfn {mfn:#x}")
        if self._is_free(mfn, order):
            raise BadInputError(f"memory of order {order} at mfn {mfn:#x} is given back that is free already")
        give(self.blocks, np.uint64(mfn), np.uint64(order))

    def _is_free(self, mfn: int, order: int) -> bool:
        """Whether any of it is."""
        end = mfn + (1 << order)
        return any(first < end and mfn < first + (1 << each) for first, each in self.free_blocks())

    def free_blocks(self) -> list[tuple[int, int]]:
        """All free blocks, as (first frame, order), by frame."""
        words = np.flatnonzero(self._bits)
        bits = np.unpackbits(self._bits[words].view(np.uint8), bitorder="little").reshape(-1, 64)
        at, bit = np.nonzero(bits)
        n_leaves = int(self.blocks.n_leaves)
        found = []
        for node in (words[at] * 64 + bit).tolist():
            order = n_leaves.bit_length() - node.bit_length()
            found.append((node - (n_leaves >> order) << order, order))
        return sorted(found)
