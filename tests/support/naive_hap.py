"""A p2m with superpages that a page of Python can hold: nested dictionaries, and a flat list beside them.

Written from the description of Xen's algorithms, without a look at the package: the dictionaries are its
tables, leaf for leaf and page for page; the list is what every frame must read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PRESENT, WRITE, USER, CACHE_DISABLE, ACCESSED, DIRTY = 0x1, 0x2, 0x4, 0x10, 0x20, 0x40
READ_ONLY = PRESENT | USER | ACCESSED | DIRTY
FLAGS = {
    "ram_rw": READ_ONLY | WRITE | 1 << 9,
    "ram_logdirty": READ_ONLY | 2 << 9,
    "ram_ro": READ_ONLY | 3 << 9,
    "mmio_direct": READ_ONLY | WRITE | CACHE_DISABLE | 5 << 9,
}
NOBODY = 2**64 - 1

Leaf = tuple[int, str]  # first machine frame, kind
Table = dict[int, "Leaf | Table"]


class PoolEmpty(Exception):
    """No page for a table is left."""


class NaiveP2m:
    """Tables, an m2p, and a pool of pages.

    `bits` of a frame select an entry; leaves are made at some of the levels, which are counted from 0.
    """

    def __init__(self, bits: int, n_levels: int, leaf_levels: list[int], end: int, n_machine: int) -> None:
        self.bits, self.top, self.leaf_levels = bits, n_levels - 1, leaf_levels
        self.root: Table = {}
        self.n_tables = [0] * self.top + [1]
        self.pool_left = 1 << 30
        self.max_mapped = 0
        self.n_writes = 0
        self.reads = np.zeros(end, np.uint64)
        self.m2p = np.full(n_machine, NOBODY, np.uint64)

    def size(self, level: int) -> int:
        return 1 << self.bits * level

    def index(self, frame: int, level: int) -> int:
        return frame >> self.bits * level & (1 << self.bits) - 1

    def take(self, level: int) -> None:
        if not self.pool_left:
            raise PoolEmpty
        self.pool_left -= 1
        self.n_tables[level] += 1

    def free(self, table: Table, level: int) -> None:
        self.pool_left += 1
        self.n_tables[level] -= 1
        for entry in table.values():
            if isinstance(entry, dict):
                self.free(entry, level - 1)

    def descend(self, frame: int, target: int) -> Table:
        """The table of a level for a frame: linked, or split off, where it is not there."""
        table = self.root
        for level in range(self.top, target, -1):
            entry = table.get(self.index(frame, level))
            if not isinstance(entry, dict):
                self.take(level - 1)
                below: Table = {}
                self.n_writes += 1
                if entry is not None:
                    mfn, kind = entry
                    n_entries, step = 1 << self.bits, self.size(level - 1)
                    below = {i: (mfn + i * step, kind) for i in range(n_entries)}
                    self.n_writes += n_entries
                table[self.index(frame, level)] = entry = below
            table = entry
        return table

    def pieces(self, frame: int, mfn: int, order: int) -> Iterator[tuple[int, int, int]]:
        """Offset, first frame and level of each leaf that a range is cut into."""
        left, offset = 1 << order, 0
        while left:
            placed = (frame + offset) | (mfn + offset if mfn >= 0 else 0) | left
            level = max(level for level in self.leaf_levels if placed % self.size(level) == 0)
            yield offset, frame + offset, level
            offset += self.size(level)
            left -= self.size(level)

    def place(self, frame: int, level: int, leaf: Leaf | None) -> None:
        table, index = self.descend(frame, level), self.index(frame, level)
        old = table.pop(index, None)
        if isinstance(old, dict):
            self.free(old, level - 1)
        part = slice(frame, frame + self.size(level))
        self.reads[part] = 0
        self.n_writes += 1
        if leaf is not None:
            table[index] = leaf
            mfns = np.arange(leaf[0], leaf[0] + self.size(level), dtype=np.uint64)
            self.reads[part] = mfns << np.uint64(12) | np.uint64(FLAGS[leaf[1]])
            self.max_mapped = max(self.max_mapped, part.stop - 1)

    def set(self, frame: int, mfn: int, order: int, kind: str = "") -> bool:
        """Set a range, or empty it without a kind; an mfn of -1 is none."""
        pieces = list(self.pieces(frame, mfn, order))
        try:
            for _, first, level in pieces:
                self.descend(first, level)
        except PoolEmpty:
            return False
        for offset, first, level in pieces:
            self.place(first, level, (mfn + offset, kind) if kind else None)
        return True

    def mfn_behind(self, frame: int) -> int:
        return int(self.reads[frame]) >> 12 if self.reads[frame] & np.uint64(PRESENT) else -1

    def add(self, frame: int, mfn: int, order: int, kind: str = "ram_rw") -> bool:
        frames, mfns = range(frame, frame + (1 << order)), range(mfn, mfn + (1 << order))
        aliases = [
            int(self.m2p[new])
            for at, new in zip(frames, mfns, strict=True)
            if int(self.m2p[new]) not in (NOBODY, at) and self.mfn_behind(int(self.m2p[new])) == new
        ]
        try:
            for alias in aliases:
                self.descend(alias, 0)
            for _, first, level in self.pieces(frame, mfn, order):
                self.descend(first, level)
        except PoolEmpty:
            return False
        for at in frames:
            old = self.mfn_behind(at)
            if old >= 0 and int(self.reads[at]) >> 9 & 7 != 5 and int(self.m2p[old]) == at:
                self.m2p[old] = NOBODY
        for alias in aliases:
            if alias not in frames:
                self.place(alias, 0, None)
        assert self.set(frame, mfn, order, kind)
        self.m2p[mfn : mfn + (1 << order)] = np.arange(frame, frame + (1 << order))
        return True

    def remove(self, frame: int, order: int) -> bool:
        mfn = self.mfn_behind(frame)
        frames = range(frame, frame + (1 << order))
        if mfn < 0 or any(self.mfn_behind(at) != mfn + at - frame for at in frames):
            return False
        if not self.set(frame, -1, order):
            return False
        behind = slice(mfn, mfn + (1 << order))
        self.m2p[behind][self.m2p[behind] == np.arange(frame, frame + (1 << order))] = NOBODY
        return True

    def change_type(self, frame: int, old: str, new: str) -> bool:
        entry = int(self.reads[frame])
        if not entry & PRESENT or entry >> 9 & 7 != FLAGS[old] >> 9:
            return False
        try:
            self.descend(frame, 0)
        except PoolEmpty:
            return False
        self.place(frame, 0, (entry >> 12, new))
        return True

    def change_all(self, old: str, new: str, table: Table | None = None) -> int:
        n_changed, table = 0, self.root if table is None else table
        for index, entry in list(table.items()):
            if isinstance(entry, dict):
                n_changed += self.change_all(old, new, entry)
            elif entry[1] == old:
                table[index] = (entry[0], new)
                n_changed += 1
        if table is self.root:
            of_kind = self.reads >> np.uint64(9) & np.uint64(7) == FLAGS[old] >> 9
            self.reads[of_kind] = self.reads[of_kind] & ~np.uint64(0xFFF) | np.uint64(FLAGS[new])
            self.n_writes += n_changed
        return n_changed

    def leaves(self, table: Table | None = None, level: int = -1) -> dict[int, int]:
        """Leaves by order."""
        table, level = (self.root, self.top) if table is None else (table, level)
        found: dict[int, int] = {}
        for entry in table.values():
            below = self.leaves(entry, level - 1) if isinstance(entry, dict) else {self.bits * level: 1}
            for order, n in below.items():
                found[order] = found.get(order, 0) + n
        return dict(sorted(found.items()))
