"""What the Linux virtual memory system is asked and what it answers: mmap, madvise, smaps."""

from __future__ import annotations

import ctypes
import errno
import mmap as _mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import DoesNotFitError
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, format_size

MAP_FIXED = 0x10
MAP_NORESERVE = 0x4000
MADV_NOHUGEPAGE = 15
MADV_HUGEPAGE = 14
MADV_POPULATE_READ = 22
MADV_POPULATE_WRITE = 23
MADV_COLLAPSE = 25

READ = _mmap.PROT_READ
READ_WRITE = _mmap.PROT_READ | _mmap.PROT_WRITE
SPARE_MAPS = 4000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_FAILED = ctypes.c_void_p(-1).value


def _fail(what: str, n_bytes: int) -> DoesNotFitError:
    code = ctypes.get_errno()
    hint = {
        errno.ENOMEM: "not enough memory, address space (ulimit -v) or mappings (vm.max_map_count)",
        errno.EPERM: "not permitted here",
    }.get(code, os.strerror(code))
    return DoesNotFitError(f"could not {what} {format_size(n_bytes)}: {hint}")


def map_pages(
    address: int, n_bytes: int, protection: int, fd: int = -1, offset: int = 0, reserve: bool = False
) -> int:
    """Map `n_bytes` of a file, or of nothing, and return the address.

    Parameters
    ----------
    address : int
        Where (MAP_FIXED), or 0 for anywhere.
    n_bytes : int
        Length [bytes].
    protection : int
        ``READ``, ``READ_WRITE`` or 0 for a reservation that traps.
    fd : int
        File to map shared; -1 maps private anonymous memory that is not reserved ahead.
    offset : int
        Offset into the file [bytes].
    reserve : bool
        Take swap-backed commit for anonymous memory instead of MAP_NORESERVE.

    Returns
    -------
    int
        Address of the mapping.

    Raises
    ------
    DoesNotFitError
        When the kernel refuses.
    """
    flags = _mmap.MAP_SHARED if fd >= 0 else _mmap.MAP_PRIVATE | _mmap.MAP_ANONYMOUS
    if fd < 0 and not reserve:
        flags |= MAP_NORESERVE
    if address:
        flags |= MAP_FIXED
    result = _libc.mmap(address or None, n_bytes, protection, flags, fd, offset)
    if result == _FAILED:
        raise _fail("map", n_bytes)
    return int(result)


def reserve_aligned(n_bytes: int, alignment: int = HUGE_SIZE) -> int:
    """Reserve address space that starts at a multiple of `alignment` and traps when touched.

    Returns
    -------
    int
        Address of exactly `n_bytes` reserved bytes.

    Raises
    ------
    DoesNotFitError
        When the address space does not hold it.
    """
    start = map_pages(0, n_bytes + alignment, 0)
    aligned = -(-start // alignment) * alignment
    if aligned > start:
        unmap(start, aligned - start)
    if tail := start + alignment - aligned:
        unmap(aligned + n_bytes, tail)
    return aligned


def unmap(address: int, n_bytes: int) -> None:
    """Give the mappings of a range back."""
    if _libc.munmap(address, n_bytes):
        raise _fail("unmap", n_bytes)


def advise(address: int, n_bytes: int, advice: int) -> bool:
    """Call madvise.

    Parameters
    ----------
    address, n_bytes : int
        Range [bytes].
    advice : int
        MADV_* number.

    Returns
    -------
    bool
        False where the kernel does not know the advice or cannot follow it.
    """
    return _libc.madvise(address, n_bytes, advice) == 0


def populate(address: int, n_bytes: int, write: bool = False) -> None:
    """Fill in the page-table entries of a range, so that no fault falls into a timed loop.

    Parameters
    ----------
    address, n_bytes : int
        Range [bytes].
    write : bool
        Fault as a write would, which also makes memory of holes.

    Raises
    ------
    DoesNotFitError
        When memory for it gives out.
    """
    if not advise(address, n_bytes, MADV_POPULATE_WRITE if write else MADV_POPULATE_READ):
        if ctypes.get_errno() != errno.EINVAL:
            raise _fail("populate", n_bytes)
        for page in range(address, address + n_bytes, PAGE_SIZE):  # kernels before 5.14
            ctypes.c_char.from_address(page).value  # noqa: B018


def view(address: int, n_bytes: int, dtype: Any) -> NDArray[Any]:
    """Look at memory as an array.

    Parameters
    ----------
    address, n_bytes : int
        Range [bytes]; it must stay mapped as long as the array is used.
    dtype : dtype
        Type of a word.

    Returns
    -------
    ndarray, shape (n_bytes / itemsize,)
        A view, not a copy.
    """
    buffer: Any = (ctypes.c_char * n_bytes).from_address(address)
    return np.frombuffer(buffer, dtype)


def n_maps() -> int:
    """Count this process' mappings."""
    with open("/proc/self/maps", "rb") as lines:
        return sum(1 for _ in lines)


def max_maps() -> int:
    """Return vm.max_map_count, or the kernel's default where it cannot be read."""
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except OSError:
        return 65530


def maps_budget() -> int:
    """How many mappings a window may still add: the limit less what is in use and a reserve."""
    return max_maps() - n_maps() - SPARE_MAPS


def page_table_bytes() -> int:
    """Page tables of this process, as the kernel counts them [bytes]."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmPTE:"):
            return int(line.split()[1]) * 1024
    return 0


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


def mappings(start: int, n_bytes: int) -> list[Mapping]:
    """Read the mappings inside [start, start + n_bytes) from /proc/self/smaps."""
    return [m for m in _smaps() if m.start >= start and m.end <= start + n_bytes]


def view_page_bytes(start: int, n_bytes: int) -> int:
    """Page size that really maps a range: 2 MiB or 4 KiB if all resident pages agree, 0 if mixed or none."""
    found = mappings(start, n_bytes)
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
