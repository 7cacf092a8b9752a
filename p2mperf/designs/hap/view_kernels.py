"""What windows show, changed from compiled code: the host's counterpart of the MMU that walks the p2m.

A design without windows has none of it: its views are ``()``, and all of this compiles to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from p2mperf.designs.hap.entry_kernels import inlined
from p2mperf.jit import instance_class, types, walk_overload
from p2mperf.memory import vm
from p2mperf.memory.raw import Counted, advise_memory, load_element64, map_memory, store_element64

ZERO, ONE = np.uint64(0), np.uint64(1)
HOLE = ~ZERO  # in place of a frame; -1 as a signed word
MAPS_LEFT, N_MAPPED, N_REFUSED = (np.uint64(n) for n in range(3))  # in `Views.counts`
_PAGE = np.uint64(12)
_READ = np.intc(vm.READ)
# Shared, so that an entry that is stored through the pool is there in the window at once.
_SHOW = np.intc(vm.MAP_SHARED | vm.MAP_FIXED)
# A hole reads the system's page of zeros: where nothing is mapped a reader would be killed.
_HIDE = np.intc(vm.MAP_PRIVATE | vm.MAP_ANONYMOUS | vm.MAP_NORESERVE | vm.MAP_FIXED)
_SMALL_PAGES = np.intc(vm.MADV_NOHUGEPAGE)
_NO_FILE = np.intc(-1)


class Views(NamedTuple):
    """The windows of a p2m, as compiled code changes them; they are parts of one area.

    Attributes
    ----------
    base : uint64
        Address of page 0 of the area.
    n_windows : uint64
        How many there are.
    first : uint64
        Address of a word for each: the page of the area that it begins with, that of L1 first.
    frames : uint64
        Address of a word for each page of the area, kept in step: the frame on it; -1 for a hole.
    fd : intc
        The pool's memory.
    stand_in : uint64
        First of as many frames as a table has entries, which stand in for guest RAM.
    bits : uint64
        Bits of a guest frame that select an entry of one table.
    small_pages : bool
        Whether pages of 4 KiB are to be kept.
    counts : uint64
        Address of three words: mappings that may still be added; calls of mmap; and those that were refused.

    Notes
    -----
    Addresses, not arrays, as in `p2mperf.designs.hap.store_kernels.Store`.
    """

    base: np.uint64
    n_windows: np.uint64
    first: np.uint64
    frames: np.uint64
    fd: np.intc
    stand_in: np.uint64
    bits: np.uint64
    small_pages: bool
    counts: np.uint64


Shown = Views | tuple[()]  # a p2m's windows, or none


@inlined
def first_page(views: Views, level: Counted) -> np.uint64:
    """Page of the area that a window begins with."""
    return load_element64(views.first, level)


def show(views: Shown, level: np.uint64, page: np.uint64, n_pages: np.uint64, frame: np.uint64) -> bool:
    """Show frames that follow each other in one window; compiled code only.

    Parameters
    ----------
    views : () or Views
        The windows.
    level : uint64
        Which, 0 for that of L1; beyond the last, nothing is done.
    page, n_pages : uint64
        Pages of it.
    frame : uint64
        First frame; `HOLE` for none.

    Returns
    -------
    bool
        False when the system refuses; what was shown is shown on.
    """
    raise NotImplementedError("show is for compiled code")


def has_room(views: Shown, n_changes: np.uint64) -> bool:
    """Tell whether so many changes can be shown; compiled code only. Each may cut one mapping into three."""
    raise NotImplementedError("has_room is for compiled code")


def _show(views: Views, level: np.uint64, page: np.uint64, n_pages: np.uint64, frame: np.uint64) -> bool:
    # The root of four levels and that of PAE's three have no window, as in Xen.
    if level >= views.n_windows:
        return True
    at, n_bytes = first_page(views, level) + page, n_pages << _PAGE
    address = views.base + (at << _PAGE)
    # One call over what is there: a reader that came after an munmap would be killed.
    if frame == HOLE:
        shown = map_memory(address, n_bytes, _READ, _HIDE, _NO_FILE, np.int64(0))
    else:
        shown = map_memory(address, n_bytes, _READ, _SHOW, views.fd, np.int64(frame << _PAGE))
    store_element64(views.counts, N_MAPPED, load_element64(views.counts, N_MAPPED) + ONE)
    if shown != address:
        store_element64(views.counts, N_REFUSED, load_element64(views.counts, N_REFUSED) + ONE)
        return False
    # Shown in the midst of another, a mapping makes three of it: two more, as the system counts them.
    # Only down, and not below 0, which would be room without end: which of them have become one again the
    # system knows, and it is asked when none seem to be left (`HapTable.change`).
    left = load_element64(views.counts, MAPS_LEFT)
    store_element64(views.counts, MAPS_LEFT, left - min(left, ONE + ONE))
    # Advice is the mapping's, and this is a new one.
    if views.small_pages:
        advise_memory(address, n_bytes, _SMALL_PAGES)
    # Last, as what was refused is not there: the audit compares this with /proc/self/maps.
    for k in range(n_pages):
        store_element64(views.frames, at + k, HOLE if frame == HOLE else frame + k)
    return True


@walk_overload(show)
def _choose_show(
    views: types.Type, level: types.Type, page: types.Type, n_pages: types.Type, frame: types.Type
) -> Callable[..., bool]:
    if instance_class(views) is Views:
        return _show
    return lambda views, level, page, n_pages, frame: True


@walk_overload(has_room)
def _choose_room(views: types.Type, n_changes: types.Type) -> Callable[..., bool]:
    if instance_class(views) is Views:
        return lambda views, n_changes: load_element64(views.counts, MAPS_LEFT) >= n_changes + n_changes
    return lambda views, n_changes: True


def show_below(views: Shown, level: np.uint64, frame: np.uint64, is_leaf: bool) -> None:
    """Show stand-ins for guest RAM, or holes, in all windows below a superpage or what was one.

    Parameters
    ----------
    views : () or Views
        The windows.
    level : uint64
        Level of the entry, 1 for L2.
    frame : uint64
        First guest frame of it.
    is_leaf : bool
        Whether the entry is a superpage.
    """
    raise NotImplementedError("show_below is for compiled code")


def _show_below(views: Views, level: np.uint64, frame: np.uint64, is_leaf: bool) -> None:
    mask = (ONE << views.bits) - ONE
    below = ZERO
    while below < level:
        # A page shows a table: of a superpage of 1 GiB 512 in the window of L1, and one in that of L2.
        page, n_pages = frame >> (views.bits * (below + ONE)), ONE << (views.bits * (level - ONE - below))
        # A row of stand-ins is as long as the pages of a superpage that a window shows.
        # Whether it was shown is not asked here, where the entry changes in any case: N_REFUSED has it, and
        # makes the change an error (`HapWindows.require_shown`).
        show(views, below, page, n_pages, views.stand_in + (page & mask) if is_leaf else HOLE)
        below += ONE


@walk_overload(show_below)
def _choose_below(
    views: types.Type, level: types.Type, frame: types.Type, is_leaf: types.Type
) -> Callable[..., None]:
    if instance_class(views) is Views:
        return _show_below
    return lambda views, level, frame, is_leaf: None
