"""Covering whole missing leaves and mids by the shared identity ones: a tree can, a list cannot."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from p2mperf.designs.pv.breaking import Breaking
from p2mperf.designs.pv.leaf_plan import Leaf
from p2mperf.designs.pv.store import LeafStore
from p2mperf.designs.pv.tools import Tools
from p2mperf.memory.pool import Frames


class Covering(Protocol):
    """What becomes identity without pages of its own."""

    def cover(self, first_pfn: int, end_pfn: int) -> None:
        """Let what is missing and lies wholly in a range be shared identity, as far as can be."""
        ...

    def widen(self, leaf: int) -> None:
        """Make all of a missing leaf or mid identity."""
        ...


class NoCovering:
    """A list has a leaf of its own for each that was not identity."""

    def cover(self, first_pfn: int, end_pfn: int) -> None:
        """Nothing can be covered."""

    def widen(self, leaf: int) -> None:
        """Nothing can be widened."""


class TreeCovering:
    """One slot for a mid or a leaf.

    Parameters
    ----------
    store : LeafStore
        The tree's leaves.
    breaking : Breaking
        Splits the mids that are covered in part.
    tools : Tools
        Told of leaves that are covered.
    """

    def __init__(self, store: LeafStore, breaking: Breaking, tools: Tools) -> None:
        self._store = store
        self._breaking = breaking
        self._tools = tools

    def cover(self, first_pfn: int, end_pfn: int) -> None:
        """Let missing mids and leaves that lie wholly in a range be the shared identity ones."""
        store, shape = self._store, self._store.guest.geometry
        pages = np.arange(-(-first_pfn // shape.mid_frames), end_pfn // shape.mid_frames)
        leaves = np.arange(-(-first_pfn // shape.leaf_frames), end_pfn // shape.leaf_frames)
        with store.lock:
            self._cover_mids(pages[store.page_frames[pages] == store.table.shared[store.missing_leaf]])
            leaves = leaves[store.leaf_state[leaves] == Leaf.MISSING]
            pages, first = np.unique(store.page_of(leaves), return_index=True)
            costs = store.is_shared(pages) + self._tools.lacks(leaves[first])
            affordable = pages[(costs == 0) | (np.cumsum(costs) <= store.n_spare_left)]
            self._breaking.split_mids(affordable)
            self._cover_leaves(leaves[np.isin(store.page_of(leaves), affordable)])

    def widen(self, leaf: int) -> None:
        """Make all of a missing leaf or mid identity: what 3.18's tree did with one frame's identity."""
        store = self._store
        page = store.page_of(np.array([leaf]))
        with store.lock:
            if store.page_frames[page[0]] == store.table.shared[store.missing_leaf]:
                self._cover_mids(page)
            else:
                # The tools' slot goes on leading to the missing leaf, until it is written anew.
                self._cover_leaves(np.array([leaf]), tell=False)

    def _cover_mids(self, pages: Frames) -> None:
        store, leaf_frames = self._store, self._store.guest.geometry.leaf_frames
        store.point_pages(pages, np.full(pages.size, store.table.shared[store.identity_leaf]))
        leaves = (pages[:, None] * leaf_frames + np.arange(leaf_frames)).ravel()
        store.assign(leaves, store.identity_leaf, Leaf.IDENTITY)

    def _cover_leaves(self, leaves: Frames, tell: bool = True) -> None:
        store = self._store
        store.point(leaves, np.full(leaves.size, store.identity_leaf))
        store.assign(leaves, store.identity_leaf, Leaf.IDENTITY)
        if tell:
            self._tools.follow(leaves)
