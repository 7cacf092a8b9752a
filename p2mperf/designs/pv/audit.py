"""What must hold of a p2m: leaves, table, page counts and window, checked against the memory itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from p2mperf.designs.pv.audit_kernels import count_entries
from p2mperf.designs.pv.leaf_plan import Leaf
from p2mperf.designs.pv.store import LeafStore
from p2mperf.errors import AuditError
from p2mperf.memory.smaps import mappings
from p2mperf.memory.window import Window
from p2mperf.tables.radix import read_back
from p2mperf.units import PAGE_SHIFT


def require(store: LeafStore, holds: ArrayLike, invariant: str) -> None:
    """See that an invariant holds, everywhere.

    Parameters
    ----------
    store : LeafStore
        Whose.
    holds : bool or ndarray of bool
        Whether it does.
    invariant : str
        What is broken where it does not.

    Raises
    ------
    AuditError
        When it does not.
    """
    if not np.all(holds):
        raise AuditError(f"{store.subject}: {invariant}")


def check_leaves(store: LeafStore, n_ram: int) -> None:
    """Check what stands in the leaves.

    Parameters
    ----------
    store : LeafStore
        The leaves.
    n_ram : int
        Frames that had memory when they were built.

    Raises
    ------
    AuditError
        Naming the first broken invariant.
    """
    shape, dtype = store.guest.geometry, store.guest.geometry.dtype
    for frame, name in ((store.missing_leaf, "missing_leaf"), (store.identity_leaf, "identity_leaf")):
        shared = store.pool.words(frame, dtype)
        require(store, shared == shape.invalid, f"the shared {name} page is not INVALID throughout")
    pages = store.pool.pages(dtype)[store.leaf_frames]
    first = store.first_pfns(np.flatnonzero(store.leaf_state == Leaf.PRIVATE))
    marks = np.array([shape.invalid, shape.identity_bit, shape.foreign_bit], np.uint64)
    n_machine = n_marked = store.guest.machine.n_frames
    if n_machine > 64 * pages.size:
        # A bit for each frame of so large a machine would be more than the leaves: number those that occur.
        plain = pages < min(n_machine, shape.identity_bit)
        mfns, pages[plain] = np.unique(pages[plain], return_inverse=True)
        n_marked = mfns.size
    seen = np.zeros(n_marked // 64 + 1, np.uint64)
    counts = count_entries(pages, first, marks, np.uint64(n_machine), seen)
    n_plain, _, _, n_foreign, n_astray, n_beyond, n_twice = counts.tolist()
    written = store.changes.tolist()
    require(store, n_astray == written[2], f"{n_astray} identity entries name another frame")
    require(store, n_foreign == written[1], f"{n_foreign} frames are foreign where {written[1]} should")
    require(store, n_beyond == 0, f"{n_beyond} mfns lie beyond the machine's {n_machine} frames")
    require(store, n_twice == 0, f"{n_twice} mfns back two frames")
    expected = n_ram + written[0]
    require(store, n_plain == expected, f"{n_plain} frames have memory where {expected} should")


def check_table(store: LeafStore, pages: dict[str, int]) -> None:
    """Check the table and the page counts against what was built and written.

    Parameters
    ----------
    store : LeafStore
        The leaves and their table.
    pages : dict of str to int
        Pages by kind that building takes.

    Raises
    ------
    AuditError
        Naming the first broken invariant.
    """
    table, private = store.table, store.leaf_state == Leaf.PRIVATE
    found = read_back(table, store.leaves.size)
    require(store, found == store.leaves, "a slot points to another leaf than the map asks for")
    agree = store.leaves[~private] == store.shared_targets()[~private]
    require(store, agree, "a leaf is shared that should be private")
    expected = dict(pages)
    for kind, n_pages in store.taken.items():
        expected[kind] = expected.get(kind, 0) + n_pages
    require(store, store.pool.kinds == {k: n for k, n in expected.items() if n}, "page counts differ")
    for label, page in table.shared.items():
        slots = store.pool.words(page, table.shape.dtype)
        require(store, table.decode(slots) == label, "a shared mid points to more than one leaf")


def check_window(store: LeafStore, window: Window) -> None:
    """Check that what /proc/self/maps says of the area is what the page table says.

    Parameters
    ----------
    store : LeafStore
        The leaves and their table.
    window : Window
        Shows them.

    Raises
    ------
    AuditError
        Naming the first broken invariant.
    """
    window.require_open()
    shown = np.full(window.n_pages, -1, np.int64)
    writable = np.zeros(window.n_pages, np.bool_)
    for mapping in mappings(window.base, window.n_pages << PAGE_SHIFT):
        first = window.page_at(mapping.start)
        n_pages = (mapping.end - mapping.start) >> PAGE_SHIFT
        frame = mapping.offset_bytes >> PAGE_SHIFT
        shown[first : first + n_pages] = np.arange(frame, frame + n_pages)
        writable[first : first + n_pages] = mapping.writable
    require(store, shown == window.frames, "the window shows another frame than was mapped")
    private = store.leaf_state == Leaf.PRIVATE
    require(store, writable == private, "a shared leaf can be written, or a private one cannot")
    agree = shown[private] == store.leaves[private]
    require(store, agree, "the window shows another leaf than the page table")
    words = store.pool.pages(np.uint64)[np.unique(shown[~private])]
    require(store, words == np.uint64(2**64 - 1), "a shared page of the window is not INVALID throughout")
