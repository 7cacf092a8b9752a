"""Writing to a PV p2m: set_phys_to_machine, what it allocates and what it must not.

The rules are those of arch/x86/xen/p2m.c in 3.18 (tree) and 3.19 (list), with the known defects mended;
each of those is back under its name in `QUIRKS`. A shared leaf is broken by making a private copy of what it
means, a shared mid by making private last-level pages; nothing is ever merged back.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from threading import RLock
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.backing import Backing
from p2mperf.designs.pv.area import area_entries, check_guest, limit_pages
from p2mperf.designs.pv.base import PvDesign
from p2mperf.designs.pv.entry_kernels import EntryFormat, EntryFormat32, EntryFormat64
from p2mperf.designs.pv.leaf_kernels import fill_leaves, invert_leaves, store_slots
from p2mperf.designs.pv.leaf_plan import Leaf
from p2mperf.designs.pv.quirks import BugError, checked_quirks
from p2mperf.designs.pv.tools import ToolsView
from p2mperf.designs.pv.write_kernels import find_shared, find_unfit, set_entries
from p2mperf.errors import BadInputError, DoesNotFitError
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.memory.pool import Frames
from p2mperf.tables.m2p import M2p, Overrides
from p2mperf.tables.radix import RadixTable, read_back
from p2mperf.units import PAGE_SHIFT

Flags = NDArray[np.bool_]


class PvWriter(PvDesign):
    """A p2m that can be written.

    Parameters
    ----------
    guest, backing, above, run_frames
        As `PvDesign`.
    quirks : iterable of str
        Deviations to reproduce, by their names in `QUIRKS`.
    n_spare : int, optional
        Pages that writing may take; further writes that need one are refused. Default: as many as could
        ever be needed; they only take address space until then [frames].
    m2p_override : bool
        Find frames mapped from other domains in a table beside the m2p, as kernels of the tree's time did.

    Attributes
    ----------
    end_pfn : int
        First pfn that cannot be written: the memory map's end, or the hotplug limit, in whole mids.
    n_breaks : dict of str to int
        Shared leaves and mids that were made private so far.
    before_lock : callable, optional
        Called between the look at a shared page and the lock under which it is replaced: where a kernel
        can lose a race, and a test can make it lose one.
    """

    writable: ClassVar[bool] = True
    options: ClassVar[frozenset[str]] = PvDesign.options | {"quirks", "n_spare", "m2p_override", "limit"}
    known_quirks: ClassVar[tuple[str, ...]] = ()
    _write_tables: Any

    def __init__(
        self,
        guest: Any,
        backing: str | Backing = "kernel",
        *,
        quirks: Iterable[str] = (),
        n_spare: int | None = None,
        m2p_override: bool = False,
        **options: Any,
    ) -> None:
        check_guest(self.name, guest)
        self.quirks = checked_quirks(quirks, self.known_quirks, self.name)
        self.before_lock: Callable[[], None] | None = None
        self.overrides = Overrides() if m2p_override else None
        self.n_breaks = {"leaf": 0, "mid": 0}
        self.suspended = False
        self._n_spare = n_spare
        self._taken: dict[str, int] = {}
        self._changes = np.zeros(3, np.int64)
        self._written = False
        self._lock = RLock()
        self._tools: ToolsView | None = None
        limit, above = limit_pages(options.get("limit", 0)), options.get("above", "identity")
        self.end_pfn = self.count_writable(guest, limit, above)
        super().__init__(guest, backing, **options)
        self._words = self._entry_format()
        if self.writable:
            self._set_write_tables()

    @classmethod
    def count_writable(cls, guest: Guest, limit: int, above: str) -> int:
        """Frames that can be written, from pfn 0.

        Parameters
        ----------
        guest, limit, above
            As `area_entries`.

        Returns
        -------
        int
            Where writing ends.
        """
        return area_entries(guest, limit, above)

    @property
    @abstractmethod
    def _table(self) -> RadixTable:
        """The radix table whose last level points to leaves."""

    @abstractmethod
    def _set_write_tables(self) -> None:
        """Set what `locate_leaf` needs."""

    def _room_to_show(self, leaves: Frames) -> int:
        """How many of these leaves, in this order, can still be shown where readers look for them."""
        return leaves.size

    def _show(self, leaves: Frames, frames: Frames) -> None:
        """Show new frames where readers look for them beside the table."""

    def _entry_format(self) -> EntryFormat:
        shape = self.guest.geometry
        kind = EntryFormat64 if shape.entry_bits == 64 else EntryFormat32
        bits = (shape.invalid, shape.identity_bit, shape.foreign_bit)
        leaf_shift = shape.leaf_frames.bit_length() - 1
        return kind(*map(np.uint64, (*bits, leaf_shift, self.end_pfn, self.guest.machine.n_frames)))

    def _spare_frames(self) -> int:
        if not self.writable:
            return 0
        if self._n_spare is None:
            shape = self.guest.geometry
            n_mids = -(-self.end_pfn // shape.mid_frames)
            # Every leaf, every last-level page (two a mid at most), and the tools' tree.
            n_leaves = int(np.count_nonzero(self.plan.state[: self.end_pfn // shape.leaf_frames]))
            self._n_spare = n_leaves + 3 * n_mids + 8
        return self._n_spare

    @property
    def n_spare_left(self) -> int:
        """Pages that writing may still take."""
        return (self._n_spare or 0) - sum(self._taken.values())

    def set(self, pfns: Any, entries: Any) -> Flags:
        """Write entries, in order, as set_phys_to_machine does.

        Parameters
        ----------
        pfns : array_like of int
            Frames.
        entries : array_like of int
            Raw entries, marker bits included; one for all, or one a frame.

        Returns
        -------
        ndarray of bool
            Whether each is now as asked. False where no page could be had for it, or beyond `end_pfn`
            (where only INVALID is taken); nothing has changed there.

        Raises
        ------
        BadInputError
            For entries wider than the guest's, mfns beyond its machine, other shapes, or what a quirk turns
            into a BUG.
        ClosedError
            When the design was closed.

        Examples
        --------
        >>> from p2mperf.designs.pv.tree import PvTree
        >>> from p2mperf.guests.guest import Guest
        >>> with PvTree(Guest.preset("dom0-64-e820")) as tree:
        ...     tree.set([0, 1 << 40], 7), tree.lookup([0])
        (array([ True, False]), array([7], dtype=uint64))
        """
        pfns, entries = self._checked(pfns, entries)
        return self._set(pfns, entries).reshape(pfns.shape)

    def _checked(self, pfns: Any, entries: Any, plain_only: bool = False) -> tuple[Words, Words]:
        pfns, entries = self._frames(pfns), self._frames(entries)
        self._check_writable()
        if entries.shape != pfns.shape:
            if entries.size != 1:
                raise BadInputError(f"{entries.size} entries for {pfns.size} frames: give one or as many")
            entries = np.full(pfns.shape, entries.reshape(-1)[0], np.uint64)
        unfit = find_unfit(self._words, entries.reshape(-1), plain_only)
        if unfit < entries.size:
            raise self._unfit(int(entries.reshape(-1)[unfit]))
        return pfns, entries

    def _unfit(self, entry: int) -> BadInputError:
        if entry > self._words.invalid:
            return BadInputError(f"entry {entry:#x} is wider than the entries of {self.guest.name}")
        if entry & int(self._words.identity | self._words.foreign):
            return BadInputError(f"entry {entry:#x} has marker bits where a plain machine frame is needed")
        return BadInputError(f"mfn {entry:#x} is beyond the machine's {self._words.n_machine} frames")

    def _check_writable(self) -> None:
        if not self.writable:
            raise BadInputError(f"{self.name} can only be read: write to pv-linear")
        if self.suspended:
            raise BadInputError(f"{self.guest.name} is saved: restore it before writing")

    def _set(self, pfns: Words, entries: Words, only_holes: bool = False) -> Flags:
        flat, values = pfns.reshape(-1), entries.reshape(-1)
        done = np.ones(flat.size, np.bool_)
        n_before_bug = self._find_bug(flat, values)
        first = self._pass(flat[:n_before_bug], values, only_holes, 0, True, done)
        while first < n_before_bug:
            if self.quirks and self._set_by_quirk(int(flat[first]), int(values[first])):
                first = self._pass(flat[:n_before_bug], values, only_holes, first + 1, True, done)
                continue
            last = first + 1 if self.quirks else n_before_bug
            self._break_for(flat[first:last], values[first:last], only_holes)
            first = self._pass(flat[:last], values, only_holes, first, False, done)
            if last < n_before_bug:
                first = self._pass(flat[:n_before_bug], values, only_holes, first, True, done)
        if n_before_bug < flat.size:
            raise BugError(f"pfn {int(flat[n_before_bug]):#x} is beyond the end at {self.end_pfn:#x}: BUG")
        return done

    def _pass(
        self, pfns: Words, entries: Words, only_holes: bool, first: int, stop: bool, done: Flags
    ) -> int:
        changes = np.zeros(3, np.int64)
        self._written = True
        tables, words, m2p = self._write_tables, self._words, self._m2p_words()
        reached = set_entries(tables, words, pfns, entries, only_holes, first, stop, done, m2p, changes)
        with self._lock:
            self._changes += changes
        return int(reached)

    def _m2p_words(self) -> NDArray[Any]:
        return self._m2p.words() if self._m2p else np.zeros(0, self.guest.geometry.dtype)

    def _find_bug(self, pfns: Words, entries: Words) -> int:
        if "bug-beyond-end" not in self.quirks:
            return pfns.size
        fatal = np.flatnonzero((pfns >= self._words.end) & (entries != self._words.invalid))
        return int(fatal[0]) if fatal.size else pfns.size

    def _set_by_quirk(self, pfn: int, entry: int) -> bool:
        """Do what 3.18's tree did with a write under a shared page; False where it did as it should."""
        leaf, words = pfn >> int(self._words.leaf_shift), self._words
        under_identity = self.leaf_state[leaf] == Leaf.IDENTITY
        if entry == words.invalid:
            return bool(under_identity) and "invalid-under-identity-ignored" in self.quirks
        if entry & int(words.identity):
            if "identity-widens" not in self.quirks:
                return False
            if not under_identity:
                self._widen(leaf)
            return True
        if under_identity and "lost-write-under-identity" in self.quirks:
            shared = self.pool.words(self.identity_leaf, self.guest.geometry.dtype)
            shared[pfn % shared.size] = entry
            return True
        return False

    def _widen(self, leaf: int) -> None:
        """Make all of a missing leaf or mid identity."""

    # Breaking shared leaves ------------------------------------------------------------------------------

    @property
    def _last(self) -> Any:
        return self._table.shape.levels[0]

    def _page_of(self, leaves: Frames) -> Frames:
        """Last-level page that each leaf's slot is in."""
        return (leaves + self._last.first_slot) // self._last.fanout

    def _break_for(self, pfns: Words, entries: Words, only_holes: bool) -> None:
        """Make private, as far as pages go, the leaves that these writes need."""
        found = np.zeros(pfns.size, np.bool_)
        find_shared(self._write_tables, self._words, pfns, entries, only_holes, 0, found)
        needed = pfns[found]
        leaves, index = np.unique((needed >> self._words.leaf_shift).astype(np.int64), return_index=True)
        in_order = np.argsort(index)
        self.break_leaves(leaves[in_order], needed[index[in_order]])

    def break_leaves(self, leaves: Frames, written: Words | None = None) -> int:
        """Make shared leaves private, with what they mean now: xen_alloc_p2m_entry since 4.3.

        Parameters
        ----------
        leaves : ndarray of int64, shape (n,)
            Leaf numbers, without repeats, the most wanted first; private ones are left alone.
        written : ndarray of uint64, shape (n,), optional
            The frame that each is broken for.

        Returns
        -------
        int
            Leaves that are private now; the others could not be had, and are as they were.
        """
        self._check_writable()
        leaves = np.asarray(leaves, np.int64)
        if written is None:
            written = (leaves << int(self._words.leaf_shift)).astype(np.uint64)
        seen = self._table.frames[self._last.name][self._page_of(leaves)]
        if self.before_lock is not None:
            self.before_lock()
        with self._lock:
            lost = self._table.frames[self._last.name][self._page_of(leaves)] != seen
            if lost.any() and self.quirks:
                leaves, written = self._lose_race(leaves, written, seen, lost)
            shared = np.flatnonzero(self.leaf_state[leaves] != Leaf.PRIVATE)
            granted = shared[self._granted(leaves[shared])]
            order = granted[np.argsort(leaves[granted])]
            if order.size:
                self._install(leaves[order], written[order])
            return int(np.count_nonzero(self.leaf_state[leaves] == Leaf.PRIVATE))

    def _lose_race(self, leaves: Frames, written: Words, seen: Frames, lost: Flags) -> tuple[Frames, Words]:
        """Do what the list did first when another processor had replaced the shared page-table page."""
        if "early-free-bug" in self.quirks:
            raise BugError("a page-table page that lost a race cannot be freed while booting: BUG")
        if "stale-page-table-after-race" not in self.quirks:
            return leaves, written
        for leaf, page in zip(leaves[lost].tolist(), seen[lost].tolist(), strict=True):
            self._install_in_shared(leaf, page)
        return leaves[~lost], written[~lost]

    def _install_in_shared(self, leaf: int, page: int) -> None:
        frame = self._take(1, "leaf")
        at = np.array([leaf], np.int64)
        self._fill(at, frame, (at << int(self._words.leaf_shift)).astype(np.uint64))
        self._store(np.array([page]), at + self._last.first_slot, frame)
        users = np.flatnonzero(self._table.frames[self._last.name] == page)
        slot = (leaf + self._last.first_slot) % self._last.fanout
        seen_at = users * self._last.fanout + slot - self._last.first_slot
        self._show(seen_at, np.full(seen_at.size, frame[0]))

    def _granted(self, leaves: Frames) -> Frames:
        """Index of the leaves that pages and mappings suffice for, in order of need."""
        leaves = leaves[: self._room_to_show(leaves)]
        page_cost, first = self._page_costs(leaves)
        if int(page_cost.sum()) <= self.n_spare_left:
            return np.arange(leaves.size)
        granted: list[int] = []
        paid: set[int] = set()
        left = self.n_spare_left
        for position, (cost, mid) in enumerate(zip(page_cost.tolist(), first.tolist(), strict=True)):
            cost = 1 if mid in paid else cost
            if cost <= left:
                left -= cost
                granted.append(position)
                paid.add(mid)
        return np.array(granted, np.int64)

    def _page_costs(self, leaves: Frames) -> tuple[NDArray[np.int64], Frames]:
        """Pages that each leaf takes if it is the first of its mid, else 1, and its group of pages."""
        pages = self._page_of(leaves)
        groups = pages // self.group
        is_shared = np.isin(self._table.frames[self._last.name][pages], list(self._table.shared.values()))
        cost = 1 + is_shared * self.group
        if self._tools is not None:
            cost = cost + self._tools.lacks(leaves)
        _, position = np.unique(groups, return_index=True)
        is_first = np.zeros(leaves.size, np.bool_)
        is_first[position] = True
        # Where a first one is refused, the next of its group bears the cost: see `_granted`.
        return np.where(is_first | (cost.sum() > self.n_spare_left), cost, 1), groups

    @property
    def group(self) -> int:
        """Last-level pages that are shared only together: 2 for a list of 4-byte entries, else 1."""
        return 1

    def _take(self, n_pages: int, kind: str) -> Frames:
        frames = self.pool.allocate(n_pages, kind)
        self._taken[kind] = self._taken.get(kind, 0) + n_pages
        return frames

    def _install(self, leaves: Frames, written: Words) -> None:
        """Readers first find the new leaf in the window, then in the table: never a passing wrong value."""
        if self._tools is not None:
            self._tools.begin_change()
        frames = self._take(leaves.size, "leaf")
        self._fill(leaves, frames, written)
        n_changes = 0
        try:
            self._show(leaves, frames)
        except DoesNotFitError:
            self.pool.give_back(frames)
            self._taken["leaf"] -= frames.size
        else:
            n_changes = self._split_mids(self._page_of(leaves)) + leaves.size
            self._point(leaves, frames)
            self.leaves[leaves] = frames
            self.leaf_state[leaves] = Leaf.PRIVATE
            self.n_breaks["leaf"] += leaves.size
        if self._tools is not None:
            self._tools.follow(leaves)
            self._grow_hint(written)
            self._tools.end_change(n_changes)

    def _fill(self, leaves: Frames, frames: Frames, written: Words) -> None:
        shape = self.guest.geometry
        first = leaves.astype(np.uint64) << self._words.leaf_shift
        if "identity-from-written-pfn" in self.quirks:
            first = written
        identity = self.leaf_state[leaves] == Leaf.IDENTITY
        if "alloc-forgets-identity" in self.quirks:
            identity[:] = False
        value = np.where(identity, first | self._words.identity, self._words.invalid).astype(shape.dtype)
        fill_leaves(self.pool.pages(shape.dtype), frames, value, identity.astype(shape.dtype))

    def _split_mids(self, pages: Frames) -> int:
        """Give shared last-level pages private copies, whole groups at once; how many were made."""
        table, last = self._table, self._last
        groups = np.unique(pages // self.group)
        members = (groups[:, None] * self.group + np.arange(self.group)).ravel()
        olds = table.frames[last.name][members]
        is_shared = np.isin(olds, list(table.shared.values()))
        if not is_shared.any():
            return 0
        members, olds = members[is_shared], olds[is_shared]
        news = self._take(members.size, last.name)
        words = self.pool.pages(table.shape.dtype)
        words[news] = words[olds]
        self._point_upper(members, news)
        self.n_breaks["mid"] += int(np.unique(members // self.group).size)
        return int(members.size)

    def _point(self, leaves: Frames, frames: Frames) -> None:
        """Let the slots of leaves point to frames."""
        table = self._table
        positions = leaves + self._last.first_slot
        self._store(table.frames[self._last.name][positions // self._last.fanout], positions, frames)

    def _store(self, pages: Frames, positions: Frames, frames: Frames) -> None:
        table = self._table
        slots = (positions % self._last.fanout) * table.shape.slot_bytes
        addresses = (pages << PAGE_SHIFT) + slots + self.pool.base
        is_shared = np.isin(frames, (self.missing_leaf, self.identity_leaf))
        flag = np.where(is_shared, 0, self._write_flag).astype(np.uint64)
        values = table.encode(frames).astype(np.uint64) | flag
        kind = EntryFormat64 if table.shape.slot_bytes == 8 else EntryFormat32
        store_slots(kind(*self._words), addresses.astype(np.uint64), values)

    def _point_upper(self, members: Frames, pages: Frames) -> None:
        """Let the slots above last-level pages point to other pages."""
        table = self._table
        upper = table.shape.levels[1]
        positions = members + upper.first_slot
        holders = table.frames[upper.name][positions // upper.fanout]
        self._store(holders, positions, pages)
        table.frames[self._last.name][members] = pages

    @property
    def _write_flag(self) -> int:
        """Bit of a slot that points to a private page."""
        return 0

    def _grow_hint(self, written: Words) -> None:
        assert self._tools is not None
        top = int(written.max())
        as_count = (top | (self.guest.geometry.leaf_frames - 1)) + 1
        self._tools.grow(top, top if "hint-is-a-pfn" in self.quirks else as_count)

    # What else follows -----------------------------------------------------------------------------------

    @property
    def linear_address(self) -> int:
        """Virtual address of a linear list; 0 without one."""
        return 0

    @property
    def tools(self) -> ToolsView:
        """The tools' tree, built when first asked for and kept in step from then on.

        Raises
        ------
        DoesNotFitError
            When `n_spare` leaves no pages for it.
        """
        self._frames([])
        if self._tools is None:
            with self._lock:
                self._tools = ToolsView(self)
        return self._tools

    @property
    def m2p(self) -> M2p:
        """The machine-to-physical table, built when first asked for and kept in step from then on."""
        if self._m2p is None:
            table = M2p(self.guest)
            if self._written:
                self._invert(table)
            self._m2p = table
        return self._m2p

    def _invert(self, table: M2p) -> None:
        words = table.words()
        words[:] = self.guest.geometry.invalid
        pages = self.pool.pages(self.guest.geometry.dtype)
        first = np.flatnonzero(self.leaf_state == Leaf.PRIVATE).astype(np.uint64) << self._words.leaf_shift
        invert_leaves(pages, self.leaf_frames, first, self._words, words)

    def _override(self, mfns: Words) -> Words:
        if self.overrides is None:
            return super()._override(mfns)
        return self.overrides.find(mfns, self.guest.geometry.invalid)

    def _written_counts(self) -> tuple[int, int, int]:
        plain, foreign, astray = self._changes.tolist()
        return plain, foreign, astray

    def _audit_table(self) -> None:
        """Check the radix table and the page counts against what was built and written."""
        table = self._table
        found = read_back(table, self.leaves.size)
        self._require(found == self.leaves, "a slot points to another leaf than the map asks for")
        private = self.leaf_state == Leaf.PRIVATE
        self._require(
            self.leaves[~private] == self._shared_targets()[~private],
            "a leaf is shared that should be private",
        )
        expected = self.predict_pages(self.guest, above=self.above, **self.layout_options)
        for kind, n_pages in self._taken.items():
            expected[kind] = expected.get(kind, 0) + n_pages
        self._require(self.pool.kinds == {k: n for k, n in expected.items() if n}, "page counts differ")
        for label, page in table.shared.items():
            slots = self.pool.words(page, table.shape.dtype)
            self._require(table.decode(slots) == label, "a shared mid points to more than one leaf")
        if self._tools is not None:
            self._tools.audit()
