"""Frames of other domains, in the order of set_foreign_p2m_mapping (4.4), and m2p_override of old.

Unlike that, a slot that fails does not end the call, and memory that is there already is not overwritten.
"""

from __future__ import annotations

import numpy as np

from p2mperf.designs.pv.leaf_plan import Flags
from p2mperf.designs.pv.store import LeafStore
from p2mperf.designs.pv.way_back import WayBack
from p2mperf.designs.pv.writer import Writer
from p2mperf.guests.geometry import Words
from p2mperf.tables.m2p import Overrides


class Foreign:
    """Mappings of other domains' frames, one slot after the other.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves.
    writer : Writer
        Writes to them.
    way_back : WayBack
        Whose overrides follow, if it has any.
    """

    def __init__(self, store: LeafStore, writer: Writer, way_back: WayBack) -> None:
        self._store = store
        self._writer = writer
        self._way_back = way_back

    def map(self, pfns: Words, mfns: Words) -> Flags:
        """Map frames of another domain: see `changing.set_foreign`."""
        foreign = self._store.form.foreign
        done = self._writer.set(pfns, mfns | foreign, only_holes=True)
        overrides = self._way_back.overrides
        if overrides is not None:
            for pfn, entry in zip(pfns[done].tolist(), self._store.read(pfns[done]).tolist(), strict=True):
                self._add(overrides, pfn, entry & ~int(foreign))
        return done

    def unmap(self, pfns: Words) -> Flags:
        """Unmap frames of another domain: see `changing.clear_foreign`."""
        store = self._store
        store.require_running()
        entries = store.read(pfns)
        # Beyond the end nothing is foreign, whatever a frame number too wide for the guest reads as.
        foreign = store.is_foreign(entries) & (pfns < store.form.end)
        self._writer.write(pfns[foreign], np.full(np.count_nonzero(foreign), store.form.invalid))
        overrides = self._way_back.overrides
        if overrides is not None:
            for pfn, entry in zip(pfns[foreign].tolist(), entries[foreign].tolist(), strict=True):
                self._remove(overrides, pfn, entry)
        return foreign

    def _add(self, overrides: Overrides, pfn: int, mfn: int) -> None:
        original = self._original(mfn, mfn)
        overrides.add(mfn, pfn)
        if original >= 0:
            self._rewrite(original, mfn | int(self._store.form.foreign))

    def _remove(self, overrides: Overrides, pfn: int, entry: int) -> None:
        mfn = entry & ~int(self._store.form.foreign)
        original = self._original(mfn, entry)
        if overrides.remove(mfn, pfn) and original >= 0:
            self._rewrite(original, mfn)

    def _rewrite(self, pfn: int, entry: int) -> None:
        self._writer.set(np.array([pfn], np.uint64), np.array([entry], np.uint64))

    def _original(self, mfn: int, entry: int) -> int:
        """Frame that the m2p names for an mfn, if the p2m has `entry` there; else -1."""
        m2p = self._way_back.m2p
        if mfn >= m2p.n_frames:
            return -1
        pfn = int(m2p.words()[mfn])
        is_ours = pfn < self._store.end_pfn and int(self._store.read(np.array([pfn], np.uint64))[0]) == entry
        return pfn if is_ours else -1
