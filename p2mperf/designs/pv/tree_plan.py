"""What stands in Linux' p2m tree at boot: its shape, and how the domain builder's list is cut and grafted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.pv.leaf_plan import Leaf
from p2mperf.guests.geometry import Geometry, Kind
from p2mperf.guests.guest import Guest
from p2mperf.guests.runs import Runs
from p2mperf.tables.radix import Level, Radix
from p2mperf.units import GIB, PAGE_SIZE, round_up

# CONFIG_XEN_MAX_DOMAIN_MEMORY just before the option was removed [GiB].
_MAX_DOMAIN_GIB = {64: 500, 32: 64}


def tree_shape(geometry: Geometry) -> Radix:
    """Levels of the tree at one entry width: mid and top, with real addresses or 4-byte offsets."""
    levels = (Level("mid", geometry.leaf_frames), Level("top", geometry.leaf_frames))
    return Radix(levels, geometry.entry_bytes, based=geometry.entry_bits == 64)


def max_domain_frames(geometry: Geometry) -> int:
    """MAX_DOMAIN_PAGES of the kernels at this entry width, unless configured otherwise."""
    return _MAX_DOMAIN_GIB[geometry.entry_bits] * GIB // PAGE_SIZE


def n_taken_pages(guest: Guest, max_domain_pages: int | None) -> int:
    """Pages of the boot list that the tree takes at most."""
    return max_domain_pages or max_domain_frames(guest.geometry)


def boot_mids(guest: Guest, options: dict[str, Any]) -> int:
    """Mids that the boot list made: they stay private even where recycling has made them uniform."""
    n_pages = min(guest.n_boot_pages, n_taken_pages(guest, options.get("max_domain_pages")))
    return -(-n_pages // guest.geometry.mid_frames)


def clipped(guest: Guest, limit: int) -> Runs:
    """RAM above MAX_DOMAIN_PAGES never enters the tree, and nothing above MAX_P2M_PFN does.

    A boot list that is cut has its padding where it was cut, and none behind the end of the map.
    """
    shape = guest.geometry
    padded = round_up(min(guest.n_boot_pages, limit), shape.leaf_frames)
    end_pfn = min(max(guest.end_pfn, padded), shape.max_frames)
    cut = guest.runs.cut(np.array([limit, end_pfn], np.int64))
    kind = np.where((cut.kind == Kind.RAM) & (cut.first_pfn >= limit), Kind.MISSING, cut.kind)
    clipped = Runs(cut.first_pfn, cut.n_frames, kind.astype(np.int8), cut.first_mfn)
    return clipped.take(cut.first_pfn < end_pfn)


def graft_boot_list(state: NDArray[np.int8], kinds: NDArray[np.uint8], n_boot_leaves: int) -> None:
    """Leaves of the boot list stay private even where all identity, unless their page was recycled.

    early_can_reuse_p2m_middle (3.18): when displaced RAM needs a new leaf and its pfn is leaf-aligned, the
    first boot leaf that is uniform gives its page and is replaced by the shared filler.

    Parameters
    ----------
    state : ndarray of int8, shape (n_leaves,)
        `Leaf` of each, changed in place.
    kinds : ndarray of uint8, shape (n_leaves,)
        As `kinds_by_leaf` gives them.
    n_boot_leaves : int
        Leaves that hold the boot list.
    """
    uniform = np.flatnonzero(state[:n_boot_leaves] != Leaf.PRIVATE)
    n_fresh = int(np.count_nonzero(kinds[n_boot_leaves:] & (1 << Kind.RAM)))
    state[uniform[n_fresh:]] = Leaf.PRIVATE
