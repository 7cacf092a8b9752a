"""What stands in Linux' p2m tree at boot: its shape, and how the domain builder's list is cut and grafted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.pv.leaf_plan import Leaf, LeafPlan, extend_above, kinds_by_leaf
from p2mperf.guests.geometry import Geometry, Kind, above_mask
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.guests.runs import Runs
from p2mperf.tables.radix import Level, Radix, Sharing, count_pages
from p2mperf.units import GIB, PAGE_SIZE, round_up, whole_number

# CONFIG_XEN_MAX_DOMAIN_MEMORY just before the option was removed [GiB].
_MAX_DOMAIN_GIB = {64: 500, 32: 64}


def tree_shape(geometry: Geometry) -> Radix:
    """Levels of the tree at one entry width: mid and top, with real addresses or 4-byte offsets."""
    levels = (Level("mid", geometry.leaf_frames), Level("top", geometry.leaf_frames))
    return Radix(levels, geometry.entry_bytes, based=geometry.entry_bits == 64)


def max_domain_frames(geometry: Geometry) -> int:
    """MAX_DOMAIN_PAGES of the kernels at this entry width, unless configured otherwise."""
    return _MAX_DOMAIN_GIB[geometry.entry_bits] * GIB // PAGE_SIZE


def plan_tree(guest: Guest, above: str, max_domain_pages: int | None) -> LeafPlan:
    """Decide which leaves of a tree are private.

    Parameters
    ----------
    guest : Guest
        Whose.
    above : str
        "identity" or "invalid".
    max_domain_pages : int, optional
        Where the boot list is cut; None for the kernel's default [pages].

    Returns
    -------
    LeafPlan
        The plan, of as many leaves as three levels have.
    """
    require_guest(guest)
    shape = guest.geometry
    above_mask(shape, above)  # refuses what is no policy
    if max_domain_pages is not None:
        whole_number(max_domain_pages, "max_domain_pages", 0, shape.max_frames)
    n_taken = max_domain_pages or max_domain_frames(shape)
    runs = extend_above(_clipped(guest, n_taken), shape.max_frames, above)
    kinds = kinds_by_leaf(runs, shape.max_frames // shape.leaf_frames, shape.leaf_frames)
    state = np.full(kinds.size, Leaf.PRIVATE, np.int8)
    state[kinds == 1 << Kind.IDENTITY] = Leaf.IDENTITY
    state[(kinds & (1 << Kind.RAM | 1 << Kind.IDENTITY)) == 0] = Leaf.MISSING
    n_boot_leaves = round_up(min(guest.n_boot_pages, n_taken), shape.leaf_frames) // shape.leaf_frames
    _graft_boot_list(state, kinds, n_boot_leaves)
    return LeafPlan(shape, runs, state)


def tree_sharing(labels: tuple[int, int], guest: Guest, max_domain_pages: int | None) -> Sharing:
    """What mids of a tree may share.

    Parameters
    ----------
    labels : tuple of int
        What slots that mean missing and identity point to.
    guest, max_domain_pages
        As `plan_tree`.

    Returns
    -------
    Sharing
        With the mids that the boot list made: they stay private even where recycling has made them uniform.
    """
    n_pages = min(guest.n_boot_pages, max_domain_pages or max_domain_frames(guest.geometry))
    return Sharing(labels, n_kept=-(-n_pages // guest.geometry.mid_frames))


def tree_pages(plan: LeafPlan, guest: Guest, max_domain_pages: int | None) -> dict[str, int]:
    """Pool pages by kind that a plan asks for.

    Parameters
    ----------
    plan : LeafPlan
        From `plan_tree`.
    guest, max_domain_pages
        As `plan_tree`.

    Returns
    -------
    dict of str to int
        Pages by kind.
    """
    sharing = tree_sharing((Leaf.MISSING, Leaf.IDENTITY), guest, max_domain_pages)
    counts = count_pages(plan.state, tree_shape(guest.geometry), sharing)
    return {"leaf_shared": 2, "leaf": plan.n_private, **counts}


def _clipped(guest: Guest, limit: int) -> Runs:
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


def _graft_boot_list(state: NDArray[np.int8], kinds: NDArray[np.uint8], n_boot_leaves: int) -> None:
    """Leaves of the boot list stay private even where all identity, unless their page was recycled.

    early_can_reuse_p2m_middle (3.18): when displaced RAM needs a new leaf and its pfn is leaf-aligned, the
    first boot leaf that is uniform gives its page and is replaced by the shared filler.
    """
    uniform = np.flatnonzero(state[:n_boot_leaves] != Leaf.PRIVATE)
    n_fresh = int(np.count_nonzero(kinds[n_boot_leaves:] & (1 << Kind.RAM)))
    state[uniform[n_fresh:]] = Leaf.PRIVATE
