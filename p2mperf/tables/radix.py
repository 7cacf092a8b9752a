"""One radix table for every geometry: built level by level with whole-array steps, read back the same way.

A table is told which frame each slot of its last level points to; everything above is derived. Slots that a
whole page has in common can be covered by one shared page, which is how Linux covers holes; no page is taken
where there is nothing below. A slot of any level may be a leaf itself: a superpage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Words
from p2mperf.memory.pool import Frames, PagePool
from p2mperf.tables.radix_format import NOTHING, Level, Radix, RadixTable, Sharing, Slots

__all__ = [
    "Level",
    "Radix",
    "RadixTable",
    "Sharing",
    "build",
    "count_pages",
    "covered_by",
    "read_back",
    "read_leaves",
]

# Gives frames for a number of pages of a named level; those of a concatenated root follow each other.
Placement = Callable[[int, str], Frames]
NO_SHARING = Sharing()
_PRIVATE = -2
_LEAF = -3
_EMPTY = np.uint64(0)


def count_pages(
    targets: NDArray[Any], shape: Radix, sharing: Sharing, *, leaves: Mapping[str, Words] | None = None
) -> dict[str, int]:
    """Predict the pages that `build` will take, without taking them.

    Parameters
    ----------
    targets : ndarray of int, shape (n_slots,)
        What each last-level slot will point to, -1 for nothing; otherwise any labels will do.
    shape : Radix
        The table.
    sharing : Sharing
        As for `build`, in the same labels.
    leaves : dict of str to ndarray of uint64, optional
        As for `build`.

    Returns
    -------
    dict of str to int
        Pages by level name; shared pages are under "<name>_shared".

    Raises
    ------
    BadInputError
        As `build`.
    """
    counts = {}
    children = np.asarray(targets, np.int64)
    for level, rules, words in _levels(shape, sharing, leaves):
        covered = _covered(_pages_of(_marked(level, children, words), level), rules)
        counts[level.name] = int(np.count_nonzero(covered == _PRIVATE)) * shape.n_frames(level)
        if rules.labels:
            counts[f"{level.name}_shared"] = len(rules.labels)
        children = np.where(covered == NOTHING, NOTHING, 0)
    return counts


def covered_by(targets: NDArray[Any], shape: Radix, sharing: Sharing) -> NDArray[np.int64]:
    """Tell which label's shared page covers each last-level page; negative where none does.

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
    pool: PagePool,
    targets: Frames,
    shape: Radix,
    sharing: Sharing = NO_SHARING,
    numbers: Frames | None = None,
    *,
    origin: int | None = None,
    place: Placement | None = None,
    leaves: Mapping[str, Words] | None = None,
) -> RadixTable:
    """Build a table whose last-level slots point to `targets`.

    Parameters
    ----------
    pool : PagePool
        Where its pages come from.
    targets : ndarray of int64, shape (n_slots,)
        Frame for each last-level slot, -1 for an empty one. A page without entries is not taken, and the slot
        above it is empty; the root is always taken.
    shape : Radix
        Levels and slot format.
    sharing : Sharing
        Which frames fill shared pages.
    numbers : ndarray of int64, optional
        As `RadixTable.numbers`.
    origin : int, optional
        As `RadixTable.origin` [bytes].
    place : callable, optional
        Takes the pages of a level, from a number and a name, as ``pool.allocate`` does, which is the default:
        they may be wanted in another order.
    leaves : dict of str to ndarray of uint64, optional
        Words that are stored as they are, 0 for none, for all slots of each level named: a superpage where
        the level is not the last. Nothing may be below a leaf.

    Returns
    -------
    RadixTable
        The table; its pages belong to the pool.

    Raises
    ------
    DoesNotFitError
        When the pool is used up.
    BadInputError
        For leaves that are not as many as the level has slots, have something below them, or would be taken
        for pointers.
    """
    table = RadixTable(pool, shape, numbers=numbers, origin=origin)
    pages_in_memory = pool.pages(shape.dtype)
    take = place or pool.allocate
    children = np.asarray(targets, np.int64)
    for level, rules, words in _levels(shape, sharing, leaves):
        pages = _pages_of(_marked(level, children, words), level)
        if words is not None and level is not shape.levels[0] and table.points(words[words != 0]).any():
            raise BadInputError(f"a leaf of level {level.name} would be taken for a pointer to a page")
        covered = _covered(pages, rules)
        private = covered == _PRIVATE
        slots = _slots(table, pages[private], rules)
        if words is not None:
            slots |= _pages_of(words, level, _EMPTY)[private].astype(slots.dtype)
        n_frames, width = shape.n_frames(level), level.fanout // shape.n_frames(level)
        taken = _in_rows(take(len(slots) * n_frames, level.name), n_frames, level)
        pages_in_memory[taken, :width] = slots.reshape(-1, width)
        frames = np.full(covered.size, NOTHING)
        frames[private] = taken[::n_frames]
        for label in rules.labels:
            shared = int(pool.allocate(1, f"{level.name}_shared")[0])
            pages_in_memory[shared, :width] = _slots(table, np.full(level.fanout, label), rules)
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
    frames = np.zeros(0, np.int64)
    for read in _read(table, n_slots):
        frames = read.frames
    return frames


def read_leaves(table: RadixTable, n_slots: int) -> tuple[Words, NDArray[np.int8]]:
    """Walk the whole table in memory, and say where each walk ends.

    Parameters
    ----------
    table : RadixTable
        A built table.
    n_slots : int
        Last-level slots to read.

    Returns
    -------
    words : ndarray of uint64, shape (n_slots,)
        The leaf that covers each last-level slot, repeated where it stands above; 0 for none.
    depths : ndarray of int8, shape (n_slots,)
        Its level, 0 for the last; meaningless where there is no leaf.
    """
    words, depths = np.zeros(1, np.uint64), np.zeros(1, np.int8)
    for read in _read(table, n_slots):
        below = slice(read.level.first_slot, read.level.first_slot + read.slots.size)
        is_leaf = read.reached & (read.slots != 0)
        if read.depth:
            is_leaf &= ~table.points(read.slots)
        words = np.where(is_leaf, read.slots, np.repeat(words, read.level.fanout)[below])
        depths = np.where(is_leaf, np.int8(read.depth), np.repeat(depths, read.level.fanout)[below])
    return words, depths


class _LevelRead(NamedTuple):
    """A level as it stands in memory: its slots, which of them a table leads to, and where they point."""

    depth: int
    level: Level
    slots: Slots
    reached: NDArray[np.bool_]
    frames: Frames


def _read(table: RadixTable, n_slots: int) -> Iterator[_LevelRead]:
    shape = table.shape
    in_memory = table.pool.pages(shape.dtype)
    frames = np.array([table.root], np.int64)
    for depth, n in reversed(list(enumerate(shape.n_slots(n_slots)))):
        level = shape.levels[depth]
        n_frames = shape.n_frames(level)
        # A slot may point anywhere: what no page of the pool stands behind reads as empty.
        inside = (frames >= 0) & (frames <= len(in_memory) - n_frames)
        at = np.where(inside, frames, 0)[:, None] + np.arange(n_frames)
        pages = in_memory[at].reshape(frames.size, -1)[:, : level.fanout]
        part = slice(level.first_slot, level.first_slot + n)
        slots = np.where(inside[:, None], pages, 0).ravel()[part]
        reached = np.repeat(inside, level.fanout)[part]
        frames = np.where(reached, table.decode(slots), NOTHING)
        yield _LevelRead(depth, level, slots, reached, frames)


def _levels(
    shape: Radix, sharing: Sharing, leaves: Mapping[str, Words] | None
) -> Iterator[tuple[Level, Sharing, Words | None]]:
    """Each level with its rules and its leaves: only the last is shared, and the root is always there."""
    if unknown := set(leaves or ()) - {level.name for level in shape.levels}:
        raise BadInputError(f"the table has no level {', '.join(sorted(unknown))}")
    for depth, level in enumerate(shape.levels):
        rules = sharing if depth == 0 else Sharing(write_flag=sharing.write_flag)
        if depth == len(shape.levels) - 1:
            rules = replace(rules, n_kept=max(1, rules.n_kept))
        yield level, rules, leaves.get(level.name) if leaves else None


def _marked(level: Level, children: Frames, words: Words | None) -> Frames:
    """Children, and a mark where a leaf takes the place of one."""
    if words is None:
        return children
    if words.size != children.size:
        raise BadInputError(f"level {level.name} has {children.size} slots, not {words.size} leaves")
    if (both := np.flatnonzero((words != 0) & (children != NOTHING))).size:
        raise BadInputError(f"slot {both[0]} of level {level.name} is a leaf and has entries below it")
    return np.where(words != 0, _LEAF, children)


def _pages_of(children: NDArray[Any], level: Level, padding: Any = NOTHING) -> NDArray[Any]:
    """Children as one row a page; slots outside the table are padding."""
    start = level.first_slot
    n_pages = level.n_pages(children.size)
    padded = np.full(n_pages * level.fanout, padding)
    padded[start : start + children.size] = children
    return padded.reshape(n_pages, level.fanout)


def _covered(pages: NDArray[np.int64], sharing: Sharing) -> NDArray[np.int64]:
    """The label whose shared page covers each page, else `_PRIVATE`, or `NOTHING` for a page without any."""
    covered = np.where((pages == NOTHING).all(axis=1), NOTHING, _PRIVATE)
    if sharing.labels:
        groups = pages.reshape(len(pages) // sharing.group, -1)
        first = groups[:, 0]
        uniform = (groups == first[:, None]).all(axis=1) & np.isin(first, sharing.labels)
        covered = np.where(np.repeat(uniform, sharing.group), np.repeat(first, sharing.group), covered)
    covered[: sharing.n_kept] = _PRIVATE
    covered[list(sharing.kept)] = _PRIVATE
    return covered


def _in_rows(frames: Frames, n_frames: int, level: Level) -> Frames:
    if not (np.diff(frames.reshape(-1, n_frames)) == 1).all():
        raise BadInputError(f"the concatenated pages of level {level.name} do not follow each other")
    return frames


def _slots(table: RadixTable, frames: Frames, sharing: Sharing) -> Slots:
    slots = table.encode(np.maximum(frames, 0))
    slots |= np.where(np.isin(frames, sharing.labels), 0, sharing.write_flag).astype(slots.dtype)
    slots[frames < 0] = 0
    return slots
