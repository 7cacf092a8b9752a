"""The door of a PV p2m that can be written, beside that of `reading`.

Writing, ballooning, hotplug, foreign mappings, passthrough, save and restore: each is handed on to the part
that does it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from p2mperf.designs.pv.leaf_plan import Flags
from p2mperf.designs.pv.life import Life, Living
from p2mperf.designs.pv.saving import Saved
from p2mperf.designs.pv.tools import ToolsView
from p2mperf.errors import BadInputError
from p2mperf.guests.frames import word
from p2mperf.guests.geometry import Words
from p2mperf.memory.pool import Frames
from p2mperf.tables.m2p import Overrides
from p2mperf.units import whole_number


class WriteDoor:
    """What a PV p2m that can be written can be asked to do.

    Attributes
    ----------
    life : Life
        The parts that do it.
    """

    life: Life

    def set(self: Living, pfns: ArrayLike, entries: ArrayLike) -> Flags:
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
        return self.life.writer.set(self._frames(pfns), self._frames(entries, "entries"))

    def break_leaves(self: Living, leaves: Frames, written: Words | None = None) -> int:
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
            Leaves that are private now; the others could not be had, and are as they were, their mids
            included.

        Raises
        ------
        BadInputError
            For leaves that there are not, or that are named twice, and where `written` is of another shape.
        """
        numbers = self._frames(leaves)
        _check_leaves(numbers, self.store.end_pfn // self.guest.geometry.leaf_frames)
        if written is not None:
            written = self._frames(written)
            if written.shape != numbers.shape:
                raise BadInputError(f"{written.size} frames written for {numbers.size} leaves: give as many")
        return self.life.breaking.break_leaves(numbers.astype(np.int64), written)

    def balloon_down(self: Living, pfns: ArrayLike) -> Words:
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
        return self.life.ballooning.down(self._frames(pfns))

    def balloon_up(self: Living, pfns: ArrayLike, mfns: ArrayLike) -> Flags:
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
        frames, entries = self._frames(pfns), self._frames(mfns, "mfns")
        return self.life.writer.set(frames, entries, only_holes=True, plain_only=True)

    def unused_mfns(self: Living, n_frames: int) -> Words:
        """Machine frames that the guest does not have, lowest first.

        Raises
        ------
        BadInputError
            When the machine has not so many.
        """
        return self.life.ballooning.unused_mfns(*_whole(n_frames))

    def hotplug(self: Living, first_pfn: int, n_frames: int) -> bool:
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
        return self.life.ballooning.hotplug(*_whole(first_pfn, n_frames))

    def has_memory(self: Living, entries: Words) -> Flags:
        """Own or foreign: neither INVALID nor identity."""
        return self.store.has_memory(self._frames(entries, "entries"))

    def invalidate_extra_memory(self: Living) -> bool:
        """Make balloonable memory INVALID, as xen_inv_extra_mem does at boot.

        Returns
        -------
        bool
            Whether all of it is.
        """
        return self.life.ballooning.invalidate_extra()

    def set_identity(self: Living, first_pfn: int, n_frames: int) -> int:
        """Make a range of frames identity.

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
        The tree does as set_phys_range_identity of 3.18: it breaks at most a mid and a leaf at either end and
        shares all between. The list's own is for boot alone, before there is an area; here, in its area, each
        frame is written as `set` does, and each leaf that was not identity becomes private.
        """
        return self.life.passthrough.set_identity(*_whole(first_pfn, n_frames))

    def pass_through(self: Living, first_pfn: int, n_frames: int, to_pfn: int) -> bool:
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
        return self.life.passthrough.pass_through(*_whole(first_pfn, n_frames, to_pfn))

    def set_foreign(self: Living, pfns: ArrayLike, mfns: ArrayLike) -> Flags:
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
        set_foreign_p2m_mapping of Linux 4.4 for the order of operations; but that leaves off at the first
        slot that fails, and where a frame does not read INVALID it warns and overwrites it. With
        `m2p_override`, a frame of the guest's own that is mapped a second time has its first entry marked
        foreign while it is shared.
        """
        return self.life.foreign.map(self._frames(pfns), self._frames(mfns, "mfns"))

    def clear_foreign(self: Living, pfns: ArrayLike) -> Flags:
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
        return self.life.foreign.unmap(self._frames(pfns))

    def save(self: Living) -> Saved:
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
        return self.life.saving.save()

    def restore(self: Living, saved: Saved, seed: int | None = None) -> None:
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
        self.life.saving.restore(saved, seed)

    @property
    def tools(self: Living) -> ToolsView:
        """The tools' tree, built when first asked for and kept in step from then on.

        Raises
        ------
        DoesNotFitError
            When `n_spare` leaves no pages for it.
        """
        return self.life.tools.view

    def rebuild_tools(self: Living) -> None:
        """Build the tools' tree anew, which a resume does first."""
        self.life.tools.view.rebuild()

    def shared_leaves_beyond(self: Living) -> Frames:
        """Leaves beyond the map that can be made private, ascending."""
        return self.store.shared_leaves_beyond()

    def make_ready(self: Living, n_leaves: int) -> None:
        """Have the pages there that making so many leaves private may take, and the tools that look on.

        Raises
        ------
        BadInputError
            When that is no number.
        """
        n_leaves = whole_number(n_leaves, "leaves to make ready", 0)
        self.life.tools.view  # noqa: B018  a running guest has its tools' tree
        self.store.pool.make_ready(4 * n_leaves)  # a leaf, mids, the tools' mid

    @property
    def overrides(self: Living) -> Overrides | None:
        """Where frames mapped from other domains are found; None without `m2p_override`."""
        return self.way_back.overrides

    @property
    def quirks(self: Living) -> frozenset[str]:
        """Deviations that are reproduced."""
        return self.life.quirks.names

    @property
    def n_breaks(self: Living) -> dict[str, int]:
        """Shared leaves and mids that were made private so far."""
        return self.life.breaking.n_breaks

    @property
    def n_spare_left(self: Living) -> int:
        """Pages that writing may still take."""
        return self.store.n_spare_left

    @property
    def n_extra_leaves(self: Living) -> int:
        """Private leaves that hold nothing but balloonable memory and identity: what ballooning may cost.

        The tree shares the missing page under them; the list has made each its own at boot.
        """
        return self.life.ballooning.n_extra_leaves

    @property
    def before_lock(self: Living) -> Callable[[], None] | None:
        """What is called between the look at a shared page and the lock under which it is replaced."""
        return self.life.breaking.before_lock

    @before_lock.setter
    def before_lock(self: Living, call: Callable[[], None] | None) -> None:
        """Have something called there: a kernel can lose a race then, and a test can make it lose one."""
        self.life.breaking.before_lock = call

    @property
    def suspended(self: Living) -> bool:
        """Whether the guest is saved."""
        return self.store.suspended


def _whole(*numbers: int) -> list[int]:
    """Frames and counts of frames, checked: only whole numbers make a range."""
    return [word(number, "a frame or a number of frames") for number in numbers]


def _check_leaves(leaves: Words, n_leaves: int) -> None:
    if leaves.ndim != 1:
        raise BadInputError(f"leaves come in a row, not in {leaves.ndim} dimensions")
    if leaves.size and int(leaves.max()) >= n_leaves:
        raise BadInputError(f"leaf {int(leaves.max())} is beyond the {n_leaves} that can be written")
    if not (leaves[1:] > leaves[:-1]).all() and np.unique(leaves).size < leaves.size:
        raise BadInputError("a leaf can be named only once")
