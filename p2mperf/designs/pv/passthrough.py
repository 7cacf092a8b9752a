"""Making room for devices: xen_set_identity_and_remap (3.19), set_phys_range_identity of the tree (3.18)."""

from __future__ import annotations

import numpy as np

from p2mperf.designs.pv.breaking import Breaking
from p2mperf.designs.pv.covering import Covering
from p2mperf.designs.pv.store import LeafStore, frame_range
from p2mperf.designs.pv.writer import Writer


class Passthrough:
    """Ranges that become identity, and the memory that they displace.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves.
    breaking : Breaking
        Makes those private that are to change.
    writer : Writer
        Writes to them.
    covering : Covering
        What needs no leaf of its own.
    """

    def __init__(self, store: LeafStore, breaking: Breaking, writer: Writer, covering: Covering) -> None:
        self._store = store
        self._breaking = breaking
        self._writer = writer
        self._covering = covering

    def set_identity(self, first_pfn: int, n_frames: int) -> int:
        """Make a range of frames identity: see `changing.set_identity`."""
        store = self._store
        store.require_running()
        if store.is_beyond(first_pfn, n_frames):
            n_frames = max(0, store.end_pfn - first_pfn)
        self._covering.cover(first_pfn, first_pfn + n_frames)
        pfns = frame_range(first_pfn, n_frames)
        done = self._writer.write(pfns, pfns | store.form.identity, widens=False)
        return int(np.count_nonzero(done))

    def pass_through(self, first_pfn: int, n_frames: int, to_pfn: int) -> bool:
        """Make a range identity and attach its memory elsewhere.

        Parameters
        ----------
        first_pfn, n_frames, to_pfn : int
            As `changing.pass_through`.

        Returns
        -------
        bool
            Whether it was done.
        """
        store, form = self._store, self._store.form
        store.require_running()
        if store.is_beyond(first_pfn, n_frames) or store.is_beyond(to_pfn, 0):
            return False
        source = frame_range(first_pfn, n_frames)
        before = store.read(source)
        moved = before[before & (form.identity | form.foreign) == 0]
        target = frame_range(to_pfn, moved.size)
        overlap = first_pfn < to_pfn + moved.size and to_pfn < first_pfn + n_frames
        if overlap or store.is_beyond(to_pfn, moved.size) or (store.read(target) != form.invalid).any():
            return False
        if not self._breaking.break_all(np.concatenate([source, target])):
            return False
        self._writer.write(source, source | form.identity)
        self._writer.write(target, moved)
        return True
