"""What ARM's stage-2 tables and the window answer, frame by frame: the judge of the ARM designs.

Standard library only, beside `naive`: entries are a dict, marks are sets, and no table is walked.
"""

from __future__ import annotations

GIB_FRAMES = 1 << 18
FIRST_SLOT = 64  # of xen_second: the window stands at 128 MiB, 2 MiB a slot
INVALIDATIONS = 512  # pages of a slot, 2 MiB / 4 KiB
# valid, table, write-back 0xF << 2, read, write, outer shareable 2 << 8, accessed
RAM_BITS = 0x6FF
WRITE, LOG_DIRTY = 1 << 7, 1 << 55


class Stage2:
    """One guest's last level.

    Parameters
    ----------
    mfns : dict of int to int
        Machine frame of each frame of RAM.
    """

    def __init__(self, mfns: dict[int, int]) -> None:
        self.mfns = mfns
        self.protected: set[int] = set()
        self.read_only: set[int] = set()
        self.gibs = {gfn // GIB_FRAMES for gfn in mfns}
        self.leaves = {gfn // 512 for gfn in mfns}

    def entry(self, gfn: int) -> int:
        if gfn not in self.mfns:
            return 0
        entry = self.mfns[gfn] << 12 | RAM_BITS
        if gfn in self.protected:
            return entry ^ WRITE ^ LOG_DIRTY
        return entry ^ WRITE if gfn in self.read_only else entry

    def n_levels(self, gfn: int) -> int:
        """Entries that a walk loads."""
        if gfn >= 1 << 28:
            return 0
        return 1 + (gfn // GIB_FRAMES in self.gibs) + (gfn // 512 in self.leaves)

    def protect(self) -> None:
        """All that can be written to; what is read-only for another reason stays so."""
        self.protected = set(self.mfns) - self.read_only

    def unprotect(self) -> None:
        self.protected = set()

    def flip_write(self, gfn: int) -> None:
        """Somebody else takes the write bit, or gives it back."""
        self.read_only ^= {gfn}

    def write(self, gfns: list[int], dirty: set[int]) -> int:
        """Faults that writing takes: one for each page that is protected, which is dirty then."""
        met = self.protected & set(gfns)
        self.protected -= met
        dirty |= met
        return len(met)


class Domain:
    """What one domain has in the window, and what it is: slot by slot, GiB by GiB."""

    def __init__(self, stage2: Stage2, domid: int) -> None:
        self.stage2, self.domid = stage2, domid
        gibs = [gfn // GIB_FRAMES for gfn in (min(stage2.mfns), max(stage2.mfns))]
        self.slots = range(FIRST_SLOT + gibs[0], FIRST_SLOT + gibs[1] + 1)
        self.is_prepared = False

    def has(self, slot: int) -> bool:
        return slot - FIRST_SLOT in self.stage2.gibs


class Xen:
    """The one table of slots that all domains of a window share."""

    def __init__(self) -> None:
        self.shown: dict[int, Domain] = {}
        self.owner: Domain | None = None
        self.prepared: set[Domain] = set()

    def is_taken(self, domain: Domain) -> bool:
        """Whether another one that is prepared has the same domid."""
        return any(other.domid == domain.domid for other in self.prepared - {domain})

    def prepare(self, domain: Domain) -> None:
        domain.is_prepared = True
        self.prepared.add(domain)
        self.restore(domain)

    def restore(self, domain: Domain) -> int:
        """Slots that had to be written: those that showed another, or nothing where something is."""
        n_stale = 0
        for slot in domain.slots if domain.is_prepared else ():
            wanted = domain if domain.has(slot) else None
            n_stale += self.shown.get(slot) is not wanted
            self.shown.pop(slot, None)
            if wanted is not None:
                self.shown[slot] = wanted
        self.owner = domain
        return n_stale

    def switch_to(self, domain: Domain) -> None:
        if domain.is_prepared and self.owner is not domain:
            self.restore(domain)

    def cleanup(self, domain: Domain) -> None:
        for slot in domain.slots if domain.is_prepared else ():
            if self.shown.get(slot) is domain:
                del self.shown[slot]
        domain.is_prepared = False
        self.prepared.discard(domain)
        if self.owner is domain:
            self.owner = None
