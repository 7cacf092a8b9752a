"""What a lookup on ARM costs beside loads: barriers, invalidations, locks, which this host can only count.

A walk says `note` where Xen executes such an instruction. With the probe ``()`` it compiles to nothing, so
that timed loops are free of it; with a `Recorder` it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from p2mperf.guests.geometry import Words
from p2mperf.jit import instance_class, types, walk_overload
from p2mperf.memory.raw import Probe, load64, store_once64

LoadWord = Callable[[Probe, np.uint64], np.uint64]
# An event's position in `Recorder.events`.
EVENT_NAMES = (
    "map",
    "unmap",
    "dsb",
    "isb",
    "tlbi",
    "irq_save",
    "lock",
    "slot_load",
    "slot_store",
    "slot_takeover",
    "entry_load",
    "mmu_load",
)
(
    MAP,
    UNMAP,
    DSB,
    ISB,
    TLBI,
    IRQ_SAVE,
    LOCK,
    SLOT_LOAD,
    SLOT_STORE,
    SLOT_TAKEOVER,
    ENTRY_LOAD,
    MMU_LOAD,
) = range(len(EVENT_NAMES))


class Recorder(NamedTuple):
    """A probe that counts events and notes the addresses of loads.

    Attributes
    ----------
    loads : ndarray of uint64
        As the array probe of `p2mperf.memory.raw.load64`.
    events : ndarray of uint64, shape (len(EVENT_NAMES),)
        How often each happened.
    """

    loads: Words
    events: Words

    @classmethod
    def empty(cls, n_loads: int = 64) -> Recorder:
        """Make one with room for `n_loads` addresses."""
        return cls(np.zeros(n_loads + 1, np.uint64), np.zeros(len(EVENT_NAMES), np.uint64))

    def counts(self) -> dict[str, int]:
        """Events by name, those that did not happen left out."""
        return {name: int(n) for name, n in zip(EVENT_NAMES, self.events, strict=True) if n}


@walk_overload(load64)
def _recorded_load(
    probe: types.Type, address: types.Type
) -> Callable[[Recorder, np.uint64], np.uint64] | None:
    if instance_class(probe) is Recorder:
        return lambda probe, address: load64(probe.loads, address)
    return None


def note(probe: Probe, event: int, n_times: int) -> None:
    """Count an event that this host does not have; compiled code only.

    Parameters
    ----------
    probe : empty tuple, ndarray or Recorder
        Only a `Recorder` counts.
    event : int
        Position in `EVENT_NAMES`.
    n_times : int
        How often it happens here.
    """
    raise NotImplementedError("note is for compiled code")


@walk_overload(note)
def _note(probe: types.Type, event: types.Type, n_times: types.Type) -> Callable[..., None]:
    if instance_class(probe) is not Recorder:
        # Nothing at all: walks compile to the same instructions, in the same order, with these calls and
        # without.
        return lambda probe, event, n_times: None

    def count(probe: Recorder, event: int, n_times: int) -> None:
        probe.events[event] += np.uint64(n_times)

    return count


def load_slot(probe: Probe, address: np.uint64) -> np.uint64:
    """Read an entry of the map-slot table; compiled code only."""
    raise NotImplementedError("load_slot is for compiled code")


@walk_overload(load_slot)
def _load_slot(probe: types.Type, address: types.Type) -> LoadWord:
    def load(probe: Probe, address: np.uint64) -> np.uint64:
        note(probe, SLOT_LOAD, 1)
        return load64(probe, address)

    return load


def store_slot(probe: Probe, address: np.uint64, value: np.uint64) -> None:
    """Write an entry of the map-slot table; compiled code only.

    Parameters
    ----------
    probe : empty tuple, ndarray or Recorder
        As `note`.
    address, value : uint64
        Where, and the entry.
    """
    raise NotImplementedError("store_slot is for compiled code")


@walk_overload(store_slot)
def _store_slot(
    probe: types.Type, address: types.Type, value: types.Type
) -> Callable[[Probe, np.uint64, np.uint64], None]:
    def store(probe: Probe, address: np.uint64, value: np.uint64) -> None:
        note(probe, SLOT_STORE, 1)
        # One store of 64 bits, as Xen's STRD is; and an atomic one, so that LLVM takes no slot from a
        # register that it has just stored to memory: a walk reads each slot twice.
        store_once64(address, value)

    return store


def load_entry(probe: Probe, address: np.uint64) -> np.uint64:
    """Read an entry of the guest's p2m; compiled code only."""
    raise NotImplementedError("load_entry is for compiled code")


@walk_overload(load_entry)
def _load_entry(probe: types.Type, address: types.Type) -> LoadWord:
    def load(probe: Probe, address: np.uint64) -> np.uint64:
        note(probe, ENTRY_LOAD, 1)
        return load64(probe, address)

    return load
