"""What stands behind a stretch of address space, as /proc/self/maps and /proc/self/smaps tell it.

To say which pages are there, smaps has Linux walk all page tables of the process, which takes ten times as
long: only page sizes are read from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from p2mperf.host.probes import Root, read_text
from p2mperf.units import HUGE_SIZE, PAGE_SIZE


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/self/maps: a stretch of address space and the file behind it."""

    start: int
    end: int
    writable: bool
    offset_bytes: int
    inode: int


@dataclass(frozen=True)
class Resident(Mapping):
    """One entry of /proc/self/smaps: which pages of a mapping are there."""

    resident_bytes: int
    huge_bytes: int


# What Linux counts, on the whole machine, when small pages of a mapping become a huge one, or the other way.
_HUGE_PAGE_EVENTS = ("thp_collapse_alloc", "thp_file_mapped", "thp_split_page", "thp_split_pmd")


def huge_page_events(root: Root = "/") -> dict[str, int]:
    """Count how often huge pages have come or gone since boot, on the whole machine.

    Parameters
    ----------
    root : str or Path
        Where /proc is found.

    Returns
    -------
    dict of str to int
        By the names of /proc/vmstat; empty where it does not tell all of them.
    """
    lines = (read_text(root, "proc/vmstat") or "").splitlines()
    counts = {name: int(count) for name, _, count in (line.partition(" ") for line in lines) if count}
    known = {name: counts[name] for name in _HUGE_PAGE_EVENTS if name in counts}
    return known if len(known) == len(_HUGE_PAGE_EVENTS) else {}


def mappings(start: int, n_bytes: int) -> list[Mapping]:
    """Read the mappings inside [start, start + n_bytes) from /proc/self/maps, by address."""
    found, end = [], start + n_bytes
    with open("/proc/self/maps", "rb") as lines:
        for line in lines:
            first = int(line[: line.index(b"-")], 16)
            if first >= end:
                break
            if first >= start and (one := _mapping(line)).end <= end:
                found.append(one)
    return found


def everything() -> list[Resident]:
    """Read all mappings of this process from /proc/self/smaps, by address."""
    return list(_smaps())


def view_page_bytes(start: int, n_bytes: int) -> int:
    """Page size that really maps a range: 2 MiB or 4 KiB if all resident pages agree, 0 if mixed or none."""
    end, found = start + n_bytes, []
    for one in _smaps():
        if one.start >= end:
            break
        if one.start >= start and one.end <= end:
            found.append(one)
    return page_bytes(found)


def page_bytes(found: list[Resident]) -> int:
    """Page size behind some mappings: 2 MiB or 4 KiB if all resident pages agree, 0 if mixed or none."""
    resident = sum(m.resident_bytes for m in found)
    huge = sum(m.huge_bytes for m in found)
    if huge == 0:
        return PAGE_SIZE if resident else 0
    return HUGE_SIZE if huge == resident else 0


def _mapping(line: bytes) -> Mapping:
    addresses, rights, offset, _, inode, *_ = line.split(maxsplit=5)
    start, _, end = addresses.partition(b"-")
    return Mapping(int(start, 16), int(end, 16), b"w" in rights, int(offset, 16), int(inode))


def _smaps() -> Iterator[Resident]:
    head = b""
    resident = huge = 0
    with open("/proc/self/smaps", "rb") as lines:
        for line in lines:
            key, _, rest = line.partition(b":")
            if key == b"Rss":
                resident = int(rest.split()[0]) * 1024
            elif key in (b"ShmemPmdMapped", b"FilePmdMapped", b"AnonHugePages"):
                huge += int(rest.split()[0]) * 1024
            elif key == b"VmFlags":
                one = _mapping(head)
                yield Resident(one.start, one.end, one.writable, one.offset_bytes, one.inode, resident, huge)
            elif b"-" in key:
                head = line
                resident = huge = 0
