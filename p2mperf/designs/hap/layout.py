"""Which pages a guest's p2m needs, what stands in those above the last level, and what windows will show.

All of it is arithmetic on the guest's extents, before any memory is taken. Tables are called as in Xen: L1
has the 4 KiB entries, L2 those that are superpages of 2 MiB (4 MiB without PAE) or point to an L1, and so on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.hap.build_kernels import place_superpages
from p2mperf.errors import BadInputError
from p2mperf.guests.extents import MAX_ORDER
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.guests.hap import Hap, P2mBit
from p2mperf.host.memory import require_memory
from p2mperf.memory.pool import Frames
from p2mperf.tables.radix import Level, Radix, Sharing, count_pages
from p2mperf.units import MIB, flag, round_up, whole_number

POOL_AT_LEAST = 256  # pages for each virtual processor, of which there is one here
_MOST_PAGES = 1 << 28  # 1 TiB of tables
_ACCOUNT_BYTES = 64  # for each entry of L2: what stands there, the frames in tables and windows


class Switches(NamedTuple):
    """Which superpages a p2m may have, as Xen's command line says since 4.1.

    Attributes
    ----------
    hap_2mb : bool
        Superpages of 2 MiB (4 MiB without PAE).
    hap_1gb : bool
        Superpages of 1 GiB, where the format has them.
    """

    hap_2mb: bool = True
    hap_1gb: bool = True

    @classmethod
    def of(cls, hap_2mb: object, hap_1gb: object) -> Switches:
        """Take what was asked for.

        Raises
        ------
        BadInputError
            When one is neither on nor off.
        """
        return cls(flag(hap_2mb, "hap_2mb"), flag(hap_1gb, "hap_1gb"))

    def orders(self, shape: Hap) -> tuple[int, ...]:
        """Sizes of leaves that are left of a format's [log2 frames]."""
        wanted = (True, self.hap_2mb, self.hap_1gb)
        return tuple(order for order, is_wanted in zip(shape.orders, wanted, strict=False) if is_wanted)


class TablePlan(NamedTuple):
    """What a guest's table consists of.

    Attributes
    ----------
    shape : Hap
        Format.
    orders : tuple of int
        Sizes of its leaves [log2 frames].
    end_gfn : int
        First guest frame that the table has no place for.
    has_l1 : ndarray of bool, shape (n_l2_slots,)
        For each entry of all L2 tables: whether it points to an L1 table.
    leaves : dict of str to ndarray of uint64
        Superpages by level, as `p2mperf.tables.radix.build` takes them.
    """

    shape: Hap
    orders: tuple[int, ...]
    end_gfn: int
    has_l1: NDArray[np.bool_]
    leaves: dict[str, Words]

    @property
    def levels(self) -> NDArray[np.uint8]:
        """Level of the leaves that an extent of each order becomes: 0 for L1."""
        return _levels_of(self.shape, self.orders)

    @property
    def n_l1(self) -> int:
        return int(np.count_nonzero(self.has_l1))

    @property
    def pages(self) -> dict[str, int]:
        """Tables by level."""
        targets, shape = self.targets(np.arange(self.n_l1)), radix_of(self.shape)
        counts = count_pages(targets, shape, Sharing(), leaves=self.leaves)
        return {"l1": self.n_l1, **counts}

    @property
    def most_pages(self) -> int:
        """Tables there can be at most, when everything is on 4 KiB."""
        return sum(self.most_of_level(level) for level in range(self.shape.n_levels))

    def most_of_level(self, level: int) -> int:
        """Tables of one level there can be at most, L1 being level 0."""
        return -(-self.end_gfn >> self.shape.index_bits * (level + 1))

    @property
    def window_pages(self) -> list[int]:
        """Pages of each window, that of L1 first."""
        return [self.most_of_level(level) for level in range(len(self.shape.orders))]

    def targets(self, l1: Frames) -> Frames:
        """Page behind every entry of all L2 tables, from the L1 tables; -1 for none."""
        frames = np.full(self.has_l1.size, -1, np.int64)
        frames[self.has_l1] = l1
        return frames

    def shown(self, tables: dict[str, Frames], stand_in: int) -> list[Frames]:
        """Say what each window shows, that of L1 first: tables, stand-ins for guest RAM, or holes.

        Parameters
        ----------
        tables : dict of str to ndarray of int64
            Frame of each table by level, "l1" as `targets` has it; -1 for none.
        stand_in : int
            First frame of what stands in for guest RAM.

        Returns
        -------
        list of ndarray of int64
            Frame behind each page; -1 for a hole.

        Notes
        -----
        A superpage, taken for a pointer, leads to the guest's memory: to its first page, and one of 1 GiB to
        a row of 512 in the window of L1.
        """
        fanout, n_windows = self.shape.leaf_frames, len(self.shape.orders)
        found: list[Frames] = []
        covered = np.zeros(self.most_of_level(n_windows), np.bool_)
        for level in reversed(range(n_windows)):
            n_pages = self.most_of_level(level)
            covered = np.repeat(covered, fanout)[:n_pages]
            if (slots := self.leaves.get(f"l{level + 2}")) is not None:
                covered |= slots != 0
            row = stand_in + (np.arange(n_pages) & (fanout - 1))
            found.append(np.where(covered, row, tables[f"l{level + 1}"]))
        return found[::-1]


def radix_of(shape: Hap) -> Radix:
    """Shape of a table above its L1."""
    fanouts = [shape.leaf_frames] * (shape.n_levels - 2) + [shape.n_top]
    return Radix(
        tuple(Level(f"l{number}", fanout) for number, fanout in enumerate(fanouts, start=2)),
        slot_bytes=shape.entry_bytes,
        flags=P2mBit.POINTER,
        kind_mask=P2mBit.PRESENT | P2mBit.SUPERPAGE,
        address_mask=shape.address_mask,
    )


def shape_of(guest: Guest) -> Hap:
    """Format of a guest's table.

    Raises
    ------
    BadInputError
        For a guest of another geometry.
    """
    require_guest(guest)
    shape = guest.geometry
    if not isinstance(shape, Hap):
        raise BadInputError(
            f"HAP translates guests of geometry hap64, hap-pae or hap-nonpae, and {guest.name} is one of "
            f'{shape.name}: give a size (--size 1G, Guest.plain("1G", geometry="hap64"))'
        )
    return shape


def plan_tables(guest: Guest, switches: Switches) -> TablePlan:
    """Say what a guest's table consists of: each extent cut into the largest leaves that there are for it.

    Parameters
    ----------
    guest : Guest
        Whose; one of a HAP geometry.
    switches : Switches
        Which superpages there may be.

    Raises
    ------
    BadInputError
        For a guest of another geometry.
    """
    shape = shape_of(guest)
    orders, extents = switches.orders(shape), guest.extents
    # Whole superpages of the largest kind, so that memory at the end can be any of them.
    end_gfn = min(round_up(guest.covered_pfn, 1 << 2 * shape.index_bits), shape.max_frames)
    require_memory(
        _ACCOUNT_BYTES * (end_gfn >> shape.index_bits),
        f"what is known of a table up to gfn {end_gfn:#x}",
        "take a guest whose memory ends lower",
    )
    levels = _levels_of(shape, orders)
    n_slots = [end_gfn >> shape.index_bits * level for level in (1, 2)]
    has_l1, l2, l3 = np.zeros(n_slots[0], np.bool_), *(np.zeros(n, np.uint64) for n in n_slots)
    place_superpages(
        extents.gfn, extents.mfn, extents.order, levels, np.uint64(shape.index_bits), has_l1, l2, l3
    )
    return TablePlan(
        shape, orders, end_gfn, has_l1, {"l2": l2, "l3": l3} if shape.n_levels > 2 else {"l2": l2}
    )


def _levels_of(shape: Hap, orders: tuple[int, ...]) -> NDArray[np.uint8]:
    largest = [max(each for each in orders if each <= order) for order in range(MAX_ORDER + 1)]
    return np.array([order // shape.index_bits for order in largest], np.uint8)


def predict_pages(plan: TablePlan, n_stand_in: int) -> dict[str, int]:
    """Pages by kind, windows' stand-ins for guest RAM included where there are any."""
    return {**plan.pages, **({"stand_in": n_stand_in} if n_stand_in else {})}


def frames_from(plan: TablePlan, pages: dict[str, int]) -> dict[str, Frames]:
    """Say in which pool frames tables will stand: level by level, each in order of guest frames.

    Parameters
    ----------
    plan : TablePlan
        The table.
    pages : dict of str to int
        Its pages by level.

    Returns
    -------
    dict of str to ndarray of int64
        Frame of each table by level, as `TablePlan.shown` takes them.
    """
    there = plan.has_l1
    frames: dict[str, Frames] = {"l1": plan.targets(np.arange(plan.n_l1))}
    first = plan.n_l1
    for level in range(1, plan.shape.n_levels):
        n_tables = plan.most_of_level(level)
        leaves = plan.leaves.get(f"l{level + 1}")
        slots = there if leaves is None else there | (leaves != 0)
        there = np.add.reduceat(slots, np.arange(0, slots.size, plan.shape.leaf_frames)) > 0
        if level == plan.shape.n_levels - 1:
            there[0] = True
        frames[f"l{level + 1}"] = np.full(n_tables, -1, np.int64)
        frames[f"l{level + 1}"][there] = first + np.arange(pages[f"l{level + 1}"])
        first += pages[f"l{level + 1}"]
    return frames


def pool_pages(guest: Guest, asked: object, n_needed: int) -> int:
    """Pages that the domain may have for tables: what was asked for, or what the toolstack gives.

    Parameters
    ----------
    guest : Guest
        The domain.
    asked : int or None
        Pages that were asked for [pages].
    n_needed : int
        Tables that it begins with [pages].

    Raises
    ------
    BadInputError
        When that is no number, or less than the table begins with.

    Notes
    -----
    libxl gives 256 pages for each virtual processor and one for each MiB, which is twice what a p2m takes
    that is all on 4 KiB. The p2m's pages come out of it (hap_alloc_p2m_page in xen/arch/x86/mm/hap/hap.c).
    """
    n_pages = POOL_AT_LEAST + -(-guest.memory_bytes // MIB)
    if asked is not None:
        n_pages = whole_number(asked, "pool_pages", 1, _MOST_PAGES)
    if n_pages < n_needed:
        raise BadInputError(
            f"a pool of {n_pages} pages is too small for {guest.name}, whose table begins with {n_needed}"
        )
    return n_pages
