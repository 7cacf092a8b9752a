"""The leaves of one p2m: what each is, where it stands, which table finds it, and what may still be taken.

All parts of a p2m take the store, and change leaves and slots through it alone. Who changes a mapping holds
its lock; single entries are written without.
"""

from __future__ import annotations

from threading import RLock
from time import perf_counter_ns
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import Load, translated
from p2mperf.designs.pv.entry_kernels import EntryFormat, EntryFormat32, EntryFormat64
from p2mperf.designs.pv.leaf_kernels import invert_leaves, store_slots
from p2mperf.designs.pv.leaf_plan import Flags, Leaf, LeafPlan
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Entries, Words
from p2mperf.guests.guest import Guest
from p2mperf.memory.owned import Mapped, Owned
from p2mperf.memory.pool import Frames, PagePool
from p2mperf.tables.radix import Level, Radix, RadixTable, Sharing, build
from p2mperf.units import PAGE_SHIFT, whole_number

_MOST_SPARE = 1 << 28  # 1 TiB of pages


class LeafStore(Owned):
    """Private leaves in a pool, two shared ones for holes, and the table above them.

    Parameters
    ----------
    name : str
        What errors call the design.
    guest : Guest
        Whose p2m.
    plan : LeafPlan
        Which leaves are private, and what stands in them.
    n_pages : int
        Pages that building takes, those of the table included [frames].
    end_pfn : int
        First pfn that cannot be written.
    n_spare : int, optional
        Pages that writing may take; None for as many as could ever be needed [frames].
    direct_bytes : int
        Page size of the direct map [bytes].
    run_frames : int
        As `PagePool`.

    Attributes
    ----------
    pool : PagePool
        Where all pages are.
    leaves : ndarray of int64, shape (n_leaves,)
        Frame behind each leaf-sized stretch, shared ones repeated.
    leaf_state : ndarray of int8, shape (n_leaves,)
        `Leaf` of each; starts as the plan's, and follows what is written.
    missing_leaf, identity_leaf : int
        Frames of the two shared leaves.
    table : RadixTable
        Its last level points to the leaves; there from `build_table` on.
    sharing : Sharing
        What it was built by.
    tables, write_tables : NamedTuple
        What the walk and `locate_leaf` take; set by who knows the layout.
    form : EntryFormat
        How entries are written.
    taken : dict of str to int
        Pages that writing took, by kind.
    changes : ndarray of int64, shape (3,)
        As `set_entries` counts them, since the p2m was built.
    unlinked : ndarray of int64, shape (n,)
        Last-level pages that no slot points to, though they should be there: see the quirk "half-window".
    written, suspended : bool
        Whether anything was written since, and whether the guest is saved.
    lock : RLock
        Held by who changes a mapping.
    mfn_generation_ns : int
        Time to write the leaves [ns].

    Raises
    ------
    DoesNotFitError
        When memory or address space gives out; nothing is kept then.
    """

    table: RadixTable
    sharing: Sharing
    tables: NamedTuple
    write_tables: NamedTuple

    def __init__(
        self,
        name: str,
        guest: Guest,
        plan: LeafPlan,
        n_pages: int,
        end_pfn: int,
        *,
        n_spare: int | None,
        direct_bytes: int,
        run_frames: int,
    ) -> None:
        self.name = name
        self.guest = guest
        self.plan = plan
        self.end_pfn = end_pfn
        self.form = _entry_format(guest, end_pfn)
        n_enough = self._enough_spare()
        self.n_spare = n_enough if n_spare is None else whole_number(n_spare, "n_spare", 0, _MOST_SPARE)
        self.taken: dict[str, int] = {}
        self.changes = np.zeros(3, np.int64)
        self.unlinked = np.zeros(0, np.int64)
        self.written = self.suspended = False
        self.lock = RLock()
        self.pool = PagePool(
            n_pages,
            n_spare=self.n_spare,
            page_bytes=direct_bytes,
            run_frames=run_frames,
            seed=guest.seed,
        )
        self._addressed: Mapped | None = Mapped.of(self.pool)
        try:
            self._build_leaves()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> LeafStore:
        return self

    def __exit__(self, *exc: object) -> None:
        # All pages, and the addresses of them. There is no `close`: the design that lives on them has one.
        self.pool.close()
        self._addressed = None

    def _enough_spare(self) -> int:
        shape = self.guest.geometry
        n_mids = -(-self.end_pfn // shape.mid_frames)
        # Every leaf, every last-level page (two a mid at most), and the tools' tree.
        n_leaves = int(np.count_nonzero(self.plan.state[: self.end_pfn // shape.leaf_frames]))
        return n_leaves + 3 * n_mids + 8

    def _build_leaves(self) -> None:
        dtype = self.guest.geometry.dtype
        # First of all, so that they stand 2 MiB-aligned and a window over them can have 2 MiB pages.
        frames = self.pool.allocate(self.plan.n_private, "leaf")
        shared = self.pool.allocate(2, "leaf_shared")
        self.missing_leaf, self.identity_leaf = shared.tolist()
        for frame in shared.tolist():
            self.pool.words(frame, dtype)[:] = self.guest.geometry.invalid
        start = perf_counter_ns()
        self._write_leaves(frames)
        self.mfn_generation_ns = perf_counter_ns() - start
        self.leaf_state = self.plan.state.copy()
        self.leaves = self.shared_targets()
        self.leaves[self.leaf_state == Leaf.PRIVATE] = frames

    def _write_leaves(self, frames: Frames) -> None:
        dtype = self.guest.geometry.dtype
        if frames.size == 0:
            return
        if frames[-1] - frames[0] == frames.size - 1 and (np.diff(frames) == 1).all():
            self.plan.fill(self.pool.words(int(frames[0]), dtype, frames.size))
            return
        packed = np.empty(frames.size * self.guest.geometry.leaf_frames, dtype)
        self.plan.fill(packed)
        self.pool.pages(dtype)[frames] = packed.reshape(frames.size, -1)

    def build_table(self, shape: Radix, sharing: Sharing, numbers: Frames | None = None) -> None:
        """Build the table above the leaves.

        Parameters
        ----------
        shape, sharing, numbers
            As `radix.build`.
        """
        self.sharing = sharing
        self.table = build(self.pool, self.leaves, shape, sharing, numbers)

    # What there is ---------------------------------------------------------------------------------------

    @property
    def subject(self) -> str:
        """What a sentence about this p2m begins with."""
        return f"{self.name} of {self.guest.name}"

    @property
    def leaf_frames(self) -> Frames:
        """Frames of the private leaves, in pfn order."""
        return self.leaves[self.leaf_state == Leaf.PRIVATE]

    def shared_targets(self) -> Frames:
        """Frame that each leaf shares; meaningless for private ones."""
        return np.array([0, self.missing_leaf, self.identity_leaf])[self.leaf_state]

    def shared_leaves_beyond(self) -> Frames:
        """Shared leaves beyond the memory map that can be made private, ascending."""
        leaf_frames = self.guest.geometry.leaf_frames
        first, end = -(-self.guest.covered_pfn // leaf_frames), self.end_pfn // leaf_frames
        return first + np.flatnonzero(self.leaf_state[first:end] != Leaf.PRIVATE)

    def read(self, pfns: Words) -> Words:
        """Raw entries of frames."""
        return translated(self.tables, (), pfns, self.guest.geometry.entry_bits)

    def has_memory(self, entries: Words) -> Flags:
        """Own or foreign: neither INVALID nor identity."""
        return entries & self.form.identity == 0

    def is_foreign(self, entries: Words) -> Flags:
        """Whether entries are another domain's frames."""
        return (entries & self.form.foreign != 0) & (entries != self.form.invalid)

    def is_beyond(self, first_pfn: int, n_frames: int) -> bool:
        """Tell whether a range ends beyond `end_pfn`."""
        return first_pfn + n_frames > self.end_pfn

    def require_running(self) -> None:
        """See that the guest is not saved.

        Raises
        ------
        BadInputError
            When it is.
        """
        if self.suspended:
            raise BadInputError(f"{self.guest.name} is saved: restore it before writing")

    def note_changes(self, changes: NDArray[np.int64]) -> None:
        """Add to what writing has changed, as `set_entries` counts it."""
        with self.lock:
            self.changes += changes

    def first_pfns(self, leaves: Frames) -> Words:
        """First frame of each leaf."""
        return leaves.astype(np.uint64) << self.form.leaf_shift

    def invert(self, m2p: Entries) -> None:
        """Write the pfn of every plain mfn in private leaves into a table by mfn."""
        m2p[:] = self.guest.geometry.invalid
        pages = self.pool.pages(self.guest.geometry.dtype)
        first = self.first_pfns(np.flatnonzero(self.leaf_state == Leaf.PRIVATE))
        invert_leaves(pages, self.leaf_frames, first, self.form, m2p)

    def load_at(self, address: int) -> Load:
        """Describe a word of the direct map.

        Raises
        ------
        BadInputError
            When the address belongs to no page of the p2m.
        """
        frame = self.pool.frame_at(address)
        kind = self.pool.kind(frame) if frame >= 0 else ""
        if not kind:
            raise BadInputError(f"address {address:#x} belongs to no page of this {self.name}")
        is_leaf = kind.startswith("leaf")
        word_bytes = self.guest.geometry.entry_bytes if is_leaf else self.table.shape.slot_bytes
        return Load(kind, "direct", frame, (address & 0xFFF) // word_bytes, address)

    # The spare budget ------------------------------------------------------------------------------------

    @property
    def n_spare_left(self) -> int:
        """Pages that writing may still take."""
        return self.n_spare - sum(self.taken.values())

    def take(self, n_pages: int, kind: str) -> Frames:
        """Take pages for what is written, and count them.

        Raises
        ------
        DoesNotFitError
            When memory gives out.
        """
        frames = self.pool.allocate(n_pages, kind)
        self.taken[kind] = self.taken.get(kind, 0) + n_pages
        return frames

    def give_back(self, frames: Frames, kind: str) -> None:
        """Return the pages that were taken last."""
        self.pool.give_back(frames)
        self.taken[kind] -= frames.size

    # The table -------------------------------------------------------------------------------------------

    @property
    def last(self) -> Level:
        """Level of the pages whose slots point to leaves."""
        return self.table.shape.levels[0]

    @property
    def group(self) -> int:
        """Last-level pages that are shared only together: 2 for a list of 4-byte entries, else 1."""
        return self.sharing.group

    def page_of(self, leaves: Frames) -> Frames:
        """Last-level page that each leaf's slot is in."""
        return (leaves + self.last.first_slot) // self.last.fanout

    @property
    def page_frames(self) -> Frames:
        """Frame behind each last-level page, shared ones repeated."""
        return self.table.frames[self.last.name]

    def is_shared(self, pages: Frames) -> Flags:
        """Whether last-level pages are shared ones."""
        return np.isin(self.page_frames[pages], list(self.table.shared.values()))

    def is_unlinked(self, leaves: Frames) -> Flags:
        """Whether the table has lost the last-level pages of leaves."""
        return np.isin(self.page_of(leaves), self.unlinked)

    def assign(self, leaves: Frames, frames: Frames | int, state: Leaf) -> None:
        """Note what leaves are now, once their slots say so.

        Parameters
        ----------
        leaves : ndarray of int64, shape (n,)
            Leaf numbers.
        frames : int or ndarray of int64, shape (n,)
            What is behind them.
        state : Leaf
            What they are.
        """
        self.leaves[leaves] = frames
        self.leaf_state[leaves] = state

    def point(self, leaves: Frames, frames: Frames) -> None:
        """Let the slots of leaves point to frames."""
        positions = leaves + self.last.first_slot
        self.write_slots(self.page_frames[positions // self.last.fanout], positions, frames)

    def point_pages(self, pages: Frames, frames: Frames) -> None:
        """Let the slots above last-level pages point to other frames."""
        upper = self.table.shape.levels[1]
        positions = pages + upper.first_slot
        self.write_slots(self.table.frames[upper.name][positions // upper.fanout], positions, frames)
        self.page_frames[pages] = frames

    def write_slots(self, pages: Frames, positions: Frames, frames: Frames) -> None:
        """Write slots of pages of the table, each in one store.

        Parameters
        ----------
        pages, positions : ndarray of int64, shape (n,)
            Frame that each slot is in, and its position in its level; the index follows from that.
        frames : ndarray of int64, shape (n,)
            What each is to point to.
        """
        table = self.table
        slots = (positions % self.last.fanout) * table.shape.slot_bytes
        addresses = (pages << PAGE_SHIFT) + slots + self.pool.base
        is_shared = np.isin(frames, (self.missing_leaf, self.identity_leaf))
        flag = np.where(is_shared, 0, self.sharing.write_flag).astype(np.uint64)
        values = table.encode(frames).astype(np.uint64) | flag
        kind = EntryFormat64 if table.shape.slot_bytes == 8 else EntryFormat32
        store_slots(kind(*self.form), addresses.astype(np.uint64), values)


def frame_range(first_pfn: int, n_frames: int) -> Words:
    """Frames from `first_pfn` on."""
    return np.arange(first_pfn, first_pfn + n_frames, dtype=np.uint64)


def _entry_format(guest: Guest, end_pfn: int) -> EntryFormat:
    shape = guest.geometry
    kind = EntryFormat64 if shape.entry_bits == 64 else EntryFormat32
    bits = (shape.invalid, shape.identity_bit, shape.foreign_bit)
    leaf_shift = shape.leaf_frames.bit_length() - 1
    return kind(*map(np.uint64, (*bits, leaf_shift, end_pfn, guest.machine.n_frames)))
