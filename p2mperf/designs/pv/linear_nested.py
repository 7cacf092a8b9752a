"""The linear list as a PV kernel reads its page tables: through m2p and p2m."""

from __future__ import annotations

import numpy as np

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design, Footprint, Stretch
from p2mperf.designs.pv.area import area_entries, check_guest, limit_pages, list_pages
from p2mperf.designs.pv.linear_kernels import LinearNested32, LinearNested64
from p2mperf.designs.pv.list_plan import classified, plan_list, predict_list
from p2mperf.designs.pv.list_tables import ListTables
from p2mperf.designs.pv.listing import ListDoor
from p2mperf.designs.pv.reading import ReadDoor, open_store
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Entries
from p2mperf.guests.guest import Guest
from p2mperf.tables.m2p import predict_bytes
from p2mperf.units import PAGE_SHIFT


class PvLinearNested(ListDoor, ReadDoor, Design):
    """The linear list whose slow path reads page tables as a PV kernel must: through m2p and p2m.

    Page tables of a PV guest hold machine frames. Each level that lookup_address reads goes through
    pgd_val, pud_val, pmd_val or pte_val, and each of those is an m2p load and a p2m lookup that verifies
    it. To have machine frames, leaves and page-table pages stand in the guest's own memory: at the end of
    its largest stretch of RAM. It can only be read.

    Parameters
    ----------
    guest, backing, above, run_frames, boot_list, limit, invalidated
        As `p2mperf.designs.pv.linear.PvLinear`.

    Raises
    ------
    BadInputError
        When no stretch of the guest's RAM is long enough for its own p2m.
    """

    name = "pv-linear-nested"
    follows = "Linux 3.19"
    family = "pv"
    options = frozenset({"above", "run_frames", "boot_list", "limit", "invalidated"})

    def __init__(
        self,
        guest: Guest,
        backing: str | Backing = "kernel",
        *,
        above: str = "identity",
        run_frames: int = 0,
        boot_list: Entries | None = None,
        limit: str | int = 0,
        invalidated: bool = True,
    ) -> None:
        check_guest(self.name, self.family, guest)
        super().__init__(guest, backing)
        with self.building():
            plan = plan_list(guest, above, limit, invalidated)
            self.pages = list_pages(plan)
            if boot_list is not None:
                plan = classified(plan, guest, boot_list)
            end_pfn = area_entries(guest, limit_pages(limit), above)
            store = open_store(self, plan, end_pfn, run_frames)
            pool, first_pfn = store.pool, _own_memory(guest, store.pool.n_frames)
            numbers = guest.entries(np.arange(first_pfn, first_pfn + pool.n_frames, dtype=np.uint64))
            base = pool.base - (first_pfn << PAGE_SHIFT)
            self.list_tables = self.kept.enter_context(
                ListTables(store, self.backing.window_bytes, numbers.astype(np.int64), base)
            )
            self.tables = store.tables = self.list_tables.walk_tables(
                (LinearNested64, LinearNested32), above, self.way_back.m2p.base
            )

    def stretches(self) -> tuple[Stretch, ...]:
        m2p = self.way_back.m2p
        return (*super().stretches(), Stretch("m2p", m2p.base, m2p.memory_bytes))

    @classmethod
    def predict_footprint(
        cls,
        guest: Guest,
        backing: str | Backing = "kernel",
        *,
        above: str = "identity",
        limit: str | int = 0,
        invalidated: bool = True,
        **others: object,
    ) -> Footprint:
        cls.check_options(others)
        plan = plan_list(guest, above, limit, invalidated)
        return predict_list(plan, cls.backing_of(backing), predict_bytes(guest))


def _own_memory(guest: Guest, n_frames: int) -> int:
    """First of so many frames at the end of the guest's largest stretch of RAM."""
    ram = guest.ram
    largest = int(np.argmax(ram.n_frames))
    first_pfn = int(ram.end_pfn[largest]) - n_frames
    if first_pfn < ram.first_pfn[largest]:
        raise BadInputError(
            f"{guest.name} has no {n_frames} pages of RAM in a row to hold its own p2m: "
            "take a larger guest, or pv-linear without nested reads"
        )
    return first_pfn
