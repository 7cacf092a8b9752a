"""The two sides of the virtual-linear window: Xen's one table of slots, and what each domain wants in it.

Follows v5 4/6 of "xen/arm: live migration support in arndale board" (xen-devel, 2013; never merged), with
its checks and its cleanup mended unless asked for. Copying a root entry of the guest into Xen's second-level
table moves every index down one level, so that the last page of Xen's own walk is the guest's third level.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import ClassVar, Self

import numpy as np

from p2mperf.designs.arm.checks import (
    END_SLOT,
    FIRST_SLOT,
    INVALIDATIONS_PER_SLOT,
    N_SECOND,
    Acceptance,
)
from p2mperf.designs.arm.layout import ENTRIES
from p2mperf.designs.arm.stage2 import Require, Stage2Table
from p2mperf.errors import BadInputError, ClosedError
from p2mperf.guests.geometry import Words
from p2mperf.memory.door import Door
from p2mperf.memory.owned import Mapped, Owned
from p2mperf.memory.window import Window
from p2mperf.units import PAGE_SIZE


class VlptWindow(Owned):
    """Xen's side of the window: the slots of xen_second, and the area of this process that they stand for.

    One table serves all domains; whoever was prepared or restored last is what the window shows.

    Parameters
    ----------
    page_bytes : int
        Page size wanted for the area, 4096 or 2 MiB.

    Attributes
    ----------
    area : Window
        What this process reads: 512 pages a slot, from slot 64 on. Where a slot that is shown leads to no
        third-level page, Xen would fault; here a read gives zeros.
    second : ndarray of uint64, shape (1024,)
        xen_second: slots 64 to 127 are the window's, those from 128 on belong to VMAP.
    owner : VlptDomain or None
        Whose tables it shows.
    domids : set of int
        Domains that are prepared.
    events : Counter
        What Xen would have executed so far: dsb, isb, tlbi, entry_store, compare.
    door : Door
        Whoever uses what is shown passes it, one domain at a time: the switch and what follows are one.
    """

    def __init__(self, page_bytes: int = PAGE_SIZE) -> None:
        self.second = np.zeros(N_SECOND, np.uint64)
        self.owner: VlptDomain | None = None
        self.domids: set[int] = set()
        self.events: Counter[str] = Counter()
        n_pages = (N_SECOND - FIRST_SLOT) * ENTRIES
        self.area = Window(None, n_pages, page_bytes=page_bytes, zero_holes=True)
        self._addressed: Mapped | None = Mapped.of(self.area)
        self.door = Door("this window", "build the design again", one_at_a_time=True)

    @property
    def is_open(self) -> bool:
        return self.area.base != 0

    @property
    def base(self) -> int:
        """Address of the entry of frame 0."""
        self.area.require_open()
        return self.area.base

    def close(self) -> None:
        """Give the area back once nobody is using it; its domains cannot be used from then on."""
        self.door.close(self._give_back)

    def _give_back(self) -> None:
        self.area.close()
        self._addressed = None

    def page_of(self, slot: int) -> int:
        """Page of the area that the entries of a slot begin with."""
        return (slot - FIRST_SLOT) * ENTRIES

    def show(self, table: Stage2Table, first: int, end: int) -> None:
        """Map what slots [first, end) of xen_second say: the host's counterpart of its page walk.

        Parameters
        ----------
        table : Stage2Table
            What the slots point to.
        first, end : int
            Slots, end exclusive.
        """
        frames = table.third_behind(self.second[first:end])
        self.area.map(self.page_of(first), frames, frames >= 0, pool=table.pool)
        self.area.populate(self.page_of(first), frames.size)

    def hide(self, first: int, end: int) -> None:
        """Let slots [first, end) show nothing."""
        self.area.hide(self.page_of(first), (end - first) * ENTRIES)

    def flush(self, n_slots: int) -> None:
        """flush_vlpt: a barrier, an invalidation for each page of the slots, two barriers."""
        self.events.update(dsb=2, isb=1, tlbi=n_slots * INVALIDATIONS_PER_SLOT)


class VlptDomain(Owned):
    """A domain's side: what it wants in the window, and the switch to it.

    Parameters
    ----------
    window : VlptWindow
        Xen's side.
    table : Stage2Table
        The domain's own table; two of its pages beside it hold the copy.
    acceptance : Acceptance
        Which slots are the domain's.

    Attributes
    ----------
    copy : ndarray of uint64, shape (1024,)
        second_lvl: what this domain wants in xen_second, in its two pages.
    first_slot, end_slot : int
        Slots that are prepared, end exclusive; 0 where none are.
    """

    PAGES: ClassVar[dict[str, int]] = {"vlpt_copy": 2}

    def __init__(self, window: VlptWindow, table: Stage2Table, acceptance: Acceptance) -> None:
        self.window, self.table, self.acceptance = window, table, acceptance
        frame = int(table.extra_pool.allocate(self.PAGES["vlpt_copy"], "vlpt_copy")[0])
        self.copy: Words = table.extra_pool.words(frame, np.uint64, self.PAGES["vlpt_copy"])
        self.first_slot = self.end_slot = 0

    @property
    def is_prepared(self) -> bool:
        return self.end_slot > 0

    @property
    def roots(self) -> Words:
        """Root entries that belong into the prepared slots."""
        return self.table.root_words()[self.first_slot - FIRST_SLOT : self.end_slot - FIRST_SLOT]

    def prepare(self) -> None:
        """prepare_vlpt: copy the guest's root entries into xen_second, keep a copy, flush."""
        window, domid = self.window, self.table.domid
        if not self.is_prepared and domid in window.domids:
            raise BadInputError(
                f"another domain with domid {domid} shares this window, and their entries would look "
                "alike: give each its own domid"
            )
        window.domids.add(domid)
        first, end = self.acceptance.first_slot, self.acceptance.end_slot
        self.copy[first:end] = self.table.root_words()[first - FIRST_SLOT : end - FIRST_SLOT]
        window.second[first:end] = self.copy[first:end]
        window.events.update(entry_store=end - first, dsb=2 * (end - first))
        window.show(self.table, first, end)
        window.flush(end - first)
        window.owner = self
        self.first_slot, self.end_slot = first, end

    def restore(self) -> None:
        """restore_vlpt: on a switch to this domain, rewrite and flush the slots that show another one."""
        window, first, end = self.window, self.first_slot, self.end_slot
        stale = first + np.flatnonzero(window.second[first:end] != self.copy[first:end])
        window.second[stale] = self.copy[stale]
        n_stale = int(stale.size)
        window.events.update(
            dsb=2, isb=1, compare=end - first, entry_store=n_stale, tlbi=n_stale * INVALIDATIONS_PER_SLOT
        )
        if n_stale:
            window.show(self.table, int(stale[0]), int(stale[-1]) + 1)
        window.owner = self

    def switch_to(self) -> None:
        """Restore this domain's window where another one's is shown."""
        if self.is_prepared and self.window.owner is not self:
            self.restore()

    def cleanup(self) -> None:
        """Undo `prepare`: clear the slots and forget them."""
        window, first, end = self.window, self.first_slot, self.end_slot
        # Another domain may own the window and still show our slots that it has none of its own for.
        wanted = self.copy[first:end]
        ours = first + np.flatnonzero((window.second[first:end] == wanted) & (wanted != 0))
        for slot in ours.tolist():
            window.second[slot] = 0
            window.hide(slot, slot + 1)
        window.flush(int(ours.size))
        if window.owner is self:
            window.owner = None
        if self.is_prepared:  # else another domain may have that domid by now
            window.domids.discard(self.table.domid)
        self.copy[:] = 0
        self.first_slot = self.end_slot = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        # Cleaned up, where that was not done; the copy is not there any more.
        with suppress(ClosedError), self.window.door:
            if self.is_prepared:
                self.cleanup()
        del self.copy

    def audit(self, require: Require, beyond_is_empty: bool) -> None:
        """Check copy, xen_second and the area against the table; nothing, where the domain is not prepared.

        Parameters
        ----------
        require : callable
            Raises where something that must hold does not.
        beyond_is_empty : bool
            Whether the slots behind the window must be without entries.
        """
        if not self.is_prepared:
            return
        self.switch_to()
        window, first, end = self.window, self.first_slot, self.end_slot
        require(self.copy[first:end] == self.roots, "the domain's copy differs from its root table")
        require(window.second[first:end] == self.roots, "xen_second differs from the root table")
        if beyond_is_empty:
            require(window.second[END_SLOT:] == 0, "a slot beyond the window was written")
        expected = self.table.third_behind(self.copy[first:end])
        shown, writable = window.area.shown(window.page_of(first), expected.size)
        require(shown == expected, "the window shows another page than the table")
        require(writable == (expected >= 0), "a page of the window has the wrong rights")
