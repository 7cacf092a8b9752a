"""The door of both lists, of which one can only be read."""

from __future__ import annotations

from typing import Protocol

from p2mperf.designs.base import Footprint, Load, Stretch
from p2mperf.designs.pv import audit
from p2mperf.designs.pv.list_tables import ListTables
from p2mperf.designs.pv.reading import Readable
from p2mperf.guests.frames import word
from p2mperf.guests.geometry import Kind
from p2mperf.memory.window import Window
from p2mperf.tables.radix import RadixTable


class Listed(Readable, Protocol):
    """A design whose leaves stand in a window.

    Attributes
    ----------
    list_tables : ListTables
        What finds them.
    """

    list_tables: ListTables

    def page_table_bytes(self) -> int:
        """Page tables that this process has grown since the design was begun [bytes]."""
        ...


class ListDoor:
    """What both lists can be asked.

    Attributes
    ----------
    list_tables : ListTables
        What finds the leaves.
    """

    list_tables: ListTables

    @property
    def window(self: Listed) -> Window:
        """The area, one page a leaf."""
        return self.list_tables.window

    def footprint(self: Listed) -> Footprint:
        """Count what the design takes."""
        pool, memory = self.store.pool, self.store.pool.memory_bytes + self.way_back.memory_bytes
        return Footprint(pool.kinds, self.list_tables.n_vmas, memory, self.page_table_bytes())

    def views(self: Listed) -> dict[str, int]:
        """Page size that really maps each view, by view: 4096, 2 MiB, or 0 where mixed [bytes]."""
        window_bytes = self.list_tables.window.window_page_bytes
        direct_bytes = self.store.pool.direct_page_bytes
        return {"direct": direct_bytes, "window": window_bytes, **self.way_back.views()}

    def stretches(self: Listed) -> tuple[Stretch, ...]:
        """As `Design.stretches`: leaves in the window, and directly what the MMU reads for it."""
        direct = self.store.pool.stretches("leaf", "leaf_shared", "hole_window")
        window = self.list_tables.window.stretches()
        return (
            *(Stretch("direct", *part) for part in direct),
            *(Stretch("window", *part) for part in window),
        )

    def step_at(self: Listed, address: int) -> Load:
        """Say what stands at an address that a walk has read."""
        return self.list_tables.load_at(word(address, "an address"), self.way_back)

    @property
    def page_table(self: Listed) -> RadixTable:
        """The page table of the area, whose last level points to the leaves."""
        return self.store.table

    def audit(self: Listed) -> None:
        """As `Design.audit`."""
        audit.check_table(self.store, self.pages)
        audit.check_window(self.store, self.list_tables.window)
        audit.check_leaves(self.store, int(self.store.plan.runs.select(Kind.RAM).n_frames.sum()))
