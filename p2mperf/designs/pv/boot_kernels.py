"""Compiled: what xen_rebuild_p2m_list finds when it looks through the flat list of the domain builder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.geometry import Entries
from p2mperf.jit import njit
from p2mperf.memory.raw import ONE, ZERO

PRIVATE, MISSING, IDENTITY = np.int8(0), np.int8(1), np.int8(2)  # p2mperf.designs.pv.leaf_plan.Leaf


@njit
def kind_of(boot_list: Entries, pfn: np.uint64, invalid: np.uint64, identity: np.uint64) -> np.int8:
    """Tell what a frame is to the rebuild: p2m_elem_type; beyond the list all is identity.

    Parameters
    ----------
    boot_list, invalid, identity
        As `classify_list`.
    pfn : uint64
        The frame.

    Returns
    -------
    int8
        0, 1 or 2, as `state` of `classify_list`.
    """
    if pfn >= np.uint64(boot_list.size):
        return IDENTITY
    entry = np.uint64(boot_list[pfn])
    if entry == invalid:
        return MISSING
    # A foreign entry is none of its kinds, and keeps its leaf private as an mfn does.
    return IDENTITY if entry & identity != ZERO else PRIVATE


@njit
def classify_list(
    boot_list: Entries,
    leaf_frames: np.uint64,
    mid_frames: np.uint64,
    invalid: np.uint64,
    identity: np.uint64,
    state: NDArray[np.int8],
) -> None:
    """Decide for every leaf of the area whether it is shared, entry by entry as the kernel does.

    Parameters
    ----------
    boot_list : ndarray of uint64 or uint32, shape (n_boot,)
        The flat list.
    leaf_frames, mid_frames : uint64
        Frames of a leaf, and of a mid page's worth of list.
    invalid, identity : uint64
        INVALID, and the identity bit.
    state : ndarray of int8, shape (n_leaves,)
        Set to 0 for a leaf of its own, 1 for the shared missing one, 2 for the shared identity one.

    Notes
    -----
    xen_rebuild_p2m_list of arch/x86/xen/p2m.c (3.19): a mid is tried as a whole where one begins, and leaf by
    leaf when it is found mixed. The scan is what a large area costs at boot, although most of it is empty.
    """
    pfn, end = ZERO, np.uint64(state.size) * leaf_frames
    while pfn < end:
        # Of a mid that is mixed the other leaves come up one by one, as none of them is where a mid begins.
        chunk = mid_frames if pfn % mid_frames == ZERO else leaf_frames
        kind = kind_of(boot_list, pfn, invalid, identity)
        # Where an mfn comes first, nothing else is read: of a leaf full of RAM that is one entry (0.01 ns a
        # frame, for 0.5 where all is INVALID).
        n = ONE
        while kind != PRIVATE and n < chunk and kind_of(boot_list, pfn + n, invalid, identity) == kind:
            n += ONE
        if n < chunk:
            # Of a mid that is not of one kind the first leaf may be so all the same: n still counts from its
            # start.
            chunk = leaf_frames
            if n < chunk:
                kind = PRIVATE
        state[pfn // leaf_frames : (pfn + chunk) // leaf_frames] = kind
        pfn += chunk
