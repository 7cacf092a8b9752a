"""The virtual windows of a p2m with superpages: how Xen finds frames of the guest that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol, Unpack

import numpy as np
from numpy.typing import ArrayLike

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design, Footprint, Load, Stretch, translated
from p2mperf.designs.hap.audit import check_table, check_ways
from p2mperf.designs.hap.changing import ChangeDoor
from p2mperf.designs.hap.door import HapDoor, HapOptions, hold_table
from p2mperf.designs.hap.layout import Switches
from p2mperf.designs.hap.linear_kernels import LinearTables64, LinearTablesNonPae, LinearTablesPae
from p2mperf.designs.hap.table import HapTable
from p2mperf.designs.hap.walking import walk_tables
from p2mperf.designs.hap.windows import HapWindows
from p2mperf.guests.frames import word
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest

_Tables = LinearTables64 | LinearTablesPae | LinearTablesNonPae
_BY_LEVELS: dict[int, Callable[..., _Tables]] = {
    4: LinearTables64,
    3: LinearTablesPae,
    2: LinearTablesNonPae,
}


class _Shown(Protocol):
    """What the door finds in a design."""

    table: HapTable
    windows: HapWindows
    tables: NamedTuple
    guest: Guest

    def page_table_bytes(self) -> int: ...

    def _require(self, holds: ArrayLike, invariant: str) -> None: ...

    def _frames(self, pfns: ArrayLike) -> Words: ...


class LinearDoor:
    """What every design with windows can be asked, whichever superpages it has.

    Attributes
    ----------
    windows : HapWindows
        Over the tables of each level.
    """

    has_windows: ClassVar[bool] = True
    table: HapTable
    windows: HapWindows

    def foreign(self: _Shown, gfns: ArrayLike) -> Words:
        """Translate frames by the walk of the same tables, as for a guest that does not run.

        Parameters
        ----------
        gfns : array_like of int
            Frames.

        Returns
        -------
        ndarray of uint64
            As `Design.lookup`.

        Raises
        ------
        BadInputError
            As `Design.lookup`.
        """
        return translated(walk_tables(self.table), (), self._frames(gfns), self.guest.geometry.entry_bits)

    def footprint(self: _Shown) -> Footprint:
        """As `Design.footprint`."""
        return self.table.footprint(self.windows.n_vmas, self.page_table_bytes())

    def views(self) -> dict[str, int]:
        """As `Design.views`."""
        return {"direct": self.table.pool.direct_page_bytes, "window": self.windows.page_bytes}

    def stretches(self) -> tuple[Stretch, ...]:
        """As `Design.stretches`: all tables, as windows show them; no lookup reads what stands in for RAM."""
        return tuple(Stretch("window", *part) for part in self.windows.stretches())

    def step_at(self, address: int) -> Load:
        """As `Design.step_at`."""
        address = word(address, "an address")
        return self.windows.load_at(address) or self.table.step_at(address)

    def after_change(self: _Shown) -> None:
        """Let lookups reach as far as frames are mapped now."""
        self.tables = self.tables._replace(max_mapped=np.uint64(self.table.max_mapped))
        self.windows.require_shown()

    def audit(self: _Shown) -> None:
        """As `Design.audit`."""
        check_table(self.table, self._require)
        fault = self.windows.fault()
        self._require(not fault, fault)
        check_ways(self.table, walk_tables(self.table), self.tables, self._require)


def show_table(
    design: Design, usual: Switches, **options: Unpack[HapOptions]
) -> tuple[HapTable, HapWindows, _Tables]:
    """Make a table and windows over it that a design will hold, and what lookups take.

    Parameters
    ----------
    design : Design
        Who asks for it.
    usual : Switches
        What is not asked for.
    **options
        As `p2mperf.designs.hap.door.hold_table`.
    """
    shape = design.guest.geometry
    table = hold_table(design, usual, n_stand_in=shape.leaf_frames, **options)
    windows = design.kept.enter_context(HapWindows(table, design.backing.window_bytes))
    addresses = [np.uint64(windows.address(level)) for level in range(len(table.plan.shape.orders))]
    kind = _BY_LEVELS[table.plan.shape.n_levels]
    return table, windows, kind(*addresses, np.uint64(table.max_mapped))


class HapLinear(LinearDoor, ChangeDoor, HapDoor, Design):
    """The "current" lookup: the windows of L3, L2 and L1 in turn, up to the first superpage.

    Parameters
    ----------
    guest, backing, **options
        As `p2mperf.designs.hap.walk.HapWalk`.

    Notes
    -----
    The order is what makes it right: under a superpage the windows below show the guest's own memory, which
    may look like entries. Here other pages stand in for that memory, and hold what does.

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with HapLinear(Guest.plain("4M", geometry="hap64")) as p2m:
    ...     [(step.level, step.view) for step in p2m.lookup_path(5).steps]
    [('l3', 'window'), ('l2', 'window')]
    """

    name = "hap-linear"

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[HapOptions]
    ) -> None:
        super().__init__(guest, backing)
        with self.building():
            self.table, self.windows, self.tables = show_table(self, self.switches, **options)


class HapLinear2m(LinearDoor, ChangeDoor, HapDoor, Design):
    """The windows of a p2m without superpages of 1 GiB.

    Parameters
    ----------
    guest, backing, **options
        As `HapLinear`.
    """

    name = "hap-linear-2m"
    switches = Switches(hap_1gb=False)

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[HapOptions]
    ) -> None:
        super().__init__(guest, backing)
        with self.building():
            self.table, self.windows, self.tables = show_table(self, self.switches, **options)


class HapLinear4k(LinearDoor, ChangeDoor, HapDoor, Design):
    """The windows of a p2m without superpages.

    Parameters
    ----------
    guest, backing, **options
        As `HapLinear`.
    """

    name = "hap-linear-4k"
    switches = Switches(hap_2mb=False, hap_1gb=False)

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[HapOptions]
    ) -> None:
        super().__init__(guest, backing)
        with self.building():
            self.table, self.windows, self.tables = show_table(self, self.switches, **options)
