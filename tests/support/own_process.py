"""What Linux says of the process that runs the tests, read without the package's own readers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Area:
    """One entry of /proc/self/smaps, sizes in bytes."""

    start: int
    end: int
    rights: str
    offset: int
    inode: int
    resident: int
    huge: int


def areas(first: int, n_bytes: int) -> list[Area]:
    """Areas that lie in [first, first + n_bytes)."""
    return [area for area in _areas() if first <= area.start and area.end <= first + n_bytes]


def _areas() -> Iterator[Area]:
    for block in Path("/proc/self/smaps").read_text().split("VmFlags")[:-1]:
        lines = block.splitlines()
        head = next(number for number, line in enumerate(lines) if "-" in line.split(" ")[0])
        addresses, rights, offset, _, inode = lines[head].split()[:5]
        start, end = (int(address, 16) for address in addresses.split("-"))
        sizes = {line.split(":")[0]: line.split()[1] for line in lines[head + 1 :]}
        huge = int(sizes["ShmemPmdMapped"]) + int(sizes["AnonHugePages"])
        yield Area(start, end, rights, int(offset, 16), int(inode), int(sizes["Rss"]) << 10, huge << 10)


def n_areas(but: str = "\n") -> int:
    return sum(not line.endswith(but) for line in Path("/proc/self/maps").read_text().splitlines())


def n_held_areas() -> int:
    """Areas that show a pool or are reserved for one; the allocator's own come and go as it likes."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum("memfd:p2mperf" in line or line.split()[1] == "---p" for line in lines)


def descriptors() -> list[str]:
    """What each open descriptor points to, but for the listing itself."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return found


def n_memfds() -> int:
    return sum("memfd:p2mperf" in target for target in descriptors())


def status_bytes(name: str) -> int:
    """A size of /proc/self/status, such as VmRSS or VmPTE."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def n_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def page_bytes(base: int, n_pages: int) -> int:
    """Page size of a range, 4096 or 2 MiB."""
    found = areas(base, n_pages * 4096)
    resident, huge = sum(area.resident for area in found), sum(area.huge for area in found)
    assert resident
    assert huge in (0, resident)
    return 2 << 20 if huge else 4096
