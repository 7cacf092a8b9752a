"""Linux' linear, virtually mapped sparse p2m list: commit 054954eb051f, merged for 3.19.

One load in a virtual area; the MMU walks. Only where it reads INVALID does software walk the page table of
that area, to tell a hole from the shared identity page (arch/x86/xen/p2m.c and lookup_address of
arch/x86/mm/pageattr.c, 3.19).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.backing import BACKINGS, Backing
from p2mperf.designs.base import Footprint, Load
from p2mperf.designs.pv.area import (
    AREA,
    N_PTES,
    WRITE_FLAG,
    area_entries,
    check_area,
    limit_pages,
    list_pages,
    max_area_entries,
    not_invalidated,
    page_table_of,
    page_table_shape,
    pages_per_mid,
)
from p2mperf.designs.pv.boot_kernels import classify_list
from p2mperf.designs.pv.leaf_plan import Leaf, LeafPlan, extend_above, kinds_by_leaf
from p2mperf.designs.pv.life import PvLife
from p2mperf.designs.pv.linear_kernels import (
    Linear32,
    Linear64,
    LinearNested32,
    LinearNested64,
    WriteLinear32,
    WriteLinear64,
)
from p2mperf.designs.pv.quirks import LIST_QUIRKS
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Geometry, Kind, above_mask
from p2mperf.guests.guest import Guest
from p2mperf.memory import smaps
from p2mperf.memory.pool import Frames
from p2mperf.memory.window import Window, n_runs
from p2mperf.tables.m2p import predict_bytes
from p2mperf.tables.radix import RadixTable, Sharing, build, covered_by
from p2mperf.units import HUGE_SIZE, PAGE_SHIFT, PAGE_SIZE, round_up

_FAR = 1 << 40  # pages: beyond every pool; stands for the shared leaves, which continue no other frame


class PvLinear(PvLife):
    """The linear list of Linux 3.19, with the defects it had when it landed mended.

    Parameters
    ----------
    guest, backing, above, run_frames
        As `PvDesign`.
    quirks, n_spare, m2p_override
        As `PvWriter`.
    limit : str or int
        Memory that may be hot-plugged later, which makes the area larger: 512G in kernels since 4.0; 0 as
        in 3.19 [bytes].
    invalidated : bool
        Whether balloonable memory was made INVALID, as xen_inv_extra_mem does at boot; False leaves it
        identity, as it is just before.

    Notes
    -----
    The kernel covers a hole as large as a mid with one shared page-table page. A process cannot share
    those, so the window shows one shared extent of INVALID frames there: ``hole_window`` pages in the
    footprint, which the kernel does not have.

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with PvLinear(Guest.preset("dom0-64-e820")) as p2m:
    ...     [hex(entry) for entry in p2m.lookup([512255, 512256])]
    ['0x400000000007d0ff', '0xffffffffffffffff']
    """

    name = "pv-linear"
    follows = "Linux 3.19"
    options = PvLife.options | {"invalidated"}
    known_quirks = LIST_QUIRKS

    @classmethod
    def max_frames(cls, geometry: Geometry) -> int:
        """Frames that the kernel has addresses for; further limits are the machine's."""
        return max_area_entries(geometry)

    nested = False

    @classmethod
    def plan_leaves(
        cls,
        guest: Guest,
        above: str = "identity",
        limit: str | int = 0,
        invalidated: bool = True,
        **_options: Any,
    ) -> LeafPlan:
        shape = guest.geometry
        n_entries = area_entries(guest, limit_pages(limit), above)
        check_area(guest, n_entries)
        runs = extend_above(guest.runs if invalidated else not_invalidated(guest.runs), n_entries, above)
        kinds = kinds_by_leaf(runs, n_entries // shape.leaf_frames, shape.leaf_frames)
        state = np.full(kinds.size, Leaf.PRIVATE, np.int8)
        # Balloonable memory is not shared: xen_inv_extra_mem writes INVALID to each such frame of an area
        # that began as identity, and every leaf it touches becomes private.
        state[kinds == 1 << Kind.IDENTITY] = Leaf.IDENTITY
        state[kinds == 1 << Kind.MISSING] = Leaf.MISSING
        return LeafPlan(shape, runs, state)

    def _plan_copies(self, boot_list: NDArray[Any]) -> LeafPlan:
        """Look through the whole area for what can be shared, where the tree takes the list as it is."""
        shape, plan = self.guest.geometry, super()._plan_copies(boot_list)
        sizes = np.array([shape.leaf_frames, shape.mid_frames, shape.invalid, shape.identity_bit], np.uint64)
        state = np.empty_like(plan.state)
        classify_list(boot_list, *sizes, state)
        if not np.array_equal(state, plan.state):
            raise BadInputError(f"the flat list has other entries than the map of {self.guest.name} asks for")
        return replace(plan, state=state)

    @classmethod
    def count_plan(cls, plan: LeafPlan, guest: Guest, options: dict[str, Any]) -> dict[str, int]:
        return list_pages(plan)

    @classmethod
    def predict_footprint(
        cls, guest: Guest, backing: Backing = BACKINGS["kernel"], **options: Any
    ) -> Footprint:
        plan = cls.plan_leaves(guest, **options)
        pages = list_pages(plan)
        shown = plan.rank * 1
        shared = plan.state != Leaf.PRIVATE
        covered = np.repeat(covered_by(*page_table_of(plan)), N_PTES)
        wide = covered >= 0
        shown[shared] = _FAR
        shown += plan.state
        # The shared extents follow one another in the pool, the missing one first, far from all leaves.
        extent = shown.size + np.unique(covered[wide], return_inverse=True)[1] * guest.geometry.leaf_frames
        shown[wide] = extent + np.flatnonzero(wide) % guest.geometry.leaf_frames
        memory = round_up(sum(pages.values()) * PAGE_SIZE, HUGE_SIZE)
        m2p = predict_bytes(guest) if cls.nested else 0
        tables = memory // backing.direct_bytes * 8 + plan.state.size * PAGE_SIZE // backing.window_bytes * 8
        return Footprint(pages, n_runs(shown, ~shared), memory + m2p, tables)

    def _build(self) -> None:
        shape = self.guest.geometry
        labels = (self.missing_leaf, self.identity_leaf)
        self.sharing = Sharing(labels, pages_per_mid(shape), write_flag=WRITE_FLAG)
        self._stand_in_guest_memory()
        self.page_table: RadixTable = build(
            self.pool, self.leaves, page_table_shape(shape), self.sharing, self._numbers
        )
        if "half-window" in self.quirks:
            self._unlink_second_halves()
        self.window = Window(self.pool, self.leaves.size, page_bytes=self.backing.window_bytes)
        shown = self._shown(self.leaves)
        self.window.map(0, shown, self.plan.state == Leaf.PRIVATE)
        self.window.populate()
        self._set_tables()

    def _stand_in_guest_memory(self) -> None:
        """Without nested reads page-table entries hold addresses of this process, or offsets."""
        self._numbers: Frames | None = None
        self._base = 0 if self.guest.geometry.entry_bits == 64 else self.pool.base

    def _set_tables(self) -> None:
        shape = self.guest.geometry
        kinds = (LinearNested64, LinearNested32) if self.nested else (Linear64, Linear32)
        identity = self.pool.address(self.identity_leaf)
        values = (
            self.window.base,
            self.end_pfn,
            int(above_mask(shape, self.above)),
            AREA[shape.entry_bits],
            self.pool.address(self.page_table.root),
            identity,
            self._base % 2**64,
            self.m2p.base if self.nested else 0,
        )
        self.tables = kinds[shape.entry_bits == 32](*map(np.uint64, values))

    def _shown(self, targets: Frames) -> Frames:
        """Frame behind each page of the window: shared extents where a whole mid is a hole."""
        shown = targets.copy()
        covered = np.repeat(self._covered(), N_PTES)
        for label in self.sharing.labels:
            wide = np.flatnonzero(covered == label)
            if wide.size:
                extent = self.pool.allocate(self.guest.geometry.leaf_frames, "hole_window")
                self.pool.pages(np.uint64)[extent] = np.uint64(2**64 - 1)
                shown[wide] = extent[wide % extent.size]
        return shown

    def _unlink_second_halves(self) -> None:
        """Leave out the page-table pages that a stride of 512 entries instead of a PMD's reach never met.

        A kernel faults there; here the area goes on reading INVALID.
        """
        pages = np.flatnonzero(np.arange(self._covered().size) % self.group)
        pages = pages[self._covered()[pages] >= 0]
        upper = self.page_table.shape.levels[1]
        positions = pages + upper.first_slot
        holders = self.page_table.frames[upper.name][positions // upper.fanout]
        self.pool.pages(np.uint64)[holders, positions % upper.fanout] = 0

    @property
    def _table(self) -> RadixTable:
        return self.page_table

    def _set_write_tables(self) -> None:
        shape = self.guest.geometry
        kind = WriteLinear64 if shape.entry_bits == 64 else WriteLinear32
        shared = [self.pool.address(f) - self._base for f in (self.missing_leaf, self.identity_leaf)]
        values = (
            self.window.base,
            AREA[shape.entry_bits],
            self.pool.address(self.page_table.root),
            *shared,
            self._base,
        )
        self._write_tables = kind(*map(np.uint64, values))

    @property
    def group(self) -> int:
        return pages_per_mid(self.guest.geometry)

    @property
    def _write_flag(self) -> int:
        return WRITE_FLAG

    @property
    def linear_address(self) -> int:
        return AREA[self.guest.geometry.entry_bits]

    def _room_to_show(self, leaves: Frames) -> int:
        def lacks_room(n_leaves: int) -> bool:
            return not self.window.has_room_for(_stretches(leaves[:n_leaves]))

        if not leaves.size or not lacks_room(leaves.size):
            return leaves.size
        return bisect_right(range(1, leaves.size), False, key=lacks_room)

    def _show(self, leaves: Frames, frames: Frames) -> None:
        self.window.remap(leaves, frames)

    def _covered(self) -> NDArray[np.int64]:
        return covered_by(self.leaves, page_table_shape(self.guest.geometry), self.sharing)

    def close(self) -> None:
        if hasattr(self, "window"):
            self.window.close()
        super().close()

    def footprint(self) -> Footprint:
        m2p = self._m2p.memory_bytes if self._m2p else 0
        n_vmas = len(smaps.mappings(self.window.base, self.window.n_pages << PAGE_SHIFT))
        return Footprint(self.pool.kinds, n_vmas, self.pool.memory_bytes + m2p, self.page_table_bytes())

    def views(self) -> dict[str, int]:
        return {"direct": self.pool.direct_page_bytes, "window": self.window.window_page_bytes}

    def step_at(self, address: int) -> Load:
        entry_bytes = self.guest.geometry.entry_bytes
        page = self.window.page_at(address)
        if page >= 0:
            frame = int(self.window.frames[page])
            index = (address % PAGE_SIZE) // entry_bytes
            return Load(self.pool.kind(frame), "window", frame, index, address)
        if self._m2p and 0 <= address - self._m2p.base < self._m2p.memory_bytes:
            offset = address - self._m2p.base
            return Load("m2p", "direct", -1, offset // entry_bytes, address)
        return self.direct_step(address)

    def _word_bytes(self, kind: str) -> int:
        return self.guest.geometry.entry_bytes if kind.startswith("leaf") else 8

    def audit(self) -> None:
        self._audit_table()
        self._audit_window()
        self.audit_leaves()

    def _audit_window(self) -> None:
        """What /proc/self/smaps says of the area must be what the page table says."""
        shown = np.full(self.window.n_pages, -1, np.int64)
        writable = np.zeros(self.window.n_pages, np.bool_)
        for mapping in smaps.mappings(self.window.base, self.window.n_pages << PAGE_SHIFT):
            first = self.window.page_at(mapping.start)
            n_pages = (mapping.end - mapping.start) >> PAGE_SHIFT
            frame = mapping.offset_bytes >> PAGE_SHIFT
            shown[first : first + n_pages] = np.arange(frame, frame + n_pages)
            writable[first : first + n_pages] = mapping.writable
        self._require(shown == self.window.frames, "the window shows another frame than was mapped")
        private = self.leaf_state == Leaf.PRIVATE
        self._require(writable == private, "a shared leaf can be written, or a private one cannot")
        agree = shown[private] == self.leaves[private]
        self._require(agree, "the window shows another leaf than the page table")
        words = self.pool.pages(np.uint64)[np.unique(shown[~private])]
        self._require(words == np.uint64(2**64 - 1), "a shared page of the window is not INVALID throughout")


def _stretches(leaves: Frames) -> int:
    """Stretches of neighbours among leaves: each is one mapping of its own."""
    return 1 + int(np.count_nonzero(np.diff(np.sort(leaves)) != 1))
