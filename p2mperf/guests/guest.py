"""Guests as memory maps: which frames are RAM, identity, balloonable or absent, and which mfn backs them.

A map is kept as runs, so that a 400 GB guest is a few thousand numbers. How Linux derives it from an E820
table is in arch/x86/xen/setup.c (3.18, 3.19): xen_memory_setup and xen_set_identity_and_remap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, unknown
from p2mperf.guests.geometry import GEOMETRIES, Geometry, Kind, Words
from p2mperf.guests.machine import Machine, Runs
from p2mperf.guests.presets import PRESETS
from p2mperf.units import GIB, PAGE_SHIFT, PAGE_SIZE, format_size, parse_pages, parse_size, round_up

MAX_32BIT_PAGES = 64 * GIB // PAGE_SIZE  # CONFIG_XEN_MAX_DOMAIN_MEMORY of 32-bit kernels
MAX_64BIT_PAGES = 4096 * GIB // PAGE_SIZE
ARM_RAM_BASE = 2 * GIB  # GUEST_RAM_BASE of Xen 4.4 (xen/include/public/arch-arm.h)
_SHORT_NAMES = {"pv64": "pv-64", "pv32": "pv-32", "lpae": "arm"}


class Row(NamedTuple):
    """One E820 row, end exclusive [bytes]; any type but "ram" is not memory."""

    start: int
    end: int
    type: str


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

    @property
    def is_flat(self) -> bool:
        """Whether its boot list is all of its map: memory from 0 on, and nothing else but padding."""
        kinds = set(self.runs.kind.tolist())
        return kinds <= {Kind.RAM, Kind.MISSING} and self.ram.end_pfn.tolist() == [self.n_boot_pages]

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


def _checked_rows(rows: Sequence[tuple[int | str, int | str, str]]) -> list[Row]:
    table = [Row(0 if start == 0 else parse_size(start), parse_size(end), kind) for start, end, kind in rows]
    if not table or not any(row.type == "ram" for row in table):
        raise BadInputError("this memory map has no RAM row: a guest needs at least one page")
    for row in table:
        if row.end <= row.start:
            raise BadInputError(f"E820 row [{row.start:#x}, {row.end:#x}) {row.type} ends before it starts")
    for low, high in pairwise(table):
        if high.start < low.end:
            raise BadInputError(
                f"E820 rows {low.type} up to {low.end:#x} and {high.type} from {high.start:#x} overlap or "
                "are out of order: sort them and cut the overlap"
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
        raise BadInputError(f"the map ends at pfn {end_pfn:#x}, beyond the reach of {geometry.name}")


def _zones(rows: list[Row]) -> list[tuple[int, int, bool]]:
    """RAM and non-RAM stretches in pfns: non-RAM rows and gaps grow outwards to whole pages."""
    zones: list[tuple[int, int, bool]] = []
    end = 0
    for start, stop in _joined(rows):
        first, last = -(-start >> PAGE_SHIFT), stop >> PAGE_SHIFT
        if last > first:
            zones += [(end, first, False)] if first > end else []
            zones.append((first, last, True))
            end = last
    map_end = -(-rows[-1].end >> PAGE_SHIFT)
    return zones + ([(end, map_end, False)] if map_end > end else [])


def _joined(rows: list[Row]) -> Iterator[tuple[int, int]]:
    """RAM rows, neighbours joined, so that a page two of them share is whole [bytes]."""
    start = end = 0
    for row in rows:
        if row.type != "ram":
            continue
        if row.start != end and end:
            yield start, end
        start = start if row.start == end and end else row.start
        end = row.end
    yield start, end


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
        boot = _as_runs(extents)
    else:
        extents = machine.allocate(n_boot - 1, frozenset({coincident}))
        before, after = _split(extents, coincident)
        boot = _as_runs([*before, (1, coincident), *after])
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
    return Runs.of(_moved_apart(rows, coincident))


def _as_runs(extents: list[tuple[int, int]]) -> Runs:
    first = 0
    rows = []
    for n_frames, mfn in extents:
        rows.append((first, n_frames, int(Kind.RAM), mfn))
        first += n_frames
    return Runs.of(rows)


def _split(extents: list[tuple[int, int]], at: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    before: list[tuple[int, int]] = []
    for position, (n_frames, mfn) in enumerate(extents):
        if n_frames > at:
            head = [(at, mfn)] if at else []
            return before + head, [(n_frames - at, mfn + at), *extents[position + 1 :]]
        before.append((n_frames, mfn))
        at -= n_frames
    return before, []


def _moved_apart(rows: list[tuple[int, int, int, int]], coincident: int) -> list[tuple[int, int, int, int]]:
    """Turn stretches whose mfns equal their pfns by chance by one frame, but for the announced page."""
    apart: list[tuple[int, int, int, int]] = []
    lone: list[int] = []
    for first, n_frames, kind, mfn in rows:
        if kind != Kind.RAM or first != mfn or first == coincident or n_frames == 0:
            apart.append((first, n_frames, kind, mfn))
        elif n_frames > 1:
            apart += [(first, n_frames - 1, kind, mfn + 1), (first + n_frames - 1, 1, kind, mfn)]
        else:
            lone.append(len(apart))
            apart.append((first, n_frames, kind, mfn))
    for position in lone:
        _swap_with_another(apart, position, coincident)
    return apart


def _swap_with_another(rows: list[tuple[int, int, int, int]], position: int, coincident: int) -> None:
    """Let a single page and the first page of some other stretch of RAM change their mfns."""
    first, _, kind, mfn = rows[position]
    for other, (pfn, n_frames, its_kind, its_mfn) in enumerate(rows):
        if its_kind == Kind.RAM and n_frames and pfn not in (first, coincident):
            rows[position] = (first, 1, kind, its_mfn)
            rows[other] = (pfn, 1, kind, mfn)
            rows.insert(other + 1, (pfn + 1, n_frames - 1, kind, its_mfn + 1))
            return
