"""The linear list as a PV kernel reads its page tables: through m2p and p2m."""

from __future__ import annotations

import numpy as np

from p2mperf.designs.pv.linear import PvLinear
from p2mperf.errors import BadInputError
from p2mperf.units import PAGE_SHIFT


class PvLinearNested(PvLinear):
    """The linear list whose slow path reads page tables as a PV kernel must: through m2p and p2m.

    Page tables of a PV guest hold machine frames. Each level that lookup_address reads goes through
    pgd_val, pud_val, pmd_val or pte_val, and each of those is an m2p load and a p2m lookup that verifies
    it. To have machine frames, leaves and page-table pages stand in the guest's own memory: at the end of
    its largest stretch of RAM.

    Parameters
    ----------
    guest, backing, above, run_frames
        As `PvDesign`.

    Raises
    ------
    BadInputError
        When no stretch of the guest's RAM is long enough for its own p2m.
    """

    name = "pv-linear-nested"
    nested = True
    writable = False
    refuses = frozenset({"Writable", "Ballooned", "HasTools", "Shared"})
    known_quirks = ()

    def _stand_in_guest_memory(self) -> None:
        ram = self.guest.ram
        largest = int(np.argmax(ram.n_frames))
        first_pfn = int(ram.end_pfn[largest]) - self.pool.n_frames
        if first_pfn < ram.first_pfn[largest]:
            raise BadInputError(
                f"{self.guest.name} has no {self.pool.n_frames} pages of RAM in a row to hold its own p2m: "
                "take a larger guest, or pv-linear without nested reads"
            )
        pfns = np.arange(first_pfn, first_pfn + self.pool.n_frames, dtype=np.uint64)
        self._numbers = self.guest.entries(pfns).astype(np.int64)
        self._base = self.pool.base - (first_pfn << PAGE_SHIFT)
