"""One more design for a family that is there: a hash of the frames that have an entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.jit import instance_class, types, walk_overload
from p2mperf.memory.raw import Probe, load64
from p2mperf.tables.walk import State, Walk, walk
from p2mperf.units import PAGE_SIZE
from toy_family.pooled import Pooled

SLOT_BYTES = 16  # the frame and one, so that an empty slot is 0; and its entry
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / phi: neighbours come to lie far from each other (Knuth, 6.4)
ZERO, ONE = np.uint64(0), np.uint64(1)


class HashedTables(NamedTuple):
    """What a lookup needs; its type chooses the walk.

    Attributes
    ----------
    slots : uint64
        Address of the first slot.
    shift : uint64
        What a hash is shifted by to number a slot.
    mask : uint64
        Number of slots, a power of two, less one.
    """

    slots: np.uint64
    shift: np.uint64
    mask: np.uint64


@walk_overload(walk)
def _walk_hashed(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
    if instance_class(tables) is not HashedTables:
        return None  # another design's

    def look_up(tables: HashedTables, state: State, probe: Probe, pfn: np.uint64) -> tuple[np.uint64, State]:
        slot = (pfn * GOLDEN) >> tables.shift
        key = load64(probe, tables.slots, slot << ONE)
        # Half of all slots are empty, so that it ends.
        while key != pfn + ONE:
            if key == ZERO:
                return ZERO, state
            slot = (slot + ONE) & tables.mask
            key = load64(probe, tables.slots, slot << ONE)
        return load64(probe, tables.slots, (slot << ONE) + ONE), state

    return look_up


class ToyHashed(Pooled):
    """As large as the memory that there is, not as the frames that it could be at; it can only be read."""

    name = "toy-hashed"

    @classmethod
    def pages_of(cls, guest: Guest) -> dict[str, int]:
        n_slots = 1 << (2 * int(guest.ram.n_frames.sum()) - 1).bit_length()
        return {"slots": -(-n_slots * SLOT_BYTES // PAGE_SIZE)}

    def fill(self, first: Mapping[str, int]) -> NamedTuple:
        self.slots = self.pool.words(first["slots"], np.uint64, self.pages_of(self.guest)["slots"])
        self.slots = self.slots.reshape(-1, 2)
        n_slots = len(self.slots)
        shift = np.uint64(64 - n_slots.bit_length() + 1)
        frames = _frames(self.guest)
        entries = self.guest.entries(frames)
        place = (frames * GOLDEN) >> shift
        left = np.arange(frames.size)
        while left.size:  # of those who want one slot the first has it, unless it was taken
            _, chosen = np.unique(place[left], return_index=True)
            chosen = left[chosen]
            chosen = chosen[self.slots[place[chosen], 0] == 0]
            self.slots[place[chosen], 0] = frames[chosen] + ONE
            self.slots[place[chosen], 1] = entries[chosen]
            left = np.setdiff1d(left, chosen, assume_unique=True)
            place[left] = (place[left] + ONE) & np.uint64(n_slots - 1)
        address = self.pool.address(first["slots"])
        return HashedTables(np.uint64(address), shift, np.uint64(n_slots - 1))

    def audit(self) -> None:
        taken = self.slots[self.slots[:, 0] > 0]
        keys = np.sort(taken[:, 0]) - ONE
        self._require(np.array_equal(keys, _frames(self.guest)), "slots are not those of its frames")
        right = taken[:, 1] == self.guest.entries(taken[:, 0] - ONE)
        self._require(right, "an entry is another than the map's")


def _frames(guest: Guest) -> Words:
    runs = zip(guest.ram.first_pfn.tolist(), guest.ram.n_frames.tolist(), strict=True)
    return np.concatenate([np.arange(first, first + n, dtype=np.uint64) for first, n in runs])
