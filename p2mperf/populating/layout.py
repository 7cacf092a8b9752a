"""Where the memory of an HVM guest lies: xc_hvm_build.c of Xen 4.1, and hvm/e820.h."""

from __future__ import annotations

from p2mperf.errors import BadInputError
from p2mperf.units import MIB, PAGE_SIZE, format_size, parse_pages

VGA_HOLE_GFN, VGA_END_GFN = 0xA0, 0xC0  # never populated: 640 KiB to 768 KiB
HOLE_GFN, HOLE_FRAMES = 0xF0000, 0x10000  # HVM_BELOW_4G_MMIO_START: 256 MiB for devices
SPECIAL_GFN, N_SPECIAL = 0xFEFFB, 5  # store, ioreq ...: just below 0xFF000

LEAST_PAGES = MIB // PAGE_SIZE
MOST_PAGES = 1 << 30  # 4 TiB

Run = tuple[int, int]


def guest_pages(memory: str | int) -> int:
    """Read the memory of a guest [pages], those that the VGA hole takes included.

    Raises
    ------
    BadInputError
        When it is no size, no whole number of pages, less than the first MiB, or out of reach.
    """
    n_pages = parse_pages(memory)
    if not LEAST_PAGES <= n_pages <= MOST_PAGES:
        least, most, asked = (format_size(pages * PAGE_SIZE) for pages in (LEAST_PAGES, MOST_PAGES, n_pages))
        raise BadInputError(f"a guest of Xen's domain builder has {least} to {most} here, not {asked}")
    return n_pages


def memory_runs(n_pages: int, device_model: bool = True) -> list[Run]:
    """Guest frames that get memory, as runs (first gfn, end), by gfn.

    Parameters
    ----------
    n_pages : int
        The guest's memory [pages].
    device_model : bool
        Whether it has the VGA hole, as an HVM guest has and a PVH guest has not.

    Returns
    -------
    list of (int, int)

    Examples
    --------
    >>> [(hex(first), hex(end)) for first, end in memory_runs(0x100000)]
    [('0x0', '0xa0'), ('0xc0', '0xf0000'), ('0xfeffb', '0xff000'), ('0x100000', '0x110000')]
    """
    low = min(n_pages, HOLE_GFN)
    runs = [(0, VGA_HOLE_GFN), (VGA_END_GFN, low)] if device_model else [(0, low)]
    runs.append((SPECIAL_GFN, SPECIAL_GFN + N_SPECIAL))
    if n_pages > HOLE_GFN:
        runs.append((HOLE_GFN + HOLE_FRAMES, n_pages + HOLE_FRAMES))
    return runs
