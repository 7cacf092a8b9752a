"""Breaking shared leaves: private copies of what they mean, and private pages where a whole mid is shared.

xen_alloc_p2m_entry of arch/x86/xen/p2m.c since 4.3, and its forerunners in 3.18 and 3.19; nothing is ever
merged back.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.pv.leaf_kernels import fill_leaves
from p2mperf.designs.pv.leaf_plan import Flags, Leaf
from p2mperf.designs.pv.quirks import BugError
from p2mperf.designs.pv.showing import Showing
from p2mperf.designs.pv.store import LeafStore
from p2mperf.designs.pv.tools import Tools
from p2mperf.designs.pv.write_kernels import find_shared
from p2mperf.errors import DoesNotFitError
from p2mperf.guests.geometry import Entries, Words
from p2mperf.memory.pool import Frames


class Breaking:
    """Makes shared leaves and mids of one p2m private.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves.
    showing : Showing
        Where readers look for them beside the table.
    tools : Tools
        Told of every change.
    quirks : frozenset of str
        Deviations to reproduce.

    Attributes
    ----------
    n_breaks : dict of str to int
        Shared leaves and mids that were made private so far.
    before_lock : callable, optional
        Called between the look at a shared page and the lock under which it is replaced: where a kernel
        can lose a race, and a test can make it lose one.
    """

    def __init__(self, store: LeafStore, showing: Showing, tools: Tools, quirks: frozenset[str]) -> None:
        self.n_breaks = {"leaf": 0, "mid": 0}
        self.before_lock: Callable[[], None] | None = None
        self._store = store
        self._showing = showing
        self._tools = tools
        self._quirks = quirks

    def break_for(self, pfns: Words, entries: Words, only_holes: bool) -> None:
        """Make private, as far as pages go, the leaves that writes need.

        Parameters
        ----------
        pfns, entries : ndarray of uint64, shape (n,)
            What is to be written where.
        only_holes : bool
            As `set_entries`.
        """
        store = self._store
        found = np.zeros(pfns.size, np.bool_)
        find_shared(store.write_tables, store.form, pfns, entries, only_holes, 0, found)
        needed = pfns[found]
        leaves, index = np.unique((needed >> store.form.leaf_shift).astype(np.int64), return_index=True)
        in_order = np.argsort(index)
        self.break_leaves(leaves[in_order], needed[index[in_order]])

    def break_leaves(self, leaves: Frames, written: Words | None = None) -> int:
        """Make shared leaves private, with what they mean now: see `changing.break_leaves`."""
        store = self._store
        store.require_running()
        leaves = np.asarray(leaves, np.int64)
        if store.unlinked.size and store.is_unlinked(leaves).any():
            raise BugError("a leaf in the half of a mid that was never linked is broken: BUG")
        if written is None:
            written = store.first_pfns(leaves)
        seen = store.page_frames[store.page_of(leaves)]
        if self.before_lock is not None:
            self.before_lock()
        with store.lock:
            lost = store.page_frames[store.page_of(leaves)] != seen
            if lost.any() and self._quirks:
                leaves, written = self._lose_race(leaves, written, seen, lost)
            shared = np.flatnonzero(store.leaf_state[leaves] != Leaf.PRIVATE)
            granted = shared[self._granted(leaves[shared])]
            order = granted[np.argsort(leaves[granted])]
            if order.size:
                self._install(leaves[order], written[order])
            return int(np.count_nonzero(store.leaf_state[leaves] == Leaf.PRIVATE))

    def break_all(self, pfns: Words) -> bool:
        """Make all leaves of some frames private, or none.

        Returns
        -------
        bool
            False when pages or mappings do not suffice.
        """
        store = self._store
        leaves = np.unique(pfns >> store.form.leaf_shift).astype(np.int64)
        leaves = leaves[store.leaf_state[leaves] != Leaf.PRIVATE]
        with store.lock:
            if self._granted(leaves).size < leaves.size:
                return False
            return self.break_leaves(leaves) == leaves.size

    def split_mids(self, pages: Frames) -> int:
        """Give shared last-level pages private copies, whole groups at once; how many were made."""
        store = self._store
        groups = np.unique(pages // store.group)
        members = (groups[:, None] * store.group + np.arange(store.group)).ravel()
        members = members[store.is_shared(members) & ~np.isin(members, store.unlinked)]
        if not members.size:
            return 0
        olds, news = store.page_frames[members], store.take(members.size, store.last.name)
        words = store.pool.pages(store.table.shape.dtype)
        words[news] = words[olds]
        store.point_pages(members, news)
        self.n_breaks["mid"] += int(np.unique(members // store.group).size)
        return int(members.size)

    def _lose_race(self, leaves: Frames, written: Words, seen: Frames, lost: Flags) -> tuple[Frames, Words]:
        """Do what the list did first when another processor had replaced the shared page-table page."""
        if "early-free-bug" in self._quirks:
            raise BugError("a page-table page that lost a race cannot be freed while booting: BUG")
        if "stale-page-table-after-race" not in self._quirks:
            return leaves, written
        for leaf, page in zip(leaves[lost].tolist(), seen[lost].tolist(), strict=True):
            self._install_in_shared(leaf, page)
        return leaves[~lost], written[~lost]

    def _install_in_shared(self, leaf: int, page: int) -> None:
        store, fanout, first_slot = self._store, self._store.last.fanout, self._store.last.first_slot
        frame, at = store.take(1, "leaf"), np.array([leaf], np.int64)
        self._fill(at, frame, store.first_pfns(at))
        store.write_slots(np.array([page]), at + first_slot, frame)
        users = np.flatnonzero(store.page_frames == page)
        seen_at = users * fanout + (leaf + first_slot) % fanout - first_slot
        self._showing.show(seen_at, np.full(seen_at.size, frame[0]))

    def _granted(self, leaves: Frames) -> Frames:
        """Index of the leaves that pages and mappings suffice for, in order of need."""
        leaves = leaves[: self._showing.count_room(leaves)]
        page_cost, first = self._page_costs(leaves)
        if int(page_cost.sum()) <= self._store.n_spare_left:
            return np.arange(leaves.size)
        granted: list[int] = []
        paid: set[int] = set()
        left = self._store.n_spare_left
        for position, (cost, mid) in enumerate(zip(page_cost.tolist(), first.tolist(), strict=True)):
            cost = 1 if mid in paid else cost
            if cost <= left:
                left -= cost
                granted.append(position)
                paid.add(mid)
        return np.array(granted, np.int64)

    def _page_costs(self, leaves: Frames) -> tuple[NDArray[np.int64], Frames]:
        """Pages that each leaf takes if it is the first of its mid, else 1, and its group of pages."""
        pages = self._store.page_of(leaves)
        groups = pages // self._store.group
        cost = 1 + self._store.is_shared(pages) * self._store.group + self._tools.lacks(leaves)
        _, position = np.unique(groups, return_index=True)
        is_first = np.zeros(leaves.size, np.bool_)
        is_first[position] = True
        # Where a first one is refused, the next of its group bears the cost: see `_granted`.
        return np.where(is_first | (cost.sum() > self._store.n_spare_left), cost, 1), groups

    def _install(self, leaves: Frames, written: Words) -> None:
        """Readers first find the new leaf in the window, then in the table: never a passing wrong value."""
        store = self._store
        self._tools.begin_change()
        frames = store.take(leaves.size, "leaf")
        self._fill(leaves, frames, written)
        n_changes = 0
        try:
            self._showing.show(leaves, frames)
        except DoesNotFitError:
            store.give_back(frames, "leaf")
        else:
            n_changes = self.split_mids(store.page_of(leaves)) + leaves.size
            store.point(leaves, frames)
            store.assign(leaves, frames, Leaf.PRIVATE)
            self.n_breaks["leaf"] += leaves.size
        self._tools.end_change(leaves, written, n_changes)

    def _fill(self, leaves: Frames, frames: Frames, written: Words) -> None:
        store, dtype = self._store, self._store.guest.geometry.dtype
        first = store.first_pfns(leaves)
        if "identity-from-written-pfn" in self._quirks:
            first = written
        identity = store.leaf_state[leaves] == Leaf.IDENTITY
        if "alloc-forgets-identity" in self._quirks:
            identity[:] = False
        value: Entries = np.where(identity, first | store.form.identity, store.form.invalid).astype(dtype)
        fill_leaves(store.pool.pages(dtype), frames, value, identity.astype(dtype))
