"""From a machine frame back to the guest's: the m2p, verified by the p2m, and m2p_override of old."""

from __future__ import annotations

import numpy as np

from p2mperf.designs.pv.store import LeafStore
from p2mperf.guests.geometry import Entries, Words
from p2mperf.memory.owned import Mapped, Owned
from p2mperf.tables.m2p import M2p, Overrides


class WayBack(Owned):
    """The machine-to-physical table of one p2m.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves.
    overrides : Overrides, optional
        Where frames mapped from other domains are found; None in kernels after the tree's time.
    """

    def __init__(self, store: LeafStore, overrides: Overrides | None = None) -> None:
        self.overrides = overrides
        self._store = store
        self._m2p: M2p | None = None
        self._addressed: Mapped | None = None

    def __enter__(self) -> WayBack:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._m2p is not None:
            self._m2p.close()
        self._addressed = None

    @property
    def m2p(self) -> M2p:
        """The table, built when first asked for and kept in step from then on."""
        if self._m2p is None:
            with self._store.lock:
                if self._m2p is None:  # another thread may have been first
                    table = M2p(self._store.guest)
                    if self._store.written:
                        self._store.invert(table.words())
                    self._addressed = Mapped.of(table)
                    self._m2p = table
        return self._m2p

    def words(self) -> Entries:
        """What writing must keep in step; empty as long as nobody has asked for the table."""
        return self._m2p.words() if self._m2p else np.zeros(0, self._store.guest.geometry.dtype)

    def refill(self) -> None:
        """Write the table anew, if there is one, after all machine frames have changed."""
        if self._m2p is not None:
            self._store.invert(self._m2p.words())

    def views(self) -> dict[str, int]:
        """Page size that really maps the table; nothing as long as nobody has asked for it [bytes]."""
        return {"m2p": self._m2p.page_bytes} if self._m2p else {}

    @property
    def memory_bytes(self) -> int:
        """Memory of the table; 0 as long as nobody has asked for it [bytes]."""
        return self._m2p.memory_bytes if self._m2p else 0

    def offset_of(self, address: int) -> int:
        """Where in the table an address lies; -1 for any other [bytes]."""
        if self._m2p and 0 <= address - self._m2p.base < self._m2p.memory_bytes:
            return address - self._m2p.base
        return -1

    def pfns_of(self, mfns: Words) -> Words:
        """Translate machine frames back, as mfn_to_pfn of asm/xen/page.h does.

        Parameters
        ----------
        mfns : ndarray of uint64
            Machine frames.

        Returns
        -------
        ndarray of uint64
            Guest frames; the mfn itself where the p2m says identity; INVALID for foreign and unknown frames.
        """
        form = self._store.form
        inside = mfns < np.uint64(self.m2p.n_frames)
        pfns = self.m2p.words()[np.where(inside, mfns, 0).astype(np.int64)].astype(np.uint64)
        pfns[~inside] = form.invalid
        astray = self._store.read(pfns) != mfns
        pfns[astray] = self._override(mfns[astray])
        identity = self._store.read(mfns) == (mfns | form.identity)
        return np.where((pfns == form.invalid) & identity, mfns, pfns)

    def _override(self, mfns: Words) -> Words:
        """Frames of mfns that the p2m disowns: none, since m2p_override is gone."""
        if self.overrides is None:
            return np.full(mfns.shape, self._store.form.invalid, np.uint64)
        return self.overrides.find(mfns, int(self._store.form.invalid))
