"""Give a guest its memory, and say what its table is made of then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from p2mperf.errors import BadInputError, DoesNotFitError, known
from p2mperf.guests.extents import MAX_ORDER, Extents, Orders, pieces, sealed
from p2mperf.guests.geometry import Geometry, Words
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import Machine, checked_seed
from p2mperf.host.memory import require_memory
from p2mperf.populating.heap import Fragmentation, MachineHeap
from p2mperf.populating.layout import (
    HOLE_FRAMES,
    HOLE_GFN,
    N_SPECIAL,
    SPECIAL_GFN,
    VGA_END_GFN,
    VGA_HOLE_GFN,
    guest_pages,
    memory_runs,
)
from p2mperf.populating.policies import POLICIES
from p2mperf.populating.tables import GIGA, MEGA, ORDERS, Predicted, Tables, count_tables, predict
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE, flag, parse_pages

if TYPE_CHECKING:
    from p2mperf.populating.policy_kernels import Ways

ByOrder = Mapping[int, int]
Columns = tuple[Words, Words, Orders]

# Of a host without room beside its guest, as HAP's own geometries have it: what is broken is to be felt.
_ANY = Geometry("any", 64)
_ENTRY_BYTES = 8
_FRAME_BYTES = 25  # of a leaf, and of the links of a free frame


@dataclass(frozen=True)
class Populated:
    """A guest with its memory.

    Attributes
    ----------
    policy : str
        Who asked for it; one of `POLICIES`.
    guest_bytes : int
        Memory that was asked for [bytes].
    machine : Machine
        Where it comes from; its seed decides which blocks are broken.
    fragmentation : Fragmentation
        What is broken.
    n_broken_2mb, n_broken_1gb : int
        Blocks that give no extent of order 9, or of order 18.
    hap_2mb, hap_1gb : bool
        Whether the table may have such leaves: what is allocated does not depend on it.
    device_model : bool
        Whether there is a VGA hole.
    demand_4k : bool
        Whether the caller's hint demanded single frames.
    extents : Extents
        Leaves of the table.
    allocated, failed, skipped : mapping of int to int
        By order: extents that the allocator gave; that it had no block for; and that nobody tried, as the
        call that asked for them ended at a failed one.
    """

    policy: str
    guest_bytes: int
    machine: Machine
    fragmentation: Fragmentation
    n_broken_2mb: int
    n_broken_1gb: int
    hap_2mb: bool
    hap_1gb: bool
    device_model: bool
    demand_4k: bool
    extents: Extents
    allocated: ByOrder
    failed: ByOrder
    skipped: ByOrder

    @property
    def leaves(self) -> ByOrder:
        """Leaves of the table by order, 0, 9 and 18."""
        return {order: self.extents.n_by_order.get(order, 0) for order in ORDERS}

    @cached_property
    def tables(self) -> Tables:
        """Pages of the table by level, counted."""
        return count_tables(self.extents)

    @property
    def predicted(self) -> Predicted:
        """Leaves and pages by arithmetic: what there is when no allocation fails and no version is wrong."""
        runs = memory_runs(self.guest_bytes >> PAGE_SHIFT, self.device_model)
        may_be_large = {MEGA: self.hap_2mb, GIGA: self.hap_1gb}
        return predict(
            runs, [] if self.demand_4k else [order for order in may_be_large if may_be_large[order]]
        )

    @property
    def guest(self) -> Guest:
        """The guest itself: what ``p2mperf.build("hap-walk", ...)`` and the other HAP designs take."""
        return Guest.from_extents(self.extents, machine=self.machine, seed=self.machine.seed)

    @property
    def m2p_bytes(self) -> int:
        """What the m2p says about its memory: 8 bytes a frame whatever the leaves are [bytes]."""
        return self.extents.n_frames * _ENTRY_BYTES

    def to_dict(self) -> dict[str, object]:
        """Everything but the extents themselves, as JSON can hold it."""
        by_order = {
            "leaves": self.leaves,
            "allocated_extents": self.allocated,
            "failed_extents": self.failed,
            "skipped_extents": self.skipped,
            "predicted_leaves": self.predicted.leaves,
        }
        return {
            "policy": self.policy,
            "guest_bytes": self.guest_bytes,
            "machine_bytes": self.machine.n_frames * PAGE_SIZE,
            "seed": self.machine.seed,
            "fragmentation": self.fragmentation.share,
            "fragmentation_1gb": self.fragmentation.share_1gb,
            "n_broken_2mb": self.n_broken_2mb,
            "n_broken_1gb": self.n_broken_1gb,
            "hap_2mb": self.hap_2mb,
            "hap_1gb": self.hap_1gb,
            "device_model": self.device_model,
            "demand_4k": self.demand_4k,
            **{name: {str(order): counts[order] for order in ORDERS} for name, counts in by_order.items()},
            "tables": {f"L{level}": n for level, n in enumerate(self.tables, start=1)},
            "predicted_tables": {f"L{level}": n for level, n in enumerate(self.predicted.tables, start=1)},
            "n_table_pages": self.tables.n_pages,
            "n_frames": self.extents.n_frames,
            "memory_bytes": self.extents.n_frames * PAGE_SIZE,
            "table_bytes": self.tables.n_bytes,
            "m2p_bytes": self.m2p_bytes,
        }


def populate(
    guest_memory: str | int,
    policy: str = "builder",
    *,
    fragmentation: float = 0.0,
    fragmentation_1gb: float | None = None,
    hap_1gb: bool = True,
    hap_2mb: bool = True,
    device_model: bool = True,
    demand_4k: bool = False,
    machine_memory: str | int | None = None,
    seed: int = 1,
) -> Populated:
    """Give a guest its memory, from a host whose free memory is whole or broken.

    Parameters
    ----------
    guest_memory : str or int
        The guest's memory, as ``10G``; what the VGA hole takes of it is not populated [bytes].
    policy : str
        "builder" as Xen's domain builder since 4.1; "builder-2008", "builder-2010-04-06" and
        "builder-2010-04-22" as its older versions; "opportunistic" for extents that the hypervisor finds in a
        list of single frames, our reconstruction of John Byrne's proposal.
    fragmentation : float
        Share of the host's 2 MiB blocks that give no extent of 2 MiB any more; see `Fragmentation`.
    fragmentation_1gb : float, optional
        Share of the host's 1 GiB blocks that these lie in; default: anywhere.
    hap_1gb, hap_2mb : bool
        Whether the table may have leaves of 1 GiB and of 2 MiB. The same extents are allocated either way.
    device_model : bool
        False for a PVH guest: it has no VGA hole, so that its first GiB can be one extent.
    demand_4k : bool
        The caller's hint that it wants single frames; of "opportunistic" only.
    machine_memory : str or int, optional
        Memory of the host; default: a quarter more than the guest's, and 16 MiB [bytes].
    seed : int
        Which blocks are broken.

    Returns
    -------
    Populated

    Raises
    ------
    BadInputError
        For an unknown policy, sizes and shares that are none, and a machine that has too little memory.
    DoesNotFitError
        When the memory of this machine does not suffice.

    Examples
    --------
    >>> populate("4G").leaves, populate("4G").tables
    ({0: 485, 9: 1023, 18: 2}, Tables(l1=2, l2=3, l3=1, l4=1))
    """
    from p2mperf.populating import policy_kernels as kernels

    who = POLICIES[known("policy", policy, POLICIES)]
    n_pages, seed = guest_pages(guest_memory), checked_seed(seed)
    hap_1gb, hap_2mb = flag(hap_1gb, "hap_1gb"), flag(hap_2mb, "hap_2mb")
    device_model, demand_4k = flag(device_model, "device_model"), flag(demand_4k, "demand_4k")
    if demand_4k and who.is_builder:
        raise BadInputError(
            f"demand_4k is a hint to the hypervisor, and {who.name} asks for extents of a size"
        )
    broken = Fragmentation(fragmentation, fragmentation_1gb)
    if machine_memory is None:
        machine = Machine.for_guest(n_pages, _ANY, seed)
    else:
        machine = Machine(parse_pages(machine_memory), seed)
    is_whole = hap_2mb and not (broken.share or broken.share_1gb or demand_4k)
    require_memory(_FRAME_BYTES * (0 if is_whole else n_pages), f"populating {n_pages} pages one by one")
    heap = MachineHeap(machine, broken)
    room = _Room(n_pages + N_SPECIAL)
    ways = kernels.Ways(who.asks_1gb, who.clips_1gb, who.looks_at_gfn)
    if who.is_builder:
        _build(heap, room, ways, n_pages, device_model)
    else:
        _find(heap, room, n_pages, device_model, demand_4k)
    return Populated(
        policy=who.name,
        guest_bytes=n_pages << PAGE_SHIFT,
        machine=machine,
        fragmentation=broken,
        n_broken_2mb=heap.n_broken_2mb,
        n_broken_1gb=heap.n_broken_1gb,
        hap_2mb=hap_2mb,
        hap_1gb=hap_1gb,
        device_model=device_model,
        demand_4k=demand_4k,
        extents=_leaves(room.extents(), hap_2mb, hap_1gb),
        allocated=_by_order(room.taken),
        failed=_by_order(room.failed),
        skipped=_by_order(room.skipped),
    )


def _build(heap: MachineHeap, room: _Room, ways: Ways, n_pages: int, device_model: bool) -> None:
    """Let a version of the builder ask for it."""
    from p2mperf.populating.policy_kernels import Map, build

    place = Map(*map(np.uint64, (n_pages, HOLE_GFN, HOLE_FRAMES)))
    first, n_small = (VGA_END_GFN, VGA_HOLE_GFN) if device_model else (0, 0)
    reached = int(build(heap.blocks, room.book, place, ways, np.uint64(first), np.uint64(n_small)))
    _give_special(heap, room, n_pages, is_whole=reached == n_pages)


def _find(heap: MachineHeap, room: _Room, n_pages: int, device_model: bool, demand_4k: bool) -> None:
    """Let the hypervisor find extents in the list of frames."""
    from p2mperf.populating.heap_kernels import NONE
    from p2mperf.populating.policy_kernels import build_opportunistically

    runs = np.array(memory_runs(n_pages, device_model), np.uint64)
    listed = runs[runs[:, 0] != SPECIAL_GFN]
    first, end = np.ascontiguousarray(listed.T)
    missed = int(build_opportunistically(heap.blocks, room.book, first, end, demand_4k))
    _give_special(heap, room, n_pages, is_whole=missed == NONE)


def _give_special(heap: MachineHeap, room: _Room, n_pages: int, is_whole: bool) -> None:
    """Give the special pages, last; a guest that memory gives out for is not built."""
    from p2mperf.populating.policy_kernels import fill_gap

    if not is_whole or int(fill_gap(heap.blocks, room.book, np.uint64(SPECIAL_GFN))) < N_SPECIAL:
        n_given = sum(int(count) << order for order, count in enumerate(room.taken))
        raise BadInputError(
            f"the machine has {heap.machine.n_frames} frames, of which {n_given} were free: too few for"
            f" the guest's {n_pages} pages and {N_SPECIAL} special ones"
        )


class _Room:
    """Room for as many leaves as there can be, and for counts: what is not used is never touched."""

    def __init__(self, n_most: int) -> None:
        from p2mperf.populating.policy_kernels import NO_GAP, Book

        try:
            self._gfn, self._mfn = (np.empty(n_most, np.uint64) for _ in range(2))
            self._order = np.empty(n_most, np.uint8)
        except MemoryError:
            raise DoesNotFitError(
                f"memory does not suffice for {n_most} leaves: take a smaller guest"
            ) from None
        self._at = np.array([0, NO_GAP], np.uint64)
        self.taken, self.failed, self.skipped = (np.zeros(MAX_ORDER + 1, np.uint64) for _ in range(3))
        columns = self._gfn, self._mfn, self._order, self._at, self.taken, self.failed, self.skipped
        self.book = Book(*columns, np.uint64(HOLE_GFN), np.uint64(N_SPECIAL))

    def extents(self) -> Columns:
        """What was written down: kept where it is, unless that is much too large."""
        n_extents = int(self._at[0])
        gfn, mfn, order = self._gfn[:n_extents], self._mfn[:n_extents], self._order[:n_extents]
        if 2 * n_extents < self._gfn.size:
            return gfn.copy(), mfn.copy(), order.copy()
        for column in (self._gfn, self._mfn, self._order):
            sealed(column)
        return sealed(gfn), sealed(mfn), sealed(order)


def _leaves(columns: Columns, hap_2mb: bool, hap_1gb: bool) -> Extents:
    """Cut extents as set_p2m_entry does: they are aligned in the machine, but not always in the guest."""
    gfn, _, order = columns
    leaf = np.zeros_like(order)
    for large, is_there in ((MEGA, hap_2mb), (GIGA, hap_1gb)):
        if is_there and order.any():
            leaf[(order >= large) & (gfn % np.uint64(1 << large) == 0)] = large
    return pieces(*columns, leaf)


def _by_order(counts: Words) -> ByOrder:
    return MappingProxyType({order: int(counts[order]) for order in ORDERS})
