"""The door of every PV p2m: what users ask, handed on to the part that knows.

Doors stand beside `Design` among a design's bases and not between the two: they keep no state and decide
nothing, and without them the same lines would stand in each design.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.designs.backing import Backing
from p2mperf.designs.capabilities import Translating
from p2mperf.designs.explained import Explained, dump
from p2mperf.designs.pv import entries
from p2mperf.designs.pv.leaf_plan import LeafPlan
from p2mperf.designs.pv.store import LeafStore
from p2mperf.designs.pv.way_back import WayBack
from p2mperf.guests.frames import word
from p2mperf.guests.geometry import Words
from p2mperf.memory.pool import Frames, PagePool
from p2mperf.tables.m2p import M2p, Overrides
from p2mperf.units import flag, round_up


class Readable(Translating, Protocol):
    """A design with leaves in a store.

    Attributes
    ----------
    store : LeafStore
        Its leaves.
    way_back : WayBack
        From machine frames to the guest's.
    pages : dict of str to int
        Pages by kind that building takes.
    backing, kept, mfn_generation_ns
        As `Design`.
    """

    name: ClassVar[str]
    backing: Backing
    kept: ExitStack
    mfn_generation_ns: int
    store: LeafStore
    way_back: WayBack
    pages: dict[str, int]


class ReadDoor:
    """What every PV p2m can be asked.

    Attributes
    ----------
    store : LeafStore
        Its leaves.
    way_back : WayBack
        From machine frames to the guest's.
    """

    store: LeafStore
    way_back: WayBack

    def pfn_to_mfn(self: Readable, pfns: ArrayLike) -> Words:
        """Translate frames and strip the markers, as pfn_to_mfn of asm/xen/page.h does.

        Parameters
        ----------
        pfns : array_like of int
            Frames.

        Returns
        -------
        ndarray of uint64
            Machine frames; all ones (at the entry's width) where there is none.
        """
        return entries.without_markers(self.lookup(pfns), self.guest.geometry)

    def mfn_to_pfn(self: Readable, mfns: ArrayLike) -> Words:
        """Translate machine frames back, verified by the p2m, as mfn_to_pfn of asm/xen/page.h does.

        Parameters
        ----------
        mfns : array_like of int
            Machine frames.

        Returns
        -------
        ndarray of uint64
            Guest frames; the mfn itself where the p2m says identity; all ones (at the entry's width) for
            foreign and unknown frames.

        Raises
        ------
        BadInputError
            When `mfns` are not whole, non-negative numbers.
        """
        frames = self._frames(mfns, "mfns")
        return self.way_back.pfns_of(frames.reshape(-1)).reshape(frames.shape)

    def explain(self: Readable, entry: int) -> Explained:
        """Read a raw entry: its ``kind``, and its ``mfn`` or None."""
        return entries.explain(word(entry, "an entry"), self.guest.geometry)

    def kind_runs(self: Readable) -> list[tuple[int, int, str]]:
        """Runs (first pfn, end pfn, kind) over [0, end of the map rounded up to a mid)."""
        end_pfn = round_up(self.guest.covered_pfn, self.guest.geometry.mid_frames)
        return entries.kind_runs(self.lookup, end_pfn, self.guest.geometry)

    def dump(self: Readable) -> str:
        """Write the p2m as runs of one kind, as debugfs' mmu/p2m did.

        Returns
        -------
        str
            Lines ``[0x00000000->0x00040000] pfn`` over [0, end of the map rounded up to a mid), end
            exclusive; kinds are pfn, missing, identity and foreign.
        """
        return dump(self.kind_runs())

    @property
    def m2p(self: Readable) -> M2p:
        """The machine-to-physical table, built when first asked for and kept in step from then on."""
        return self.way_back.m2p

    @property
    def pool(self: Readable) -> PagePool:
        """Where all pages are."""
        return self.store.pool

    @property
    def plan(self: Readable) -> LeafPlan:
        """Which leaves were private when it was built, and what stood in them."""
        return self.store.plan

    @property
    def leaves(self: Readable) -> Frames:
        """Frame behind each leaf-sized stretch, shared ones repeated."""
        return self.store.leaves

    @property
    def leaf_frames(self: Readable) -> Frames:
        """Frames of the private leaves, in pfn order."""
        return self.store.leaf_frames

    @property
    def leaf_state(self: Readable) -> NDArray[np.int8]:
        """`Leaf` of each leaf-sized stretch, as it is now."""
        return self.store.leaf_state

    @property
    def missing_leaf(self: Readable) -> int:
        """Frame of the shared missing leaf."""
        return self.store.missing_leaf

    @property
    def identity_leaf(self: Readable) -> int:
        """Frame of the shared identity leaf."""
        return self.store.identity_leaf

    @property
    def end_pfn(self: Readable) -> int:
        """First pfn that cannot be written: the memory map's end, or the hotplug limit, in whole mids."""
        return self.store.end_pfn


def open_store(
    self: Readable,
    plan: LeafPlan,
    end_pfn: int,
    run_frames: int,
    n_spare: int | None = 0,
    m2p_override: bool = False,
) -> LeafStore:
    """Make the leaves of a design, which it keeps until it is closed, and the way back to them.

    Parameters
    ----------
    plan, end_pfn, run_frames, n_spare
        As `LeafStore`.
    m2p_override : bool
        Whether frames of other domains are found in a table beside the m2p.

    Returns
    -------
    LeafStore
        The design's store from now on.
    """
    self.store = self.kept.enter_context(
        LeafStore(
            self.name,
            self.guest,
            plan,
            sum(self.pages.values()),
            end_pfn,
            n_spare=n_spare,
            direct_bytes=self.backing.direct_bytes,
            run_frames=run_frames,
        )
    )
    self.mfn_generation_ns = self.store.mfn_generation_ns
    self.way_back = self.kept.enter_context(
        WayBack(self.store, Overrides() if flag(m2p_override, "m2p_override") else None)
    )
    return self.store
