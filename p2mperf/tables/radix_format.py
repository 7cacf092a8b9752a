"""What a radix table is made of: levels, slots in one format, and rules for pages that can be shared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.memory.owned import Owned
from p2mperf.memory.pool import Frames, PagePool
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE

# Of one width or the other, as the table's slots are.
Slots = NDArray[np.unsignedinteger[Any]]
NOTHING = -1  # behind a slot, or in place of a page


@dataclass(frozen=True)
class Level:
    """One level of interior pages.

    Attributes
    ----------
    name : str
        Kind of its pages: "mid", "top", "pte", "pmd" ...
    fanout : int
        Slots of a page; where they fill several, these are concatenated: they stand in a row and are indexed
        as one, as the root pages of ARM's stage 2 are.
    first_slot : int
        Slot of the level's first page where the table begins: an area need not begin where a page does.
    """

    name: str
    fanout: int
    first_slot: int = 0

    def n_pages(self, n_slots: int) -> int:
        """Pages, or concatenated rows of them, that so many slots lie in."""
        return -(-(self.first_slot + n_slots) // self.fanout)


@dataclass(frozen=True)
class Radix:
    """Shape and slot format of a table's interior.

    Attributes
    ----------
    levels : tuple of Level
        From the last level upwards; the last one listed is the root.
    slot_bytes : int
        Bytes of a slot, 8 or 4.
    based : bool
        True: a slot holds a real address; False: an offset from the pool's base.
    flags : int
        Bits set in every slot beside the address.
    kind_mask : int
        Bits by which a slot that points to a page is told from a leaf and from an empty one: it has those of
        `flags`. 0: every slot that is not 0 points to a page, and without `flags` every slot does.
    address_mask : int
        Bits of a slot that are its address.
    """

    levels: tuple[Level, ...]
    slot_bytes: int
    based: bool = True
    flags: int = 0
    kind_mask: int = 0
    address_mask: int = 2**64 - PAGE_SIZE

    @property
    def dtype(self) -> type[np.uint64] | type[np.uint32]:
        return np.uint64 if self.slot_bytes == 8 else np.uint32

    def n_frames(self, level: Level) -> int:
        """Frames that one page of a level takes: more than one where pages are concatenated."""
        return -(-level.fanout * self.slot_bytes // PAGE_SIZE)

    def n_slots(self, n_last: int) -> list[int]:
        """Slots of every level, from the last upwards, where the last one has `n_last`."""
        counts = [n_last]
        for level in self.levels[:-1]:
            counts.append(level.n_pages(counts[-1]))
        return counts


@dataclass
class RadixTable(Owned):
    """A table in pool pages.

    Attributes
    ----------
    pool : PagePool
        Where its pages are.
    shape : Radix
        Levels and slot format.
    root : int
        Frame of the root page, or of the first where it is several.
    frames : dict of str to ndarray of int64
        Frame behind each position of a level, shared ones repeated; -1 where there is no page.
    shared : dict of int to int
        Frame of the shared page by the child frame that fills it.
    numbers : ndarray of int64, optional
        Page number that stands in a slot for each frame, where that is neither address nor offset: PV
        page tables hold machine frames.
    origin : int, optional
        What slots call the address of the pool's frame 0, where that is not its address in this process: a
        machine address [bytes].
    """

    pool: PagePool
    shape: Radix
    root: int = -1
    frames: dict[str, Frames] = field(default_factory=dict)
    shared: dict[int, int] = field(default_factory=dict)
    numbers: Frames | None = None
    origin: int | None = None

    @property
    def base(self) -> int:
        """Address of the pool's frame 0, as slots say it."""
        if self.origin is not None:
            return self.origin
        return self.pool.base if self.shape.based and self.numbers is None else 0

    def encode(self, frames: Frames) -> Slots:
        """Slot values that point to `frames`."""
        pages = frames if self.numbers is None else self.numbers[frames]
        address = (pages.astype(np.uint64) << np.uint64(PAGE_SHIFT)) + np.uint64(self.base)
        return (address | np.uint64(self.shape.flags)).astype(self.shape.dtype)

    def points(self, slots: Slots) -> NDArray[np.bool_]:
        """Tell which slot values point to a page, rather than being empty or a leaf."""
        shape = self.shape
        if shape.kind_mask:
            return (slots & np.uint64(shape.kind_mask)) == np.uint64(shape.flags & shape.kind_mask)
        # Only tables with a present bit have empty slots; offset 0 is a frame like any other.
        return slots != 0 if shape.flags else np.ones(slots.shape, np.bool_)

    def decode(self, slots: Slots) -> Frames:
        """Frames that slot values point to; -1 for a value that points nowhere."""
        address = (slots.astype(np.uint64) & np.uint64(self.shape.address_mask)) - np.uint64(self.base)
        pages = (address >> np.uint64(PAGE_SHIFT)).astype(np.int64)
        if self.numbers is not None:
            order = np.argsort(self.numbers)
            pages = order[np.searchsorted(self.numbers, pages, sorter=order).clip(max=order.size - 1)]
        return np.where(self.points(slots), pages, NOTHING)


@dataclass(frozen=True)
class Sharing:
    """What last-level slots may be covered by shared pages, and which are read-only.

    Attributes
    ----------
    labels : tuple of int
        Targets that, where they fill whole last-level pages, are reached through one shared page each.
        Those pages are made even if nothing uses them, as Linux makes them at boot.
    group : int
        Last-level pages that are shared only together (PMDS_PER_MID_PAGE).
    n_kept : int
        Last-level pages, counted from the first, that are private whatever they hold.
    write_flag : int
        Bit of a slot whose target is not one of `labels`.
    kept : tuple of int
        Further last-level pages that are private whatever they hold.
    """

    labels: tuple[int, ...] = ()
    group: int = 1
    n_kept: int = 0
    write_flag: int = 0
    kept: tuple[int, ...] = ()
