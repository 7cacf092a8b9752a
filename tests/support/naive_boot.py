"""How 3.18 comes to its tree, step by step along the memory map: the judge of the pages that it has then.

Standard library only, beside `naive`. A leaf is a row of letters: R for memory, I for identity, - for
INVALID; what has no row is shared. Nothing is derived: what is split, written, moved and used again is done.
"""

from __future__ import annotations

from naive import MAX_P2M_PFN, PAGE, Oracle, Range, up

MEMORY, IDENTITY = b"RI"


class BootTree:
    """The tree of one guest.

    Parameters
    ----------
    oracle : Oracle
        The guest: its rows, memory at boot, width, and what is above.

    Attributes
    ----------
    leaves : dict of int to bytearray
        Private leaves, by number.
    mids : set of int
        Private mids.
    """

    def __init__(self, oracle: Oracle) -> None:
        self.leaf, self.mid = oracle.leaf_pages, oracle.mid_pages
        self.end = MAX_P2M_PFN[oracle.entry_bits]
        self.n_boot = oracle.n_boot_pages
        self.ram = self._ram_rows(oracle)
        self.leaves: dict[int, bytearray] = {}
        self.mids: set[int] = set()
        self.identity_leaves: set[int] = set()
        self.identity_mids: set[int] = set()

        for first in range(0, self.n_boot, self.leaf):
            self._middle(first)
            n_frames = min(self.leaf, self.n_boot - first)
            self.leaves[first // self.leaf] = bytearray(b"R" * n_frames + b"-" * (self.leaf - n_frames))
        self.to = self.n_boot
        for first, end in self._holes(oracle):
            self._hole(first, end)
        # Behind the map nothing is written up to 3.14; a page that RAM has in part is identity all the same.
        last = oracle.rows[-1][1]
        if oracle.above == "identity":
            self._identity(last // PAGE, self.end)
        elif oracle.rows[-1][2] == "ram" and last % PAGE:
            self._identity(last // PAGE, last // PAGE + 1)

    @staticmethod
    def _ram_rows(oracle: Oracle) -> list[Range]:
        joined: list[Range] = []
        for start, end, kind in oracle.rows:
            if kind == "ram" and joined and joined[-1][1] == start:
                joined[-1] = (joined[-1][0], end)
            elif kind == "ram":
                joined.append((start, end))
        return joined

    def _holes(self, oracle: Oracle) -> list[Range]:
        """What lies between two rows of RAM, and behind the last; outwards to whole pages."""
        holes, start = [], 0
        for ram_start, ram_end in self.ram:
            holes.append((start // PAGE, up(ram_start, PAGE) // PAGE))
            start = ram_end
        _, last_end, kind = oracle.rows[-1]
        if kind != "ram":
            holes.append((start // PAGE, up(last_end, PAGE) // PAGE))
        return [(first, end) for first, end in holes if first < end]

    def _middle(self, pfn: int) -> None:
        if pfn // self.mid not in self.identity_mids:
            self.mids.add(pfn // self.mid)

    def _is_missing(self, pfn: int) -> bool:
        shared = pfn // self.leaf not in self.leaves
        return (
            shared
            and pfn // self.leaf not in self.identity_leaves
            and pfn // self.mid not in self.identity_mids
        )

    def _split(self, pfn: int) -> None:
        if pfn % self.mid:
            self._middle(pfn)
        if pfn % self.leaf and self._is_missing(pfn):
            self.leaves[pfn // self.leaf] = bytearray(b"-" * self.leaf)

    def _identity(self, first: int, end: int) -> None:
        """Make a range identity; what is shared as a whole is passed over as a whole."""
        end = min(end, self.end)
        if first >= end:
            return
        self._split(first)
        if end < self.end:
            self._split(end)
        pfn = first
        while pfn < end:
            leaf, mid = pfn // self.leaf, pfn // self.mid
            stop = (leaf + 1) * self.leaf
            if leaf in self.leaves:
                stop = min(stop, end)
                self.leaves[leaf][pfn % self.leaf : pfn % self.leaf + stop - pfn] = b"I" * (stop - pfn)
            elif mid in self.mids:
                self.identity_leaves.add(leaf)
            else:
                self.identity_mids.add(mid)
                stop = (mid + 1) * self.mid
            pfn = stop

    def _room(self) -> int:
        """Go on to the first row of RAM that does not end before, where memory may move to; its pages."""
        for start, end in self.ram:
            first, stop = up(start, PAGE) // PAGE, end // PAGE
            # A row without a whole page is no place. (The kernel finds it, and then no room in it.)
            if stop >= self.to and first < stop:
                self.to = max(self.to, first)
                return stop - self.to
        return 0

    def _hole(self, first: int, end: int) -> None:
        while first < end:
            if first >= self.n_boot:
                self._identity(first, end)
                return
            n_frames = min(end, self.n_boot) - first
            room = self._room()
            if room <= 0:
                self._identity(first, end)
                return
            n_frames = min(n_frames, room)
            self._move(first, n_frames)
            first += n_frames
            self.to += n_frames

    def _move(self, first: int, n_frames: int) -> None:
        """Identity for memory that moves to `to`: whole leaves one by one, then what is left at both ends."""
        end, to = first + n_frames, self.to
        low, to_low = up(first, self.leaf), up(to, self.leaf)
        at, to_at = low, to_low
        while at + self.leaf <= end and to_at + self.leaf <= to + n_frames:
            self._identity(at, at + self.leaf)
            self._memory(to_at, self.leaf)
            at, to_at = at + self.leaf, to_at + self.leaf
        n_left = n_frames - (at - low)
        n_head = min(to_low - to, n_left)
        self._memory(to, n_head)
        self._memory(to_at, n_left - n_head)
        if first < min(low, end):
            self._identity(first, min(low, end))
        if at < end:
            self._identity(at, end)

    def _memory(self, pfn: int, n_frames: int) -> None:
        """Give frames memory; at the first frame of a leaf that is missing, another's page may serve."""
        while n_frames > 0:
            index = pfn % self.leaf
            if self._is_missing(pfn):
                self._middle(pfn)
                uniform = self._first_uniform() if index == 0 else None
                if uniform is not None and self.leaves.pop(uniform)[0] == IDENTITY:
                    self.identity_leaves.add(uniform)
                self.leaves[pfn // self.leaf] = bytearray(b"-" * self.leaf)
            n = min(n_frames, self.leaf - index)
            self.leaves[pfn // self.leaf][index : index + n] = b"R" * n
            pfn, n_frames = pfn + n, n_frames - n

    def _first_uniform(self) -> int | None:
        whole = (b"I" * self.leaf, b"-" * self.leaf)
        found = (leaf for leaf in sorted(self.leaves) if self.leaves[leaf][0] != MEMORY)
        return next((leaf for leaf in found if self.leaves[leaf] in whole), None)
