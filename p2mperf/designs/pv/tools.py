"""What the tools of the hypervisor see of a guest's p2m: a tree of machine frames, and the linear list.

xen_build_mfn_list_list of arch/x86/xen/p2m.c (3.18, 3.19); the fields of arch_shared_info are those of
Linux 4.3 and Xen's public arch-x86/xen.h. Tools know mfns and INVALID and nothing else: a shared identity
leaf looks all INVALID to them, and a shared mid looks missing.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.pv.leaf_plan import Leaf
from p2mperf.designs.pv.quirks import BugError
from p2mperf.designs.pv.store import LeafStore
from p2mperf.errors import AuditError, BadInputError, DoesNotFitError
from p2mperf.guests.geometry import Entries, Kind, Words
from p2mperf.memory.owned import Owned
from p2mperf.memory.pool import Frames
from p2mperf.tables.radix import read_back
from p2mperf.units import round_up

_INFO = np.dtype(
    [
        ("max_pfn", np.uint64),
        ("frame_list_list", np.uint64),
        ("p2m_cr3", np.uint64),
        ("p2m_vaddr", np.uint64),
        ("p2m_generation", np.uint64),
    ]
)
TOO_LARGE = 2**64 - 1
_OneOrMore = TypeVar("_OneOrMore", int, Frames)


class ToolsView(Owned):
    """The tools' tree of a p2m, and the page through which they find it.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves; the pages come from its spare budget.
    quirks : frozenset of str
        Deviations to reproduce.
    list_address : int
        Virtual address of a linear list; 0 without one.
    tools_end : int
        Where a tree ends for tools that see no more of it: see the quirk "tools-end-early".

    Attributes
    ----------
    first_mfn : int
        Machine frame of pool frame 0: the p2m's own pages stand behind the machine frames of the guest.

    Raises
    ------
    DoesNotFitError
        When the pool's spare pages do not suffice; nothing is taken then.
    """

    def __init__(
        self, store: LeafStore, quirks: frozenset[str], list_address: int, tools_end: int = 0
    ) -> None:
        self._store = store
        self._quirks = quirks
        self._list_address = list_address
        self._end = tools_end if "tools-end-early" in quirks else None
        self.shape = store.guest.geometry
        self.first_mfn = store.guest.machine.n_frames
        self._n_mids = -(-min(store.end_pfn, self.shape.max_frames) // self.shape.mid_frames)
        needed = 4 + int(np.count_nonzero(self._private_mids()))
        if needed > store.n_spare_left:
            raise DoesNotFitError(
                f"the tools' tree of {store.guest.name} needs {needed} pages and {store.n_spare_left} are "
                "left: build it with a larger n_spare"
            )
        self._top, self._top_p, self._mid_missing = store.take(3, "tools").tolist()
        self._info_page = int(store.take(1, "shared_info")[0])
        self._mids = np.full(self._n_mids, self._mid_missing, np.int64)
        self.info["max_pfn"] = self._initial_count()
        self.rebuild()

    @property
    def info(self) -> np.void:
        """The fields of arch_shared_info, as one record."""
        record: np.void = self._store.pool.words(self._info_page, np.uint8)[: _INFO.itemsize].view(_INFO)[0]
        return record

    @property
    def n_entries(self) -> int:
        """Valid entries: an exclusive end in whole leaves, in the field that is called max_pfn."""
        return int(self.info["max_pfn"])

    @property
    def generation(self) -> int:
        """Twice the mapping changes of the list so far; odd while one is under way."""
        return int(self.info["p2m_generation"])

    def _initial_count(self) -> int:
        if self._end is not None:
            return self._end
        guest = self._store.guest
        ends = guest.runs.end_pfn[guest.runs.kind != Kind.IDENTITY]
        private = np.flatnonzero(self._store.leaf_state == Leaf.PRIVATE)
        in_use = (int(private[-1]) + 1) * self.shape.leaf_frames if private.size else 0
        return max(round_up(max(int(ends[-1]), guest.n_boot_pages), self.shape.leaf_frames), in_use)

    def _words(self, frame: int) -> Entries:
        return self._store.pool.words(frame, self.shape.dtype)

    def mfn_of(self, frames: _OneOrMore) -> _OneOrMore:
        """Machine frame of pool frames."""
        return frames + self.first_mfn

    def _frame_of(self, mfns: Entries | Frames) -> Frames:
        frames = mfns.astype(np.int64) - self.first_mfn
        if ((frames < 0) | (frames >= self._store.pool.n_frames)).any():
            name = self._store.guest.name
            raise AuditError(f"the tools' tree of {name} names an mfn that is no page of the p2m")
        return frames

    def _private_mids(self) -> NDArray[np.bool_]:
        """Mids that have a page of their own here: those of the p2m; in 3.18 also those of identity."""
        store, mids = self._store, np.arange(self._n_mids)
        if self._end is None:
            return ~store.is_shared(mids * store.group)
        is_missing = store.page_frames[mids] == store.table.shared[store.missing_leaf]
        return ~is_missing & (mids * self.shape.mid_frames < self._end)

    def rebuild(self) -> None:
        """Write every slot anew, for machine frames have changed: what a resume does first."""
        missing = self.mfn_of(self._store.missing_leaf)
        self._words(self._mid_missing)[:] = missing
        self._words(self._top)[:] = self.mfn_of(self._mid_missing)
        self._words(self._top_p)[:] = self._pointer(self._mid_missing)
        self._make_mids(np.flatnonzero(self._private_mids()))
        own = np.flatnonzero(self._mids != self._mid_missing)
        n_leaves = self._n_mids * self.shape.leaf_frames
        # From the table, not from the list's address: behind a virtual area every page has its own mfn.
        leaves = read_back(self._store.table, n_leaves).reshape(self._n_mids, -1)
        pages = self._store.pool.pages(self.shape.dtype)
        pages[self._mids[own]] = self.mfn_of(leaves[own])
        self._link(own)
        self._announce()

    def move(self, n_frames: int) -> None:
        """Let the p2m's own pages stand so many machine frames further on, as after a restore."""
        self.first_mfn += n_frames
        self.rebuild()

    def _pointer(self, frames: _OneOrMore) -> _OneOrMore:
        base = self._store.pool.base if self.shape.entry_bits == 64 else 0
        return (frames << 12) + base

    def _announce(self) -> None:
        store, info = self._store, self.info
        too_large = store.end_pfn > self.shape.max_frames
        info["frame_list_list"] = TOO_LARGE if too_large else self.mfn_of(self._top)
        if self._list_address:
            info["p2m_vaddr"] = self._list_address
            info["p2m_cr3"] = self.mfn_of(store.table.root)

    def _make_mids(self, mids: Frames) -> None:
        fresh = mids[self._mids[mids] == self._mid_missing]
        if fresh.size:
            frames = self._store.take(fresh.size, "tools_mid")
            self._store.pool.pages(self.shape.dtype)[frames] = self.mfn_of(self._store.missing_leaf)
            self._mids[fresh] = frames
            self._link(fresh)

    def _link(self, mids: Frames) -> None:
        self._words(self._top)[mids] = self.mfn_of(self._mids[mids])
        self._words(self._top_p)[mids] = self._pointer(self._mids[mids])

    def lacks(self, leaves: Frames) -> NDArray[np.int64]:
        """Pages that the tree needs before each leaf can be linked: 1 where its mid has none yet."""
        mids = leaves // self.shape.leaf_frames
        inside = mids < self._n_mids
        if not inside.all() and "tools-index-unchecked" in self._quirks:
            raise BugError("a leaf beyond what the tools' tree can index is broken: BUG")
        return (inside & (self._mids[np.where(inside, mids, 0)] == self._mid_missing)).astype(np.int64)

    def follow(self, leaves: Frames) -> None:
        """Link leaves whose frames have changed."""
        leaves = leaves[leaves < self._n_mids * self.shape.leaf_frames]
        mids, index = leaves // self.shape.leaf_frames, leaves % self.shape.leaf_frames
        self._make_mids(np.unique(mids))
        pages = self._store.pool.pages(self.shape.dtype)
        pages[self._mids[mids], index] = self.mfn_of(self._store.leaves[leaves])

    def begin_change(self) -> None:
        """Make the generation odd, if there is a list to follow."""
        if self.info["p2m_cr3"]:
            self.info["p2m_generation"] += np.uint64(1)

    def end_change(self, n_changes: int) -> None:
        """Make it even again, two more a change."""
        if self.info["p2m_cr3"]:
            self.info["p2m_generation"] += np.uint64(max(1, 2 * n_changes - 1))

    def grow(self, pfn: int) -> None:
        """Let the count of valid entries follow a write at or beyond it; 3.18's does not."""
        if self._end is None and pfn >= self.n_entries:
            as_count = (pfn | (self.shape.leaf_frames - 1)) + 1
            self.info["max_pfn"] = pfn if "hint-is-a-pfn" in self._quirks else as_count

    def read(self) -> Words:
        """Read the whole p2m as a toolstack does: by machine frames from the shared info page on.

        Returns
        -------
        ndarray of uint64, shape (n_entries,)
            Entries as they stand in the leaves: INVALID where a shared leaf means identity.

        Raises
        ------
        AuditError
            When a slot names a frame that is no page of the p2m.
        """
        if int(self.info["frame_list_list"]) == TOO_LARGE:
            return self.read_linear()
        return self._entries(self._leaf_frames())

    def _leaf_frames(self) -> Frames:
        pages = self._store.pool.pages(self.shape.dtype)
        top = pages[self._frame_of(np.array([int(self.info["frame_list_list"])]))][0]
        n_mids = -(-self.n_entries // self.shape.mid_frames)
        mids = pages[self._frame_of(top[:n_mids])]
        return self._frame_of(mids.ravel()[: -(-self.n_entries // self.shape.leaf_frames)])

    def _entries(self, frames: Frames) -> Words:
        return self._store.pool.pages(self.shape.dtype)[frames].ravel()[: self.n_entries].astype(np.uint64)

    def read_linear(self) -> Words:
        """Read the list through its page table, again if a mapping changed meanwhile.

        Raises
        ------
        BadInputError
            When the guest has no linear list.
        """
        if not self.info["p2m_cr3"]:
            raise BadInputError(f"{self._store.subject} has no linear list to read")
        while True:
            before = self.generation
            frames = read_back(self._store.table, -(-self.n_entries // self.shape.leaf_frames))
            entries = self._entries(frames)
            if before % 2 == 0 and before == self.generation:
                return entries

    def audit(self) -> None:
        """Check that the tree leads to the leaves of the p2m.

        Raises
        ------
        AuditError
            When it leads elsewhere.
        """
        if int(self.info["frame_list_list"]) == TOO_LARGE:
            return
        found = self._leaf_frames()
        private = self._store.leaf_state[: found.size] == Leaf.PRIVATE
        expected = self._store.leaves[: found.size]
        shared = (self._store.missing_leaf, self._store.identity_leaf)
        if (found[private] != expected[private]).any() or not np.isin(found[~private], shared).all():
            raise AuditError(f"{self._store.subject}: the tools see another leaf")


class Tools(Owned):
    """The tools' view of a p2m, once somebody has asked for it; until then nobody is told of changes.

    Parameters
    ----------
    store, quirks, list_address, tools_end
        As `ToolsView`.
    """

    def __init__(
        self, store: LeafStore, quirks: frozenset[str], list_address: int, tools_end: int = 0
    ) -> None:
        self._store = store
        self._quirks = quirks
        self._list_address = list_address
        self._tools_end = tools_end
        self._view: ToolsView | None = None

    @property
    def view(self) -> ToolsView:
        """The view, built when first asked for and kept in step from then on.

        Raises
        ------
        DoesNotFitError
            When the spare pages do not suffice for it.
        """
        if self._view is None:
            with self._store.lock:
                if self._view is None:  # another thread may have been first
                    self._view = ToolsView(self._store, self._quirks, self._list_address, self._tools_end)
        return self._view

    def lacks(self, leaves: Frames) -> NDArray[np.int64]:
        """Pages that the view needs before each leaf can be linked."""
        return np.zeros(leaves.size, np.int64) if self._view is None else self._view.lacks(leaves)

    def begin_change(self) -> None:
        """Let the view know that mappings are about to change."""
        if self._view is not None:
            self._view.begin_change()

    def end_change(self, leaves: Frames, written: Words, n_changes: int) -> None:
        """Let it know that they have changed.

        Parameters
        ----------
        leaves : ndarray of int64
            Whose frames have changed.
        written : ndarray of uint64
            Frames that they changed for.
        n_changes : int
            Mappings that were changed.
        """
        if self._view is not None:
            self._view.follow(leaves)
            self._view.grow(int(written.max()))
            self._view.end_change(n_changes)

    def follow(self, leaves: Frames) -> None:
        """Link leaves whose frames have changed."""
        if self._view is not None and leaves.size:
            self._view.follow(leaves)

    def audit(self) -> None:
        """Check the view, if there is one."""
        if self._view is not None:
            self._view.audit()
