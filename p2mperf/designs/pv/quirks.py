"""Where the kernels behaved otherwise than they should have: by name, off unless asked for.

The tree's are those of Linux 3.18; the list's are what commit 054954eb051f had wrong when it landed, and what
was mended in the years after.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from p2mperf.designs.pv.leaf_plan import Flags, Leaf
from p2mperf.designs.pv.store import LeafStore
from p2mperf.errors import BadInputError, known, unknown
from p2mperf.guests.geometry import Kind, Words


class BugError(BadInputError):
    """The kernel would have stopped here: a BUG that a quirk was asked to reproduce."""


@dataclass(frozen=True)
class Quirk:
    """One deviation.

    Attributes
    ----------
    layouts : tuple of str
        Which layouts have it: "tree", "list".
    kernels : str
        Which kernels behaved so.
    effect : str
        What it does.
    """

    layouts: tuple[str, ...]
    kernels: str
    effect: str


_TREE, _LIST = ("tree",), ("list",)

QUIRKS = {
    "lost-write-under-identity": Quirk(
        _TREE,
        "3.18",
        "an mfn written under the shared identity page goes into that page: tools read it, lookups do not",
    ),
    "invalid-under-identity-ignored": Quirk(
        _TREE,
        "3.18",
        "INVALID written under the shared identity page goes into that page: the frame stays identity",
    ),
    "alloc-forgets-identity": Quirk(
        _TREE, "3.18", "a leaf made from identity is all INVALID; in 3.18 it takes a race to come to it"
    ),
    "identity-widens": Quirk(
        _TREE, "3.18", "identity written under a shared missing leaf or mid makes all of it identity"
    ),
    "tools-end-early": Quirk(
        _TREE,
        "3.18",
        "tools see no further than boot memory, or than the last that may be ballooned up to",
    ),
    "half-window": Quirk(
        _LIST,
        "as landed",
        "32 bits: the second page-table page of a shared mid is never linked: wrong stride",
    ),
    "stale-page-table-after-race": Quirk(
        _LIST, "as landed", "who loses the race for a shared mid changes the shared page-table page"
    ),
    "early-free-bug": Quirk(
        _LIST,
        "as landed",
        "a page that is not linked cannot be freed while booting: after a race, and with half-window",
    ),
    "identity-from-written-pfn": Quirk(
        _LIST,
        "as landed",
        "a leaf made from identity counts from the written frame, not from its first, at boot too",
    ),
    "extra-memory-rounded-out": Quirk(
        _LIST,
        "3.19 to 4.2",
        "a page that balloonable memory has only in part reads INVALID, though the rest of it is identity",
    ),
    "tools-index-unchecked": Quirk(
        _LIST, "3.19 to 4.2", "breaking a leaf beyond what the tools' tree can index stops the kernel"
    ),
    "hint-is-a-pfn": Quirk(
        _LIST, "4.3, until 2021", "growing tells the tools the written frame instead of a count of frames"
    ),
    "bug-beyond-end": Quirk(
        (*_TREE, *_LIST),
        "up to 5.11",
        "anything but INVALID beyond the end is a BUG; the tree ends at MAX_P2M_PFN, and loses it before",
    ),
}


TREE_QUIRKS = tuple(name for name, quirk in QUIRKS.items() if "tree" in quirk.layouts)
LIST_QUIRKS = tuple(name for name, quirk in QUIRKS.items() if "list" in quirk.layouts)


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
    if not isinstance(names, Iterable):
        raise unknown(f"quirk of {design}", names, there)
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
        # A list ends with its area, a tree with the slots of its top page: MAX_P2M_PFN, not with the map.
        self._end = np.uint64(store.leaves.size) << store.form.leaf_shift

    def find_bug(self, pfns: Words, entries: Words) -> int:
        """Index of the first write that stops the kernel; as many as there are for none."""
        form, fatal = self._store.form, np.zeros(pfns.size, np.bool_)
        if "bug-beyond-end" in self.names:
            fatal |= (pfns >= self._end) & (entries != form.invalid)
        if self._store.unlinked.size:
            leaves = np.minimum(pfns >> form.leaf_shift, self._store.leaves.size).astype(np.int64)
            fatal |= self._store.is_unlinked(leaves)
        return int(fatal.argmax()) if fatal.any() else pfns.size

    def bug_of(self, pfn: int) -> BugError:
        """What to say where `find_bug` has found one."""
        if pfn >= self._end:
            return BugError(f"pfn {pfn:#x} is beyond the end at {int(self._end):#x}: BUG")
        return BugError(f"pfn {pfn:#x} is in the half of a mid that was never linked: BUG")

    def lose_beyond(self, pfns: Words, entries: Words, done: Flags) -> None:
        """Lose what is written between the end of the map and that of the tree, as 3.18 did.

        Parameters
        ----------
        pfns, entries : ndarray of uint64, shape (n,)
            Written already, as far as can be.
        done : ndarray of bool, shape (n,)
            Set where 3.18 said that it was done.
        """
        store, form = self._store, self._store.form
        if "bug-beyond-end" not in self.names or form.end >= self._end:
            return
        far = np.flatnonzero((pfns >= form.end) & (pfns < self._end))
        far = far[store.leaf_state[(pfns[far] >> form.leaf_shift).astype(np.int64)] == Leaf.IDENTITY]
        done[far] = True
        for pfn, entry in zip(pfns[far].tolist(), entries[far].tolist(), strict=True):
            if entry == form.invalid or not entry & int(form.identity):
                self._write_shared(pfn, entry)

    def write_instead(self, pfn: int, entry: int, widens: bool = True) -> bool:
        """Do what 3.18's tree did with a write under a shared page; False where it did as it should.

        Parameters
        ----------
        pfn, entry : int
            What is written where.
        widens : bool
            Whether identity may cover what is around the frame: set_phys_range_identity has split both ends
            of its range before.

        Returns
        -------
        bool
            Whether it was done.
        """
        form, names = self._store.form, self.names
        leaf = pfn >> int(form.leaf_shift)
        under_identity = bool(self._store.leaf_state[leaf] == Leaf.IDENTITY)
        if entry == form.invalid:
            ignored = under_identity and "invalid-under-identity-ignored" in names
            if ignored:
                self._write_shared(pfn, entry)
            return ignored
        if entry & int(form.identity):
            if "identity-widens" not in names or not (widens or under_identity):
                return False
            if not under_identity:
                self._widen(leaf)
            return True
        if under_identity and "lost-write-under-identity" in names:
            self._write_shared(pfn, entry)
            return True
        return False

    def _write_shared(self, pfn: int, entry: int) -> None:
        """Write into the page that all identity leaves share: lookups never read it, tools do."""
        store = self._store
        shared = store.pool.words(store.identity_leaf, store.guest.geometry.dtype)
        shared[pfn % shared.size] = entry


def misname_at_boot(store: LeafStore) -> None:
    """Let boot name identity as it did: "identity-from-written-pfn" under xen_inv_extra_mem.

    Parameters
    ----------
    store : LeafStore
        A list whose balloonable memory was made INVALID, run by run from below: what else is in the leaf
        where a run begins was filled from the run's first frame on.
    """
    shape, guest = store.guest.geometry, store.guest
    pages = store.pool.pages(shape.dtype)
    extra = store.plan.runs.select(Kind.EXTRA)
    seen = -(-guest.n_boot_pages // shape.leaf_frames) - 1  # leaves of the boot list were private before
    for first, end in zip(extra.first_pfn.tolist(), extra.end_pfn.tolist(), strict=True):
        leaf = first // shape.leaf_frames
        if leaf > seen:
            words = pages[store.leaves[leaf]]
            own = np.arange(leaf * shape.leaf_frames, (leaf + 1) * shape.leaf_frames, dtype=np.uint64)
            own |= np.uint64(shape.identity_bit)
            words[words == own] += np.array(first % shape.leaf_frames, words.dtype)
        seen = max(seen, (end - 1) // shape.leaf_frames)
