"""What stands in a linear list at boot, and what it takes: arithmetic on the guest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Footprint
from p2mperf.designs.pv.area import (
    N_PTES,
    area_entries,
    check_area,
    limit_pages,
    list_pages,
    not_invalidated,
    page_table_of,
)
from p2mperf.designs.pv.boot_kernels import classify_list
from p2mperf.designs.pv.leaf_plan import Leaf, LeafPlan, copied, extend_above, kinds_by_leaf
from p2mperf.errors import BadInputError
from p2mperf.guests.e820 import most_balloonable, shared_with_extra
from p2mperf.guests.geometry import Entries, Kind
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.guests.runs import Runs
from p2mperf.memory.window import n_runs
from p2mperf.tables.radix import covered_by
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, flag, round_up

_FAR = 1 << 40  # pages: beyond every pool; stands for the shared leaves, which continue no other frame


def plan_list(
    guest: Guest, above: str, limit: str | int, invalidated: bool, quirks: Iterable[str] = ()
) -> LeafPlan:
    """Decide which leaves of an area are private.

    Parameters
    ----------
    guest : Guest
        Whose.
    above : str
        "identity" or "invalid".
    limit : str or int
        Memory that may be hot-plugged later [bytes].
    invalidated : bool
        Whether balloonable memory was made INVALID.
    quirks : iterable of str
        Deviations to reproduce, of which only "extra-memory-rounded-out" matters here.

    Returns
    -------
    LeafPlan
        The plan, of as many leaves as the area has.

    Raises
    ------
    DoesNotFitError
        When the kernel has not so many addresses.
    """
    require_guest(guest)
    shape = guest.geometry
    n_entries = area_entries(guest, limit_pages(limit), above)
    check_area(guest, n_entries)
    is_invalid = flag(invalidated, "invalidated")
    runs = guest.runs if is_invalid else not_invalidated(guest.runs)
    if is_invalid and "extra-memory-rounded-out" in quirks:
        runs = _rounded_out(guest)
    runs = extend_above(runs, n_entries, above)
    kinds = kinds_by_leaf(runs, n_entries // shape.leaf_frames, shape.leaf_frames)
    state = np.full(kinds.size, Leaf.PRIVATE, np.int8)
    # Balloonable memory is not shared: xen_inv_extra_mem writes INVALID to each such frame of an area
    # that began as identity, and every leaf it touches becomes private.
    state[kinds == 1 << Kind.IDENTITY] = Leaf.IDENTITY
    state[kinds == 1 << Kind.MISSING] = Leaf.MISSING
    return LeafPlan(shape, runs, state)


def _rounded_out(guest: Guest) -> Runs:
    """Runs with pages that balloonable memory has in part as if it had all of them."""
    n_boot, ram = guest.n_boot_pages, guest.ram
    n_displaced = int(np.maximum(ram.end_pfn - np.maximum(ram.first_pfn, n_boot), 0).sum())
    n_extra = min(most_balloonable(n_boot, guest.geometry), guest.max_pages - int(ram.n_frames.sum()))
    shared = np.array(shared_with_extra(guest.rows, n_boot, n_extra + n_displaced), np.int64)
    cut = guest.runs.cut(np.append(shared, shared + 1))
    in_part = np.isin(cut.first_pfn, shared) & (cut.kind == Kind.IDENTITY)
    kind = np.where(in_part, Kind.EXTRA, cut.kind).astype(np.int8)
    return Runs(cut.first_pfn, cut.n_frames, kind, cut.first_mfn)


def classified(plan: LeafPlan, guest: Guest, boot_list: Entries) -> LeafPlan:
    """Plan the same leaves, copied from a flat list: look through the whole area for what can be shared.

    Parameters
    ----------
    plan, guest, boot_list
        As `leaf_plan.copied`, which is all that the tree does: it takes the list as it is.

    Returns
    -------
    LeafPlan
        The plan.

    Raises
    ------
    BadInputError
        When the list does not hold what the map asks for.
    """
    shape = guest.geometry
    listed = copied(plan, guest, boot_list)
    sizes = (shape.leaf_frames, shape.mid_frames, shape.invalid, shape.identity_bit)
    leaf_frames, mid_frames, invalid, identity = (np.uint64(size) for size in sizes)
    state = np.empty_like(plan.state)
    classify_list(boot_list, leaf_frames, mid_frames, invalid, identity, state)
    if not np.array_equal(state, plan.state):
        raise BadInputError(f"the flat list has other entries than the map of {guest.name} asks for")
    return replace(listed, state=state)


def predict_list(plan: LeafPlan, backing: Backing, more_bytes: int = 0) -> Footprint:
    """Say what a list will take.

    Parameters
    ----------
    plan : LeafPlan
        Its leaves.
    backing : Backing
        Page sizes of its views.
    more_bytes : int
        Memory beside the pool [bytes].

    Returns
    -------
    Footprint
        What `footprint` will count.
    """
    pages = list_pages(plan)
    shown = plan.rank
    shared = plan.state != Leaf.PRIVATE
    covered = np.repeat(covered_by(*page_table_of(plan)), N_PTES)
    wide = covered >= 0
    shown[shared] = _FAR
    shown += plan.state
    # The shared extents follow one another in the pool, the missing one first, far from all leaves.
    extent = shown.size + np.unique(covered[wide], return_inverse=True)[1] * plan.geometry.leaf_frames
    shown[wide] = extent + np.flatnonzero(wide) % plan.geometry.leaf_frames
    memory = round_up(sum(pages.values()) * PAGE_SIZE, HUGE_SIZE)
    tables = memory // backing.direct_bytes * 8 + plan.state.size * PAGE_SIZE // backing.window_bytes * 8
    return Footprint(pages, n_runs(shown, ~shared), memory + more_bytes, tables)
