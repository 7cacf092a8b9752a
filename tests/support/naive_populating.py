"""How a guest gets its memory, said once more, as slowly and plainly as the documents do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

MAX_ORDER = 18
Row = tuple[int, int, int]


class NaiveHeap:
    """Lists of free blocks by order, the last one in first, as page_alloc.c describes them."""

    def __init__(self, n_frames: int) -> None:
        self.n_frames = n_frames
        self.lists: list[list[int]] = [[] for _ in range(MAX_ORDER + 1)]
        mfn = 0
        while mfn < n_frames:
            order = max(k for k in range(MAX_ORDER + 1) if mfn % (1 << k) == 0 and mfn + (1 << k) <= n_frames)
            self.give(mfn, order)
            mfn += 1 << order

    def take(self, order: int) -> int | None:
        for found in range(order, MAX_ORDER + 1):
            if self.lists[found]:
                mfn = self.lists[found].pop()
                while found > order:
                    found -= 1
                    self.lists[found].append(mfn)
                    mfn += 1 << found
                return mfn
        return None

    def give(self, mfn: int, order: int) -> None:
        while order < MAX_ORDER and mfn ^ (1 << order) in self.lists[order]:
            self.lists[order].remove(mfn ^ (1 << order))
            mfn &= ~(1 << order)
            order += 1
        self.lists[order].append(mfn)

    def take_at(self, mfn: int) -> None:
        """Cut the block that a frame lies in until the frame stands alone, and take it."""
        order = next(k for k, mfns in enumerate(self.lists) if mfn >> k << k in mfns)
        block = mfn >> order << order
        self.lists[order].remove(block)
        while order:
            order -= 1
            half = block + (1 << order)
            self.lists[order].append(block if mfn >= half else half)
            block = half if mfn >= half else block

    def free_blocks(self) -> list[tuple[int, int]]:
        return sorted((mfn, order) for order, mfns in enumerate(self.lists) for mfn in mfns)


class NaiveHost:
    """Calls of populate_physmap against a heap: what is given, and what is not."""

    def __init__(self, heap: NaiveHeap) -> None:
        self.heap = heap
        self.extents: list[Row] = []
        self.failed: Counter[int] = Counter()
        self.skipped: Counter[int] = Counter()

    def populate(self, gfns: Iterable[int], order: int) -> int:
        """One call; says how many of its extents were done."""
        wanted = list(gfns)
        for done, gfn in enumerate(wanted):
            mfn = self.heap.take(order)
            if mfn is None:
                self.failed[order] += 1
                self.skipped[order] += len(wanted) - done - 1
                return done
            self.extents.append((gfn, mfn, order))
        return len(wanted)

    def leaves(self, orders: Iterable[int]) -> list[Row]:
        """As set_p2m_entry cuts extents: by alignment in guest and machine."""
        leaves = []
        for gfn, mfn, order in self.extents:
            at = 0
            while at < 1 << order:
                low = (gfn + at) | (mfn + at) | ((1 << order) - at)
                leaf = max(k for k in {0, *orders} if low % (1 << k) == 0)
                leaves.append((gfn + at, mfn + at, leaf))
                at += 1 << leaf
        return sorted(leaves)


SPECIAL = range(0xFEFFB, 0xFF000)


def page_array(n_pages: int) -> list[int]:
    return [i if i < 0xF0000 else i + 0x10000 for i in range(n_pages)]


def build(host: NaiveHost, n_pages: int, device_model: bool = True) -> None:
    """The builder of 4.1, after both of its faults were mended."""
    gfns, at, giga = page_array(n_pages), 0, 1 << 18
    if device_model:
        host.populate(gfns[:0xA0], 0)
        at = 0xC0
    while at < n_pages:
        gfn = gfns[at]
        count = min(n_pages - at, giga - gfn % giga)
        if count == giga and gfn % giga == 0 and gfn // giga != 3 and host.populate([gfn], 18):
            at += giga
            continue
        count = min(count, 2048)
        if gfn % 512:
            count = min(count, 512 - gfn % 512)
        elif count > 512:
            count -= count % 512
        done = 0
        if gfn % 512 == 0 and count % 512 == 0:
            done = 512 * host.populate(gfns[at : at + count : 512], 9)
        host.populate(gfns[at + done : at + count], 0)
        at += count
    host.populate(SPECIAL, 0)


def find(host: NaiveHost, n_pages: int, orders: Iterable[int] = (18, 9), device_model: bool = True) -> None:
    """A flat list of single frames, of which the hypervisor makes what it can."""
    gfns = [gfn for gfn in page_array(n_pages) if not (device_model and 0xA0 <= gfn < 0xC0)]
    at = 0
    while at < len(gfns):
        gfn, done = gfns[at], 0
        for order in orders:
            size = 1 << order
            run = gfns[at : at + size]
            if gfn % size == 0 and len(run) == size and run[-1] == gfn + size - 1:
                done = host.populate([gfn], order) << order
            if done:
                break
        at += done or host.populate([gfn], 0)
    host.populate(SPECIAL, 0)
