"""Linux' linear, virtually mapped sparse p2m list: commit 054954eb051f, merged for 3.19.

One load in a virtual area; the MMU walks. Only where it reads INVALID does software walk the page table of
that area, to tell a hole from the shared identity page (arch/x86/xen/p2m.c and lookup_address of
arch/x86/mm/pageattr.c, 3.19).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol, Unpack

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design, Footprint
from p2mperf.designs.pv.area import AREA, area_entries, check_guest, limit_pages, list_pages
from p2mperf.designs.pv.changing import WriteDoor
from p2mperf.designs.pv.growing import Growing, LeafOptions
from p2mperf.designs.pv.life import Life
from p2mperf.designs.pv.linear_kernels import Linear32, Linear64
from p2mperf.designs.pv.list_plan import classified, plan_list, predict_list
from p2mperf.designs.pv.list_tables import ListTables
from p2mperf.designs.pv.listing import ListDoor, Listed
from p2mperf.designs.pv.quirks import LIST_QUIRKS, checked_quirks, misname_at_boot
from p2mperf.designs.pv.reading import ReadDoor, open_store
from p2mperf.designs.pv.showing import InWindow
from p2mperf.guests.geometry import Entries
from p2mperf.guests.guest import Guest


class _Growing(Growing, Listed, Protocol):
    """A list while it is built."""


class ListOptions(LeafOptions, total=False):
    """What a list may be built with, as `PvLinear` says."""

    invalidated: bool


class LinearDoor:
    """What every list that can be written can be asked, on whatever pages it stands.

    Attributes
    ----------
    life : Life
        What can be done to it.
    pages : dict of str to int
        Pages by kind that building takes.
    """

    follows: ClassVar[str] = "Linux 3.19"
    family: ClassVar[str] = "pv"
    options: ClassVar[frozenset[str]] = ListOptions.__optional_keys__
    known_quirks: ClassVar[tuple[str, ...]] = LIST_QUIRKS

    life: Life
    pages: dict[str, int]

    @classmethod
    def predict_footprint(
        cls: type[_Growing],
        guest: Guest,
        backing: str | Backing = "kernel",
        *,
        above: str = "identity",
        limit: str | int = 0,
        invalidated: bool = True,
        quirks: Iterable[str] = (),
        **others: object,
    ) -> Footprint:
        """As `Design.predict_footprint`.

        Parameters
        ----------
        guest, backing, above, limit, invalidated, quirks
            As `PvLinear`.
        **others
            Other options change nothing of it.
        """
        cls.check_options(others)
        names = checked_quirks(quirks, cls.known_quirks, cls.name)
        return predict_list(plan_list(guest, above, limit, invalidated, names), cls.backing_of(backing))

    def audit(self: _Growing) -> None:
        """As `Design.audit`."""
        ListDoor.audit(self)
        self.life.tools.audit()


def grow_list(
    self: _Growing,
    *,
    above: str = "identity",
    run_frames: int = 0,
    boot_list: Entries | None = None,
    quirks: Iterable[str] = (),
    n_spare: int | None = None,
    m2p_override: bool = False,
    limit: str | int = 0,
    invalidated: bool = True,
) -> None:
    """Build a list, which its design keeps until it is closed.

    Parameters
    ----------
    above, run_frames, boot_list, quirks, n_spare, m2p_override, limit, invalidated
        As `PvLinear`.

    Raises
    ------
    BadInputError, DoesNotFitError
        As `PvLinear`.
    """
    guest = self.guest
    with self.building():
        names = checked_quirks(quirks, self.known_quirks, self.name)
        plan = plan_list(guest, above, limit, invalidated, names)
        self.pages = list_pages(plan)
        if boot_list is not None:
            plan = classified(plan, guest, boot_list)
        end_pfn = area_entries(guest, limit_pages(limit), above)
        store = open_store(self, plan, end_pfn, run_frames, n_spare, m2p_override)
        self.list_tables = self.kept.enter_context(ListTables(store, self.backing.window_bytes))
        if "half-window" in names:
            self.list_tables.unlink_second_halves("early-free-bug" not in names)
        if "identity-from-written-pfn" in names and invalidated:
            misname_at_boot(store)
        self.tables = store.tables = self.list_tables.walk_tables((Linear64, Linear32), above)
        store.write_tables = self.list_tables.write_tables()
        showing, address = InWindow(self.list_tables.window), AREA[guest.geometry.entry_bits]
        self.life = Life(store, self.way_back, names, showing, list_address=address)


class PvLinear(LinearDoor, WriteDoor, ListDoor, ReadDoor, Design):
    """The linear list of Linux 3.19, with the defects it had when it landed mended.

    Parameters
    ----------
    guest, backing, above, run_frames, boot_list, quirks, n_spare, m2p_override
        As `p2mperf.designs.pv.tree.PvTree`.
    limit : str or int
        Memory that may be hot-plugged later, which makes the area larger: P2M_LIMIT, which 3.19.8 has
        already; by default 512G, and 4G of at most 64G at 32 bits. 0 as the list landed [bytes].
    invalidated : bool
        Whether balloonable memory was made INVALID, as xen_inv_extra_mem does at boot; False leaves it
        identity, as it is just before.

    Notes
    -----
    The kernel covers a hole as large as a mid with one shared page-table page. A process cannot share
    those, so the window shows one shared extent of INVALID frames there: ``hole_window`` pages in the
    footprint, which the kernel does not have.

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with PvLinear(Guest.preset("dom0-64-e820")) as p2m:
    ...     [hex(entry) for entry in p2m.lookup([512255, 512256])]
    ['0x400000000007d0ff', '0xffffffffffffffff']
    """

    name = "pv-linear"

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[ListOptions]
    ) -> None:
        check_guest(self.name, self.family, guest)
        super().__init__(guest, backing)
        grow_list(self, **options)
