"""From the rows of an E820 table to runs of frames: what is memory, and which machine frame is behind it.

Linux does it in xen_memory_setup and xen_set_identity_and_remap (arch/x86/xen/setup.c, 3.18 and 3.19).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from p2mperf.errors import BadInputError, cut, shown
from p2mperf.guests.geometry import Geometry, Kind
from p2mperf.guests.machine import Machine
from p2mperf.guests.runs import Runs
from p2mperf.units import MIB, PAGE_SHIFT, PAGE_SIZE, format_size, parse_size, round_up

_EXTRA_MEM_RATIO = 10  # balloonable memory is at most so many times boot memory, or low memory at 32 bits
_MAX_BLOCK_ORDER = 18  # MAX_ORDER of Xen's allocator on x86 since 4.0: 1 GiB
_LOW_FRAMES = 727 * MIB // PAGE_SIZE  # what PV guests were seen with at 32 bits


class Row(NamedTuple):
    """One E820 row, end exclusive [bytes]; any type but "ram" is not memory."""

    start: int
    end: int
    type: str


def checked_rows(rows: object) -> list[Row]:
    """Read rows as (start, end, type), in bytes or sizes.

    Raises
    ------
    BadInputError
        When one ends before it starts, they overlap or are out of order, none is RAM, or they are no rows.
    """
    table = [_read_row(row) for row in (rows if isinstance(rows, Iterable) else [rows])]
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


def _read_row(row: object) -> Row:
    if isinstance(row, str) or not isinstance(row, Sequence) or len(row) != 3 or not isinstance(row[2], str):
        raise BadInputError(f"an E820 row is (start, end, type), not {shown(row)}")
    start, end, kind = row
    return Row(0 if is_zero(start) else parse_size(start), parse_size(end), cut(kind))


def is_zero(size: object) -> bool:
    """Tell whether a size is the number 0, which `parse_size` refuses."""
    return isinstance(size, int | np.integer) and size == 0


def lay_out(
    rows: list[Row], n_boot: int, n_max: int, geometry: Geometry, machine: Machine
) -> tuple[Runs, int, int]:
    """Say what every frame is, and back those with memory.

    Parameters
    ----------
    rows : list of Row
        From `checked_rows`.
    n_boot, n_max : int
        Memory at boot, and at most [pages].
    geometry : Geometry
        Says what a frame is that no row names.
    machine : Machine
        Where the mfns come from.

    Returns
    -------
    runs : Runs
        Without gaps, up to the end of the map or of the boot list's padding, whichever is higher.
    end_pfn : int
        End of the memory map.
    coincident : int
        The RAM page whose mfn equals its pfn, or -1 where none is chosen.

    Raises
    ------
    BadInputError
        When the map's RAM does not hold the memory at boot, or the machine has less.
    """
    zones = _zones(rows)
    plan = _place(zones, n_boot, n_max, geometry)
    if len(geometry.orders) > 1:
        return _back_in_blocks(plan, machine), zones[-1][1], -1
    coincident = _coincident(plan, machine)
    return _back(plan, n_boot, machine, coincident), zones[-1][1], coincident


def _zones(rows: list[Row]) -> list[tuple[int, int, bool]]:
    """RAM and non-RAM stretches in pfns: non-RAM rows and gaps grow outwards to whole pages."""
    zones: list[tuple[int, int, bool]] = []
    end = 0
    for start, stop in ram_rows(rows):
        first, last = -(-start >> PAGE_SHIFT), stop >> PAGE_SHIFT
        if last > first:
            zones += [(end, first, False)] if first > end else []
            zones.append((first, last, True))
            end = last
    map_end = -(-rows[-1].end >> PAGE_SHIFT)
    return zones + ([(end, map_end, False)] if map_end > end else [])


def ram_rows(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """RAM rows, neighbours joined, so that a page two of them share is whole [bytes].

    sanitize_e820_map does so before anything is made of them.
    """
    start = end = 0
    for row in rows:
        if row.type != "ram":
            continue
        if row.start != end and end:
            yield start, end
        start = start if row.start == end and end else row.start
        end = row.end
    yield start, end


def most_balloonable(n_boot: int, geometry: Geometry) -> int:
    """Balloonable memory of a PV guest at most: EXTRA_MEM_RATIO [pages]."""
    low = _LOW_FRAMES if geometry.entry_bits == 32 else n_boot
    return _EXTRA_MEM_RATIO * min(n_boot, low)


def shared_with_extra(rows: Sequence[Row], n_boot: int, n_extra: int) -> list[int]:
    """Pages at the ends of balloonable memory that it has only a part of.

    Parameters
    ----------
    rows : sequence of Row
        The memory map.
    n_boot : int
        Memory at boot, behind which extra memory begins [pages].
    n_extra : int
        Extra memory, from there on: what displaced memory takes up is part of it [pages].

    Returns
    -------
    list of int
        Frames.

    Notes
    -----
    xen_memory_setup of 3.19 keeps the regions in bytes, xen_inv_extra_mem rounds them outwards.
    """
    pfns: list[int] = []
    for row_start, end in ram_rows(rows):
        start = max(row_start, n_boot << PAGE_SHIFT)
        n_bytes = min(end - start, n_extra << PAGE_SHIFT)
        if n_bytes > 0:
            n_extra -= n_bytes >> PAGE_SHIFT
            pfns += [byte >> PAGE_SHIFT for byte in (start, start + n_bytes) if byte % PAGE_SIZE]
    return pfns


def _place(
    zones: list[tuple[int, int, bool]], n_boot: int, n_max: int, geometry: Geometry
) -> list[tuple[int, int, int, int]]:
    """Assign kinds; the last column is the index into the boot list of a RAM stretch's first page."""
    displaced = [(first, min(last, n_boot)) for first, last, ram in zones if not ram and first < n_boot]
    most_extra = n_max
    if geometry.gap_kind == Kind.IDENTITY:  # a PV guest, whose kernel arranges its memory by itself
        displaced = _remapped(displaced, zones, n_boot)
        most_extra = most_balloonable(n_boot, geometry)
    n_present = sum(max(0, min(last, n_boot) - first) for first, last, ram in zones if ram)
    budget = min(most_extra, n_max - n_present - sum(last - first for first, last in displaced))
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


def _remapped(
    displaced: list[tuple[int, int]], zones: list[tuple[int, int, bool]], n_boot: int
) -> list[tuple[int, int]]:
    """What of the displaced memory finds a place; the rest goes back to Xen, and may be ballooned up again.

    xen_find_pfn_range looks for RAM from the end of the last place on, and a stretch that ends just there
    counts as found, with no room (`e_pfn < *min_pfn`, 3.18 to 4.0). So the first stretch that does not end
    below boot memory has all the room there is.
    """
    room = next((last - max(first, n_boot) for first, last, ram in zones if ram and last >= n_boot), 0)
    kept: list[tuple[int, int]] = []
    for first, last in displaced:
        n_kept = min(last - first, room)
        room -= n_kept
        kept += [(first, first + n_kept)] if n_kept else []
    return kept


def _back_in_blocks(plan: list[tuple[int, int, int, int]], machine: Machine) -> Runs:
    """Give RAM its mfns in blocks, aligned in guest and machine alike, of the largest size that suffices."""
    ram = [(first, first + n_frames) for first, n_frames, kind, _ in plan if kind == Kind.RAM and n_frames]
    # The lowest frame is Xen's own; what is left always suffices page by page.
    if (n_wanted := sum(end - first for first, end in ram)) >= machine.n_frames:
        there, asked = (format_size(n << PAGE_SHIFT) for n in (machine.n_frames, n_wanted))
        raise BadInputError(f"a machine of {there} has no room for {asked} of RAM: take a smaller guest")
    mfns: list[int] = []
    for order in range(_MAX_BLOCK_ORDER, -1, -1):
        wanted = sorted({block for first, end in ram for block in range(first >> order, -(-end >> order))})
        if mfns := machine.blocks(order, len(wanted)):
            break
    at = dict(zip(wanted, mfns, strict=True))
    rows: list[tuple[int, int, int, int]] = []
    for first, n_frames, kind, _ in plan:
        if kind != Kind.RAM or n_frames == 0:
            rows.append((first, n_frames, kind, 0))
            continue
        end = first + n_frames
        for block in range(first >> order, -(-end >> order)):
            low, high = max(first, block << order), min(end, block + 1 << order)
            rows.append((low, high - low, kind, at[block] + low - (block << order)))
    return Runs.of(rows)


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
