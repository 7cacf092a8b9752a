"""What stands behind a stretch of address space, as /proc/self/smaps tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from p2mperf.host.probes import Root, read_text
from p2mperf.units import HUGE_SIZE, PAGE_SIZE


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/self/smaps: a stretch of address space and what stands behind it."""

    start: int
    end: int
    writable: bool
    offset_bytes: int
    inode: int
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
    """Read the mappings inside [start, start + n_bytes) from /proc/self/smaps."""
    return [m for m in _smaps() if m.start >= start and m.end <= start + n_bytes]


def everything() -> list[Mapping]:
    """Read all mappings of this process from /proc/self/smaps."""
    return list(_smaps())


def view_page_bytes(start: int, n_bytes: int) -> int:
    """Page size that really maps a range: 2 MiB or 4 KiB if all resident pages agree, 0 if mixed or none."""
    return page_bytes(mappings(start, n_bytes))


def page_bytes(found: list[Mapping]) -> int:
    """Page size behind some mappings: 2 MiB or 4 KiB if all resident pages agree, 0 if mixed or none."""
    resident = sum(m.resident_bytes for m in found)
    huge = sum(m.huge_bytes for m in found)
    if huge == 0:
        return PAGE_SIZE if resident else 0
    return HUGE_SIZE if huge == resident else 0


def _smaps() -> Iterator[Mapping]:
    head: list[str] = []
    resident = huge = 0
    with open("/proc/self/smaps") as lines:
        for line in lines:
            key, _, rest = line.partition(":")
            if key == "Rss":
                resident = int(rest.split()[0]) * 1024
            elif key in ("ShmemPmdMapped", "FilePmdMapped", "AnonHugePages"):
                huge += int(rest.split()[0]) * 1024
            elif key == "VmFlags":
                start, end = (int(word, 16) for word in head[0].split("-"))
                yield Mapping(start, end, "w" in head[1], int(head[2], 16), int(head[4]), resident, huge)
            elif "-" in key:
                head = line.split()
                resident = huge = 0
