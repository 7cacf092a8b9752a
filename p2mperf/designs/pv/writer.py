"""Writing to a PV p2m: set_phys_to_machine, what it allocates and what it must not.

The rules are those of arch/x86/xen/p2m.c in 3.18 (tree) and 3.19 (list), with the known defects mended;
each of those is back under its name in `QUIRKS`.
"""

from __future__ import annotations

import numpy as np

from p2mperf.designs.pv.breaking import Breaking
from p2mperf.designs.pv.leaf_plan import Flags
from p2mperf.designs.pv.quirks import QuirkyWrites
from p2mperf.designs.pv.store import LeafStore
from p2mperf.designs.pv.way_back import WayBack
from p2mperf.designs.pv.write_kernels import find_unfit, set_entries
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Words


class Writer:
    """Writes entries of one p2m.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves.
    breaking : Breaking
        Makes those private that cannot be written.
    quirks : QuirkyWrites
        What is to be done otherwise than it should be.
    way_back : WayBack
        Follows every write.
    """

    def __init__(self, store: LeafStore, breaking: Breaking, quirks: QuirkyWrites, way_back: WayBack) -> None:
        self._store = store
        self._breaking = breaking
        self._quirks = quirks
        self._way_back = way_back

    def set(self, pfns: Words, entries: Words, only_holes: bool = False, plain_only: bool = False) -> Flags:
        """Write entries that may be none, in order.

        Parameters
        ----------
        pfns : ndarray of uint64
            Frames.
        entries : ndarray of uint64
            Raw entries; one for all, or one a frame.
        only_holes : bool
            Write only where INVALID is read.
        plain_only : bool
            Take mfns only.

        Returns
        -------
        ndarray of bool
            Whether each is now as asked.

        Raises
        ------
        BadInputError
            When the guest is saved, or for entries that the p2m cannot hold.
        """
        self._store.require_running()
        if entries.shape != pfns.shape:
            if entries.size != 1:
                raise BadInputError(f"{entries.size} entries for {pfns.size} frames: give one or as many")
            entries = np.full(pfns.shape, entries.reshape(-1)[0], np.uint64)
        unfit = find_unfit(self._store.form, entries.reshape(-1), plain_only)
        if unfit < entries.size:
            raise self._unfit(int(entries.reshape(-1)[unfit]))
        return self.write(pfns, entries, only_holes)

    def write(self, pfns: Words, entries: Words, only_holes: bool = False, widens: bool = True) -> Flags:
        """Write entries that are known to fit.

        Parameters
        ----------
        pfns, entries : ndarray of uint64
            Raw entries, one a frame.
        only_holes : bool
            As `set`.
        widens : bool
            As `QuirkyWrites.write_instead`.

        Returns
        -------
        ndarray of bool
            As `set`.
        """
        flat, values = pfns.reshape(-1), entries.reshape(-1)
        done = np.ones(flat.size, np.bool_)
        n_before_bug = self._quirks.find_bug(flat, values)
        first = self._pass(flat[:n_before_bug], values, only_holes, 0, True, done)
        while first < n_before_bug:
            quirky = bool(self._quirks.names)
            if quirky and self._quirks.write_instead(int(flat[first]), int(values[first]), widens):
                first = self._pass(flat[:n_before_bug], values, only_holes, first + 1, True, done)
                continue
            last = first + 1 if quirky else n_before_bug
            self._breaking.break_for(flat[first:last], values[first:last], only_holes)
            first = self._pass(flat[:last], values, only_holes, first, False, done)
            if last < n_before_bug:
                first = self._pass(flat[:n_before_bug], values, only_holes, first, True, done)
        if not only_holes:
            self._quirks.lose_beyond(flat[:n_before_bug], values[:n_before_bug], done)
        if n_before_bug < flat.size:
            raise self._quirks.bug_of(int(flat[n_before_bug]))
        return done.reshape(pfns.shape)

    def _pass(
        self, pfns: Words, entries: Words, only_holes: bool, first: int, stop: bool, done: Flags
    ) -> int:
        store, changes = self._store, np.zeros(3, np.int64)
        store.written = True
        tables, form, m2p = store.write_tables, store.form, self._way_back.words()
        reached = set_entries(tables, form, pfns, entries, only_holes, first, stop, done, m2p, changes)
        store.note_changes(changes)
        return int(reached)

    def _unfit(self, entry: int) -> BadInputError:
        form, name = self._store.form, self._store.guest.name
        if entry > form.invalid:
            return BadInputError(f"entry {entry:#x} is wider than the entries of {name}")
        if entry & int(form.identity | form.foreign):
            return BadInputError(f"entry {entry:#x} has marker bits where a plain machine frame is needed")
        return BadInputError(f"mfn {entry:#x} is beyond the machine's {form.n_machine} frames")
