"""The software walk of a p2m with superpages: how Xen finds frames of a guest that does not run just now."""

from __future__ import annotations

from typing import NamedTuple, Protocol, Unpack

import numpy as np
from numpy.typing import ArrayLike

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design, Footprint, Load, Stretch
from p2mperf.designs.hap.audit import check_table, check_ways
from p2mperf.designs.hap.changing import ChangeDoor
from p2mperf.designs.hap.door import HapDoor, HapOptions, hold_table
from p2mperf.designs.hap.layout import Switches
from p2mperf.designs.hap.table import HapTable
from p2mperf.designs.hap.walking import walk_tables
from p2mperf.guests.frames import word
from p2mperf.guests.guest import Guest


class _Walked(Protocol):
    """What the door finds in a design."""

    table: HapTable
    tables: NamedTuple

    def page_table_bytes(self) -> int: ...

    def _require(self, holds: ArrayLike, invariant: str) -> None: ...


class WalkDoor:
    """What every design that walks can be asked, whichever superpages it has."""

    table: HapTable

    def footprint(self: _Walked) -> Footprint:
        """As `Design.footprint`."""
        return self.table.footprint(0, self.page_table_bytes())

    def views(self) -> dict[str, int]:
        """As `Design.views`."""
        return {"direct": self.table.pool.direct_page_bytes}

    def stretches(self) -> tuple[Stretch, ...]:
        """As `Design.stretches`: all tables."""
        return tuple(Stretch("direct", *part) for part in self.table.stretches())

    def step_at(self, address: int) -> Load:
        """As `Design.step_at`."""
        return self.table.step_at(word(address, "an address"))

    def after_change(self: _Walked) -> None:
        """Let lookups reach as far as frames are mapped now."""
        self.tables = self.tables._replace(max_mapped=np.uint64(self.table.max_mapped))

    def audit(self: _Walked) -> None:
        """As `Design.audit`."""
        check_table(self.table, self._require)
        check_ways(self.table, self.tables, self.tables, self._require)


class HapWalk(WalkDoor, ChangeDoor, HapDoor, Design):
    """The "foreign" lookup: one read a level, up to the first superpage.

    Parameters
    ----------
    guest, backing
        As `Design`; the guest is one of geometry hap64, hap-pae or hap-nonpae.
    **options
        ``hap_2mb`` and ``hap_1gb``, whether there are superpages of these sizes; ``pool_pages``, pages that
        the domain may have for tables.

    Notes
    -----
    Entries are given as they would be on 4 KiB, which is what splitting a superpage keeps. What is not mapped
    reads 0: INVALID_MFN of type mmio_dm in Xen.

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with HapWalk(Guest.plain("4M", geometry="hap64")) as p2m:
    ...     before, _ = p2m.leaves, p2m.remove(513)
    ...     before, p2m.leaves, len(p2m.lookup_path(514).steps), len(p2m.lookup_path(0).steps)
    ({9: 2}, {0: 511, 9: 1}, 4, 3)
    """

    name = "hap-walk"

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[HapOptions]
    ) -> None:
        super().__init__(guest, backing)
        with self.building():
            self.table = hold_table(self, self.switches, **options)
            self.tables = walk_tables(self.table)


class HapWalk2m(WalkDoor, ChangeDoor, HapDoor, Design):
    """The walk of a p2m without superpages of 1 GiB.

    Parameters
    ----------
    guest, backing, **options
        As `HapWalk`.
    """

    name = "hap-walk-2m"
    switches = Switches(hap_1gb=False)

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[HapOptions]
    ) -> None:
        super().__init__(guest, backing)
        with self.building():
            self.table = hold_table(self, self.switches, **options)
            self.tables = walk_tables(self.table)


class HapWalk4k(WalkDoor, ChangeDoor, HapDoor, Design):
    """The walk of a p2m without superpages, as all were until May 2008.

    Parameters
    ----------
    guest, backing, **options
        As `HapWalk`.
    """

    name = "hap-walk-4k"
    switches = Switches(hap_2mb=False, hap_1gb=False)

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[HapOptions]
    ) -> None:
        super().__init__(guest, backing)
        with self.building():
            self.table = hold_table(self, self.switches, **options)
            self.tables = walk_tables(self.table)
