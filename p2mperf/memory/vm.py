"""What the Linux virtual memory system is asked: mmap and madvise."""

from __future__ import annotations

import ctypes
import errno
import mmap as _mmap
import os
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import DoesNotFitError
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, format_size

MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS = _mmap.MAP_SHARED, _mmap.MAP_PRIVATE, _mmap.MAP_ANONYMOUS
MAP_FIXED = 0x10
MAP_NORESERVE = 0x4000
MADV_NOHUGEPAGE = 15
MADV_HUGEPAGE = 14
MADV_POPULATE_READ = 22
MADV_POPULATE_WRITE = 23
MADV_COLLAPSE = 25

Word = TypeVar("Word", bound=np.generic)

READ = _mmap.PROT_READ
READ_WRITE = _mmap.PROT_READ | _mmap.PROT_WRITE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = _libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_FAILED = ctypes.c_void_p(-1).value


def _fail(what: str, n_bytes: int) -> DoesNotFitError:
    code = ctypes.get_errno()
    hint = {
        errno.ENOMEM: "not enough memory, address space (ulimit -v) or mappings (vm.max_map_count)",
        errno.EPERM: "not permitted here",
    }.get(code, os.strerror(code))
    return DoesNotFitError(f"could not {what} {format_size(n_bytes)}: {hint}")


def map_pages(address: int, n_bytes: int, protection: int, fd: int = -1, offset: int = 0) -> int:
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

    Returns
    -------
    int
        Address of the mapping.

    Raises
    ------
    DoesNotFitError
        When the kernel refuses.
    """
    flags = MAP_SHARED if fd >= 0 else MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
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


def protect(address: int, n_bytes: int, protection: int) -> None:
    """Change what a range can be used for.

    Parameters
    ----------
    address, n_bytes : int
        Range, in whole pages [bytes].
    protection : int
        ``READ``, ``READ_WRITE`` or 0.

    Raises
    ------
    DoesNotFitError
        When the kernel refuses, for want of mappings.
    """
    if _libc.mprotect(address, n_bytes, protection):
        raise _fail("protect", n_bytes)


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
            byte = ctypes.c_char.from_address(page)
            found = byte.value
            if write:
                byte.value = found


def view(address: int, n_bytes: int, dtype: type[Word], keeping: object = None) -> NDArray[Word]:
    """Look at memory as an array.

    Parameters
    ----------
    address, n_bytes : int
        Range [bytes]; it must stay mapped as long as the array is used.
    dtype : type of numpy
        Type of a word.
    keeping : object, optional
        Lives as long as the array and whatever is sliced from it.

    Returns
    -------
    ndarray, shape (n_bytes / itemsize,)
        A view, not a copy.
    """
    buffer: Any = (ctypes.c_char * n_bytes).from_address(address)
    buffer.keeping = keeping
    return np.frombuffer(buffer, dtype)
