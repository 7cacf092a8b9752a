"""Entries of a p2m in compiled code: what they are, and where they are loaded from and stored to."""

from __future__ import annotations

import numpy as np

from p2mperf.guests.hap import P2mBit, P2mType
from p2mperf.jit import njit

ZERO, ONE = np.uint64(0), np.uint64(1)
PAGE = np.uint64(12)
PRESENT, SUPERPAGE = np.uint64(P2mBit.PRESENT), np.uint64(P2mBit.SUPERPAGE)
LEAF = PRESENT | SUPERPAGE  # above L1, where bit 7 tells a superpage from a pointer
SUPERPAGE_PAT = np.uint64(P2mBit.SUPERPAGE_PAT)
POINTER = np.uint64(P2mBit.POINTER)
# What is above bit 51 is no address: NX, and the type in 64-bit Xen since 2011.
ADDRESS = np.uint64((1 << 52) - (1 << 12))
SMALL_RAM = np.uint64(P2mType.RAM_RW.flags)
SUPERPAGE_RAM = SMALL_RAM | SUPERPAGE
_PAT_SHIFT = np.uint64(5)  # from the PAT bit of a superpage, 12, to that of a 4 KiB entry, 7

# Parts of a walk: to be folded into the loop, as the kernel's inline functions are.
inlined = njit(cache=False, forceinline=True)


@inlined
def small_entry(entry: np.uint64, frame: np.uint64, mask: np.uint64) -> np.uint64:
    """Give what a superpage says of one of its frames, as an entry of 4 KiB would.

    Splitting keeps just this: machine frame, type and rights, and the PAT bit in the place that it has there.

    Parameters
    ----------
    entry : uint64
        The superpage.
    frame : uint64
        Guest frame.
    mask : uint64
        Frames of such a superpage, less one.

    Returns
    -------
    uint64
    """
    # This mask reaches down to bit 12: PAT goes with the rest of the address, and comes back where L1 has it.
    flags = entry & ~((mask << PAGE) | SUPERPAGE)
    return (flags + ((frame & mask) << PAGE)) | ((entry & SUPERPAGE_PAT) >> _PAT_SHIFT)
