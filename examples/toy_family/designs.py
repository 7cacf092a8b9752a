"""Two designs: an array over all frames from the first, and pages of 512 entries behind an array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.jit import instance_class, types, walk_overload
from p2mperf.memory.raw import Probe, load64
from p2mperf.tables.walk import State, Walk, walk
from toy_family.pooled import Pooled

ENTRIES = 512  # a page
NINE, MASK = np.uint64(9), np.uint64(ENTRIES - 1)


class ArrayTables(NamedTuple):
    """What a lookup in the array needs: its address, the frame that it begins with, and how many it has."""

    list: np.uint64
    first: np.uint64
    size: np.uint64


class PageTables(NamedTuple):
    """What a lookup in the pages needs: the root's address, the frame they begin with, and how many."""

    root: np.uint64
    first: np.uint64
    size: np.uint64


@walk_overload(walk)
def _walk_array(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
    if instance_class(tables) is not ArrayTables:
        return None

    def look_up(tables: ArrayTables, state: State, probe: Probe, pfn: np.uint64) -> tuple[np.uint64, State]:
        index = pfn - tables.first
        if index >= tables.size:
            return np.uint64(0), state
        return load64(probe, tables.list, index), state

    return look_up


@walk_overload(walk)
def _walk_pages(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
    if instance_class(tables) is not PageTables:
        return None

    def look_up(tables: PageTables, state: State, probe: Probe, pfn: np.uint64) -> tuple[np.uint64, State]:
        index = pfn - tables.first
        if index >= tables.size:
            return np.uint64(0), state
        return load64(probe, load64(probe, tables.root, index >> NINE), index & MASK), state

    return look_up


class ToyDesign(Pooled):
    """An entry for each frame from the first of RAM on, in pages in a row; it can be written."""

    tables: ArrayTables | PageTables

    @classmethod
    def pages_of(cls, guest: Guest) -> dict[str, int]:
        return {"leaf": -(-_frames(guest).size // ENTRIES)}

    def fill_array(self, first: Mapping[str, int]) -> ArrayTables:
        """Write the entries."""
        frames = _frames(self.guest)
        self.first = int(frames[0])
        self.words = self.pool.words(first["leaf"], np.uint64, self.pages_of(self.guest)["leaf"])
        self.words[: frames.size] = self.guest.entries(frames)
        address = self.pool.address(first["leaf"])
        return ArrayTables(np.uint64(address), np.uint64(self.first), np.uint64(frames.size))

    def audit(self) -> None:
        frames = _frames(self.guest)
        right = self.words[: frames.size] == self.guest.entries(frames)
        self._require(right, "an entry is another than the map's")

    def set(self, pfns: ArrayLike, entries: ArrayLike) -> NDArray[np.bool_]:
        """Write entries: that there is this method makes it Writable; whether each was written."""
        index = np.asarray(pfns, np.uint64) - np.uint64(self.first)
        inside = index < self.tables.size
        self.words[index[inside]] = np.broadcast_to(entries, index.shape)[inside]
        return inside


def _frames(guest: Guest) -> Words:
    return np.arange(int(guest.ram.first_pfn[0]), guest.covered_pfn, dtype=np.uint64)


class ToyArray(ToyDesign):
    """One load: the pages are an array."""

    name = "toy-array"

    def fill(self, first: Mapping[str, int]) -> NamedTuple:
        return self.fill_array(first)


class ToyPages(ToyDesign):
    """Two loads: the address of the page, and the entry."""

    name = "toy-pages"

    @classmethod
    def pages_of(cls, guest: Guest) -> dict[str, int]:
        leaves = super().pages_of(guest)
        return {**leaves, "root": -(-leaves["leaf"] // ENTRIES)}

    def fill(self, first: Mapping[str, int]) -> NamedTuple:
        array = self.fill_array(first)
        pages = self.pages_of(self.guest)
        root = self.pool.words(first["root"], np.uint64, pages["root"])
        root[: pages["leaf"]] = array.list + np.arange(pages["leaf"], dtype=np.uint64) * np.uint64(4096)
        return PageTables(np.uint64(self.pool.address(first["root"])), array.first, array.size)
