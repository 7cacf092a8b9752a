"""Linux' three-level p2m tree, as in 3.18 (arch/x86/xen/p2m.c).

Two pointers and an entry are loaded one after the other: see `tree_kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from p2mperf.designs.backing import BACKINGS, Backing
from p2mperf.designs.base import Footprint, Load
from p2mperf.designs.pv.area import area_entries
from p2mperf.designs.pv.leaf_plan import Leaf, LeafPlan, extend_above, kinds_by_leaf
from p2mperf.designs.pv.life import PvLife
from p2mperf.designs.pv.quirks import TREE_QUIRKS
from p2mperf.designs.pv.tree_kernels import Tree32, Tree64, WriteTree32, WriteTree64
from p2mperf.designs.pv.tree_plan import (
    boot_mids,
    clipped,
    graft_boot_list,
    max_domain_frames,
    n_taken_pages,
    tree_shape,
)
from p2mperf.guests.geometry import Geometry, Kind, above_mask
from p2mperf.guests.guest import Guest
from p2mperf.memory.pool import Frames
from p2mperf.tables.radix import RadixTable, Sharing, build, count_pages
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, format_size, round_up


class PvTree(PvLife):
    """The three-level tree of Linux 3.18.

    Parameters
    ----------
    guest, backing, above, run_frames
        As `PvDesign`.
    max_domain_pages : int, optional
        MAX_DOMAIN_PAGES: the boot list is cut here, and RAM above reads INVALID. Default: 500 GiB at
        64 bits, 64 GiB at 32 bits [pages].
    quirks, n_spare, m2p_override
        As `PvWriter`.
    limit : str or int
        Memory that may be hot-plugged later, so that frames up to there can be written [bytes].

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with PvTree(Guest.preset("dom0-64-e820")) as tree:
    ...     [hex(entry) for entry in tree.lookup([263423, 263424])]
    ['0xffffffffffffffff', '0x4000000000040500']
    """

    name = "pv-tree"
    follows = "Linux 3.18"
    options = PvLife.options | {"max_domain_pages"}
    known_quirks = TREE_QUIRKS

    @classmethod
    def out_of_reach(cls, guest: Guest) -> str:
        n_frames = max_domain_frames(guest.geometry)
        if guest.n_boot_pages <= n_frames:
            return ""
        end = format_size(n_frames * PAGE_SIZE)
        return f"ends at {end} (MAX_DOMAIN_PAGES), below {guest.name}: take --design pv-linear alone"

    @classmethod
    def max_frames(cls, geometry: Geometry) -> int:
        """Frames of the largest guest whose memory it takes whole: MAX_DOMAIN_PAGES."""
        return max_domain_frames(geometry)

    @classmethod
    def count_writable(cls, guest: Guest, limit: int, above: str) -> int:
        # What lies above is answered without a table (MAX_P2M_PFN): there is no slot to write to.
        return min(area_entries(guest, limit, above), guest.geometry.max_frames)

    @classmethod
    def plan_leaves(
        cls,
        guest: Guest,
        above: str = "identity",
        max_domain_pages: int | None = None,
        limit: str | int = 0,
        **_options: Any,
    ) -> LeafPlan:
        shape = guest.geometry
        n_taken = n_taken_pages(guest, max_domain_pages)
        runs = clipped(guest, n_taken)
        runs = extend_above(runs, shape.max_frames, above)
        kinds = kinds_by_leaf(runs, shape.max_frames // shape.leaf_frames, shape.leaf_frames)
        state = np.full(kinds.size, Leaf.PRIVATE, np.int8)
        state[kinds == 1 << Kind.IDENTITY] = Leaf.IDENTITY
        state[(kinds & (1 << Kind.RAM | 1 << Kind.IDENTITY)) == 0] = Leaf.MISSING
        n_boot_leaves = round_up(min(guest.n_boot_pages, n_taken), shape.leaf_frames) // shape.leaf_frames
        graft_boot_list(state, kinds, n_boot_leaves)
        return LeafPlan(shape, runs, state)

    @classmethod
    def count_plan(cls, plan: LeafPlan, guest: Guest, options: dict[str, Any]) -> dict[str, int]:
        sharing = Sharing((Leaf.MISSING, Leaf.IDENTITY), n_kept=boot_mids(guest, options))
        counts = count_pages(plan.state, tree_shape(guest.geometry), sharing)
        return {"leaf_shared": 2, "leaf": plan.n_private, **counts}

    @classmethod
    def predict_footprint(
        cls, guest: Guest, backing: Backing = BACKINGS["kernel"], **options: Any
    ) -> Footprint:
        pages = cls.predict_pages(guest, **options)
        memory = round_up(sum(pages.values()) * PAGE_SIZE, HUGE_SIZE)
        return Footprint(pages, 0, memory, memory // backing.direct_bytes * 8)

    def _build(self) -> None:
        n_kept = boot_mids(self.guest, self.layout_options)
        sharing = Sharing((self.missing_leaf, self.identity_leaf), n_kept=n_kept)
        self.tree: RadixTable = build(self.pool, self.leaves, tree_shape(self.guest.geometry), sharing)
        shape = self.guest.geometry
        kind = Tree64 if shape.entry_bits == 64 else Tree32
        base = 0 if shape.entry_bits == 64 else self.pool.base
        identity = self.tree.encode(np.array([self.identity_leaf]))[0]
        self.tables = kind(
            np.uint64(self.pool.address(self.tree.root)),
            np.uint64(identity),
            np.uint64(shape.max_frames),
            above_mask(shape, self.above),
            np.uint64(base),
        )

    def footprint(self) -> Footprint:
        return Footprint(self.pool.kinds, 0, self.pool.memory_bytes, self.page_table_bytes())

    def views(self) -> dict[str, int]:
        return {"direct": self.pool.direct_page_bytes}

    def step_at(self, address: int) -> Load:
        return self.direct_step(address)

    @property
    def _table(self) -> RadixTable:
        return self.tree

    def _set_write_tables(self) -> None:
        shape = self.guest.geometry
        kind = WriteTree64 if shape.entry_bits == 64 else WriteTree32
        shared = self.tree.encode(np.array([self.missing_leaf, self.identity_leaf])).astype(np.uint64)
        base = 0 if shape.entry_bits == 64 else self.pool.base
        self._write_tables = kind(
            np.uint64(self.pool.address(self.tree.root)), shared[0], shared[1], np.uint64(base)
        )

    def _share_identity(self, first_pfn: int, end_pfn: int) -> None:
        """Let missing mids and leaves that lie wholly in a range be the shared identity ones."""
        shape = self.guest.geometry
        pages = np.arange(-(-first_pfn // shape.mid_frames), end_pfn // shape.mid_frames)
        leaves = np.arange(-(-first_pfn // shape.leaf_frames), end_pfn // shape.leaf_frames)
        with self._lock:
            missing_mid = self.tree.shared[self.missing_leaf]
            self._share_mids(pages[self.tree.frames["mid"][pages] == missing_mid])
            leaves = leaves[self.leaf_state[leaves] == Leaf.MISSING]
            pages, first = np.unique(self._page_of(leaves), return_index=True)
            short = np.isin(self.tree.frames["mid"][pages], list(self.tree.shared.values()))
            costs = short + (self._tools.lacks(leaves[first]) if self._tools is not None else 0)
            affordable = pages[(costs == 0) | (np.cumsum(costs) <= self.n_spare_left)]
            self._split_mids(affordable)
            self._share_leaves(leaves[np.isin(self._page_of(leaves), affordable)])

    def _share_mids(self, pages: Frames) -> None:
        """Replace shared missing mids by the shared identity one."""
        leaf_frames = self.guest.geometry.leaf_frames
        self._point_upper(pages, np.full(pages.size, self.tree.shared[self.identity_leaf]))
        leaves = (pages[:, None] * leaf_frames + np.arange(leaf_frames)).ravel()
        self.leaf_state[leaves], self.leaves[leaves] = Leaf.IDENTITY, self.identity_leaf

    def _share_leaves(self, leaves: Frames) -> None:
        """Replace shared missing leaves of private mids by the shared identity one."""
        self._point(leaves, np.full(leaves.size, self.identity_leaf))
        self.leaf_state[leaves], self.leaves[leaves] = Leaf.IDENTITY, self.identity_leaf
        if self._tools is not None and leaves.size:
            self._tools.follow(leaves)

    def _widen(self, leaf: int) -> None:
        page = self._page_of(np.array([leaf]))
        with self._lock:
            if self.tree.frames["mid"][page[0]] == self.tree.shared[self.missing_leaf]:
                self._share_mids(page)
            else:
                self._share_leaves(np.array([leaf]))

    def audit(self) -> None:
        self._audit_table()
        self.audit_leaves()

    def _n_ram_expected(self) -> int:
        return int(self.plan.runs.select(Kind.RAM).n_frames.sum())
