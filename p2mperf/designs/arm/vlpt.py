"""The virtual-linear page table: all third-level entries of a guest in one window, at index gfn."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import numpy as np

from p2mperf.designs.arm.checks import FIRST_SLOT, Acceptance, require
from p2mperf.designs.arm.door import ArmOptions, Stage2Door, hold_table
from p2mperf.designs.arm.layout import ENTRIES, N_DOMAINS, plan_tables, third_frames
from p2mperf.designs.arm.vlpt_kernels import VlptTables
from p2mperf.designs.arm.window import VlptDomain, VlptWindow
from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design, Footprint, Load, Stretch
from p2mperf.errors import BadInputError, shown
from p2mperf.guests.frames import word
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.memory import smaps
from p2mperf.memory.pool import Frames
from p2mperf.memory.window import n_runs
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE


class ArmVlpt(Stage2Door, Design):
    """The guest's third level as one array.

    Parameters
    ----------
    guest, backing, like
        As `ArmWalk`.
    checks : str
        "correct", or "as-posted": what the patch accepts is built, over-runs and all, and named.
    window : VlptWindow, optional
        Window to share with other domains; default: one of its own. Once it is closed, none of them can be
        used any more.
    **options
        As `ArmWalk`.

    Attributes
    ----------
    overruns : tuple of str
        What the posted checks let happen beyond the window.

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
    options = ArmOptions.__optional_keys__ | {"checks", "window"}
    follows = "xen-devel, live migration on Arndale v5 4/6 (2013)"
    extra_pages = VlptDomain.PAGES
    shows_any = frozenset(
        ["prepare", "restore", "cleanup", "neighbour", "switch_to", "require_ready", "copy", "first_slot"]
        + ["end_slot", "pool", "frames", "explain", "root_words", "third_words", "third_tables"]
    )

    def __init__(
        self,
        guest: Guest,
        backing: str | Backing = "kernel",
        *,
        checks: str = "correct",
        window: VlptWindow | None = None,
        **options: Unpack[ArmOptions],
    ) -> None:
        super().__init__(guest, backing)
        self.checks = checks
        with self.building():
            self.table = hold_table(self, self.extra_pages, **options)
            acceptance = judge(guest, checks)
            self.overruns = acceptance.overruns
            if not isinstance(window, VlptWindow | None):
                raise BadInputError(f"{shown(window)} is no VlptWindow")
            self.window = window or VlptWindow(self.backing.window_bytes)
            if window is None:
                self.kept.callback(self.window.close)
            self._door.lead_on(self.window.door)
            self.domain = self.kept.enter_context(VlptDomain(self.window, self.table, acceptance))
            self.prepare()

    @classmethod
    def predict_footprint(
        cls,
        guest: Guest,
        backing: str | Backing = "kernel",
        n_regions: int | None = None,
        checks: str = "correct",
        run_frames: int = 0,
        *,
        like: Stage2Door | None = None,
        **others: object,
    ) -> Footprint:
        require_guest(guest)
        backing, found = cls.backing_of(backing), judge(guest, checks)
        n_asked = cls.n_regions if n_regions is None else n_regions
        base = super().predict_footprint(guest, backing, n_asked, like=like)
        shown = _shown(guest, found, third_frames(guest, run_frames, n_asked))
        window_tables = shown.size * PAGE_SIZE // backing.window_bytes * 8
        return replace(
            base,
            n_vmas=n_runs(shown, shown >= 0, holes=True),
            page_table_bytes=base.page_table_bytes + window_tables,
        )

    @property
    def copy(self) -> Words:
        """second_lvl: what this domain wants in xen_second, in its two pages, shape (1024,)."""
        return self.domain.copy

    @property
    def first_slot(self) -> int:
        """First slot of xen_second that is prepared; 0 where none is."""
        return self.domain.first_slot

    @property
    def end_slot(self) -> int:
        """End of the slots of xen_second that are prepared, exclusive."""
        return self.domain.end_slot

    def prepare(self) -> None:
        """prepare_vlpt: copy the guest's root entries into xen_second, keep a copy, flush.

        Raises
        ------
        ClosedError
            When design or window was closed.
        """
        self.domain.prepare()
        first, end = _ram(self.guest)
        self.tables = VlptTables(*map(np.uint64, (self.window.base, first, end - first)))

    def restore(self) -> None:
        """restore_vlpt: on a switch to this domain, rewrite and flush the slots that show another one.

        Raises
        ------
        ClosedError
            When design or window was closed.
        """
        self.domain.restore()

    def neighbour(self) -> ArmVlpt:
        """Build another domain, its guest of the same memory map, and show it in the window that both share.

        Raises
        ------
        BadInputError
            When no domid is left.
        """
        free = [domid for domid in range(N_DOMAINS) if domid not in self.window.domids]
        if not free:
            raise BadInputError(f"all {N_DOMAINS} domids are taken")
        return self.again(domid=free[0], window=self.window, like=None)

    def cleanup(self) -> None:
        """Undo `prepare`: clear the slots and forget them; lookups find nothing until prepared again."""
        self.domain.cleanup()
        self.tables = self.tables._replace(n_frames=np.uint64(0))

    def require_ready(self) -> None:
        if not self.domain.is_prepared:
            raise BadInputError(f"the window of {self.guest.name} was cleaned up: prepare it again")

    def switch_to(self) -> None:
        """Restore this domain's window where another one's is shown."""
        self.domain.switch_to()

    # As it stands here, which passes no door: whoever calls it has passed it.
    _show_own = switch_to

    @property
    def _slots(self) -> tuple[int, int]:
        """Where the prepared slots stand in this process, and their length [bytes]."""
        start = self.window.base + (self.window.page_of(self.first_slot) << PAGE_SHIFT)
        return start, (self.end_slot - self.first_slot) * ENTRIES << PAGE_SHIFT

    def footprint(self) -> Footprint:
        return self.table.footprint(len(smaps.mappings(*self._slots)), self.page_table_bytes())

    def views(self) -> dict[str, int]:
        return {**super().views(), "window": smaps.view_page_bytes(*self._slots)}

    def stretches(self) -> tuple[Stretch, ...]:
        return tuple(Stretch("window", *part) for part in self.window.area.stretches())

    def step_at(self, address: int) -> Load:
        address = word(address, "an address")
        page = self.window.area.page_at(address)
        slot = FIRST_SLOT + page // ENTRIES
        if page < 0 or not self.first_slot <= slot < self.end_slot:
            return super().step_at(address)
        frame = int(self.table.third_behind(self.copy[slot : slot + 1])[page % ENTRIES])
        level = "third" if frame >= 0 else "hole"  # between banks, where Xen would fault: see `VlptWindow`
        return Load(level, "window", frame, (address & 0xFFF) // 8, address)

    def audit(self) -> None:
        super().audit()
        self.domain.audit(self._require, beyond_is_empty=self.checks == "correct")


def judge(guest: Guest, checks: str = "correct") -> Acceptance:
    """Put a guest to one set of checks.

    Raises
    ------
    DoesNotFitError
        When it is refused.
    BadInputError
        For an unknown set of checks, or memory that the checks cannot measure.
    """
    first, end = _ram(guest)
    return require(checks, first << PAGE_SHIFT, end << PAGE_SHIFT, guest.name)


def _ram(guest: Guest) -> tuple[int, int]:
    """First frame of a guest's RAM and its end, exclusive: gma_start and gma_end."""
    return int(guest.ram.first_pfn[0]), int(guest.ram.end_pfn[-1])


def _shown(guest: Guest, found: Acceptance, third: Frames) -> Frames:
    """Frame behind each page of the prepared slots; -1 for none."""
    behind = plan_tables(guest).targets(third)
    first, end = ((slot - FIRST_SLOT) * ENTRIES for slot in (found.first_slot, found.end_slot))
    frames = np.full(max(end, behind.size), -1, np.int64)
    frames[: behind.size] = behind
    return frames[first:end]
