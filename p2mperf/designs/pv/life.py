"""The life of a PV p2m: ballooning, hotplug, foreign mappings, passthrough, save and restore.

drivers/xen/balloon.c, arch/x86/xen/setup.c and drivers/xen/manage.c of Linux 3.18 and 3.19 say in which order
frames are given up and taken; arch/x86/xen/p2m.c what each step writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.pv.leaf_kernels import renumber
from p2mperf.designs.pv.leaf_plan import Leaf, kinds_by_leaf
from p2mperf.designs.pv.write_kernels import balloon_out
from p2mperf.designs.pv.writer import Flags, PvWriter
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Kind, Words
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import Machine


@dataclass(frozen=True)
class Saved:
    """What a toolstack keeps of a guest's p2m: which frames have memory, but not where.

    Attributes
    ----------
    guest : Guest
        Whose.
    has_memory : ndarray of bool, shape (n_entries,)
        By pfn.
    """

    guest: Guest
    has_memory: NDArray[np.bool_]


class PvLife(PvWriter):
    """A p2m with what happens to it after boot; parameters as `PvWriter`."""

    def balloon_down(self, pfns: Any) -> Words:
        """Give up the memory behind frames.

        Parameters
        ----------
        pfns : array_like of int
            Frames.

        Returns
        -------
        ndarray of uint64
            The machine frame given up for each; INVALID where there was none of its own (which leaves the
            entry alone), so that a second time changes nothing.

        Raises
        ------
        BadInputError, ClosedError
            As `set`.

        Notes
        -----
        In batches of a page of frame numbers, 512 or 1024, as the driver goes. It takes no page.
        """
        frames = self._frames(pfns)
        self._check_writable()
        flat = frames.reshape(-1)
        mfns = np.empty(flat.size, np.uint64)
        batch = np.empty(self.guest.geometry.leaf_frames, np.uint64)
        self._written = True
        n_out = balloon_out(self._write_tables, self._words, flat, batch, mfns, self._m2p_words())
        with self._lock:
            self._changes[0] -= n_out
        return mfns.reshape(frames.shape)

    def balloon_up(self, pfns: Any, mfns: Any) -> Flags:
        """Put memory behind frames that have none.

        Parameters
        ----------
        pfns, mfns : array_like of int
            Frames, and a machine frame for each.

        Returns
        -------
        ndarray of bool
            Whether each has it; False where the frame did not read INVALID, lies beyond `end_pfn`, or a page
            could not be had.

        Raises
        ------
        BadInputError, ClosedError
            As `set`; also for an mfn with a marker bit.
        """
        frames, entries = self._checked(pfns, mfns, plain_only=True)
        return self._set(frames, entries, only_holes=True).reshape(frames.shape)

    def unused_mfns(self, n_frames: int) -> Words:
        """Machine frames that the guest does not have, lowest first.

        Raises
        ------
        BadInputError
            When the machine has not so many.
        """
        free = np.flatnonzero(self.m2p.words() == self._words.invalid)[:n_frames]
        if free.size < n_frames:
            raise BadInputError(f"the machine has {free.size} frames left, not {n_frames}")
        return free.astype(np.uint64)

    def hotplug(self, first_pfn: int, n_frames: int) -> bool:
        """Prepare memory beyond the map: every new frame reads INVALID, and can be ballooned up.

        Parameters
        ----------
        first_pfn, n_frames : int
            Where, and how many frames.

        Returns
        -------
        bool
            False when it does not fit below the limit the p2m was built with, there is memory already, or a
            page could not be had; what was made INVALID until then stays so, as the driver leaves it.
        """
        self._check_writable()
        if self._is_beyond(first_pfn, n_frames):
            return False
        pfns = self._range(first_pfn, n_frames)
        if self.has_memory(self.lookup(pfns)).any():
            return False
        return bool(self.set(pfns, self._words.invalid).all())

    def has_memory(self, entries: Words) -> Flags:
        """Own or foreign: neither INVALID nor identity."""
        return entries & self._words.identity == 0

    def set_identity(self, first_pfn: int, n_frames: int) -> int:
        """Make a range of frames identity, as set_phys_range_identity does.

        Parameters
        ----------
        first_pfn, n_frames : int
            The range; what is beyond `end_pfn` is left out.

        Returns
        -------
        int
            Frames that are identity now; fewer than asked for where pages ran out.

        Notes
        -----
        The tree breaks at most a mid and a leaf at either end and shares all between; the list, once it is
        in its area, has a leaf of its own for each that was not identity.
        """
        self._check_writable()
        if self._is_beyond(first_pfn, n_frames):
            n_frames = max(0, self.end_pfn - first_pfn)
        self._share_identity(first_pfn, first_pfn + n_frames)
        pfns = self._range(first_pfn, n_frames)
        return int(np.count_nonzero(self._set(pfns, pfns | self._words.identity)))

    def _share_identity(self, first_pfn: int, end_pfn: int) -> None:
        """Cover whole missing leaves by the shared identity page, where a design can."""

    def pass_through(self, first_pfn: int, n_frames: int, to_pfn: int) -> bool:
        """Make room for a device: a range becomes identity, its memory is attached elsewhere.

        Parameters
        ----------
        first_pfn, n_frames : int
            Frames whose numbers the device has.
        to_pfn : int
            Where the displaced memory goes, in order; those frames must read INVALID.

        Returns
        -------
        bool
            False when a page could not be had, the target is not free, or either lies beyond `end_pfn`;
            nothing has changed then.

        Notes
        -----
        xen_set_identity_and_remap and xen_remap_memory of arch/x86/xen/setup.c (3.19).
        """
        self._check_writable()
        if self._is_beyond(first_pfn, n_frames) or self._is_beyond(to_pfn, 0):
            return False
        source, invalid = self._range(first_pfn, n_frames), self._words.invalid
        before = self.lookup(source)
        moved = before[before & (self._words.identity | self._words.foreign) == 0]
        target = self._range(to_pfn, moved.size)
        overlap = first_pfn < to_pfn + moved.size and to_pfn < first_pfn + n_frames
        beyond = to_pfn + moved.size > self.end_pfn
        if overlap or beyond or (self.lookup(target) != invalid).any():
            return False
        if not self._make_private(np.concatenate([source, target])):
            return False
        self._set(source, source | self._words.identity)
        self._set(target, moved)
        return True

    def _make_private(self, pfns: Words) -> bool:
        leaves = np.unique(pfns >> self._words.leaf_shift).astype(np.int64)
        leaves = leaves[self.leaf_state[leaves] != Leaf.PRIVATE]
        with self._lock:
            if self._granted(leaves).size < leaves.size:
                return False
            return self.break_leaves(leaves) == leaves.size

    def set_foreign(self, pfns: Any, mfns: Any) -> Flags:
        """Map frames of another domain, one slot after the other.

        Parameters
        ----------
        pfns, mfns : array_like of int
            Frames that have no memory, and the other domain's machine frames.

        Returns
        -------
        ndarray of bool
            Whether each is mapped; False where the frame did not read INVALID first, lies beyond `end_pfn`,
            or a page could not be had. A failing slot does not stop those after it.

        Notes
        -----
        set_foreign_p2m_mapping of Linux 4.4 for the order of operations. With `m2p_override`, a frame of the
        guest's own that is mapped a second time has its first entry marked foreign while it is shared.
        """
        frames = self._frames(pfns)
        foreign = self._frames(mfns) | self._words.foreign
        frames, entries = self._checked(frames, foreign)
        done = self._set(frames, entries, only_holes=True).reshape(frames.shape)
        if self.overrides is not None:
            for pfn, entry in zip(frames[done].tolist(), entries[done].tolist(), strict=True):
                self._add_override(pfn, entry & ~int(self._words.foreign))
        return done

    def _add_override(self, pfn: int, mfn: int) -> None:
        assert self.overrides is not None
        original = self._original(mfn, mfn)
        self.overrides.add(mfn, pfn)
        if original >= 0:
            self.set([original], mfn | int(self._words.foreign))

    def _original(self, mfn: int, entry: int) -> int:
        """Frame that the m2p names for an mfn, if the p2m has `entry` there; else -1."""
        if mfn >= self.m2p.n_frames:
            return -1
        pfn = int(self.m2p.words()[mfn])
        return pfn if pfn < self.end_pfn and int(self.lookup([pfn])[0]) == entry else -1

    def clear_foreign(self, pfns: Any) -> Flags:
        """Unmap frames of another domain, one slot after the other.

        Parameters
        ----------
        pfns : array_like of int
            Frames.

        Returns
        -------
        ndarray of bool
            Whether each reads INVALID now and was foreign before; a frame that was not foreign is left as it
            is, and those after it are done all the same.
        """
        frames = self._frames(pfns)
        self._check_writable()
        entries = self.lookup(frames)
        # Beyond the end nothing is foreign, whatever a frame number too wide for the guest reads as.
        foreign = self._is_foreign(entries) & (frames < self._words.end)
        self._set(frames[foreign], np.full(np.count_nonzero(foreign), self._words.invalid, np.uint64))
        if self.overrides is not None:
            for pfn, entry in zip(frames[foreign].tolist(), entries[foreign].tolist(), strict=True):
                self._remove_override(pfn, entry)
        return foreign

    def _remove_override(self, pfn: int, entry: int) -> None:
        assert self.overrides is not None
        mfn = entry & ~int(self._words.foreign)
        original = self._original(mfn, entry)
        if self.overrides.remove(mfn, pfn) and original >= 0:
            self.set([original], mfn)

    def save(self) -> Saved:
        """Suspend the guest and keep what a toolstack keeps; it cannot be written until it is restored.

        Returns
        -------
        Saved
            Which frames have memory.

        Raises
        ------
        BadInputError
            When frames of other domains are mapped, or it is saved already.
        """
        self._check_writable()
        entries = self.tools.read()
        foreign = self._is_foreign(entries)
        if foreign.any():
            raise BadInputError(
                f"{np.count_nonzero(foreign)} frames of {self.guest.name} belong to other domains, the first "
                f"is pfn {int(np.argmax(foreign)):#x}: clear_foreign before saving"
            )
        self.suspended = True
        return Saved(self.guest, entries & (self._words.identity | self._words.foreign) == 0)

    def restore(self, saved: Saved, seed: int | None = None) -> None:
        """Resume on other memory: every mfn changes, the shape stays, the tools' tree is built anew.

        Parameters
        ----------
        saved : Saved
            What `save` gave.
        seed : int, optional
            Seed of the new layout in machine memory.

        Raises
        ------
        BadInputError
            When the guest is not saved, or `saved` is another's.
        """
        if not self.suspended or saved.guest is not self.guest:
            raise BadInputError(f"{self.guest.name} is not saved, or not this: restore takes what save gave")
        machine = self.guest.machine
        old = self.lookup(np.flatnonzero(saved.has_memory).astype(np.uint64))
        mfns = _other_mfns(old, machine, machine.seed + 1 if seed is None else seed)
        pages = self.pool.pages(self.guest.geometry.dtype)
        renumber(pages, self.leaf_frames, self._words, mfns)
        self._written = True
        if self._m2p is not None:
            self._invert(self._m2p)
        self.tools.first_mfn += self.pool.n_frames
        self.tools.rebuild()
        self.suspended = False

    def invalidate_extra_memory(self) -> bool:
        """Make balloonable memory INVALID, as xen_inv_extra_mem does at boot.

        Returns
        -------
        bool
            Whether all of it is.
        """
        extra = self.guest.runs.select(Kind.EXTRA)
        runs = zip(extra.first_pfn.tolist(), extra.n_frames.tolist(), strict=True)
        done = [self.set(self._range(pfn, n_frames), self._words.invalid).all() for pfn, n_frames in runs]
        return all(map(bool, done))

    @property
    def n_extra_leaves(self) -> int:
        """Private leaves that hold nothing but balloonable memory and identity: what ballooning may cost.

        The tree shares the missing page under them; the list has made each its own at boot.
        """
        leaf = self.guest.geometry.leaf_frames
        n_leaves = self.end_pfn // leaf
        kinds = kinds_by_leaf(self.guest.runs, n_leaves, leaf)
        bare = (kinds & (1 << Kind.RAM) == 0) & (kinds & (1 << Kind.EXTRA) != 0)
        return int(np.count_nonzero(bare & (self.leaf_state[:n_leaves] == Leaf.PRIVATE)))

    def rebuild_tools(self) -> None:
        """Build the tools' tree anew, which a resume does first."""
        self.tools.rebuild()

    def shared_leaves_beyond(self) -> NDArray[np.int64]:
        """Leaves beyond the map that can be made private, ascending."""
        leaf_frames = self.guest.geometry.leaf_frames
        first, end = -(-self.guest.covered_pfn // leaf_frames), self.end_pfn // leaf_frames
        return np.asarray(first + np.flatnonzero(self.leaf_state[first:end] != Leaf.PRIVATE), np.int64)

    def make_ready(self, n_leaves: int) -> None:
        """Have the pages there that making so many leaves private may take, and the tools that look on."""
        self.tools  # noqa: B018  a running guest has its tools' tree
        self.pool.make_ready(4 * n_leaves)  # a leaf, mids, the tools' mid

    def _is_foreign(self, entries: Words) -> Flags:
        return (entries & self._words.foreign != 0) & (entries != self._words.invalid)

    def _is_beyond(self, first_pfn: int, n_frames: int) -> bool:
        """Tell whether a range ends beyond `end_pfn`; only whole numbers make one."""
        self._frames([first_pfn, n_frames])
        return first_pfn + n_frames > self.end_pfn

    def _range(self, first_pfn: int, n_frames: int) -> Words:
        return np.arange(first_pfn, first_pfn + n_frames, dtype=np.uint64)


def _other_mfns(old: Words, machine: Machine, seed: int) -> Words:
    """As many mfns of the same machine, each pfn another than it had."""
    extents = Machine(machine.n_frames, seed).allocate(old.size + 1)
    mfns = np.concatenate([np.arange(first, first + n, dtype=np.uint64) for n, first in extents])
    equal = np.flatnonzero(mfns[:-1] == old)
    # In a ring, among themselves or with one more, none of them can meet its own pfn again.
    ring = equal if equal.size != 1 else np.append(equal, equal[0] + 1)
    mfns[ring] = np.roll(mfns[ring], 1)
    return mfns[:-1]
