"""Small HAP guests, and what tests look for in their p2ms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from design_names import HAP_DESIGNS
from numpy.typing import NDArray

from p2mperf.guests.extents import Extents
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import Machine

GEOMETRIES = ("hap64", "hap-pae", "hap-nonpae")
RAM_RW = 0x267  # present, writable, user, accessed, dirty; type 1 in bits 9 to 11
PSE, PAT, PSE_PAT = 1 << 7, 1 << 7, 1 << 12
GIB = 1 << 18  # frames

each_design = pytest.mark.parametrize("design", HAP_DESIGNS)
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)


def one_leaf(order: int, geometry: str = "hap64", gfn: int = 0) -> Guest:
    """A guest whose memory is one leaf, and whose machine has as much again."""
    mfn = 1 << order
    extents = Extents.of([(gfn, mfn, order)])
    return Guest.from_extents(extents, geometry, Machine(max(4 << order, 4096)), name="one-leaf")


def every(p2m: Any, beyond: int = 5) -> NDArray[np.uint64]:
    return np.arange(p2m.end_gfn + beyond, dtype=np.uint64)


def slot_of(p2m: Any, gfn: int, level: int) -> NDArray[np.uint64]:
    """The entry of a level (1 for L1) for a frame, in memory, as an array of one."""
    shape = p2m.plan.shape
    frame, address = p2m.table.radix.root, 0
    for number in range(shape.n_levels, level - 1, -1):
        words = p2m.pool.words(frame, shape.dtype)
        at = gfn >> shape.index_bits * (number - 1) & shape.leaf_frames - 1
        address = (int(words[at]) & shape.address_mask) >> 12
        frame = address - p2m.guest.machine.n_frames
    entry: NDArray[np.uint64] = words[at : at + 1]
    return entry
