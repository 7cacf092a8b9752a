"""The virtual-linear page table: all third-level entries of a guest in one window, at index gfn.

Follows v5 4/6 of "xen/arm: live migration support in arndale board" (xen-devel, 2013; never merged), with
its checks and its cleanup mended unless asked for. Copying a root entry of the guest into Xen's second-level
table moves every index down one level, so that the last page of Xen's own walk is the guest's third level.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.arm.checks import (
    END_SLOT,
    FIRST_SLOT,
    INVALIDATIONS_PER_SLOT,
    N_SECOND,
    Acceptance,
    require,
)
from p2mperf.designs.arm.layout import ENTRIES, plan_tables, third_frames
from p2mperf.designs.arm.stage2 import ArmDesign
from p2mperf.designs.arm.vlpt_kernels import VlptTables
from p2mperf.designs.backing import BACKINGS, Backing
from p2mperf.designs.base import Footprint, Load
from p2mperf.errors import BadInputError, ClosedError
from p2mperf.guests.guest import Guest
from p2mperf.host.maps import require_maps
from p2mperf.memory import smaps, vm
from p2mperf.memory.pool import Frames
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE

_SLOT_SHIFT = 21


class VlptWindow:
    """Xen's side of the window: the slots of xen_second, and the area of this process that they stand for.

    One table serves all domains; whoever was prepared or restored last is what the window shows.

    Parameters
    ----------
    page_bytes : int
        Page size wanted for the area, 4096 or 2 MiB.

    Attributes
    ----------
    second : ndarray of uint64, shape (1024,)
        xen_second: slots 64 to 127 are the window's, those from 128 on belong to VMAP.
    owner : ArmVlpt or None
        Whose tables it shows.
    domids : set of int
        Domains that are prepared.
    events : Counter
        What Xen would have executed so far: dsb, isb, tlbi, entry_store, compare.
    """

    def __init__(self, page_bytes: int = PAGE_SIZE) -> None:
        self.page_bytes = page_bytes
        self.second = np.zeros(N_SECOND, np.uint64)
        self.owner: ArmVlpt | None = None
        self.domids: set[int] = set()
        self.events: Counter[str] = Counter()
        self._n_bytes = (N_SECOND - FIRST_SLOT) << _SLOT_SHIFT
        self._area = vm.reserve_aligned(self._n_bytes)

    @property
    def is_open(self) -> bool:
        return self._area != 0

    @property
    def base(self) -> int:
        """Address of the entry of frame 0."""
        if not self._area:
            raise ClosedError("this window is closed: build the design again")
        return self._area

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the area back; a second call does nothing."""
        if getattr(self, "_area", 0):
            vm.unmap(self._area, self._n_bytes)
            self._area = 0

    def slot_address(self, slot: int) -> int:
        """Address of the first page that a slot of xen_second shows."""
        return self.base + ((slot - FIRST_SLOT) << _SLOT_SHIFT)

    def show(self, domain: ArmVlpt, first: int, end: int) -> None:
        """Map what slots [first, end) of xen_second say: the host's counterpart of its page walk.

        Parameters
        ----------
        domain : ArmVlpt
            Whose tables the slots point to.
        first, end : int
            Slots, end exclusive.
        """
        frames = domain.third_behind(self.second[first:end])
        starts = _run_starts(frames)
        require_maps(starts.size, "this window")
        ends = np.append(starts[1:], frames.size)
        for start, stop in zip(starts.tolist(), ends.tolist(), strict=True):
            address = self.slot_address(first) + (start << PAGE_SHIFT)
            self._map_run(domain, address, int(frames[start]), (stop - start) << PAGE_SHIFT)
        n_bytes = (end - first) << _SLOT_SHIFT
        if self.page_bytes == PAGE_SIZE:
            vm.advise(self.slot_address(first), n_bytes, vm.MADV_NOHUGEPAGE)
        vm.populate(self.slot_address(first), n_bytes)

    def _map_run(self, domain: ArmVlpt, address: int, frame: int, n_bytes: int) -> None:
        if frame < 0:  # Xen would fault here; the process reads the kernel's zero page
            vm.map_pages(address, n_bytes, vm.READ)
        else:
            vm.map_pages(address, n_bytes, vm.READ_WRITE, domain.pool.fd, frame << PAGE_SHIFT)

    def hide(self, first: int, end: int) -> None:
        """Let slots [first, end) show nothing."""
        vm.map_pages(self.slot_address(first), (end - first) << _SLOT_SHIFT, 0)

    def flush(self, n_slots: int) -> None:
        """flush_vlpt: a barrier, an invalidation for each page of the slots, two barriers."""
        self.events.update(dsb=2, isb=1, tlbi=n_slots * INVALIDATIONS_PER_SLOT)


class ArmVlpt(ArmDesign):
    """The guest's third level as one array.

    Parameters
    ----------
    guest, backing, domid, run_frames, n_regions, like
        As `ArmDesign`.
    checks : str
        "correct", or "as-posted": what the patch accepts is built, over-runs and all, and named.
    window : VlptWindow, optional
        Window to share with other domains; default: one of its own.

    Attributes
    ----------
    overruns : tuple of str
        What the posted checks let happen beyond the window.
    copy : ndarray of uint64, shape (1024,)
        second_lvl: what this domain wants in xen_second, in its two pages.

    Raises
    ------
    DoesNotFitError
        The patch's -ENOMEM: the guest's entries do not fit into the window.

    Examples
    --------
    >>> with ArmVlpt(Guest.plain("1G", geometry="lpae")) as p2m:
    ...     [hex(entry & 0xFFF) for entry in p2m.lookup([524287, 524288, 786431, 786432])]
    ['0x0', '0x6ff', '0x6ff', '0x0']
    """

    name = "arm-vlpt"
    options = ArmDesign.options | {"checks", "window"}
    follows = "xen-devel, live migration on Arndale v5 4/6 (2013)"
    extra_pages: ClassVar[dict[str, int]] = {"vlpt_copy": 2}

    def __init__(
        self,
        guest: Guest,
        backing: str | Backing = "kernel",
        *,
        checks: str = "correct",
        window: VlptWindow | None = None,
        **options: Any,
    ) -> None:
        self.checks = checks
        self._shared = window
        super().__init__(guest, backing, **options)

    @classmethod
    def predict_footprint(
        cls,
        guest: Guest,
        backing: Backing = BACKINGS["kernel"],
        n_regions: int = 1,
        checks: str = "correct",
        run_frames: int = 0,
        **options: Any,
    ) -> Footprint:
        found = judge(guest, checks)
        base = super().predict_footprint(guest, backing, n_regions)
        shown = _shown(guest, found, third_frames(guest, run_frames, n_regions))
        window_tables = shown.size * PAGE_SIZE // backing.window_bytes * 8
        return replace(
            base, n_vmas=_run_starts(shown).size, page_table_bytes=base.page_table_bytes + window_tables
        )

    def _build(self) -> None:
        self.verdict = judge(self.guest, self.checks)
        self.overruns = self.verdict.overruns
        frame = int(self.extra_pool.allocate(self.extra_pages["vlpt_copy"], "vlpt_copy")[0])
        self.copy = self.extra_pool.words(frame, np.uint64, self.extra_pages["vlpt_copy"])
        self.window = self._shared or VlptWindow(self.backing.window_bytes)
        self.first_slot = self.end_slot = 0
        self.prepare()

    def prepare(self) -> None:
        """prepare_vlpt: copy the guest's root entries into xen_second, keep a copy, flush.

        Raises
        ------
        ClosedError
            When design or window was closed.
        """
        self._require_open()
        if not self.first_slot and self.domid in self.window.domids:
            raise BadInputError(
                f"another domain with domid {self.domid} shares this window, and their entries would look "
                "alike: give each its own domid"
            )
        self.window.domids.add(self.domid)
        first, end = self.verdict.first_slot, self.verdict.end_slot
        self.copy[first:end] = self.root_words()[first - FIRST_SLOT : end - FIRST_SLOT]
        self.window.second[first:end] = self.copy[first:end]
        self.window.events.update(entry_store=end - first, dsb=2 * (end - first))
        self.window.show(self, first, end)
        self.window.flush(end - first)
        self.window.owner = self
        self.first_slot, self.end_slot = first, end
        frames = (self.gma_start >> PAGE_SHIFT, (self.gma_end - self.gma_start) >> PAGE_SHIFT)
        self.tables = VlptTables(*map(np.uint64, (self.window.base, *frames)))

    def restore(self) -> None:
        """restore_vlpt: on a switch to this domain, rewrite and flush the slots that show another one.

        Raises
        ------
        ClosedError
            When design or window was closed.
        """
        self._require_open()
        first, end = self.first_slot, self.end_slot
        wanted = self.copy[first:end]
        stale = first + np.flatnonzero(self.window.second[first:end] != wanted)
        self.window.second[stale] = self.copy[stale]
        n_stale = int(stale.size)
        self.window.events.update(
            dsb=2, isb=1, compare=end - first, entry_store=n_stale, tlbi=n_stale * INVALIDATIONS_PER_SLOT
        )
        if n_stale:
            self.window.show(self, int(stale[0]), int(stale[-1]) + 1)
        self.window.owner = self

    def cleanup(self) -> None:
        """Undo `prepare`: clear the slots and forget them; lookups find nothing until prepared again."""
        first, end = self.first_slot, self.end_slot
        # Another domain may own the window and still show our slots that it has none of its own for.
        wanted = self.copy[first:end]
        ours = first + np.flatnonzero((self.window.second[first:end] == wanted) & (wanted != 0))
        for slot in ours.tolist():
            self.window.second[slot] = 0
            self.window.hide(slot, slot + 1)
        self.window.flush(int(ours.size))
        if self.window.owner is self:
            self.window.owner = None
        self.window.domids.discard(self.domid)
        self.copy[:] = 0
        self.first_slot = self.end_slot = 0
        self.tables = self.tables._replace(n_frames=np.uint64(0))

    def close(self) -> None:
        if hasattr(self, "window") and not self.closed:
            if self.first_slot and self.window.is_open:
                self.cleanup()
            if self._shared is None:
                self.window.close()
            del self.copy
        super().close()

    def lookup(self, pfns: Any) -> NDArray[np.uint64]:
        self.switch_to()
        return super().lookup(pfns)

    def require_ready(self) -> None:
        if not self.first_slot:
            raise BadInputError(f"the window of {self.guest.name} was cleaned up: prepare it again")

    def switch_to(self) -> None:
        """Restore this domain's window where another one's is shown."""
        if not self.closed and self.first_slot and self.window.owner is not self:
            self.restore()

    def _require_open(self) -> None:
        if self.closed:
            raise ClosedError(f"this {self.name} is closed: build it again")

    @property
    def gma_start(self) -> int:
        """First guest address of RAM [bytes]."""
        return int(self.guest.ram.first_pfn[0]) << PAGE_SHIFT

    @property
    def gma_end(self) -> int:
        """End of the guest's RAM, exclusive [bytes]."""
        return int(self.guest.ram.end_pfn[-1]) << PAGE_SHIFT

    def third_behind(self, roots: NDArray[np.uint64]) -> Frames:
        """Third-level page behind every page of slots that hold these root entries; -1 for none."""
        seconds = self.decode(roots)
        frames = np.full((roots.size, ENTRIES), -1, np.int64)
        found = seconds >= 0
        frames[found] = self.decode(self.pool.pages(np.uint64)[seconds[found]])
        return frames.ravel()

    def footprint(self) -> Footprint:
        start = self.window.slot_address(self.first_slot)
        n_vmas = len(smaps.mappings(start, (self.end_slot - self.first_slot) << _SLOT_SHIFT))
        return Footprint(self.pages, n_vmas, self.extra_pool.memory_bytes, self.page_table_bytes())

    def views(self) -> dict[str, int]:
        start = self.window.slot_address(self.first_slot)
        n_bytes = (self.end_slot - self.first_slot) << _SLOT_SHIFT
        return {"direct": self.pool.direct_page_bytes, "window": smaps.view_page_bytes(start, n_bytes)}

    def step_at(self, address: int) -> Load:
        page = (address - self.window.base) >> PAGE_SHIFT
        slot = FIRST_SLOT + page // ENTRIES
        if not self.first_slot <= slot < self.end_slot:
            return super().step_at(address)
        frame = int(self.third_behind(self.copy[slot : slot + 1])[page % ENTRIES])
        if frame < 0:
            raise BadInputError(f"address {address:#x} of the window shows no page of this {self.name}")
        return Load("third", "window", frame, (address & 0xFFF) // 8, address)

    def audit(self) -> None:
        super().audit()
        if not self.first_slot:
            return
        self.switch_to()
        first, end = self.first_slot, self.end_slot
        roots = self.root_words()[first - FIRST_SLOT : end - FIRST_SLOT]
        self._require(self.copy[first:end] == roots, "the domain's copy differs from its root table")
        self._require(self.window.second[first:end] == roots, "xen_second differs from the root table")
        if self.checks == "correct":
            self._require(self.window.second[END_SLOT:] == 0, "a slot beyond the window was written")
        self._audit_window()

    def _audit_window(self) -> None:
        """What /proc/self/smaps says of the area must be what the table says."""
        first, end = self.first_slot, self.end_slot
        expected = self.third_behind(self.copy[first:end])
        start = self.window.slot_address(first)
        shown = np.full(expected.size, -1, np.int64)
        writable = np.zeros(expected.size, np.bool_)
        for mapping in smaps.mappings(start, (end - first) << _SLOT_SHIFT):
            if mapping.inode == 0:
                continue
            page = (mapping.start - start) >> PAGE_SHIFT
            n_pages = (mapping.end - mapping.start) >> PAGE_SHIFT
            frame = mapping.offset_bytes >> PAGE_SHIFT
            shown[page : page + n_pages] = np.arange(frame, frame + n_pages)
            writable[page : page + n_pages] = mapping.writable
        self._require(shown == expected, "the window shows another page than the table")
        self._require(writable == (expected >= 0), "a page of the window has the wrong rights")


def judge(guest: Guest, checks: str = "correct") -> Acceptance:
    """Put a guest to one set of checks.

    Raises
    ------
    DoesNotFitError
        When it is refused.
    BadInputError
        For an unknown set of checks, or memory that the checks cannot measure.
    """
    start, end = int(guest.ram.first_pfn[0]) << PAGE_SHIFT, int(guest.ram.end_pfn[-1]) << PAGE_SHIFT
    return require(checks, start, end, guest.name)


def _shown(guest: Guest, found: Acceptance, third: Frames) -> Frames:
    """Frame behind each page of the prepared slots; -1 for none."""
    has_third = plan_tables(guest).has_third
    first, end = ((slot - FIRST_SLOT) * ENTRIES for slot in (found.first_slot, found.end_slot))
    frames = np.full(max(end, has_third.size), -1, np.int64)
    frames[: has_third.size][has_third] = third
    return frames[first:end]


def _run_starts(frames: Frames) -> NDArray[np.intp]:
    """Where a new mapping begins: holes are one stretch, pages are one where they follow each other."""
    step = np.diff(frames)
    joined = (step == 1) & (frames[1:] >= 0) & (frames[:-1] >= 0) | (step == 0) & (frames[1:] < 0)
    return np.concatenate([[0], np.flatnonzero(~joined) + 1])
