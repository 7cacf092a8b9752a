"""What the tools of the hypervisor see of a guest's p2m: a tree of machine frames, and the linear list.

xen_build_mfn_list_list of arch/x86/xen/p2m.c (3.18, 3.19); the fields of arch_shared_info are those of
Linux 4.3 and Xen's public arch-x86/xen.h. Tools know mfns and INVALID and nothing else: a shared identity
leaf looks all INVALID to them, and a shared mid looks missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.pv.leaf_plan import Leaf
from p2mperf.designs.pv.quirks import BugError
from p2mperf.errors import AuditError, BadInputError, DoesNotFitError
from p2mperf.guests.geometry import Kind
from p2mperf.memory.pool import Frames
from p2mperf.tables.radix import read_back
from p2mperf.units import round_up

if TYPE_CHECKING:
    from p2mperf.designs.pv.writer import PvWriter

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


class ToolsView:
    """The tools' tree of a p2m, and the page through which they find it.

    Parameters
    ----------
    design : PvWriter
        Whose p2m; the pages come from its pool.

    Attributes
    ----------
    first_mfn : int
        Machine frame of pool frame 0: the p2m's own pages stand behind the machine frames of the guest.

    Raises
    ------
    DoesNotFitError
        When the pool's spare pages do not suffice; nothing is taken then.
    """

    def __init__(self, design: PvWriter) -> None:
        self.design = design
        self.shape = design.guest.geometry
        self.first_mfn = design.guest.machine.n_frames
        self._n_mids = -(-min(design.end_pfn, self.shape.max_frames) // self.shape.mid_frames)
        needed = 4 + int(np.count_nonzero(self._private_mids()))
        if needed > design.n_spare_left:
            raise DoesNotFitError(
                f"the tools' tree of {design.guest.name} needs {needed} pages and {design.n_spare_left} are "
                "left: build it with a larger n_spare"
            )
        self._top, self._top_p, self._mid_missing = design._take(3, "tools").tolist()
        self._info_page = int(design._take(1, "shared_info")[0])
        self._mids = np.full(self._n_mids, self._mid_missing, np.int64)
        self.info["max_pfn"] = self._initial_count()
        self.rebuild()

    @property
    def info(self) -> Any:
        """The fields of arch_shared_info, as one record."""
        return self.design.pool.words(self._info_page, np.uint8)[: _INFO.itemsize].view(_INFO)[0]

    @property
    def n_entries(self) -> int:
        """Valid entries: an exclusive end in whole leaves, in the field that is called max_pfn."""
        return int(self.info["max_pfn"])

    @property
    def generation(self) -> int:
        """Twice the mapping changes of the list so far; odd while one is under way."""
        return int(self.info["p2m_generation"])

    def _initial_count(self) -> int:
        guest = self.design.guest
        ends = guest.runs.end_pfn[guest.runs.kind != Kind.IDENTITY]
        private = np.flatnonzero(self.design.leaf_state == Leaf.PRIVATE)
        in_use = (int(private[-1]) + 1) * self.shape.leaf_frames if private.size else 0
        return max(round_up(max(int(ends[-1]), guest.n_boot_pages), self.shape.leaf_frames), in_use)

    def _words(self, frame: int) -> NDArray[Any]:
        return self.design.pool.words(frame, self.shape.dtype)

    def mfn_of(self, frames: Any) -> Any:
        """Machine frame of pool frames."""
        return frames + self.first_mfn

    def _frame_of(self, mfns: NDArray[Any]) -> Frames:
        frames = mfns.astype(np.int64) - self.first_mfn
        if ((frames < 0) | (frames >= self.design.pool.n_frames)).any():
            name = self.design.guest.name
            raise AuditError(f"the tools' tree of {name} names an mfn that is no page of the p2m")
        return frames

    def _private_mids(self) -> NDArray[np.bool_]:
        table, group = self.design._table, self.design.group
        pages = table.frames[table.shape.levels[0].name][: self._n_mids * group]
        return ~np.isin(pages[::group], list(table.shared.values()))

    def rebuild(self) -> None:
        """Write every slot anew, for machine frames have changed: what a resume does first."""
        missing = self.mfn_of(self.design.missing_leaf)
        self._words(self._mid_missing)[:] = missing
        self._words(self._top)[:] = self.mfn_of(self._mid_missing)
        self._words(self._top_p)[:] = self._pointer(self._mid_missing)
        self._make_mids(np.flatnonzero(self._private_mids()))
        own = np.flatnonzero(self._mids != self._mid_missing)
        n_leaves = self._n_mids * self.shape.leaf_frames
        # From the table, not from the list's address: behind a virtual area every page has its own mfn.
        leaves = read_back(self.design._table, n_leaves).reshape(self._n_mids, -1)
        pages = self.design.pool.pages(self.shape.dtype)
        pages[self._mids[own]] = self.mfn_of(leaves[own])
        self._link(own)
        self._announce()

    def _pointer(self, frames: Any) -> Any:
        base = self.design.pool.base if self.shape.entry_bits == 64 else 0
        return (frames << 12) + base

    def _announce(self) -> None:
        design, info = self.design, self.info
        too_large = design.end_pfn > self.shape.max_frames
        info["frame_list_list"] = TOO_LARGE if too_large else self.mfn_of(self._top)
        if design.linear_address:
            info["p2m_vaddr"] = design.linear_address
            info["p2m_cr3"] = self.mfn_of(design._table.root)

    def _make_mids(self, mids: Frames) -> None:
        fresh = mids[self._mids[mids] == self._mid_missing]
        if fresh.size:
            frames = self.design._take(fresh.size, "tools_mid")
            self.design.pool.pages(self.shape.dtype)[frames] = self.mfn_of(self.design.missing_leaf)
            self._mids[fresh] = frames
            self._link(fresh)

    def _link(self, mids: Frames) -> None:
        self._words(self._top)[mids] = self.mfn_of(self._mids[mids])
        self._words(self._top_p)[mids] = self._pointer(self._mids[mids])

    def lacks(self, leaves: Frames) -> NDArray[np.int64]:
        """Pages that the tree needs before each leaf can be linked: 1 where its mid has none yet."""
        mids = leaves // self.shape.leaf_frames
        inside = mids < self._n_mids
        if not inside.all() and "tools-index-unchecked" in self.design.quirks:
            raise BugError("a leaf beyond what the tools' tree can index is broken: BUG")
        return (inside & (self._mids[np.where(inside, mids, 0)] == self._mid_missing)).astype(np.int64)

    def follow(self, leaves: Frames) -> None:
        """Link leaves whose frames have changed."""
        leaves = leaves[leaves < self._n_mids * self.shape.leaf_frames]
        mids, index = leaves // self.shape.leaf_frames, leaves % self.shape.leaf_frames
        self._make_mids(np.unique(mids))
        pages = self.design.pool.pages(self.shape.dtype)
        pages[self._mids[mids], index] = self.mfn_of(self.design.leaves[leaves])

    def begin_change(self) -> None:
        """Make the generation odd, if there is a list to follow."""
        if self.info["p2m_cr3"]:
            self.info["p2m_generation"] += np.uint64(1)

    def end_change(self, n_changes: int) -> None:
        """Make it even again, two more a change."""
        if self.info["p2m_cr3"]:
            self.info["p2m_generation"] += np.uint64(max(1, 2 * n_changes - 1))

    def grow(self, first_beyond: int, count: int) -> None:
        """Let the count of valid entries follow a write at or beyond it."""
        if first_beyond >= self.n_entries:
            self.info["max_pfn"] = count

    def read(self) -> NDArray[np.uint64]:
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
        pages = self.design.pool.pages(self.shape.dtype)
        top = pages[self._frame_of(np.array([int(self.info["frame_list_list"])]))][0]
        n_mids = -(-self.n_entries // self.shape.mid_frames)
        mids = pages[self._frame_of(top[:n_mids])]
        return self._frame_of(mids.ravel()[: -(-self.n_entries // self.shape.leaf_frames)])

    def _entries(self, frames: Frames) -> NDArray[np.uint64]:
        return self.design.pool.pages(self.shape.dtype)[frames].ravel()[: self.n_entries].astype(np.uint64)

    def read_linear(self) -> NDArray[np.uint64]:
        """Read the list through its page table, again if a mapping changed meanwhile.

        Raises
        ------
        BadInputError
            When the guest has no linear list.
        """
        if not self.info["p2m_cr3"]:
            raise BadInputError(f"{self.design.name} of {self.design.guest.name} has no linear list to read")
        while True:
            before = self.generation
            frames = read_back(self.design._table, -(-self.n_entries // self.shape.leaf_frames))
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
        private = self.design.leaf_state[: found.size] == Leaf.PRIVATE
        expected = self.design.leaves[: found.size]
        shared = (self.design.missing_leaf, self.design.identity_leaf)
        if (found[private] != expected[private]).any() or not np.isin(found[~private], shared).all():
            raise AuditError(f"{self.design.name} of {self.design.guest.name}: the tools see another leaf")
