"""Giving memory up and taking it: the balloon driver, and memory that is plugged in.

drivers/xen/balloon.c and arch/x86/xen/setup.c of Linux 3.18 and 3.19 say in which order frames are given up
and taken; arch/x86/xen/p2m.c what each step writes.
"""

from __future__ import annotations

import numpy as np

from p2mperf.designs.pv.leaf_plan import Leaf, kinds_by_leaf
from p2mperf.designs.pv.store import LeafStore, frame_range
from p2mperf.designs.pv.way_back import WayBack
from p2mperf.designs.pv.write_kernels import balloon_out
from p2mperf.designs.pv.writer import Writer
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Kind, Words


class Ballooning:
    """Memory that comes and goes.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves.
    writer : Writer
        Writes to them.
    way_back : WayBack
        Follows every write.
    """

    def __init__(self, store: LeafStore, writer: Writer, way_back: WayBack) -> None:
        self._store = store
        self._writer = writer
        self._way_back = way_back

    def down(self, pfns: Words) -> Words:
        """Give up the memory behind frames, and say which it was: see `changing.balloon_down`."""
        store = self._store
        store.require_running()
        flat = pfns.reshape(-1)
        mfns = np.empty(flat.size, np.uint64)
        batch = np.empty(store.guest.geometry.leaf_frames, np.uint64)
        store.written = True
        n_out = balloon_out(store.write_tables, store.form, flat, batch, mfns, self._way_back.words())
        store.note_changes(np.array([-n_out, 0, 0]))
        return mfns.reshape(pfns.shape)

    def unused_mfns(self, n_frames: int) -> Words:
        """Machine frames that the guest does not have, lowest first.

        Raises
        ------
        BadInputError
            When the machine has not so many.
        """
        free = np.flatnonzero(self._way_back.m2p.words() == self._store.form.invalid)[:n_frames]
        if free.size < n_frames:
            raise BadInputError(f"the machine has {free.size} frames left, not {n_frames}")
        return free.astype(np.uint64)

    def hotplug(self, first_pfn: int, n_frames: int) -> bool:
        """Make frames beyond the map INVALID: see `changing.hotplug`."""
        store = self._store
        store.require_running()
        if store.is_beyond(first_pfn, n_frames):
            return False
        pfns = frame_range(first_pfn, n_frames)
        if store.has_memory(store.read(pfns)).any():
            return False
        return self._invalidate(pfns)

    def invalidate_extra(self) -> bool:
        """Make balloonable memory INVALID; whether all of it is."""
        extra = self._store.guest.runs.select(Kind.EXTRA)
        runs = zip(extra.first_pfn.tolist(), extra.n_frames.tolist(), strict=True)
        done = [self._invalidate(frame_range(pfn, n_frames)) for pfn, n_frames in runs]
        return all(done)

    def _invalidate(self, pfns: Words) -> bool:
        return bool(self._writer.set(pfns, np.array([self._store.form.invalid])).all())

    @property
    def n_extra_leaves(self) -> int:
        """Private leaves that hold nothing but balloonable memory and identity."""
        store, leaf = self._store, self._store.guest.geometry.leaf_frames
        n_leaves = store.end_pfn // leaf
        kinds = kinds_by_leaf(store.guest.runs, n_leaves, leaf)
        bare = (kinds & (1 << Kind.RAM) == 0) & (kinds & (1 << Kind.EXTRA) != 0)
        return int(np.count_nonzero(bare & (store.leaf_state[:n_leaves] == Leaf.PRIVATE)))
