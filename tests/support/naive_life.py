"""What writing does to a guest's p2m, frame by frame: the judge of a p2m's life.

Standard library only, beside `naive`. Entries are a dict over the memory map's; which leaves and mids are
shared is kept in sets, only to say how many pages each step must take and when it must be refused.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Set as AbstractSet
from copy import copy
from functools import cache, cached_property

from naive import FOREIGN_BIT, IDENTITY_BIT, INVALID, MAX_P2M_PFN, Oracle
from naive_boot import BootTree

# Pages that a mid's last level is made of: PMDs of 2 MiB hold 512 leaves; a 32-bit mid holds 1024.
LIST_GROUP = {64: 1, 32: 2}


class Life:
    """One guest's p2m as one design keeps it.

    Parameters
    ----------
    oracle : Oracle
        The p2m at boot.
    design : str
        "pv-tree" or "pv-linear": they differ in what is shared at boot, and in pages, but in no entry.
    end : int
        First pfn that cannot be written.
    n_spare : int
        Pages that writing may take.
    """

    def __init__(self, oracle: Oracle, design: str, end: int, n_spare: int) -> None:
        self.boot, self.design, self.end = oracle, design, end
        bits = oracle.entry_bits
        self.invalid, self.identity_bit, self.foreign_bit = (
            INVALID[bits],
            IDENTITY_BIT[bits],
            FOREIGN_BIT[bits],
        )
        self.leaf, self.mid = oracle.leaf_pages, oracle.mid_pages
        self.group = LIST_GROUP[bits] if design == "pv-linear" else 1
        self.n_spare, self.n_taken = n_spare, 0
        self.written: dict[int, int] = {}
        self.boot_entry = cache(oracle.entry)
        # What a tree made private at boot stays so, even where all of it is identity by now.
        booted = BootTree(oracle) if design == "pv-tree" else None
        self.shared = self._shared_at_boot(set(booted.leaves) if booted else set())
        own_mids = booted.mids if booted else set()
        kinds = {mid: self._kinds(mid) for mid in range(end // self.mid) if mid not in own_mids}
        self.shared_mids = {
            mid: found.pop() for mid, found in kinds.items() if len(found) == 1 and None not in found
        }
        self.tools_mids: set[int] | None = None
        self.n_broken = {"leaf": 0, "mid": 0}

    @cached_property
    def boot_pfns(self) -> list[int]:
        """Frames that have memory at boot; of a large guest nobody asks for all."""
        pfns = [self.boot._pfn_of_boot_index(index) for index in range(self.boot.n_boot_pages)]
        return [pfn for pfn in pfns if pfn is not None]

    def fresh(self, n_spare: int) -> Life:
        """As at boot, without working it out again."""
        life = copy(self)
        life.n_spare, life.written = n_spare, {}
        life.shared, life.shared_mids, life.n_broken = (
            dict(self.shared),
            dict(self.shared_mids),
            dict(self.n_broken),
        )
        return life

    def _shared_at_boot(self, own: set[int]) -> dict[int, str]:
        changes = sorted({*self.boot.changes(), 0, self.end})
        shared = {}
        for leaf in range(self.end // self.leaf):
            if leaf in own:
                continue
            first = leaf * self.leaf
            inside = slice(bisect_right(changes, first), bisect_left(changes, first + self.leaf))
            points = [first, *changes[inside]]
            kinds = {self._kind_at_boot(pfn) for pfn in points}
            if len(kinds) == 1 and kinds <= {"missing", "identity"}:
                shared[leaf] = kinds.pop()
        return shared

    def _kind_at_boot(self, pfn: int) -> str:
        # The list had all that lies beyond the boot list identity first, and then wrote INVALID to what can
        # be ballooned: leaves of its own. The tree has one missing leaf for all.
        if self.design == "pv-linear" and self.boot.is_extra(pfn):
            return "extra"
        return self.boot.kind(pfn)

    def _kinds(self, mid: int) -> set[str | None]:
        first = mid * (self.mid // self.leaf)
        return {self.shared.get(leaf) for leaf in range(first, first + self.mid // self.leaf)}

    def identity(self, pfn: int) -> int:
        return pfn | self.identity_bit

    def is_plain(self, entry: int) -> bool:
        return not entry & (self.identity_bit | self.foreign_bit)

    def is_foreign(self, entry: int) -> bool:
        return bool(entry & self.foreign_bit) and entry != self.invalid

    def has_foreign(self, pfn: int) -> bool:
        return pfn < self.end and self.is_foreign(self.entry(pfn))

    def entry(self, pfn: int) -> int:
        return self.written[pfn] if pfn in self.written else self.boot_entry(pfn)

    def _cost(self, leaf: int) -> int:
        mid = leaf * self.leaf // self.mid
        lacks_tools = self.tools_mids is not None and mid not in self.tools_mids
        return 1 + (self.group if mid in self.shared_mids else 0) + lacks_tools

    def _split(self, mid: int) -> None:
        if self.shared_mids.pop(mid, None):
            self.n_taken += self.group
            self.n_broken["mid"] += 1
        if self.tools_mids is not None and mid not in self.tools_mids:
            self.n_taken += 1
            self.tools_mids.add(mid)

    def break_leaf(self, leaf: int) -> bool:
        """Make a leaf private; False, and nothing done, where pages do not suffice."""
        if leaf not in self.shared:
            return True
        if self._cost(leaf) > self.n_spare - self.n_taken:
            return False
        self._split(leaf * self.leaf // self.mid)
        del self.shared[leaf]
        self.n_taken += 1
        self.n_broken["leaf"] += 1
        return True

    def set(self, pfn: int, entry: int, only_holes: bool = False) -> bool:
        if pfn >= self.end:
            return entry == self.invalid and not only_holes
        now = self.entry(pfn)
        if only_holes and now != self.invalid:
            return False
        if pfn // self.leaf in self.shared and entry == now:
            return True
        if not self.break_leaf(pfn // self.leaf):
            return False
        self.written[pfn] = entry
        return True

    def balloon_down(self, pfn: int) -> int:
        """The mfn given up, or INVALID."""
        now = self.entry(pfn)
        if pfn >= self.end or not self.is_plain(now):
            return self.invalid
        self.written[pfn] = self.invalid
        return now

    def clear_foreign(self, pfn: int) -> bool:
        if not self.has_foreign(pfn):
            return False
        return self.set(pfn, self.invalid)

    def hotplug(self, first: int, n: int) -> bool:
        pfns = range(first, first + n)
        if first + n > self.end or any(not self.entry(pfn) & self.identity_bit for pfn in pfns):
            return False
        done = [self.set(pfn, self.invalid) for pfn in pfns]
        return all(done)

    def set_identity(self, first: int, n: int) -> int:
        end = min(first + n, self.end)
        if self.design == "pv-tree":
            self._share_identity(first, end)
        return sum(self.set(pfn, self.identity(pfn)) for pfn in range(first, end))

    def _share_identity(self, first: int, end: int) -> None:
        per_mid = self.mid // self.leaf
        for mid in range(-(-first // self.mid), end // self.mid):
            if self.shared_mids.get(mid) == "missing":
                self.shared_mids[mid] = "identity"
                self._turn(range(mid * per_mid, (mid + 1) * per_mid))
        for leaf in range(-(-first // self.leaf), end // self.leaf):
            if self.shared.get(leaf) == "missing":
                if self._cost(leaf) - 1 > self.n_spare - self.n_taken:
                    continue
                self._split(leaf // per_mid)
                self._turn([leaf])

    def _turn(self, leaves: range | list[int]) -> None:
        for leaf in leaves:
            self.shared[leaf] = "identity"
            for pfn in range(leaf * self.leaf, (leaf + 1) * self.leaf):
                self.written[pfn] = self.identity(pfn)

    def pass_through(self, first: int, n: int, to: int) -> bool:
        moved = [self.entry(pfn) for pfn in range(first, first + n) if self.is_plain(self.entry(pfn))]
        target = range(to, to + len(moved))
        if first < to + len(moved) and to < first + n:
            return False
        if max(first + n, to + len(moved)) > self.end or any(
            self.entry(pfn) != self.invalid for pfn in target
        ):
            return False
        leaves = {pfn // self.leaf for pfn in (*range(first, first + n), *target)} & set(self.shared)
        if self._cost_of_all(leaves) > self.n_spare - self.n_taken:
            return False
        done = [self.break_leaf(leaf) for leaf in sorted(leaves)]
        self.written |= {pfn: self.identity(pfn) for pfn in range(first, first + n)}
        self.written |= dict(zip(target, moved, strict=True))
        return all(done)

    def _cost_of_all(self, leaves: AbstractSet[int]) -> int:
        mids = {leaf * self.leaf // self.mid for leaf in leaves}
        return len(leaves) + sum(self._cost(mid * self.mid // self.leaf) - 1 for mid in mids)

    def build_tools(self) -> bool:
        """The tools' tree: four pages, and one for each mid that is not shared."""
        mids = set(range(min(self.end, MAX_P2M_PFN[self.boot.entry_bits]) // self.mid))
        own = mids - set(self.shared_mids)
        if self.tools_mids is None:
            if 4 + len(own) > self.n_spare - self.n_taken:
                return False
            self.n_taken += 4 + len(own)
            self.tools_mids = own
        return True

    def seen_by_tools(self, pfn: int) -> int:
        return self.invalid if pfn // self.leaf in self.shared else self.entry(pfn)

    def present(self) -> dict[int, int]:
        """All frames with memory, and their mfns."""
        now = {pfn: self.boot_entry(pfn) for pfn in self.boot_pfns} | self.written
        return {pfn: now[pfn] for pfn in sorted(now) if self.is_plain(now[pfn])}

    def mfn_to_pfn(self, mfn: int, present: dict[int, int]) -> int:
        owners = [pfn for pfn, own in present.items() if own == mfn]
        if owners:
            return owners[0]
        return mfn if self.entry(mfn) == self.identity(mfn) else self.invalid
