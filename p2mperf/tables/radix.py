"""One radix table for every geometry: built level by level with whole-array steps, read back the same way.

A table is told which frame each slot of its last level points to; everything above is derived. Slots that a
whole page has in common can be covered by one shared page, which is how Linux covers holes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.memory.pool import Frames, PagePool
from p2mperf.units import PAGE_SHIFT


@dataclass(frozen=True)
class Level:
    """One level of interior pages.

    Attributes
    ----------
    name : str
        Kind of its pages: "mid", "top", "pte", "pmd" ...
    fanout : int
        Slots of a page.
    first_slot : int
        Slot of the level's first page where the table begins: an area need not begin where a page does.
    """

    name: str
    fanout: int
    first_slot: int = 0


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
    """

    levels: tuple[Level, ...]
    slot_bytes: int
    based: bool = True
    flags: int = 0

    @property
    def dtype(self) -> Any:
        return np.uint64 if self.slot_bytes == 8 else np.uint32


@dataclass
class RadixTable:
    """A table in pool pages.

    Attributes
    ----------
    pool : PagePool
        Where its pages are.
    shape : Radix
        Levels and slot format.
    root : int
        Frame of the root page.
    frames : dict of str to ndarray of int64
        Frame behind each position of a level, shared ones repeated.
    shared : dict of int to int
        Frame of the shared page by the child frame that fills it.
    numbers : ndarray of int64, optional
        Page number that stands in a slot for each frame, where that is neither address nor offset: PV
        page tables hold machine frames.
    """

    pool: PagePool
    shape: Radix
    root: int = -1
    frames: dict[str, Frames] = field(default_factory=dict)
    shared: dict[int, int] = field(default_factory=dict)
    numbers: Frames | None = None

    @property
    def base(self) -> int:
        return self.pool.base if self.shape.based and self.numbers is None else 0

    def encode(self, frames: Frames) -> NDArray[Any]:
        """Slot values that point to `frames`."""
        pages = frames if self.numbers is None else self.numbers[frames]
        address = (pages.astype(np.uint64) << np.uint64(PAGE_SHIFT)) + np.uint64(self.base)
        return (address | np.uint64(self.shape.flags)).astype(self.shape.dtype)

    def decode(self, slots: NDArray[Any]) -> Frames:
        """Frames that slot values point to."""
        address = slots.astype(np.uint64) - np.uint64(self.base)
        pages = (address >> np.uint64(PAGE_SHIFT)).astype(np.int64)
        if self.numbers is None:
            return pages
        order = np.argsort(self.numbers)
        return order[np.searchsorted(self.numbers, pages, sorter=order).clip(max=order.size - 1)]


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
    """

    labels: tuple[int, ...] = ()
    group: int = 1
    n_kept: int = 0
    write_flag: int = 0


_PAD = -1
_PRIVATE = -2


def count_pages(targets: NDArray[Any], shape: Radix, sharing: Sharing) -> dict[str, int]:
    """Predict the pages that `build` will take, without taking them.

    Parameters
    ----------
    targets : ndarray of int, shape (n_slots,)
        What each last-level slot will point to; any labels will do.
    shape : Radix
        The table.
    sharing : Sharing
        As for `build`, in the same labels.

    Returns
    -------
    dict of str to int
        Pages by level name; shared pages are under "<name>_shared".
    """
    last, *upper = shape.levels
    covered = _covered(_pages_of(targets, last), sharing)
    counts = {last.name: int(np.count_nonzero(covered == _PRIVATE))}
    if sharing.labels:
        counts[f"{last.name}_shared"] = len(sharing.labels)
    n_children = covered.size
    for level in upper:
        n_children = -(-(level.first_slot + n_children) // level.fanout)
        counts[level.name] = n_children
    return counts


def covered_by(targets: NDArray[Any], shape: Radix, sharing: Sharing) -> NDArray[np.int64]:
    """Tell which label's shared page covers each last-level page; negative where the page is private.

    Parameters
    ----------
    targets, shape, sharing
        As for `count_pages`.

    Returns
    -------
    ndarray of int64, shape (n_pages,)
        A label of `sharing`, or a negative number.
    """
    return _covered(_pages_of(targets, shape.levels[0]), sharing)


def build(
    pool: PagePool, targets: Frames, shape: Radix, sharing: Sharing, numbers: Frames | None = None
) -> RadixTable:
    """Build a table whose last-level slots point to `targets`.

    Parameters
    ----------
    pool : PagePool
        Where its pages come from.
    targets : ndarray of int64, shape (n_slots,)
        Frame for each last-level slot.
    shape : Radix
        Levels and slot format.
    sharing : Sharing
        Which frames fill shared pages.
    numbers : ndarray of int64, optional
        As `RadixTable.numbers`.

    Returns
    -------
    RadixTable
        The table; its pages belong to the pool.

    Raises
    ------
    DoesNotFitError
        When the pool is used up.
    """
    table = RadixTable(pool, shape, numbers=numbers)
    words = pool.pages(shape.dtype)
    children = np.asarray(targets, np.int64)
    for depth, level in enumerate(shape.levels):
        rules = sharing if depth == 0 else Sharing(write_flag=sharing.write_flag)
        pages = _pages_of(children, level)
        covered = _covered(pages, rules)
        private = covered == _PRIVATE
        frames = np.empty(covered.size, np.int64)
        frames[private] = pool.allocate(int(private.sum()), level.name)
        words[frames[private]] = _slots(table, pages[private], rules)
        for label in rules.labels:
            shared = int(pool.allocate(1, f"{level.name}_shared")[0])
            words[shared] = _slots(table, np.full(level.fanout, label), rules)
            frames[covered == label] = table.shared[label] = shared
        table.frames[level.name] = children = frames
    table.root = int(children[0])
    return table


def read_back(table: RadixTable, n_slots: int) -> Frames:
    """Walk the whole table in memory, from the root down.

    Parameters
    ----------
    table : RadixTable
        A built table.
    n_slots : int
        Last-level slots to read.

    Returns
    -------
    ndarray of int64, shape (n_slots,)
        Frame that each last-level slot points to, -1 for an empty slot and for one that no table leads to.
    """
    shape = table.shape
    words = table.pool.pages(shape.dtype)
    counts = [n_slots]
    for level in shape.levels[:-1]:
        counts.append(-(-(level.first_slot + counts[-1]) // level.fanout))
    frames = np.array([table.root], np.int64)
    for level, n in zip(reversed(shape.levels), reversed(counts), strict=True):
        # A slot may point anywhere: what no page of the pool stands behind reads as empty.
        inside = (frames >= 0) & (frames < len(words))
        pages = np.where(inside[:, None], words[np.where(inside, frames, 0)], 0)
        slots = pages.ravel()[level.first_slot : level.first_slot + n]
        reached = np.repeat(inside, level.fanout)[level.first_slot : level.first_slot + n]
        # Only tables with a present bit have empty slots; offset 0 is a frame like any other.
        empty = (slots == 0) if shape.flags else np.zeros(slots.size, np.bool_)
        frames = np.where(empty | ~reached, _PAD, table.decode(slots))
    return frames


def _pages_of(children: NDArray[Any], level: Level) -> NDArray[np.int64]:
    """Children as one row a page; slots outside the table are padding."""
    start = level.first_slot
    n_pages = -(-(start + children.size) // level.fanout)
    padded = np.full(n_pages * level.fanout, _PAD, np.int64)
    padded[start : start + children.size] = children
    return padded.reshape(n_pages, level.fanout)


def _covered(pages: NDArray[np.int64], sharing: Sharing) -> NDArray[np.int64]:
    """The label whose shared page covers each page, else `_PRIVATE`."""
    if not sharing.labels:
        return np.full(len(pages), _PRIVATE, np.int64)
    groups = pages.reshape(len(pages) // sharing.group, -1)
    first = groups[:, 0]
    uniform = (groups == first[:, None]).all(axis=1) & np.isin(first, sharing.labels)
    covered = np.repeat(np.where(uniform, first, _PRIVATE), sharing.group)
    covered[: sharing.n_kept] = _PRIVATE
    return covered


def _slots(table: RadixTable, frames: Frames, sharing: Sharing) -> NDArray[Any]:
    slots = table.encode(np.maximum(frames, 0))
    slots |= np.where(np.isin(frames, sharing.labels), 0, sharing.write_flag).astype(slots.dtype)
    slots[frames == _PAD] = 0
    return slots
