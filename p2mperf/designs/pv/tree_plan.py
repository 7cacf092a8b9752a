"""What stands in Linux' p2m tree at boot: its shape, and how the domain builder's list is cut and grafted."""

from __future__ import annotations

import numpy as np

from p2mperf.designs.pv.leaf_plan import Leaf, LeafPlan, extend_above, kinds_by_leaf
from p2mperf.designs.pv.tree_boot import boot_leaves, boot_mids
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
    taken = _clipped(guest, n_taken)
    runs = extend_above(taken, shape.max_frames, above)
    kinds = kinds_by_leaf(runs, shape.max_frames // shape.leaf_frames, shape.leaf_frames)
    state = np.full(kinds.size, Leaf.PRIVATE, np.int8)
    state[kinds == 1 << Kind.IDENTITY] = Leaf.IDENTITY
    state[(kinds & (1 << Kind.RAM | 1 << Kind.IDENTITY)) == 0] = Leaf.MISSING
    state[boot_leaves(guest, taken, min(guest.n_boot_pages, n_taken), above)] = Leaf.PRIVATE
    return LeafPlan(shape, runs, state)


def tree_sharing(labels: tuple[int, int], guest: Guest, above: str, max_domain_pages: int | None) -> Sharing:
    """What mids of a tree may share.

    Parameters
    ----------
    labels : tuple of int
        What slots that mean missing and identity point to.
    guest, above, max_domain_pages
        As `plan_tree`.

    Returns
    -------
    Sharing
        With the mids that the boot list and the ends of holes made: they stay private even if uniform.
    """
    n_taken = min(guest.n_boot_pages, max_domain_pages or max_domain_frames(guest.geometry))
    return Sharing(labels, kept=boot_mids(guest, n_taken, above))


def tree_pages(plan: LeafPlan, guest: Guest, above: str, max_domain_pages: int | None) -> dict[str, int]:
    """Pool pages by kind that a plan asks for.

    Parameters
    ----------
    plan : LeafPlan
        From `plan_tree`.
    guest, above, max_domain_pages
        As `plan_tree`.

    Returns
    -------
    dict of str to int
        Pages by kind.
    """
    sharing = tree_sharing((Leaf.MISSING, Leaf.IDENTITY), guest, above, max_domain_pages)
    counts = count_pages(plan.state, tree_shape(guest.geometry), sharing)
    return {"leaf_shared": 2, "leaf": plan.n_private, **counts}


def max_p2m_pfn(guest: Guest, max_domain_pages: int | None) -> int:
    """Where 3.18's p2m ends for tools: behind boot memory, or behind the last that may be ballooned up to.

    xen_max_p2m_pfn: xen_add_extra_mem sets it for each region (setup.c, 3.18), and displaced memory does not.

    Parameters
    ----------
    guest, max_domain_pages
        As `plan_tree`.

    Returns
    -------
    int
        A frame.
    """
    extra = guest.runs.select(Kind.EXTRA)
    n_taken = min(guest.n_boot_pages, max_domain_pages or max_domain_frames(guest.geometry))
    return int(extra.end_pfn[-1]) if extra.kind.size else n_taken


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
