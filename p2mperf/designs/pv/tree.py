"""Linux' three-level p2m tree, as in 3.18 (arch/x86/xen/p2m.c).

Two pointers and an entry are loaded one after the other: see `tree_kernels`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Unpack

import numpy as np

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design, Footprint, Load, Stretch
from p2mperf.designs.pv import audit
from p2mperf.designs.pv.area import area_entries, check_guest, limit_pages
from p2mperf.designs.pv.changing import WriteDoor
from p2mperf.designs.pv.covering import TreeCovering
from p2mperf.designs.pv.growing import Growing, LeafOptions
from p2mperf.designs.pv.leaf_plan import copied
from p2mperf.designs.pv.life import Life
from p2mperf.designs.pv.quirks import TREE_QUIRKS, checked_quirks
from p2mperf.designs.pv.reading import ReadDoor, open_store
from p2mperf.designs.pv.showing import InTable
from p2mperf.designs.pv.store import LeafStore
from p2mperf.designs.pv.tree_kernels import Tree32, Tree64, WriteTree32, WriteTree64
from p2mperf.designs.pv.tree_plan import (
    max_domain_frames,
    max_p2m_pfn,
    plan_tree,
    tree_pages,
    tree_shape,
    tree_sharing,
)
from p2mperf.guests.frames import word
from p2mperf.guests.geometry import Entries, Kind, above_mask
from p2mperf.guests.guest import Guest
from p2mperf.tables.radix import RadixTable
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, format_size, round_up


class TreeOptions(LeafOptions, total=False):
    """What a tree may be built with, as `PvTree` says."""

    max_domain_pages: int | None


class TreeDoor:
    """What every tree can be asked, on whatever pages it stands.

    Attributes
    ----------
    life : Life
        What can be done to it.
    pages : dict of str to int
        Pages by kind that building takes.
    """

    follows: ClassVar[str] = "Linux 3.18"
    family: ClassVar[str] = "pv"
    options: ClassVar[frozenset[str]] = TreeOptions.__optional_keys__
    known_quirks: ClassVar[tuple[str, ...]] = TREE_QUIRKS

    life: Life
    pages: dict[str, int]

    @property
    def tree(self: Growing) -> RadixTable:
        """The table whose last level points to the leaves."""
        return self.store.table

    @classmethod
    def out_of_reach(cls, guest: Guest) -> str:
        """As `Design.out_of_reach`: MAX_DOMAIN_PAGES."""
        n_frames = max_domain_frames(guest.geometry)
        if guest.n_boot_pages <= n_frames:
            return ""
        end = format_size(n_frames * PAGE_SIZE)
        return f"ends at {end} (MAX_DOMAIN_PAGES), below {guest.name}: take --design pv-linear alone"

    @classmethod
    def predict_footprint(
        cls: type[Growing],
        guest: Guest,
        backing: str | Backing = "kernel",
        *,
        above: str = "identity",
        max_domain_pages: int | None = None,
        limit: str | int = 0,
        **others: object,
    ) -> Footprint:
        """As `Design.predict_footprint`.

        Parameters
        ----------
        guest, backing, above, max_domain_pages, limit
            As `PvTree`.
        **others
            Other options change nothing of it.
        """
        cls.check_options(others)
        pages = tree_pages(plan_tree(guest, above, max_domain_pages), guest, above, max_domain_pages)
        memory = round_up(sum(pages.values()) * PAGE_SIZE, HUGE_SIZE)
        return Footprint(pages, 0, memory, memory // cls.backing_of(backing).direct_bytes * 8)

    def footprint(self: Growing) -> Footprint:
        """As `Design.footprint`."""
        pool = self.store.pool
        return Footprint(pool.kinds, 0, pool.memory_bytes, self.page_table_bytes())

    def views(self: Growing) -> dict[str, int]:
        """As `Design.views`."""
        return {"direct": self.store.pool.direct_page_bytes, **self.way_back.views()}

    def stretches(self: Growing) -> tuple[Stretch, ...]:
        """As `Design.stretches`: all pages."""
        return tuple(Stretch("direct", *part) for part in self.store.pool.stretches())

    def step_at(self: Growing, address: int) -> Load:
        """As `Design.step_at`."""
        return self.store.load_at(word(address, "an address"))

    def audit(self: Growing) -> None:
        """As `Design.audit`."""
        audit.check_table(self.store, self.pages)
        audit.check_leaves(self.store, int(self.store.plan.runs.select(Kind.RAM).n_frames.sum()))
        self.life.tools.audit()


def grow_tree(
    self: Growing,
    *,
    above: str = "identity",
    run_frames: int = 0,
    boot_list: Entries | None = None,
    quirks: Iterable[str] = (),
    n_spare: int | None = None,
    m2p_override: bool = False,
    max_domain_pages: int | None = None,
    limit: str | int = 0,
) -> None:
    """Build a tree, which its design keeps until it is closed.

    Parameters
    ----------
    above, run_frames, boot_list, quirks, n_spare, m2p_override, max_domain_pages, limit
        As `PvTree`.

    Raises
    ------
    BadInputError, DoesNotFitError
        As `PvTree`.
    """
    guest = self.guest
    with self.building():
        names = checked_quirks(quirks, self.known_quirks, self.name)
        plan = plan_tree(guest, above, max_domain_pages)
        self.pages = tree_pages(plan, guest, above, max_domain_pages)
        # What lies above MAX_P2M_PFN is answered without a table: there is no slot to write to.
        end_pfn = min(area_entries(guest, limit_pages(limit), above), guest.geometry.max_frames)
        if boot_list is not None:
            plan = copied(plan, guest, boot_list)
        store = open_store(self, plan, end_pfn, run_frames, n_spare, m2p_override)
        labels = (store.missing_leaf, store.identity_leaf)
        store.build_table(tree_shape(guest.geometry), tree_sharing(labels, guest, above, max_domain_pages))
        self.tables = store.tables = _walk_tables(store, above)
        store.write_tables = _write_tables(store)
        tools_end = max_p2m_pfn(guest, max_domain_pages)
        self.life = Life(store, self.way_back, names, InTable(), TreeCovering, tools_end=tools_end)


class PvTree(TreeDoor, WriteDoor, ReadDoor, Design):
    """The three-level tree of Linux 3.18.

    Parameters
    ----------
    guest : Guest
        What to build for.
    backing : str or Backing
        Page sizes of the views.
    above : str
        What a pfn beyond the table reads: "identity" (Linux 3.18 and later) or "invalid" (up to 3.14).
    run_frames : int
        0: leaves stand in the pool in pfn order, as boot-time allocation leaves them; otherwise pool frames
        come in runs of this length in random order [frames].
    boot_list : ndarray of uint64 or uint32, shape (n_boot_pages,), optional
        The flat list of the domain builder: leaves are copied from it, as at boot, instead of being written
        from the map. (A 32-bit kernel leaves them where they are; here they are copied at either width.)
    quirks : iterable of str
        Deviations to reproduce, by their names in `QUIRKS`.
    n_spare : int, optional
        Pages that writing may take; further writes that need one are refused. Default: as many as could
        ever be needed; they only take address space until then [frames].
    m2p_override : bool
        Find frames mapped from other domains in a table beside the m2p, as kernels of the tree's time did.
    max_domain_pages : int, optional
        MAX_DOMAIN_PAGES: the boot list is cut here, and RAM above reads INVALID. Default: 500 GiB at
        64 bits, 64 GiB at 32 bits [pages].
    limit : str or int
        Memory that may be hot-plugged later, so that frames up to there can be written [bytes].

    Raises
    ------
    BadInputError
        For an unknown backing, policy or quirk, a guest of another geometry, or a `boot_list` that does not
        hold all of the guest's memory.
    DoesNotFitError
        When memory, address space or mappings give out; nothing is kept then.

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with PvTree(Guest.preset("dom0-64-e820")) as tree:
    ...     [hex(entry) for entry in tree.lookup([263423, 263424])]
    ['0xffffffffffffffff', '0x4000000000040500']
    """

    name = "pv-tree"

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[TreeOptions]
    ) -> None:
        check_guest(self.name, self.family, guest)
        super().__init__(guest, backing)
        grow_tree(self, **options)


def _walk_tables(store: LeafStore, above: str) -> Tree64 | Tree32:
    shape = store.guest.geometry
    kind = Tree64 if shape.entry_bits == 64 else Tree32
    return kind(
        np.uint64(store.pool.address(store.table.root)),
        np.uint64(store.table.encode(np.array([store.identity_leaf]))[0]),
        np.uint64(shape.max_frames),
        above_mask(shape, above),
        _base(store),
    )


def _write_tables(store: LeafStore) -> WriteTree64 | WriteTree32:
    kind = WriteTree64 if store.guest.geometry.entry_bits == 64 else WriteTree32
    shared = store.table.encode(np.array([store.missing_leaf, store.identity_leaf])).astype(np.uint64)
    return kind(np.uint64(store.pool.address(store.table.root)), shared[0], shared[1], _base(store))


def _base(store: LeafStore) -> np.uint64:
    """What is added to a slot to make an address."""
    return np.uint64(0 if store.guest.geometry.entry_bits == 64 else store.pool.base)
