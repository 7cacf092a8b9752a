"""Where the kernels behaved otherwise than they should have: by name, off unless asked for.

The tree's are those of Linux 3.18; the list's are what commit 054954eb051f had wrong when it landed, and what
was mended in the years after.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from p2mperf.designs.pv.leaf_plan import Leaf
from p2mperf.designs.pv.store import LeafStore
from p2mperf.errors import BadInputError, known
from p2mperf.guests.geometry import Words


class BugError(BadInputError):
    """The kernel would have stopped here: a BUG that a quirk was asked to reproduce."""


@dataclass(frozen=True)
class Quirk:
    """One deviation.

    Attributes
    ----------
    designs : tuple of str
        Which designs have it.
    kernels : str
        Which kernels behaved so.
    effect : str
        What it does.
    """

    designs: tuple[str, ...]
    kernels: str
    effect: str


_TREE, _LIST = ("pv-tree",), ("pv-linear",)

QUIRKS = {
    "lost-write-under-identity": Quirk(
        _TREE, "3.18", "an mfn written under the shared identity page goes into that page, and is never read"
    ),
    "invalid-under-identity-ignored": Quirk(
        _TREE, "3.18", "INVALID written under the shared identity page does nothing: the frame stays identity"
    ),
    "alloc-forgets-identity": Quirk(
        _TREE, "3.18", "a leaf made from the shared identity page is all INVALID: neighbours lose identity"
    ),
    "identity-widens": Quirk(
        _TREE, "3.18", "identity written under a shared missing leaf or mid makes all of it identity"
    ),
    "half-window": Quirk(
        _LIST, "as landed", "32 bits: the second page-table page of a shared mid is not linked: wrong stride"
    ),
    "stale-page-table-after-race": Quirk(
        _LIST, "as landed", "who loses the race for a shared mid changes the shared page-table page"
    ),
    "early-free-bug": Quirk(
        _LIST, "as landed", "who loses a race while booting cannot free its page, and the kernel stops"
    ),
    "identity-from-written-pfn": Quirk(
        _LIST, "as landed", "a leaf made from identity counts from the written frame, not from its first"
    ),
    "tools-index-unchecked": Quirk(
        _LIST, "3.19 to 4.2", "breaking a leaf beyond what the tools' tree can index stops the kernel"
    ),
    "hint-is-a-pfn": Quirk(
        _LIST, "4.3, until 2021", "growing tells the tools the written frame instead of a count of frames"
    ),
    "bug-beyond-end": Quirk(
        (*_TREE, *_LIST), "up to 5.11", "anything but INVALID written beyond the end stops the kernel"
    ),
}


TREE_QUIRKS = tuple(name for name, quirk in QUIRKS.items() if _TREE[0] in quirk.designs)
LIST_QUIRKS = tuple(name for name, quirk in QUIRKS.items() if _LIST[0] in quirk.designs)


def checked_quirks(names: Iterable[str], there: Collection[str], design: str) -> frozenset[str]:
    """Check that a design has the quirks it is asked for.

    Parameters
    ----------
    names : iterable of str
        What is asked for; a single name counts as one.
    there : collection of str
        Those it has, as `TREE_QUIRKS`.
    design : str
        What an error calls it.

    Raises
    ------
    BadInputError
        For a name that is no quirk, or is another design's.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        known(f"quirk of {design}", name, there)
    return frozenset(names)


class QuirkyWrites:
    """What single writes did otherwise than they should have.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves.
    names : frozenset of str
        Deviations to reproduce.
    widen : callable
        Makes all of a missing leaf or mid identity, given a leaf number.
    """

    def __init__(self, store: LeafStore, names: frozenset[str], widen: Callable[[int], None]) -> None:
        self.names = names
        self._store = store
        self._widen = widen

    def find_bug(self, pfns: Words, entries: Words) -> int:
        """Index of the first write that stops the kernel; as many as there are for none."""
        if "bug-beyond-end" not in self.names:
            return pfns.size
        form = self._store.form
        fatal = np.flatnonzero((pfns >= form.end) & (entries != form.invalid))
        return int(fatal[0]) if fatal.size else pfns.size

    def write_instead(self, pfn: int, entry: int) -> bool:
        """Do what 3.18's tree did with a write under a shared page; False where it did as it should."""
        store, form, names = self._store, self._store.form, self.names
        leaf = pfn >> int(form.leaf_shift)
        under_identity = store.leaf_state[leaf] == Leaf.IDENTITY
        if entry == form.invalid:
            return bool(under_identity) and "invalid-under-identity-ignored" in names
        if entry & int(form.identity):
            if "identity-widens" not in names:
                return False
            if not under_identity:
                self._widen(leaf)
            return True
        if under_identity and "lost-write-under-identity" in names:
            shared = store.pool.words(store.identity_leaf, store.guest.geometry.dtype)
            shared[pfn % shared.size] = entry
            return True
        return False
