"""Linux' linear, virtually mapped sparse p2m list: commit 054954eb051f, merged for 3.19.

One load in a virtual area; the MMU walks. Only where it reads INVALID does software walk the page table of
that area, to tell a hole from the shared identity page (arch/x86/xen/p2m.c and lookup_address of
arch/x86/mm/pageattr.c, 3.19).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import BACKINGS, Backing, Footprint, Load
from p2mperf.designs.pv.base import area_entries, limit_pages
from p2mperf.designs.pv.boot_kernels import classify_list
from p2mperf.designs.pv.leaf_plan import Leaf, LeafPlan, extend_above, kinds_by_leaf
from p2mperf.designs.pv.life import PvLife
from p2mperf.designs.pv.locate import WriteLinear32, WriteLinear64
from p2mperf.errors import BadInputError, DoesNotFitError
from p2mperf.guests.geometry import Geometry, Kind, above_mask
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import Runs
from p2mperf.jit import instance_class, walk_overload
from p2mperf.memory import vm
from p2mperf.memory.pool import Frames
from p2mperf.memory.raw import load32, load64, unlikely
from p2mperf.memory.window import Window, n_runs
from p2mperf.tables.m2p import predict_bytes
from p2mperf.tables.radix import Level, Radix, RadixTable, Sharing, build, count_pages, covered_by
from p2mperf.tables.walk import walk
from p2mperf.units import HUGE_SIZE, MIB, PAGE_SHIFT, PAGE_SIZE, format_size, round_up

# Where vm_area_register_early puts the area: VMALLOC_START at 64 bits; at 32 bits 8 MiB above the 727 MiB
# of low memory that PV guests were seen with, in steps of 4 MiB.
AREA = {64: 0xFFFFC90000000000, 32: round_up(0xC0000000 + (727 + 8) * MIB, 4 * MIB)}
# Where vmalloc space ends: at 64 bits after its 32 TiB, at 32 bits where Xen's own addresses begin.
AREA_END = {64: 0xFFFFE90000000000, 32: 0xF5800000}
_PRESENT, _WRITE = 0x61, 0x02  # _PAGE_PRESENT | _PAGE_ACCESSED | _PAGE_DIRTY; _PAGE_RW
_PTES = 512  # of 8 bytes, in long mode and PAE alike


class _Linear(NamedTuple):
    """What a walk of the list needs; addresses are this process' own.

    Attributes
    ----------
    list : uint64
        Address of entry 0 in the window.
    size : uint64
        xen_p2m_size, equal to xen_max_p2m_pfn once the area exists: entries of the area.
    above : uint64
        OR-ed to a pfn above: the identity bit, or all ones.
    area : uint64
        Kernel virtual address of entry 0, which the software walk takes its indices from.
    root : uint64
        Address of the page table's root page.
    identity_leaf : uint64
        Page address of p2m_identity as it stands in a page-table entry.
    base : uint64
        Added to a page address of a page-table entry to make an address of this process.
    m2p : uint64
        Address of the machine-to-physical table; 0 where no walk reads it.
    """

    list: np.uint64
    size: np.uint64
    above: np.uint64
    area: np.uint64
    root: np.uint64
    identity_leaf: np.uint64
    base: np.uint64
    m2p: np.uint64


class Linear64(_Linear):
    """The list of a 64-bit guest: entries of 8 bytes, a page table of 4 levels."""


class Linear32(_Linear):
    """The list of a 32-bit PAE guest: entries of 4 bytes, a page table of 3 levels."""


class LinearNested64(_Linear):
    """As `Linear64`, its page table holding machine frames as PV page tables do."""


class LinearNested32(_Linear):
    """As `Linear32`, its page table holding machine frames as PV page tables do."""


# log2 of the entry bytes, identity bit, levels above the PTEs, load of an entry
_WALKS = {
    Linear64: (3, 62, 3, load64),
    Linear32: (2, 30, 2, load32),
    LinearNested64: (3, 62, 3, load64),
    LinearNested32: (2, 30, 2, load32),
}
_NESTED = (LinearNested64, LinearNested32)
_PAGE_MASK = np.uint64((1 << 64) - PAGE_SIZE)
_PAGE_SHIFT = np.uint64(PAGE_SHIFT)
_SLOT_MASK = np.uint64(_PTES - 1)
_THREE = np.uint64(3)
_LEVEL_BITS = np.uint64(9)


@walk_overload(walk)
def _walk_linear(tables, state, probe, pfn):  # type: ignore[no-untyped-def]
    if instance_class(tables) not in _WALKS:
        return None
    entry_shift, _, _, load = _WALKS[instance_class(tables)]
    invalid = np.uint64((1 << (8 << entry_shift)) - 1)

    def pfn_to_mfn(tables, state, probe, pfn):  # type: ignore[no-untyped-def]
        if unlikely(pfn >= tables.size):
            return pfn | tables.above, state
        entry = load(probe, tables.list, pfn)
        if unlikely(entry == invalid):
            return get_phys_to_machine(tables, probe, pfn), state
        return entry, state

    return pfn_to_mfn


def get_phys_to_machine(tables: Any, probe: Any, pfn: Any) -> Any:
    """Tell a hole from identity by walking the area's page table in software; compiled code only.

    Parameters
    ----------
    tables, probe, pfn
        As `p2mperf.tables.walk.walk`.

    Returns
    -------
    uint64
        Raw entry.
    """
    raise NotImplementedError("get_phys_to_machine is for compiled code")


@walk_overload(get_phys_to_machine)
def _slow_walk(tables, probe, pfn):  # type: ignore[no-untyped-def]
    entry_shift, identity_shift, n_upper, load = _WALKS[instance_class(tables)]
    size = np.uint64(entry_shift)
    identity = np.uint64(1 << identity_shift)
    first_shift = np.uint64(PAGE_SHIFT + 9 * n_upper)

    def lookup_address(tables, probe, pfn):  # type: ignore[no-untyped-def]
        address = tables.area + (pfn << size)
        table, shift = tables.root, first_shift
        for _ in range(n_upper):
            slot = load64(probe, table + (((address >> shift) & _SLOT_MASK) << _THREE))
            table = page_address(tables, probe, slot)
            shift -= _LEVEL_BITS
        pte = load64(probe, table + (((address >> _PAGE_SHIFT) & _SLOT_MASK) << _THREE))
        if page_address(tables, probe, pte) == tables.identity_leaf:
            return pfn | identity
        return load(probe, tables.list + (pfn << size))

    return lookup_address


def page_address(tables: Any, probe: Any, slot: Any) -> Any:
    """Find the page that a page-table entry points to; compiled code only.

    Parameters
    ----------
    tables, probe
        As `p2mperf.tables.walk.walk`.
    slot : uint64
        The entry.

    Returns
    -------
    uint64
        Address in this process.
    """
    raise NotImplementedError("page_address is for compiled code")


@walk_overload(page_address)
def _page_address(tables, probe, slot):  # type: ignore[no-untyped-def]
    entry_shift, _, _, load = _WALKS[instance_class(tables)]
    size = np.uint64(entry_shift)
    if instance_class(tables) not in _NESTED:
        return lambda tables, probe, slot: (slot & _PAGE_MASK) + tables.base

    def pte_mfn_to_pfn(tables, probe, slot):  # type: ignore[no-untyped-def]
        # pgd_val and its kin: the m2p names a pfn, and the p2m must agree that it has this mfn.
        mfn = slot >> _PAGE_SHIFT
        pfn = load(probe, tables.m2p + (mfn << size))
        owned = load(probe, tables.list + (pfn << size)) == mfn
        return (pfn << _PAGE_SHIFT) + tables.base if owned else tables.root

    return pte_mfn_to_pfn


def page_table_shape(geometry: Geometry) -> Radix:
    """Levels of the kernel page table over the area: four in long mode, three with PAE."""
    area = AREA[geometry.entry_bits]
    names = ("pte", "pmd", "pud", "pgd") if geometry.entry_bits == 64 else ("pte", "pmd", "pgd")
    levels = tuple(Level(name, _PTES, _slot(area, depth)) for depth, name in enumerate(names))
    return Radix(levels, 8, based=geometry.entry_bits == 64, flags=_PRESENT)


def _slot(address: int, depth: int) -> int:
    return (address >> (PAGE_SHIFT + 9 * depth)) & (_PTES - 1)


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
    nested = False

    @classmethod
    def plan_leaves(
        cls,
        guest: Guest,
        above: str = "identity",
        limit: str | int = 0,
        invalidated: bool = True,
        **options: Any,
    ) -> LeafPlan:
        if options:
            raise BadInputError(f"{cls.name} has no option {', '.join(options)}")
        shape = guest.geometry
        n_entries = area_entries(guest, limit_pages(limit), above)
        _check_area(guest, n_entries)
        runs = extend_above(guest.runs if invalidated else _not_invalidated(guest.runs), n_entries, above)
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
        return _pages(plan)

    @classmethod
    def predict_footprint(
        cls, guest: Guest, backing: Backing = BACKINGS["kernel"], **options: Any
    ) -> Footprint:
        plan = cls.plan_leaves(guest, **options)
        pages = _pages(plan)
        shown = plan.rank * 1
        shared = plan.state != Leaf.PRIVATE
        covered = np.repeat(covered_by(*_page_table_of(plan)), _PTES)
        wide = covered >= 0
        shown[shared] = plan.state[shared] - 10
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
        self.sharing = Sharing(labels, pages_per_mid(shape), write_flag=_WRITE)
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
        covered = np.repeat(self._covered(), _PTES)
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
        return _WRITE

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
        n_vmas = len(vm.mappings(self.window.base, self.window.n_pages << PAGE_SHIFT))
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
        for mapping in vm.mappings(self.window.base, self.window.n_pages << PAGE_SHIFT):
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


class PvLinearNested(PvLinear):
    """The linear list whose slow path reads page tables as a PV kernel must: through m2p and p2m.

    Page tables of a PV guest hold machine frames. Each level that lookup_address reads goes through
    pgd_val, pud_val, pmd_val or pte_val, and each of those is an m2p load and a p2m lookup that verifies
    it. To have machine frames, leaves and page-table pages stand in the guest's own memory: at the end of
    its largest stretch of RAM.

    Parameters
    ----------
    guest, backing, above, run_frames
        As `PvDesign`.

    Raises
    ------
    BadInputError
        When no stretch of the guest's RAM is long enough for its own p2m.
    """

    name = "pv-linear-nested"
    nested = True
    writable = False

    def _stand_in_guest_memory(self) -> None:
        ram = self.guest.ram
        largest = int(np.argmax(ram.n_frames))
        first_pfn = int(ram.end_pfn[largest]) - self.pool.n_frames
        if first_pfn < ram.first_pfn[largest]:
            raise BadInputError(
                f"{self.guest.name} has no {self.pool.n_frames} pages of RAM in a row to hold its own p2m: "
                "take a larger guest, or pv-linear without nested reads"
            )
        pfns = np.arange(first_pfn, first_pfn + self.pool.n_frames, dtype=np.uint64)
        self._numbers = self.guest.entries(pfns).astype(np.int64)
        self._base = self.pool.base - (first_pfn << PAGE_SHIFT)


def _stretches(leaves: Frames) -> int:
    """Stretches of neighbours among leaves: each is one mapping of its own."""
    return 1 + int(np.count_nonzero(np.diff(np.sort(leaves)) != 1))


def _check_area(guest: Guest, n_entries: int) -> None:
    """Refuse an area that would run into what lies above it; the kernels of then did not look."""
    shape = guest.geometry
    available, needed = AREA_END[shape.entry_bits] - AREA[shape.entry_bits], n_entries * shape.entry_bytes
    if needed > available:
        raise DoesNotFitError(
            f"the list of {guest.name} needs {format_size(needed)} of addresses and a {shape.entry_bits}-bit "
            f"kernel has {format_size(available)}: use 64-bit entries, a smaller map or a lower limit"
        )


def _not_invalidated(runs: Runs) -> Runs:
    """Runs as they are before xen_inv_extra_mem: what lies beyond the boot list is identity."""
    kind = np.where(runs.kind == Kind.EXTRA, Kind.IDENTITY, runs.kind).astype(np.int8)
    return Runs(runs.first_pfn, runs.n_frames, kind, runs.first_mfn)


def pages_per_mid(geometry: Geometry) -> int:
    """PMDS_PER_MID_PAGE: page-table pages that a mid page's worth of list takes, 1 or 2."""
    return geometry.leaf_frames // _PTES


def _page_table_of(plan: LeafPlan) -> tuple[NDArray[np.int8], Radix, Sharing]:
    """What the page table of a plan's area is counted from, before there are frames."""
    sharing = Sharing((Leaf.MISSING, Leaf.IDENTITY), group=pages_per_mid(plan.geometry))
    return plan.state, page_table_shape(plan.geometry), sharing


def _pages(plan: LeafPlan) -> dict[str, int]:
    """Pool pages by kind that a plan asks for."""
    extents = _n_extents(covered_by(*_page_table_of(plan)))
    holes = {"hole_window": extents * plan.geometry.leaf_frames} if extents else {}
    return {"leaf": plan.n_private, "leaf_shared": 2, **count_pages(*_page_table_of(plan)), **holes}


def _n_extents(covered: NDArray[np.int64]) -> int:
    return np.unique(covered[covered >= 0]).size
