"""Compiled writing: array forms of set_phys_to_machine and of the balloon driver's loops.

One pass writes in place and stops at the first frame whose leaf is shared, for breaking a leaf takes pages
and mappings, which is not for compiled code. A leaf once private stays so, hence its address is kept for
frames of one leaf that follow each other. Each store is one aligned word: tools and readers look on
meanwhile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from p2mperf.guests.geometry import GEOMETRIES
from p2mperf.jit import instance_class, njit, walk_overload
from p2mperf.memory.raw import (
    load_element32,
    load_element64,
    store_element32,
    store_element64,
    unlikely,
)

ZERO = np.uint64(0)
ONE = np.uint64(1)
MISSING = ZERO  # what `locate_leaf` says of a leaf that is the shared p2m_missing page
IDENTITY = ONE  # and of the shared p2m_identity page; anything above is an address


class Words(NamedTuple):
    """How entries are written at one width.

    Attributes
    ----------
    invalid, identity, foreign : uint64
        INVALID and the two marker bits.
    leaf_shift : uint64
        log2 of the frames of a leaf.
    end : uint64
        First pfn that cannot be written.
    n_machine : uint64
        Machine frames.
    """

    invalid: np.uint64
    identity: np.uint64
    foreign: np.uint64
    leaf_shift: np.uint64
    end: np.uint64
    n_machine: np.uint64


class Words64(Words):
    """Entries of 8 bytes, 512 to a leaf."""


class Words32(Words):
    """Entries of 4 bytes, 1024 to a leaf."""


_ACCESS: dict[Any, Any] = {
    Words64: (load_element64, store_element64),
    Words32: (load_element32, store_element32),
}

_SHAPES: dict[Any, Any] = {Words64: GEOMETRIES["pv64"], Words32: GEOMETRIES["pv32"]}


def locate_leaf(tables: Any, pfn: Any) -> Any:
    """Address of the leaf that holds a pfn's entry, or `MISSING` or `IDENTITY` where it is shared.

    Compiled code only; a design that can be written implements it for the NamedTuple it writes by.
    """
    raise NotImplementedError("locate_leaf is for compiled code: a design implements it for its tables")


def load_entry(words: Any, leaf: Any, index: Any) -> Any:
    """Read one entry of a leaf; compiled code only.

    Parameters
    ----------
    words : Words64 or Words32
        Entry format.
    leaf, index : uint64
        Address of the leaf in this process [bytes], and which of its entries.

    Returns
    -------
    uint64
        The entry.
    """
    raise NotImplementedError("load_entry is for compiled code")


def store_entry(words: Any, leaf: Any, index: Any, entry: Any) -> Any:
    """Write one entry of a leaf in one store; compiled code only.

    Parameters
    ----------
    words, leaf, index
        As `load_entry`.
    entry : uint64
        What to write.
    """
    raise NotImplementedError("store_entry is for compiled code")


def leaf_mask(words: Any) -> Any:
    """Bits of a pfn that are its index in a leaf, known to the compiler; compiled code only."""
    raise NotImplementedError("leaf_mask is for compiled code")


def markers(words: Any) -> Any:
    """Both marker bits, known to the compiler; compiled code only."""
    raise NotImplementedError("markers is for compiled code")


@walk_overload(leaf_mask)
def _leaf_mask(words):  # type: ignore[no-untyped-def]
    mask = np.uint64(_SHAPES[instance_class(words)].leaf_frames - 1)
    return lambda words: mask


@walk_overload(markers)
def _markers(words):  # type: ignore[no-untyped-def]
    shape = _SHAPES[instance_class(words)]
    bits = np.uint64(shape.identity_bit | shape.foreign_bit)
    return lambda words: bits


@walk_overload(load_entry)
def _load_entry(words, leaf, index):  # type: ignore[no-untyped-def]
    load, _ = _ACCESS[instance_class(words)]
    return lambda words, leaf, index: load(leaf, index)


@walk_overload(store_entry)
def _store_entry(words, leaf, index, entry):  # type: ignore[no-untyped-def]
    _, store = _ACCESS[instance_class(words)]
    return lambda words, leaf, index, entry: store(leaf, index, entry)


@njit
def is_plain(words, entry):  # type: ignore[no-untyped-def]
    """Tell whether an entry is an mfn and nothing else: INVALID has both markers set."""
    return entry & (words.identity | words.foreign) == ZERO


@njit
def is_foreign(words, entry):  # type: ignore[no-untyped-def]
    """Tell whether an entry is another domain's frame."""
    return entry & words.foreign != ZERO and entry != words.invalid


@njit
def is_astray(words, pfn, entry):  # type: ignore[no-untyped-def]
    """Tell whether an entry is identity of another frame than its own.

    Parameters
    ----------
    words : Words64 or Words32
        Entry format.
    pfn, entry : uint64
        The frame, and what stands there.

    Returns
    -------
    bool
    """
    identity = entry & (words.identity | words.foreign) == words.identity
    return identity and entry != words.identity | pfn


@njit(forceinline=True)
def keep_m2p(words, m2p, pfn, old, entry):  # type: ignore[no-untyped-def]
    """Let the m2p follow one write.

    Parameters
    ----------
    words : Words64 or Words32
        Entry format.
    m2p : ndarray of uint64 or uint32, shape (n_machine,)
        The table; empty for none.
    pfn, old, entry : uint64
        The frame, what stood there, and what stands there now.
    """
    # Marked foreign, a frame of ours stays ours: m2p_add_override does that while it is shared.
    n_machine = np.uint64(m2p.size)
    other = entry & ~(words.identity | words.foreign) != old
    if other and is_plain(words, old) and old < n_machine and m2p[old] == pfn:
        m2p[old] = words.invalid
    if is_plain(words, entry) and entry < n_machine:
        m2p[entry] = pfn


@njit(forceinline=True)
def note_change(words, m2p, changes, pfn, old, entry):  # type: ignore[no-untyped-def]
    """Count what kind of entry went and came, and let the m2p follow.

    Parameters
    ----------
    words, m2p, pfn, old, entry
        As for `keep_m2p`.
    changes : ndarray of int64, shape (3,)
        Added to, as in `set_entries`.
    """
    changes[0] += np.int64(is_plain(words, entry)) - np.int64(is_plain(words, old))
    changes[1] += np.int64(is_foreign(words, entry)) - np.int64(is_foreign(words, old))
    changes[2] += np.int64(is_astray(words, pfn, entry)) - np.int64(is_astray(words, pfn, old))
    if m2p.size:
        keep_m2p(words, m2p, pfn, old, entry)


@njit(forceinline=True)
def _write_noting(  # type: ignore[no-untyped-def]
    words, leaf_address, first_pfn, pfns, entries, only_holes, i, done, m2p, changes
):
    """Write on in one leaf, and note what kind of entry came and went."""
    n, mask = np.uint64(pfns.size), leaf_mask(words)
    while i < n and pfns[i] - first_pfn <= mask:
        entry, index = entries[i], pfns[i] - first_pfn
        old = load_entry(words, leaf_address, index)
        done[i] = not only_holes or old == words.invalid
        if done[i]:
            store_entry(words, leaf_address, index, entry)
            note_change(words, m2p, changes, pfns[i], old, entry)
        i += ONE
    return i


@njit
def set_entries(tables, words, pfns, entries, only_holes, first, stop, done, m2p, changes):  # type: ignore[no-untyped-def]
    """Write entries in order, in place.

    Parameters
    ----------
    tables : NamedTuple
        What the design's `locate_leaf` needs.
    words : Words64 or Words32
        Entry format.
    pfns, entries : ndarray of uint64, shape (n,)
        What to write where.
    only_holes : bool
        Write only where INVALID is read, as ballooning up and foreign mappings must.
    first : int
        Where to start.
    stop : bool
        Stop at a frame whose shared leaf must be broken first; otherwise such a frame is refused.
    done : ndarray of bool, shape (n,)
        All True; set to False for each frame whose entry is not as asked.
    m2p : ndarray of uint64 or uint32
        Machine-to-physical entries to keep in step; empty for none.
    changes : ndarray of int64, shape (3,)
        Added to: change in the number of plain mfns, of foreign entries, of identity of another frame.

    Returns
    -------
    int
        Where it stopped; n when all are written or refused.

    Notes
    -----
    INVALID into missing and own identity into identity need no leaf and are done; __set_phys_to_machine of
    arch/x86/xen/p2m.c (3.19).
    """
    plainly = not only_holes and m2p.size == 0
    mask, marked = leaf_mask(words), markers(words)
    # An unsigned index needs no look for a negative one.
    i, n = np.uint64(first), np.uint64(pfns.size)
    while i < n:
        pfn = pfns[i]
        if unlikely(pfn >= words.end):
            done[i] = entries[i] == words.invalid and not only_holes
            i += ONE
            continue
        first_pfn, leaf_address = pfn & ~mask, locate_leaf(tables, pfn)
        if unlikely(leaf_address <= IDENTITY):
            as_is = entries[i] == (words.invalid if leaf_address == MISSING else words.identity | pfn)
            if stop and not (as_is or (only_holes and leaf_address == IDENTITY)):
                break
            done[i] = as_is and (not only_holes or leaf_address == MISSING)
            i += ONE
            continue
        # Where one mfn takes another's place, which is the most common, nothing changes in kind. All else
        # is left to `_write_noting`, and `done` as it is: they cost registers and a store (40 % of the rate).
        index = pfn - first_pfn
        while plainly and index <= mask:
            entry = entries[i]
            if unlikely((load_entry(words, leaf_address, index) | entry) & marked != ZERO):
                break
            store_entry(words, leaf_address, index, entry)
            i += ONE
            if i == n:
                return np.int64(n)
            index = pfns[i] - first_pfn
        else:
            if plainly:
                continue  # the next frame is in another leaf
        i = _write_noting(words, leaf_address, first_pfn, pfns, entries, only_holes, i, done, m2p, changes)
    return np.int64(i)


@njit
def find_unfit(words, entries, plain_only):  # type: ignore[no-untyped-def]
    """Index of the first entry that is too wide, names an mfn beyond the machine, or has a marker it may not.

    Parameters
    ----------
    words : Words64 or Words32
        Entry format.
    entries : ndarray of uint64, shape (n,)
        Entries about to be written.
    plain_only : bool
        Take mfns only.

    Returns
    -------
    int
        n when all will do.
    """
    for i in range(entries.size):
        entry = entries[i]
        if is_plain(words, entry):
            if entry >= words.n_machine:
                return i
        elif plain_only or entry > words.invalid:
            return i
    return entries.size


@njit
def find_shared(tables, words, pfns, entries, only_holes, first, found):  # type: ignore[no-untyped-def]
    """Find the frames whose leaf must be broken before they can be written.

    Parameters
    ----------
    tables, words, pfns, entries, only_holes, first
        As for `set_entries`.
    found : ndarray of bool, shape (n,)
        Set for each frame from `first` on.
    """
    for i in range(first, pfns.size):
        pfn, entry = pfns[i], entries[i]
        found[i] = False
        if pfn < words.end:
            leaf_address = locate_leaf(tables, pfn)
            if leaf_address == MISSING:
                found[i] = entry != words.invalid
            elif leaf_address == IDENTITY:
                found[i] = entry != words.identity | pfn and not only_holes


@njit
def balloon_out(tables, words, pfns, batch, mfns, m2p):  # type: ignore[no-untyped-def]
    """Take frames away from a guest, a list of frame numbers at a time.

    Parameters
    ----------
    tables, words, m2p
        As for `set_entries`.
    pfns : ndarray of uint64, shape (n,)
        Frames to give up.
    batch : ndarray of uint64, shape (n_batch,)
        Scratch: addresses of the leaves of a batch; one page of frame numbers in the driver.
    mfns : ndarray of uint64, shape (n,)
        Set to the machine frame given up; INVALID where the pfn had none of its own.

    Returns
    -------
    int
        Frames given up.

    Notes
    -----
    decrease_reservation of drivers/xen/balloon.c (3.18): the list is collected, then each entry is made
    INVALID. That never needs a page: a leaf with an mfn in it is private.
    """
    n_out = 0
    mask, marked = leaf_mask(words), markers(words)
    first, n = ZERO, np.uint64(pfns.size)
    while first < n:
        last = min(first + np.uint64(batch.size), n)
        i = first
        while i < last:
            pfn = pfns[i]
            first_pfn, leaf = pfn & ~mask, MISSING
            if pfn < words.end:
                leaf = locate_leaf(tables, pfn)
            if leaf <= IDENTITY:
                mfns[i] = words.invalid
                i += ONE
                continue
            index = pfn - first_pfn
            while index <= mask:
                old = load_entry(words, leaf, index)
                mfns[i] = old if old & marked == ZERO else words.invalid
                batch[i - first] = leaf
                i += ONE
                if i == last:
                    break
                index = pfns[i] - first_pfn
        for at in range(first, last):
            if mfns[at] == words.invalid:
                continue
            leaf, index = batch[at - first], pfns[at] & mask
            # The second look is for a pfn that stands twice in one batch.
            if load_entry(words, leaf, index) == mfns[at]:
                store_entry(words, leaf, index, words.invalid)
                if m2p.size:
                    keep_m2p(words, m2p, pfns[at], mfns[at], words.invalid)
                n_out += 1
            else:
                mfns[at] = words.invalid
        first = last
    return n_out


@njit
def fill_leaves(pages, frames, value, step):  # type: ignore[no-untyped-def]
    """Fill whole leaves with value, value + step, value + 2 step ...

    Parameters
    ----------
    pages : ndarray of uint64 or uint32, shape (n_frames, leaf_frames)
        The direct map.
    frames : ndarray of int64, shape (n_leaves,)
        Frames to fill.
    value, step : ndarray as `pages`, shape (n_leaves,)
        First entry of each, and 1 for identity or 0 for INVALID.
    """
    for leaf in range(frames.size):
        row, entry, delta = pages[frames[leaf]], value[leaf], step[leaf]
        for i in range(row.size):
            row[i] = entry + pages.dtype.type(i) * delta


@njit
def store_slots(words, addresses, values):  # type: ignore[no-untyped-def]
    """Write slots of interior pages, each in one store.

    Parameters
    ----------
    words : Words64 or Words32
        Says how wide a slot is.
    addresses, values : ndarray of uint64, shape (n,)
        Where, and what.
    """
    for i in range(addresses.size):
        store_entry(words, addresses[i], ZERO, values[i])


@njit
def invert_leaves(pages, frames, first_pfn, words, m2p):  # type: ignore[no-untyped-def]
    """Write the pfn of every plain mfn in private leaves into the m2p.

    Parameters
    ----------
    pages, frames
        As for `fill_leaves`.
    first_pfn : ndarray of uint64, shape (n_leaves,)
        First frame of each leaf.
    words : Words64 or Words32
        Entry format.
    m2p : ndarray of uint64 or uint32, shape (n_machine,)
        Written to.
    """
    for leaf in range(frames.size):
        row = pages[frames[leaf]]
        for i in range(row.size):
            entry = np.uint64(row[i])
            if is_plain(words, entry) and entry < m2p.size:
                m2p[entry] = first_pfn[leaf] + np.uint64(i)


@njit
def renumber(pages, frames, words, mfns):  # type: ignore[no-untyped-def]
    """Replace the plain mfns of leaves by others, in order.

    Parameters
    ----------
    pages, frames, words
        As for `invert_leaves`.
    mfns : ndarray of uint64, shape (n_plain,)
        The new ones; as long as there are plain mfns.

    Returns
    -------
    int
        Entries replaced.
    """
    n = 0
    for leaf in range(frames.size):
        row = pages[frames[leaf]]
        for i in range(row.size):
            if is_plain(words, np.uint64(row[i])):
                row[i] = mfns[n]
                n += 1
    return n
