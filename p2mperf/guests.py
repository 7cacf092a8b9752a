"""Guests as memory maps: which frames are RAM, identity, balloonable or absent, and which mfn backs them.

A map is kept as runs, so that a 400 GB guest is a few thousand numbers. How Linux derives it from an E820
table is in arch/x86/xen/setup.c (3.18, 3.19): xen_memory_setup and xen_set_identity_and_remap.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, unknown
from p2mperf.units import GIB, KIB, MIB, PAGE_SHIFT, PAGE_SIZE, format_size, parse_pages, parse_size, round_up

Words = NDArray[np.uint64]

MAX_32BIT_PAGES = 64 * GIB // PAGE_SIZE  # CONFIG_XEN_MAX_DOMAIN_MEMORY of 32-bit kernels
MAX_64BIT_PAGES = 4096 * GIB // PAGE_SIZE
COMPAT_M2P_FRAMES = 168 * MIB // 4  # what a 32-bit guest's m2p shows: the hole above 0xF5800000


class Kind(IntEnum):
    """What a frame is to the guest."""

    RAM = 0
    EXTRA = 1  # balloonable: no memory yet, reads INVALID
    MISSING = 2  # will never have memory, reads INVALID
    IDENTITY = 3  # mfn == pfn by intention: MMIO, ACPI, gaps


@dataclass(frozen=True)
class Geometry:
    """Sizes of the p2m pages of one kernel: asm/xen/page.h and arch/x86/xen/p2m.c (3.18).

    Attributes
    ----------
    name : str
        pv64, pv32 or lpae.
    entry_bits : int
        Bits of an entry, 64 or 32.
    """

    name: str
    entry_bits: int

    @property
    def entry_bytes(self) -> int:
        return self.entry_bits // 8

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        return np.uint64 if self.entry_bits == 64 else np.uint32

    @property
    def leaf_frames(self) -> int:
        """Entries of one page: P2M_PER_PAGE, P2M_MID_PER_PAGE and P2M_TOP_PER_PAGE alike."""
        return PAGE_SIZE // self.entry_bytes

    @property
    def mid_frames(self) -> int:
        """Frames that one mid page covers: 1 GiB at 64 bits, 4 GiB at 32 bits."""
        return self.leaf_frames**2

    @property
    def max_frames(self) -> int:
        """MAX_P2M_PFN, the structural end of the tree: 512 GiB or 4 TiB."""
        return self.leaf_frames**3

    @property
    def foreign_bit(self) -> int:
        return 1 << (self.entry_bits - 1)

    @property
    def identity_bit(self) -> int:
        return 1 << (self.entry_bits - 2)

    @property
    def invalid(self) -> int:
        """INVALID_P2M_ENTRY: all ones, so every test for a marker bit must exclude it first."""
        return (1 << self.entry_bits) - 1

    @property
    def gap_kind(self) -> Kind:
        """What a frame is that no row of the map names."""
        return Kind.IDENTITY

    def ram_entries(self, mfns: Words) -> Words:
        """Entries of frames with memory."""
        return mfns

    def entries_above(self, pfns: Words, above: str) -> Words:
        """Entries of frames beyond the end of the map."""
        return (above_mask(self, above) | pfns) & np.uint64(self.invalid)


class Stage2(IntFlag):
    """Bits of a stage-2 entry, as in lpae_p2m_t of Xen's asm-arm/page.h (November 2013)."""

    VALID = 1 << 0
    TABLE = 1 << 1  # also set in leaves of 4 KiB
    WRITE_BACK = 0xF << 2  # MemAttr
    READ = 1 << 6
    WRITE = 1 << 7  # read-only if the same entry is taken for a stage-1 one: AP[2]
    OUTER_SHAREABLE = 2 << 8
    ACCESSED = 1 << 10
    LOG_DIRTY = 1 << 55  # first of the four bits left to software
    POINTS = VALID | TABLE | WRITE_BACK | READ | OUTER_SHAREABLE | ACCESSED
    RAM = POINTS | WRITE


class Lpae(Geometry):
    """Stage-2 tables of ARM with 40-bit addresses: two concatenated root pages, then two levels of 512.

    Parameters
    ----------
    name : str
        lpae.
    entry_bits : int
        64.
    """

    @property
    def max_frames(self) -> int:
        return 1 << 28

    @property
    def invalid(self) -> int:
        """What a frame without memory reads: nothing."""
        return 0

    @property
    def gap_kind(self) -> Kind:
        return Kind.MISSING

    def ram_entries(self, mfns: Words) -> Words:
        return (mfns << np.uint64(PAGE_SHIFT)) | np.uint64(Stage2.RAM)

    def entries_above(self, pfns: Words, above: str) -> Words:
        return np.zeros_like(pfns)


GEOMETRIES = {"pv64": Geometry("pv64", 64), "pv32": Geometry("pv32", 32), "lpae": Lpae("lpae", 64)}
ARM_RAM_BASE = 2 * GIB  # GUEST_RAM_BASE of Xen 4.4 (xen/include/public/arch-arm.h)
_SHORT_NAMES = {"pv64": "pv-64", "pv32": "pv-32", "lpae": "arm"}


class Row(NamedTuple):
    """One E820 row, end exclusive [bytes]; any type but "ram" is not memory."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class Machine:
    """A host whose frames are handed out in extents, in a seeded order.

    Parameters
    ----------
    n_frames : int
        Machine frames; mfns are below this, and the m2p has this many entries.
    seed : int
        Seed of the order.

    Raises
    ------
    BadInputError
        When it has no frames.
    """

    n_frames: int
    seed: int = 1

    def __post_init__(self) -> None:
        if self.n_frames <= 0:
            raise BadInputError(f"a machine needs at least one frame, not {self.n_frames}")

    @classmethod
    def for_guest(cls, n_pages: int, geometry: Geometry, seed: int) -> Machine:
        """A host a quarter larger than the guest, and 16 MiB for the hypervisor, in whole 2 MiB."""
        n_frames = round_up(n_pages + n_pages // 4 + 4096, 512)
        limits = {"pv32": COMPAT_M2P_FRAMES, "lpae": geometry.max_frames}
        return cls(min(n_frames, limits.get(geometry.name, n_frames)), seed)

    def allocate(self, n_frames: int, keep: frozenset[int] = frozenset()) -> list[tuple[int, int]]:
        """Hand out frames as a host with a little history would: equal extents in random order.

        Parameters
        ----------
        n_frames : int
            How many.
        keep : frozenset of int
            Machine frames that are spoken for.

        Returns
        -------
        list of (int, int)
            (number of frames, first mfn) of each extent.

        Raises
        ------
        BadInputError
            When the machine is too small.

        Notes
        -----
        Extents are naturally aligned powers of two between one page and 1 GiB, as Xen's buddy allocator
        gives them, about a thousand to a machine. Python's Mersenne Twister keeps its promise of equal
        results across versions, so a seed means the same layout everywhere.
        """
        size = 1 << max(0, min(18, self.n_frames.bit_length() - 11))
        starts = list(range(0, self.n_frames - size + 1, size))
        random.Random(self.seed).shuffle(starts)
        extents: list[tuple[int, int]] = []
        left = n_frames
        for start in starts:
            for first, length in _around(start, size, keep):
                taken = min(length, left)
                if taken:
                    extents.append((taken, first))
                    left -= taken
        if left:
            raise BadInputError(
                f"the machine has {self.n_frames} frames, {left} fewer than the guest's {n_frames} need"
            )
        return extents


def _around(start: int, size: int, keep: frozenset[int]) -> list[tuple[int, int]]:
    cuts = [start - 1, *sorted(mfn for mfn in keep if start <= mfn < start + size), start + size]
    return [(low + 1, high - low - 1) for low, high in zip(cuts, cuts[1:], strict=False) if high - low > 1]


@dataclass(frozen=True)
class Runs:
    """Consecutive stretches of frames of one kind; values of a RAM run count up from `first_mfn`.

    Attributes
    ----------
    first_pfn, n_frames, first_mfn : ndarray of int64, shape (n_runs,)
        Where a run starts, its length, and the mfn of its first frame (0 unless RAM).
    kind : ndarray of int8, shape (n_runs,)
        `Kind` of the run.
    """

    first_pfn: NDArray[np.int64]
    n_frames: NDArray[np.int64]
    kind: NDArray[np.int8]
    first_mfn: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, int, int]]) -> Runs:
        """Build from rows (first pfn, frames, kind, first mfn), dropping empty ones."""
        table = np.array([row for row in rows if row[1] > 0], np.int64).reshape(-1, 4)
        return cls(table[:, 0], table[:, 1], table[:, 2].astype(np.int8), table[:, 3])

    @property
    def end_pfn(self) -> NDArray[np.int64]:
        return self.first_pfn + self.n_frames

    def select(self, *kinds: Kind) -> Runs:
        """Only the runs of these kinds."""
        return self.take(np.isin(self.kind, kinds))

    def take(self, index: Any) -> Runs:
        """Only the runs that `index` selects."""
        return Runs(self.first_pfn[index], self.n_frames[index], self.kind[index], self.first_mfn[index])

    def at(self, pfns: NDArray[np.int64]) -> NDArray[np.intp]:
        """Run that each pfn lies in, for runs without gaps between them."""
        return np.searchsorted(self.first_pfn, pfns, side="right") - 1

    def cut(self, points: NDArray[np.int64]) -> Runs:
        """Split so that no run crosses any of `points`."""
        inside = points[(points > self.first_pfn[0]) & (points < self.end_pfn[-1])]
        first = np.union1d(self.first_pfn, inside)
        run = self.at(first)
        n_frames = np.diff(np.append(first, self.end_pfn[-1]))
        shift = np.where(self.kind[run] == Kind.RAM, first - self.first_pfn[run], 0)
        return Runs(first, n_frames, self.kind[run], self.first_mfn[run] + shift)


@dataclass(frozen=True)
class Guest:
    """A guest: a memory map, an entry width, and the machine that backs it.

    Build one with `preset`, `plain` or `from_e820`.

    Attributes
    ----------
    name : str
        As results and figures call it.
    geometry : Geometry
        pv64 or pv32.
    runs : Runs
        Without gaps over [0, covered_pfn).
    n_boot_pages : int
        Pages the domain builder hands over: start_info.nr_pages.
    max_pages : int
        Pages it may balloon up to.
    end_pfn : int
        End of the memory map; above it (and above the padding) the p2m answers by policy.
    machine : Machine
        Where the mfns come from.
    coincident_pfn : int
        The RAM page whose mfn happens to equal its pfn, or -1 where no RAM page can have one.

    Examples
    --------
    >>> guest = Guest.plain("2049M")
    >>> guest.n_boot_pages, guest.covered_pfn - guest.n_boot_pages
    (524544, 256)
    """

    name: str
    geometry: Geometry
    runs: Runs
    n_boot_pages: int
    max_pages: int
    end_pfn: int
    machine: Machine
    coincident_pfn: int
    seed: int = 1
    rows: tuple[Row, ...] = field(default=(), repr=False)

    @classmethod
    def preset(cls, name: str, seed: int = 1) -> Guest:
        """Build one of the configurations that the source documents tested; `PRESETS` lists them.

        Raises
        ------
        BadInputError
            When there is no such preset.
        """
        if name not in PRESETS:
            raise unknown("guest", name, PRESETS)
        preset = PRESETS[name]
        return cls.from_e820(
            preset.rows, preset.boot, preset.maximum, geometry=preset.geometry, seed=seed, name=name
        )

    @classmethod
    def plain(
        cls,
        size: str | int,
        geometry: str = "pv64",
        seed: int = 1,
        name: str = "",
        base: str | int | None = None,
    ) -> Guest:
        """Build a guest with one RAM row of `size` and nothing else.

        Parameters
        ----------
        size : str or int
            Memory, as ``2049M``, or bytes.
        geometry : str
            pv64, pv32 or lpae.
        seed : int
            Seed of the machine.
        name : str
            Default: the size and the kind of guest.
        base : str or int, optional
            Where its RAM begins; default: 0, and 2 GiB for lpae [bytes].

        Raises
        ------
        BadInputError
            For a size that is none, is not whole pages, or is beyond the width.
        """
        if geometry not in GEOMETRIES:
            raise unknown("geometry", geometry, GEOMETRIES)
        n_bytes = parse_pages(size) << PAGE_SHIFT
        name = name or f"{_SHORT_NAMES[geometry]}-{format_size(n_bytes).lower()}"
        if base is None:
            base = ARM_RAM_BASE if geometry == "lpae" else 0
        start = parse_pages(base) << PAGE_SHIFT if base else 0
        rows = [(start, start + n_bytes, "ram")]
        return cls.from_e820(rows, n_bytes, geometry=geometry, seed=seed, name=name)

    @classmethod
    def from_e820(
        cls,
        rows: Sequence[tuple[int | str, int | str, str]],
        boot: str | int,
        maximum: str | int | None = None,
        *,
        geometry: str = "pv64",
        seed: int = 1,
        name: str = "e820",
        machine: Machine | None = None,
    ) -> Guest:
        """Build a guest from E820 rows.

        Parameters
        ----------
        rows : sequence of (start, end, type)
            Bytes or sizes, end exclusive, in order and without overlap; type "ram" is memory, all else and
            every gap is identity.
        boot : str or int
            Memory at boot [bytes].
        maximum : str or int, optional
            Memory it may balloon up to [bytes]; default: as at boot.
        geometry : str
            pv64 or pv32.
        seed : int
            Seed of the machine's layout.
        name : str
            Name for results.
        machine : Machine, optional
            Default: a quarter larger than the guest's maximum.

        Raises
        ------
        BadInputError
            When the map contradicts itself, memory does not fit into it, or it is beyond the width.

        Examples
        --------
        >>> guest = Guest.from_e820([(0, "1029M", "ram"), ("1029M", "2001M", "acpi")], "1G", "1029M")
        >>> [Kind(kind).name for kind in guest.entry_kinds(np.array([0, 262144, 263424]))]
        ['RAM', 'EXTRA', 'IDENTITY']
        """
        if geometry not in GEOMETRIES:
            raise unknown("geometry", geometry, GEOMETRIES)
        shape = GEOMETRIES[geometry]
        n_boot = parse_pages(boot)
        n_max = n_boot if maximum is None else parse_pages(maximum)
        table = _checked_rows(rows)
        _check_width(max(n_max, table[-1].end >> PAGE_SHIFT), n_max, shape)
        if n_max < n_boot:
            raise BadInputError(f"maximum memory ({n_max} pages) is below boot memory ({n_boot} pages)")
        zones = _zones(table)
        machine = machine or Machine.for_guest(n_max, shape, seed)
        plan = _place(zones, n_boot, n_max, shape)
        coincident = _coincident(plan, machine)
        runs = _back(plan, n_boot, machine, coincident)
        end_pfn = zones[-1][1]
        return cls(name, shape, runs, n_boot, n_max, end_pfn, machine, coincident, seed, tuple(table))

    @property
    def covered_pfn(self) -> int:
        """End of the runs: the end of the map or of the boot list's padding, whichever is higher."""
        return int(self.runs.end_pfn[-1])

    @property
    def memory_bytes(self) -> int:
        """Memory at boot [bytes]."""
        return self.n_boot_pages << PAGE_SHIFT

    @cached_property
    def ram(self) -> Runs:
        """RAM as stretches of pfns, whatever their mfns: neighbours joined."""
        runs = self.runs.select(Kind.RAM)
        starts = np.flatnonzero(np.append(True, runs.first_pfn[1:] != runs.end_pfn[:-1]))
        joined = runs.take(starts)
        return Runs(joined.first_pfn, np.add.reduceat(runs.n_frames, starts), joined.kind, joined.first_mfn)

    def entry_kinds(self, pfns: NDArray[Any]) -> NDArray[np.int8]:
        """`Kind` of each pfn below `covered_pfn`."""
        return self.runs.kind[self.runs.at(np.asarray(pfns, np.int64))]

    def entries(self, pfns: NDArray[Any], above: str = "identity") -> Words:
        """Tell what every correct p2m of this guest answers: the reference that runs are made of.

        Parameters
        ----------
        pfns : ndarray of uint64
            Frames to translate.
        above : str
            Policy beyond the end: "identity" (Linux 3.18 and later) or "invalid" (up to 3.14).

        Returns
        -------
        ndarray of uint64
            Raw entries, marker bits included; 32-bit entries in the low half.
        """
        shape = self.geometry
        pfns = np.asarray(pfns, np.uint64)
        run = self.runs.at(np.minimum(pfns, np.uint64(self.covered_pfn - 1)).astype(np.int64))
        first = self.runs.first_pfn[run].astype(np.uint64)
        mfns: Words = (self.runs.first_mfn[run].astype(np.uint64) + (pfns - first)).astype(np.uint64)
        ram = shape.ram_entries(mfns)
        identity = shape.entries_above(pfns, "identity")
        kind = self.runs.kind[run]
        inside = np.where(kind == Kind.RAM, ram, np.where(kind == Kind.IDENTITY, identity, shape.invalid))
        return np.where(pfns >= np.uint64(self.covered_pfn), shape.entries_above(pfns, above), inside)


def above_mask(geometry: Geometry, above: str) -> np.uint64:
    """What is OR-ed to a pfn beyond the end: the identity bit, or all ones for INVALID.

    Raises
    ------
    BadInputError
        For any policy but "identity" and "invalid".
    """
    masks = {"identity": geometry.identity_bit, "invalid": geometry.invalid}
    if above not in masks:
        raise unknown("policy above the end", above, masks)
    return np.uint64(masks[above])


def _checked_rows(rows: Sequence[tuple[int | str, int | str, str]]) -> list[Row]:
    table = [Row(0 if start == 0 else parse_size(start), parse_size(end), kind) for start, end, kind in rows]
    if not table or not any(row.type == "ram" for row in table):
        raise BadInputError("this memory map has no RAM row: a guest needs at least one page")
    for row in table:
        if row.end <= row.start:
            raise BadInputError(f"E820 row [{row.start:#x}, {row.end:#x}) {row.type} ends before it starts")
    for low, high in zip(table, table[1:], strict=False):
        if high.start < low.end:
            raise BadInputError(
                f"E820 rows {low.type} up to {low.end:#x} and {high.type} from {high.start:#x} overlap or are "
                "out of order: sort them and cut the overlap"
            )
    return table


def _check_width(end_pfn: int, n_max: int, geometry: Geometry) -> None:
    limit = MAX_32BIT_PAGES if geometry.entry_bits == 32 else MAX_64BIT_PAGES
    if n_max > limit:
        raise BadInputError(
            f"a {geometry.entry_bits}-bit guest has at most {format_size(limit << PAGE_SHIFT)}, "
            f"not {format_size(n_max << PAGE_SHIFT)}" + (": use 64-bit entries" if limit < n_max else "")
        )
    if geometry.name == "lpae" and end_pfn > geometry.max_frames:
        raise BadInputError(
            f"the memory map ends at {end_pfn << PAGE_SHIFT:#x}, above the 40 bits that stage-2 tables with "
            "two root pages translate: lower the RAM base or the memory"
        )
    if end_pfn >= geometry.max_frames * (1 if geometry.entry_bits == 32 else 8):
        raise BadInputError(f"the memory map ends at pfn {end_pfn:#x}, beyond {geometry.entry_bits}-bit reach")


def _zones(rows: list[Row]) -> list[tuple[int, int, bool]]:
    """RAM and non-RAM stretches in pfns: non-RAM rows and gaps grow outwards to whole pages."""
    zones: list[tuple[int, int, bool]] = []
    end = 0
    for row in rows:
        if row.type != "ram":
            continue
        first, last = -(-row.start >> PAGE_SHIFT), row.end >> PAGE_SHIFT
        if last > first:
            zones += [(end, first, False)] if first > end else []
            zones.append((first, last, True))
            end = last
    map_end = -(-rows[-1].end >> PAGE_SHIFT)
    return zones + ([(end, map_end, False)] if map_end > end else [])


def _place(
    zones: list[tuple[int, int, bool]], n_boot: int, n_max: int, geometry: Geometry
) -> list[tuple[int, int, int, int]]:
    """Assign kinds; the last column is the index into the boot list of a RAM stretch's first page."""
    displaced = [(first, min(last, n_boot)) for first, last, ram in zones if not ram and first < n_boot]
    n_present = sum(max(0, min(last, n_boot) - first) for first, last, ram in zones if ram)
    budget = n_max - n_present - sum(last - first for first, last in displaced)
    rows: list[tuple[int, int, int, int]] = []
    for first, last, ram in zones:
        if not ram:
            rows.append((first, last - first, geometry.gap_kind, 0))
            continue
        present = max(first, min(last, n_boot))
        rows.append((first, present - first, Kind.RAM, first))
        while displaced and present < last:
            low, high = displaced[0]
            taken = min(high - low, last - present)
            rows.append((present, taken, Kind.RAM, low))
            displaced[0] = (low + taken, high)
            present += taken
            if low + taken == high:
                displaced.pop(0)
        extra = min(last - present, budget)
        budget -= extra
        rows.append((present, extra, Kind.EXTRA, 0))
        rows.append((present + extra, last - present - extra, Kind.MISSING, 0))
    if displaced or zones[-1][1] < n_boot:
        raise BadInputError(
            f"the map's RAM cannot hold the {n_boot} pages at boot: widen a RAM row or lower boot memory"
        )
    padded = round_up(n_boot, geometry.leaf_frames)
    return [*rows, (zones[-1][1], max(0, padded - zones[-1][1]), Kind.MISSING, 0)]


def _coincident(plan: list[tuple[int, int, int, int]], machine: Machine) -> int:
    """Choose the RAM page whose mfn will equal its pfn: the middle of the first RAM stretch that can."""
    for first, n_frames, kind, boot in plan:
        if kind == Kind.RAM and first == boot and n_frames and first + n_frames // 2 < machine.n_frames:
            return first + n_frames // 2
    return -1


def _back(plan: list[tuple[int, int, int, int]], n_boot: int, machine: Machine, coincident: int) -> Runs:
    """Give every RAM stretch its mfns, in boot list order."""
    if coincident < 0:
        extents = machine.allocate(n_boot)
        boot = _not_equal(_as_runs(extents))
    else:
        extents = machine.allocate(n_boot - 1, frozenset({coincident}))
        before, after = _split(extents, coincident)
        boot = _not_equal(_as_runs([*before, (1, coincident), *after]), coincident)
    rows: list[tuple[int, int, int, int]] = []
    for first, n_frames, kind, index in plan:
        if kind != Kind.RAM or n_frames == 0:
            rows.append((first, n_frames, kind, 0))
            continue
        part = boot.cut(np.array([index, index + n_frames]))
        inside = part.take((part.first_pfn >= index) & (part.first_pfn < index + n_frames))
        pfns = (inside.first_pfn - index + first).tolist()
        lengths, mfns = inside.n_frames.tolist(), inside.first_mfn.tolist()
        rows += [(p, n, Kind.RAM, m) for p, n, m in zip(pfns, lengths, mfns, strict=True)]
    return Runs.of(rows)


def _as_runs(extents: list[tuple[int, int]]) -> Runs:
    first = 0
    rows = []
    for n_frames, mfn in extents:
        rows.append((first, n_frames, int(Kind.RAM), mfn))
        first += n_frames
    return Runs.of(rows)


def _split(
    extents: list[tuple[int, int]], at: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    before: list[tuple[int, int]] = []
    for position, (n_frames, mfn) in enumerate(extents):
        if n_frames > at:
            head = [(at, mfn)] if at else []
            return before + head, [(n_frames - at, mfn + at), *extents[position + 1 :]]
        before.append((n_frames, mfn))
        at -= n_frames
    return before, []


def _not_equal(boot: Runs, coincident: int = -1) -> Runs:
    """Swap the mfns of runs where they equal the boot pfn by chance, but for the announced page."""
    mfn = boot.first_mfn.copy()
    equal = np.flatnonzero((mfn == boot.first_pfn) & (boot.first_pfn != coincident))
    for run in equal.tolist():
        partners = np.flatnonzero((boot.n_frames == boot.n_frames[run]) & (np.arange(mfn.size) != run))
        if partners.size:
            other = int(partners[0])
            mfn[[run, other]] = mfn[[other, run]]
    return Runs(boot.first_pfn, boot.n_frames, boot.kind, mfn)


@dataclass(frozen=True)
class Preset:
    """A configuration named after the source document that tested it."""

    rows: tuple[tuple[int, int, str], ...]
    boot: int
    maximum: int
    geometry: str = "pv64"


def _plain(n_bytes: int, geometry: str = "pv64") -> Preset:
    return Preset(((0, n_bytes, "ram"),), n_bytes, n_bytes, geometry)


def _e820(geometry: str) -> Preset:
    """The drawing in the comment of arch/x86/xen/p2m.c: identity from 1029 MB to 2001 MB."""
    rows = (
        (0, 1029 * MIB, "ram"),
        (1029 * MIB, 1034 * MIB, "acpi"),
        (1800 * MIB, 2001 * MIB, "reserved"),
        (2001 * MIB, 4096 * MIB, "ram"),
    )
    return Preset(rows, 1 * GIB, 3 * GIB, geometry)


_ISA = ((0, 640 * KIB, "ram"), (640 * KIB, 1 * MIB, "reserved"))

PRESETS = {
    "dom0-64-8g": Preset(
        (
            *_ISA,
            (1 * MIB, 3064 * MIB, "ram"),
            (3064 * MIB, 3072 * MIB, "acpi"),
            (0xFEC00000, 4096 * MIB, "reserved"),
            (4096 * MIB, 9224 * MIB + 384 * KIB, "ram"),
        ),
        8 * GIB,
        8 * GIB,
    ),
    "dom0-64-128g-pci": Preset(
        (
            *_ISA,
            (1 * MIB, 2048 * MIB, "ram"),
            (2048 * MIB, 4096 * MIB, "reserved"),
            (4 * GIB, 64 * GIB, "ram"),
            (64 * GIB, 66 * GIB, "reserved"),
            (66 * GIB, 133 * GIB, "ram"),
        ),
        128 * GIB,
        128 * GIB,
    ),
    "domu-32-512m": _plain(512 * MIB, "pv32"),
    "domu-32-8g": _plain(8 * GIB, "pv32"),
    "domu-32-43g": _plain(43 * GIB, "pv32"),
    "domu-64-8g": _plain(8 * GIB),
    "domu-64-2049m": _plain(2049 * MIB),
    "domu-64-5000m": _plain(5000 * MIB),
    "dom0-64-e820": _e820("pv64"),
    "dom0-32-e820": _e820("pv32"),
    "pv-64-400g": _plain(400 * GIB),
}
