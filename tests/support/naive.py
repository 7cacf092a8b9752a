"""A guest's translation, worked out page by page from its memory map: the judge of every design.

Standard library only, and not a line shared with the package: two answers that agree were found twice.
Plain and slow; each rule is written the way it is said, with no table, no leaf and no walk.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

PAGE = 4096

Row = tuple[int, int, str]
Range = tuple[int, int]
Extent = tuple[int, int]

# 64 bit: 4096 / 8 = 512 entries a page; a mid holds 512 leaves, a top 512 mids: 2^9, 2^18 and 2^27 pfns.
# 32 bit: 4096 / 4 = 1024 entries a page: 2^10, 2^20 and 2^30 pfns.
LEAF_PAGES = {64: 512, 32: 1024}
MID_PAGES = {64: 512 * 512, 32: 1024 * 1024}
MAX_P2M_PFN = {64: 512 * 512 * 512, 32: 1024 * 1024 * 1024}
# All bits set, both markers included: this value is asked for before either marker bit.
INVALID = {64: 0xFFFF_FFFF_FFFF_FFFF, 32: 0xFFFF_FFFF}
FOREIGN_BIT = {64: 1 << 63, 32: 1 << 31}
IDENTITY_BIT = {64: 1 << 62, 32: 1 << 30}


def word(entry: int, entry_bits: int) -> str:
    """The word that a dump has for a raw entry."""
    if entry == INVALID[entry_bits]:
        return "missing"
    if entry & FOREIGN_BIT[entry_bits]:
        return "foreign"
    if entry & IDENTITY_BIT[entry_bits]:
        return "identity"
    return "pfn"


def up(value: int, granule: int) -> int:
    """`value` rounded up to a multiple of `granule`."""
    return (value + granule - 1) // granule * granule


def clip(ranges: Iterable[Range], first: int, end: int) -> list[Range]:
    """The parts of `ranges` inside [first, end)."""
    cut = [(max(low, first), min(high, end)) for low, high in ranges]
    return [(low, high) for low, high in cut if low < high]


def n_before(ranges: Iterable[Range], pfn: int) -> int:
    """How many members of `ranges` are below `pfn`."""
    return sum(min(high, pfn) - low for low, high in ranges if low < pfn)


def nth(ranges: Iterable[Range], n: int) -> int | None:
    """Member number `n` of `ranges`, counted from 0; None when there are fewer."""
    for low, high in ranges:
        if n < high - low:
            return low + n
        n -= high - low
    return None


class Oracle:
    """What a guest's p2m must answer.

    Parameters
    ----------
    rows : list of (start, end, type)
        The memory map; start and end in bytes, type "ram" or anything else.
    n_boot_pages, n_max_pages : int
        Pages the domain builder hands over, and pages the guest may ever have.
    entry_bits : int
        64 or 32.
    boot_extents : list of (n_frames, first_mfn)
        The builder's frames for pfn 0, 1, 2 and so on, in this order.
    above : str
        What is above the end of the map: "identity" (Linux 3.18 and later) or "invalid" (up to 3.14).
    max_domain_pages : int, optional
        CONFIG_XEN_MAX_DOMAIN_MEMORY in pages: the boot list is cut there, and RAM above has no frames.
    rounds_out : bool
        Whether a page that balloonable memory has in part is INVALID, as in 3.19's list, and not identity.
    """

    def __init__(
        self,
        rows: list[Row],
        n_boot_pages: int,
        n_max_pages: int,
        entry_bits: int,
        boot_extents: list[Extent],
        above: str = "identity",
        max_domain_pages: int | None = None,
        rounds_out: bool = False,
    ) -> None:
        assert above in ("identity", "invalid")
        assert sum(n_frames for n_frames, _ in boot_extents) == n_boot_pages
        self.end_of_frames = INVALID[entry_bits] if max_domain_pages is None else max_domain_pages
        n_boot_pages = min(n_boot_pages, self.end_of_frames)
        self.rows, self.entry_bits, self.above = rows, entry_bits, above
        self.leaf_pages, self.mid_pages = LEAF_PAGES[entry_bits], MID_PAGES[entry_bits]
        self.invalid = INVALID[entry_bits]
        self.n_boot_pages, self.n_max_pages = n_boot_pages, n_max_pages

        self.map_end = max(up(end, PAGE) // PAGE for _, end, _ in rows)
        self.covered_end = max(self.map_end, up(n_boot_pages, self.leaf_pages))
        self.dump_end = up(self.covered_end, self.mid_pages)

        self.ram = list(self._ram_ranges())
        self.ram_after_boot = clip(self.ram, n_boot_pages, self.map_end)
        self.not_ram = list(self._gaps(self.ram))
        self.displaced = clip(self.not_ram, 0, n_boot_pages)
        # One stretch of RAM takes what is displaced, the first that reaches the end of boot memory, even if
        # it has no room; what is left over then is given back.
        reaching: list[Range] = []
        for low, high in self.ram:
            if reaching and low == reaching[0][1]:
                reaching = [(reaching[0][0], high)]
            elif not reaching or reaching[0][1] < n_boot_pages:
                reaching = [(low, high)]
        reaching = [(low, high) for low, high in reaching if high >= n_boot_pages]
        n_room = sum(high - low for low, high in clip(reaching, n_boot_pages, self.map_end))
        self.n_remapped = min(n_room, sum(high - low for low, high in self.displaced))
        # Ten times boot memory may come on top, or ten times low memory, 727 MiB = 727 * 256 pages.
        self.n_extra_most = 10 * (n_boot_pages if entry_bits == 64 else min(n_boot_pages, 727 * 256))

        self.pages_in_part = set(self._pages_in_part()) if rounds_out else set()

        self.extents = boot_extents
        self.extent_firsts = [0]
        for n_frames, _ in boot_extents:
            self.extent_firsts.append(self.extent_firsts[-1] + n_frames)

    def _page_is_ram(self, pfn: int) -> bool:
        """RAM is a page that is RAM from its first byte to its last: everything else is rounded outwards."""
        n_ram_bytes = n_other_bytes = 0
        for start, end, kind in self.rows:
            n_bytes = max(0, min(end, (pfn + 1) * PAGE) - max(start, pfn * PAGE))
            if kind == "ram":
                n_ram_bytes += n_bytes
            else:
                n_other_bytes += n_bytes
        return n_ram_bytes == PAGE and n_other_bytes == 0

    def _ram_ranges(self) -> Iterator[Range]:
        # Between two neighbouring edges of rows all pages are alike, so one of them stands for all.
        ends = [byte for start, end, _ in self.rows for byte in (start, end)]
        edges = {0} | {byte // PAGE for byte in ends} | {up(byte, PAGE) // PAGE for byte in ends}
        for low, high in pairwise(sorted(edges)):
            if self._page_is_ram(low):
                yield low, high

    def _pages_in_part(self) -> Iterator[int]:
        """Pages where what is RAM behind boot memory, as far as that is ever used, begins or ends inside."""
        n_used = n_before(self.ram, self.n_boot_pages) + self.n_remapped
        n_left = min(self.n_extra_most, self.n_max_pages - n_used) + self.n_remapped
        ram = [[start, end] for start, end, kind in self.rows if kind == "ram"]
        while ram:
            start, end = ram.pop(0)
            if ram and ram[0][0] == end:
                ram[0][0] = start
                continue
            start = max(start, self.n_boot_pages * PAGE)
            end = min(end, start + n_left * PAGE)
            if start < end:
                n_left -= (end - start) // PAGE
                yield from (byte // PAGE for byte in (start, end) if byte % PAGE)

    def _gaps(self, ranges: list[Range]) -> Iterator[Range]:
        end_of_last = 0
        for low, high in ranges:
            if end_of_last < low:
                yield end_of_last, low
            end_of_last = high
        yield end_of_last, self.map_end

    def is_ram(self, pfn: int) -> bool:
        """Whether the map has RAM at `pfn`; there need not be a frame for it."""
        return any(low <= pfn < high for low, high in self.ram)

    def boot_index(self, pfn: int) -> int | None:
        """Which frame of the boot list `pfn` has: its own, a displaced one, or none."""
        if not self.is_ram(pfn) or pfn >= self.end_of_frames:
            return None
        if pfn < self.n_boot_pages:
            return pfn
        n_before_it = n_before(self.ram_after_boot, pfn)
        return nth(self.displaced, n_before_it) if n_before_it < self.n_remapped else None

    def boot_mfn(self, index: int) -> int:
        """The frame at place `index` of the boot list."""
        number = bisect_right(self.extent_firsts, index) - 1
        return self.extents[number][1] + index - self.extent_firsts[number]

    def is_extra(self, pfn: int) -> bool:
        """Whether `pfn` is RAM without a frame that the guest may still be given one for."""
        # In pfn order the RAM pages come with frames first; extra are the next ones, up to the maximum.
        if not self.is_ram(pfn) or self.boot_index(pfn) is not None or pfn >= self.end_of_frames:
            return False
        n_extra_before = n_before(self.ram_after_boot, pfn) - self.n_remapped
        return n_extra_before < self.n_extra_most and n_before(self.ram, pfn) < self.n_max_pages

    def entry(self, pfn: int) -> int:
        """The raw entry of `pfn`, marker bits included."""
        index = self.boot_index(pfn)
        if index is not None:
            return self.boot_mfn(index)
        if self.is_ram(pfn) or pfn in self.pages_in_part:
            return self.invalid
        if self.map_end <= pfn < self.covered_end:
            return self.invalid
        if pfn >= self.covered_end and self.above == "invalid":
            return self.invalid
        return pfn | IDENTITY_BIT[self.entry_bits]

    def kind(self, pfn: int) -> str:
        """The word that a dump has for `pfn`."""
        return word(self.entry(pfn), self.entry_bits)

    def mfn(self, pfn: int) -> int:
        """The machine frame behind `pfn`: an entry without its marker bits, all ones where there is none."""
        entry = self.entry(pfn)
        if entry == self.invalid:
            return entry
        return entry & ~(FOREIGN_BIT[self.entry_bits] | IDENTITY_BIT[self.entry_bits])

    def changes(self) -> list[int]:
        """Every pfn at which an entry does not follow from the entry before it, and the ends of things."""
        points: set[int | None] = {0, self.n_boot_pages, up(self.n_boot_pages, self.leaf_pages)}
        points |= {self.map_end, self.covered_end, self.dump_end, self.end_of_frames}
        points |= {pfn for one_range in self.ram for pfn in one_range}
        points |= {self._pfn_of_boot_index(first) for first in self.extent_firsts}
        points |= {self._pfn_of_boot_index(low) for low, _ in self.displaced}
        points |= {nth(self.ram_after_boot, self.n_remapped), nth(self.ram, self.n_max_pages)}
        points |= {nth(self.ram_after_boot, self.n_remapped + self.n_extra_most)}
        return sorted(pfn for pfn in points if pfn is not None)

    def _pfn_of_boot_index(self, index: int) -> int | None:
        if index >= self.n_boot_pages:
            return self.n_boot_pages
        if self.is_ram(index):
            return index
        n_before_it = n_before(self.displaced, index)
        return nth(self.ram_after_boot, n_before_it) if n_before_it < self.n_remapped else None

    def boundaries(self) -> list[int]:
        """Every pfn worth asking for: around each change, the leaf and mid edges next to it, and the ends."""
        edges = set(self.changes()) | {MAX_P2M_PFN[self.entry_bits]}
        for granule in (self.leaf_pages, self.mid_pages):
            edges |= {edge for pfn in tuple(edges) for edge in (pfn // granule * granule, up(pfn, granule))}
        asked = {pfn for edge in edges for pfn in (edge - 1, edge, edge + 1)} | {self.invalid}
        return sorted(pfn for pfn in asked if 0 <= pfn <= self.invalid)

    def dump(self) -> list[str]:
        """The runs of equal words, from 0 to the end of what is covered, rounded up to a mid."""
        runs: list[list[object]] = []
        for pfn in self.changes():
            if pfn < self.dump_end and (not runs or runs[-1][1] != self.kind(pfn)):
                runs.append([pfn, self.kind(pfn)])
        ends = [first for first, _ in runs[1:]] + [self.dump_end]
        return [f"[0x{first:08x}->0x{end:08x}] {kind}" for (first, kind), end in zip(runs, ends, strict=True)]


@dataclass(frozen=True)
class Configuration:
    """A guest as somebody would write it down: its map in bytes, its pages, its width."""

    entry_bits: int
    n_boot_pages: int
    n_max_pages: int
    rows: tuple[Row, ...]
    tested_in_2014: bool = True

    def oracle(
        self,
        boot_extents: list[Extent],
        above: str = "identity",
        max_domain_pages: int | None = None,
    ) -> Oracle:
        """The oracle of this guest with these frames."""
        pages = (self.n_boot_pages, self.n_max_pages)
        return Oracle(list(self.rows), *pages, self.entry_bits, boot_extents, above, max_domain_pages)


def _one_row(entry_bits: int, n_bytes: int, n_pages: int, tested_in_2014: bool = True) -> Configuration:
    return Configuration(entry_bits, n_pages, n_pages, ((0, n_bytes, "ram"),), tested_in_2014)


# The hole of the E820 example, 1029 MiB to 2001 MiB: a row, a gap, a row.
#   1029 * 2^20 = 1078984704 = pfn 263424     1034 * 2^20 = 1084227584 = pfn 264704
#   1800 * 2^20 = 1887436800 = pfn 460800     2001 * 2^20 = 2098200576 = pfn 512256
_E820_ROWS = (
    (0, 1078984704, "ram"),
    (1078984704, 1084227584, "acpi"),
    (1887436800, 2098200576, "reserved"),
    (2098200576, 4294967296, "ram"),
)

# Page counts are MiB * 256 and GiB * 262144.
CONFIGURATIONS = {
    # 8 GiB = 8 * 262144 = 2097152 pages. What is not RAM below 4 GiB takes the place of
    #   640 KiB .. 1 MiB       384 KiB  =     96 pages
    #   3064 MiB .. 4096 MiB  1032 MiB  = 264192 pages   (ACPI, a gap, 0xFEC00000 = 4076 MiB to 4 GiB)
    # together 264288 pages, which move to 8 GiB .. 9224 MiB + 384 KiB = 9672065024 + 393216 bytes: all of it.
    "dom0-64-8g": Configuration(
        64,
        2097152,
        2097152,
        (
            (0, 655360, "ram"),
            (655360, 1048576, "reserved"),
            (1048576, 3212836864, "ram"),
            (3212836864, 3221225472, "acpi"),
            (0xFEC00000, 4294967296, "reserved"),
            (4294967296, 9672458240, "ram"),
        ),
    ),
    # 128 GiB = 128 * 262144 = 33554432 pages. Not RAM: 96 + 2 GiB (524288) + 2 GiB PCI at 64 GiB (524288)
    # = 1048672 pages. There are 5 GiB = 1310720 pages of RAM above 128 GiB, so 262048 of them stay empty.
    #   64 GiB = 68719476736     66 GiB = 70866960384     133 GiB = 142807662592
    "dom0-64-128g-pci": Configuration(
        64,
        33554432,
        33554432,
        (
            (0, 655360, "ram"),
            (655360, 1048576, "reserved"),
            (1048576, 2147483648, "ram"),
            (2147483648, 4294967296, "reserved"),
            (4294967296, 68719476736, "ram"),
            (68719476736, 70866960384, "reserved"),
            (70866960384, 142807662592, "ram"),
        ),
    ),
    # 512 * 2^20 = 536870912 bytes = 512 * 256 = 131072 pages
    "domu-32-512m": _one_row(32, 536870912, 131072),
    # 8 * 2^30 = 8589934592 bytes
    "domu-32-8g": _one_row(32, 8589934592, 2097152),
    # 43 * 2^30 = 46170898432 bytes = 43 * 262144 = 11272192 pages
    "domu-32-43g": _one_row(32, 46170898432, 11272192),
    "domu-64-8g": _one_row(64, 8589934592, 2097152),
    # 2049 * 2^20 = 2148532224 bytes = 2049 * 256 = 524544 pages
    "domu-64-2049m": _one_row(64, 2148532224, 524544),
    # 5000 * 2^20 = 5242880000 bytes = 5000 * 256 = 1280000 pages
    "domu-64-5000m": _one_row(64, 5242880000, 1280000),
    # 1 GiB = 262144 pages at boot, 3 GiB = 786432 pages at most
    "dom0-64-e820": Configuration(64, 262144, 786432, _E820_ROWS, tested_in_2014=False),
    "dom0-32-e820": Configuration(32, 262144, 786432, _E820_ROWS, tested_in_2014=False),
    # 400 * 2^30 = 429496729600 bytes = 400 * 262144 = 104857600 pages
    "pv-64-400g": _one_row(64, 429496729600, 104857600, tested_in_2014=False),
}


def _frozen(name: str) -> dict[str, Any]:
    stored: dict[str, dict[str, Any]]
    stored = json.loads(Path(__file__).with_name("boot_extents.json").read_text("ascii"))
    return stored[name]


def boot_extents(name: str) -> list[Extent]:
    """The frozen frames of a configuration: (n_frames, first_mfn) along its boot list."""
    return [(n_frames, first_mfn) for n_frames, first_mfn in _frozen(name)["extents"]]


def machine_frames(name: str) -> int:
    """How many frames the machine has that the frozen frames come from."""
    return int(_frozen(name)["n_machine_frames"])


def coincident_pfns(name: str) -> list[int]:
    """The RAM pages whose frame has their own number, and is a frame all the same."""
    return list(_frozen(name)["coincident_pfns"])
