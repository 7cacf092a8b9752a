"""Changes of a p2m as users ask for them: what is asked is checked whole, before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.designs.hap.change_kernels import set_ranges
from p2mperf.designs.hap.operation_kernels import (
    add_ranges,
    change_types,
    find_levels,
    remove_ranges,
    retype_all,
)
from p2mperf.designs.hap.table import Flags, HapTable
from p2mperf.errors import BadInputError, known, shown
from p2mperf.guests.extents import MAX_ORDER
from p2mperf.guests.frames import as_array, frame_numbers
from p2mperf.guests.geometry import Words
from p2mperf.guests.hap import P2mType
from p2mperf.memory.raw import Counted
from p2mperf.units import PAGE_SHIFT, whole_number

_MOST_PAGES = 1 << 28  # 1 TiB of tables
# What can be set; what is not mapped reads as mmio_dm, whose frames are removed.
KINDS = {kind.name.lower(): kind for kind in P2mType if kind.is_ram or kind is P2mType.MMIO_DIRECT}


class _Changed(Protocol):
    """What the door finds in a design."""

    table: HapTable

    def lookup(self, pfns: ArrayLike) -> Words: ...

    def after_change(self) -> None:
        """Follow what has changed."""


class ChangeDoor:
    """What can be done to the p2m of every HAP design.

    Ranges are of 2**order frames each, cut into the largest leaves that alignment in guest and machine
    allows, as set_p2m_entry has done since July 2008; one that is misaligned becomes small ones. Every method
    tells for each range whether it was done: where the domain's pool has no page for a table that it takes,
    no translation has changed. Tables that were linked or split on the way stay.
    """

    table: HapTable

    def set_entry(
        self: _Changed, gfns: ArrayLike, mfns: ArrayLike, order: ArrayLike = 0, kind: str = "ram_rw"
    ) -> Flags:
        """Set entries alone, and leave the m2p as it is: set_p2m_entry, for those who keep that themselves.

        Parameters
        ----------
        gfns, mfns : array_like of int
            First frames of guest and machine.
        order : int or array_like of int
            Size of each range [log2 frames].
        kind : str
            "ram_rw", "ram_logdirty", "ram_ro" or "mmio_direct".

        Returns
        -------
        ndarray of bool
            Whether each range was set.

        Raises
        ------
        BadInputError
            For frames beyond the table or the machine, sizes above 1 GiB, or another kind; nothing is done.
        """
        frames, orders = _ranges(self.table, gfns, order)
        machine = _machine_frames(self.table, mfns, orders)
        flags = np.uint64(KINDS[known("kind of entry", kind, KINDS)].flags)
        return _change(self, set_ranges, frames.size, self.table.sizes, frames, machine, orders, flags)

    def clear_entry(self: _Changed, gfns: ArrayLike, order: ArrayLike = 0) -> Flags:
        """Empty entries alone, and leave the m2p as it is: set_p2m_entry with INVALID_MFN.

        Parameters
        ----------
        gfns, order
            As `set_entry`.

        Returns
        -------
        ndarray of bool
            Whether each range was emptied.

        Raises
        ------
        BadInputError
            As `set_entry`.
        """
        frames, orders = _ranges(self.table, gfns, order)
        nothing, sizes = np.zeros_like(frames), self.table.sizes
        return _change(self, set_ranges, frames.size, sizes, frames, nothing, orders, np.uint64(0))

    def add(
        self: _Changed, gfns: ArrayLike, mfns: ArrayLike, order: ArrayLike = 0, kind: str = "ram_rw"
    ) -> Flags:
        """Put memory behind guest frames: guest_physmap_add_entry.

        The m2p follows, frame by frame. Machine frames that stood elsewhere are removed there, which splits
        superpages.

        Parameters
        ----------
        gfns, mfns, order
            As `set_entry`.
        kind : str
            "ram_rw", "ram_logdirty" or "ram_ro".

        Returns
        -------
        ndarray of bool
            Whether each range was added.

        Raises
        ------
        BadInputError
            As `set_entry`.
        """
        frames, orders = _ranges(self.table, gfns, order)
        machine = _machine_frames(self.table, mfns, orders)
        (chosen,) = _ram_types(kind)
        table, ranges = self.table, (frames, machine, orders, np.uint64(chosen.flags))
        return _change(self, add_ranges, frames.size, table.sizes, table.m2p.words(), *ranges)

    def remove(self: _Changed, gfns: ArrayLike, order: ArrayLike = 0, mfns: ArrayLike | None = None) -> Flags:
        """Take memory away from guest frames: p2m_remove_page.

        A range goes only if all of it is mapped to machine frames that follow each other. Whole leaves are
        emptied as they are, as since May 2017; parts of one split it.

        Parameters
        ----------
        gfns, order
            As `set_entry`.
        mfns : array_like of int, optional
            Where each range must begin; default: wherever it does.

        Returns
        -------
        ndarray of bool
            Whether each range was removed.

        Raises
        ------
        BadInputError
            As `set_entry`.
        """
        frames, orders = _ranges(self.table, gfns, order)
        table = self.table
        if mfns is None:
            address = self.lookup(frames) & np.uint64(table.plan.shape.address_mask)
            machine = address >> np.uint64(PAGE_SHIFT)
        else:
            machine = _machine_frames(table, mfns, orders)
        ranges = (frames, machine, orders)
        return _change(self, remove_ranges, frames.size, table.sizes, table.m2p.words(), *ranges)

    def change_type(self: _Changed, gfns: ArrayLike, old: str, new: str) -> Flags:
        """Give single frames of one type another, as a write fault under log-dirty does: p2m_change_type.

        A superpage is split, and its other frames keep their type.

        Parameters
        ----------
        gfns : array_like of int
            Guest frames.
        old, new : str
            Types of RAM.

        Returns
        -------
        ndarray of bool
            False for a frame of another type, which stays as it is, and where there is no page to split with.

        Raises
        ------
        BadInputError
            For frames beyond the table, or another type.
        """
        frames, _ = _ranges(self.table, gfns, 0)
        before, after = _ram_types(old, new)
        types = (np.uint64(before), np.uint64(after.flags))
        return _change(self, change_types, frames.size, frames, *types)

    def change_type_global(self: _Changed, old: str, new: str) -> int:
        """Give all leaves of one type another, superpages as they are: p2m_change_type_global.

        Parameters
        ----------
        old, new : str
            Types of RAM, as "ram_rw" and "ram_logdirty" when log-dirty mode begins.

        Returns
        -------
        int
            Leaves that were changed.

        Raises
        ------
        BadInputError
            For another type.
        """
        before, after = _ram_types(old, new)
        with self.table.lock:
            return int(retype_all(self.table.store, np.uint64(before), np.uint64(after.flags)))

    def page_orders(self: _Changed, gfns: ArrayLike) -> NDArray[np.int8]:
        """Tell the size of the leaf that maps each frame [log2 frames]; -1 for a frame that is not mapped.

        Raises
        ------
        BadInputError
            For frames beyond the table.
        """
        frames, _ = _ranges(self.table, gfns, 0)
        levels = np.empty(frames.size, np.int8)
        self.table.require_open()  # again: making an array may run anybody's code
        find_levels(self.table.store, frames, levels)
        return np.where(levels < 0, -1, levels * self.table.plan.shape.index_bits).astype(np.int8)

    def make_ready(self: _Changed, n_pages: int) -> None:
        """Have memory behind pages that tables may be made of, as far as there are so many.

        Raises
        ------
        BadInputError
            When that is no number.
        """
        self.table.make_ready(whole_number(n_pages, "pages to make ready", 0, _MOST_PAGES))

    def set_allocation(self: _Changed, n_pages: int) -> None:
        """Let the domain have another number of pages for tables, those it has included.

        Raises
        ------
        BadInputError
            When that is no number, or more are tables already.
        """
        self.table.set_allocation(whole_number(n_pages, "pages of the pool", 0, _MOST_PAGES))


def _change(self: _Changed, kernel: Callable[..., Counted], n: int, *arguments: object) -> Flags:
    try:
        return self.table.change(kernel, n, *arguments)
    finally:
        self.after_change()


def _ram_types(*names: str) -> list[P2mType]:
    ram = [name for name, kind in KINDS.items() if kind.is_ram]
    return [KINDS[known("type of RAM", name, ram)] for name in names]


def _ranges(table: HapTable, gfns: ArrayLike, order: ArrayLike) -> tuple[Words, Words]:
    """First guest frames and sizes of ranges, all within the table."""
    frames = np.atleast_1d(frame_numbers(gfns, "gfns")).ravel()
    orders = _orders(order, frames.size)
    end = np.uint64(table.plan.end_gfn)
    beyond = (frames >= end) | (np.left_shift(np.uint64(1), orders) > end - np.minimum(frames, end))
    if beyond.any():
        first = int(frames[np.argmax(beyond)])
        raise BadInputError(
            f"gfn {first:#x} and what follows it lie beyond the {table.plan.end_gfn:#x} frames that the "
            f"table of {table.guest.name} was built for"
        )
    return frames, orders


def _orders(order: ArrayLike, n: int) -> Words:
    orders = as_array(order, "orders")
    if orders.dtype.kind not in "iu" or (orders.size and not 0 <= orders.min() <= orders.max() <= MAX_ORDER):
        raise BadInputError(f"orders must be whole, from 0 to {MAX_ORDER}, not {shown(order)}")
    if orders.ndim and orders.size != n:
        raise BadInputError(f"{n} ranges cannot have {orders.size} orders")
    return np.ascontiguousarray(np.broadcast_to(orders.ravel() if orders.ndim else orders, n), np.uint64)


def _machine_frames(table: HapTable, mfns: ArrayLike, orders: Words) -> Words:
    frames = np.atleast_1d(frame_numbers(mfns, "mfns")).ravel()
    if frames.size != orders.size:
        raise BadInputError(f"{orders.size} ranges of guest frames cannot have {frames.size} mfns")
    end = np.uint64(table.guest.machine.n_frames)
    beyond = (frames >= end) | (np.left_shift(np.uint64(1), orders) > end - np.minimum(frames, end))
    if beyond.any():
        first = int(frames[np.argmax(beyond)])
        raise BadInputError(f"mfn {first:#x} and what follows it lie beyond the machine's {int(end)} frames")
    return frames
