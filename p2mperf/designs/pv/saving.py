"""Save and restore: drivers/xen/manage.c of Linux 3.18 and 3.19, and what a toolstack does meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2mperf.designs.pv.leaf_kernels import renumber
from p2mperf.designs.pv.leaf_plan import Flags
from p2mperf.designs.pv.store import LeafStore
from p2mperf.designs.pv.tools import Tools
from p2mperf.designs.pv.way_back import WayBack
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Kind, Words
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import Machine


@dataclass(frozen=True, eq=False)
class Saved:
    """What a toolstack keeps of a guest's p2m: which frames have memory, but not where.

    Attributes
    ----------
    guest : Guest
        Whose.
    has_memory : ndarray of bool, shape (n_entries,)
        By pfn.
    design : str
        Whose p2m it was.
    """

    guest: Guest
    has_memory: Flags
    design: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Saved) and (
            self.design == other.design
            and self.guest == other.guest
            and np.array_equal(self.has_memory, other.has_memory)
        )

    def __hash__(self) -> int:
        return hash((self.design, self.guest))


class Saving:
    """Suspends a guest, and resumes it on other memory.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves.
    tools : Tools
        Who reads them.
    way_back : WayBack
        Written anew when it resumes.
    """

    def __init__(self, store: LeafStore, tools: Tools, way_back: WayBack) -> None:
        self._store = store
        self._tools = tools
        self._way_back = way_back
        self._kept: Saved | None = None

    def save(self) -> Saved:
        """Suspend the guest and keep what a toolstack keeps: see `changing.save`."""
        store = self._store
        store.require_running()
        entries = self._tools.view.read()
        foreign = store.is_foreign(entries)
        if foreign.any():
            raise BadInputError(
                f"{np.count_nonzero(foreign)} frames of {store.guest.name} belong to other domains, the "
                f"first is pfn {int(np.argmax(foreign)):#x}: clear_foreign before saving"
            )
        has_memory = entries & (store.form.identity | store.form.foreign) == 0
        n_all = int(store.plan.runs.select(Kind.RAM).n_frames.sum()) + int(store.changes[0])
        if (n_lost := n_all - np.count_nonzero(has_memory)) > 0:
            raise BadInputError(
                f"{n_lost} frames of {store.guest.name} have memory that tools do not see, beyond "
                f"{self._tools.view.n_entries:#x}: it would be lost"
            )
        store.suspended = True
        has_memory.flags.writeable = False
        self._kept = Saved(store.guest, has_memory, store.name)
        return self._kept

    def restore(self, saved: Saved, seed: int | None = None) -> None:
        """Resume on other memory: see `changing.restore`."""
        store, guest = self._store, self._store.guest
        # Nothing can have changed since: what save gave is what is there, or it is of another p2m.
        if not store.suspended or not (saved is self._kept or saved == self._kept):
            raise BadInputError(f"{guest.name} is not saved, or not this: restore takes what save gave")
        old = store.read(np.flatnonzero(saved.has_memory).astype(np.uint64))
        mfns = _other_mfns(old, guest.machine, guest.machine.seed + 1 if seed is None else seed)
        renumber(store.pool.pages(guest.geometry.dtype), store.leaf_frames, store.form, mfns)
        store.written = True
        self._way_back.refill()
        self._tools.view.move(store.pool.n_frames)
        store.suspended = False
        self._kept = None


def _other_mfns(old: Words, machine: Machine, seed: int) -> Words:
    """As many mfns of the same machine, each pfn another than it had."""
    extents = Machine(machine.n_frames, seed).allocate(old.size + 1)
    mfns = np.concatenate([np.arange(first, first + n, dtype=np.uint64) for n, first in extents])
    equal = np.flatnonzero(mfns[:-1] == old)
    # In a ring, among themselves or with one more, none of them can meet its own pfn again.
    ring = equal if equal.size != 1 else np.append(equal, equal[0] + 1)
    mfns[ring] = np.roll(mfns[ring], 1)
    return mfns[:-1]
