"""Compiled: one entry of a leaf, how it is read and written at either width, and what kind it is.

Each store is one aligned word: tools and readers look on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.geometries import find_geometry
from p2mperf.guests.geometry import Entries, Geometry
from p2mperf.jit import instance_class, njit, types, walk_overload
from p2mperf.memory.raw import (
    LoadElement,
    StoreElement,
    load_element32,
    load_element64,
    store_element32,
    store_element64,
)

ZERO = np.uint64(0)
ONE = np.uint64(1)
# Small numbers, where no page begins: one comparison tells a private leaf from both.
MISSING = ZERO  # what `locate_leaf` says of a leaf that is the shared p2m_missing page
IDENTITY = ONE  # and of the shared p2m_identity page; anything above is an address


class EntryFormat(NamedTuple):
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


# A class for each width, as numba compiles by type: no loop asks at run time how wide an entry is.
class EntryFormat64(EntryFormat):
    """Entries of 8 bytes, 512 to a leaf."""


class EntryFormat32(EntryFormat):
    """Entries of 4 bytes, 1024 to a leaf."""


_ACCESS: dict[type | None, tuple[LoadElement, StoreElement]] = {
    EntryFormat64: (load_element64, store_element64),
    EntryFormat32: (load_element32, store_element32),
}
_SHAPES: dict[type | None, Geometry] = {
    EntryFormat64: find_geometry("pv64"),
    EntryFormat32: find_geometry("pv32"),
}


def locate_leaf(tables: NamedTuple, pfn: np.uint64) -> np.uint64:
    """Address of the leaf that holds a pfn's entry, or `MISSING` or `IDENTITY` where it is shared.

    Compiled code only; a design that can be written implements it for the NamedTuple it writes by.
    """
    raise NotImplementedError("locate_leaf is for compiled code: a design implements it for its tables")


def load_entry(form: EntryFormat, leaf: np.uint64, index: np.uint64) -> np.uint64:
    """Read one entry of a leaf; compiled code only.

    Parameters
    ----------
    form : EntryFormat64 or EntryFormat32
        Entry format.
    leaf, index : uint64
        Address of the leaf in this process [bytes], and which of its entries.

    Returns
    -------
    uint64
        The entry.
    """
    raise NotImplementedError("load_entry is for compiled code")


def store_entry(form: EntryFormat, leaf: np.uint64, index: np.uint64, entry: np.uint64) -> None:
    """Write one entry of a leaf in one store; compiled code only.

    Parameters
    ----------
    form, leaf, index
        As `load_entry`.
    entry : uint64
        What to write.
    """
    raise NotImplementedError("store_entry is for compiled code")


def leaf_mask(form: EntryFormat) -> np.uint64:
    """Bits of a pfn that are its index in a leaf, known to the compiler; compiled code only."""
    raise NotImplementedError("leaf_mask is for compiled code")


def markers(form: EntryFormat) -> np.uint64:
    """Both marker bits, known to the compiler; compiled code only."""
    raise NotImplementedError("markers is for compiled code")


# Constants, which are part of an instruction: made of fields of `form` they would take registers, for want of
# which the loops that write keep more on the stack.
@walk_overload(leaf_mask)
def _leaf_mask(form: types.Type) -> Callable[[EntryFormat], np.uint64]:
    mask = np.uint64(_SHAPES[instance_class(form)].leaf_frames - 1)
    return lambda form: mask


@walk_overload(markers)
def _markers(form: types.Type) -> Callable[[EntryFormat], np.uint64]:
    shape = _SHAPES[instance_class(form)]
    bits = np.uint64(shape.identity_bit | shape.foreign_bit)
    return lambda form: bits


@walk_overload(load_entry)
def _load_entry(
    form: types.Type, leaf: types.Type, index: types.Type
) -> Callable[[EntryFormat, np.uint64, np.uint64], np.uint64]:
    load, _ = _ACCESS[instance_class(form)]
    return lambda form, leaf, index: load(leaf, index)


@walk_overload(store_entry)
def _store_entry(
    form: types.Type, leaf: types.Type, index: types.Type, entry: types.Type
) -> Callable[[EntryFormat, np.uint64, np.uint64, np.uint64], None]:
    _, store = _ACCESS[instance_class(form)]
    return lambda form, leaf, index, entry: store(leaf, index, entry)


@njit
def is_plain(form: EntryFormat, entry: np.uint64) -> bool:
    """Tell whether an entry is an mfn and nothing else: INVALID has both markers set."""
    return entry & (form.identity | form.foreign) == ZERO


@njit
def is_foreign(form: EntryFormat, entry: np.uint64) -> bool:
    """Tell whether an entry is another domain's frame."""
    # INVALID has this bit too, as it has all others.
    return entry & form.foreign != ZERO and entry != form.invalid


@njit
def is_astray(form: EntryFormat, pfn: np.uint64, entry: np.uint64) -> bool:
    """Tell whether an entry is identity of another frame than its own.

    Parameters
    ----------
    form : EntryFormat64 or EntryFormat32
        Entry format.
    pfn, entry : uint64
        The frame, and what stands there.

    Returns
    -------
    bool
    """
    identity = entry & (form.identity | form.foreign) == form.identity
    return identity and entry != form.identity | pfn


@njit(forceinline=True)
def keep_m2p(form: EntryFormat, m2p: Entries, pfn: np.uint64, old: np.uint64, entry: np.uint64) -> None:
    """Let the m2p follow one write.

    Parameters
    ----------
    form : EntryFormat64 or EntryFormat32
        Entry format.
    m2p : ndarray of uint64 or uint32, shape (n_machine,)
        The table; empty for none.
    pfn, old, entry : uint64
        The frame, what stood there, and what stands there now.
    """
    # Marked foreign, a frame of ours stays ours: m2p_add_override does that while it is shared.
    n_machine = np.uint64(m2p.size)
    other = entry & ~(form.identity | form.foreign) != old
    # Taken back only where it still names this frame: when two frames change mfns, the first write has let it
    # name the other already.
    if other and is_plain(form, old) and old < n_machine and m2p[old] == pfn:
        m2p[old] = form.invalid
    if is_plain(form, entry) and entry < n_machine:
        m2p[entry] = pfn


@njit(forceinline=True)
def note_change(
    form: EntryFormat,
    m2p: Entries,
    changes: NDArray[np.int64],
    pfn: np.uint64,
    old: np.uint64,
    entry: np.uint64,
) -> None:
    """Count what kind of entry went and came, and let the m2p follow.

    Parameters
    ----------
    form, m2p, pfn, old, entry
        As for `keep_m2p`.
    changes : ndarray of int64, shape (3,)
        Added to, as in `set_entries`.
    """
    # Sums of 0 and 1 take no branch, which kinds that come in no order would have the processor guess: in
    # order of pfn, with every second entry INVALID, branches took 1.3 to 1.4 times as long. Where all are of
    # one kind they are guessed right, and took 0.6 to 0.7 times as long.
    changes[0] += np.int64(is_plain(form, entry)) - np.int64(is_plain(form, old))
    changes[1] += np.int64(is_foreign(form, entry)) - np.int64(is_foreign(form, old))
    changes[2] += np.int64(is_astray(form, pfn, entry)) - np.int64(is_astray(form, pfn, old))
    if m2p.size:
        keep_m2p(form, m2p, pfn, old, entry)
