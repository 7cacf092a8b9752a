"""Two designs: an array over all frames from the first, and pages of 512 entries behind an array."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design, Footprint, Load
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.jit import instance_class, walk_overload
from p2mperf.memory.raw import load64
from p2mperf.tables.walk import walk

NINE, MASK = np.uint64(9), np.uint64(511)


class ArrayTables(NamedTuple):
    list: np.uint64
    first: np.uint64
    size: np.uint64


class PageTables(NamedTuple):
    root: np.uint64
    first: np.uint64
    size: np.uint64


@walk_overload(walk)
def _walk_array(tables, state, probe, pfn):
    if instance_class(tables) is not ArrayTables:
        return None

    def look_up(tables, state, probe, pfn):
        index = pfn - tables.first
        if index >= tables.size:
            return np.uint64(0), state
        return load64(probe, tables.list, index), state

    return look_up


@walk_overload(walk)
def _walk_pages(tables, state, probe, pfn):
    if instance_class(tables) is not PageTables:
        return None

    def look_up(tables, state, probe, pfn):
        index = pfn - tables.first
        if index >= tables.size:
            return np.uint64(0), state
        return load64(probe, load64(probe, tables.root, index >> NINE), index & MASK), state

    return look_up


class ToyDesign(Design):
    family = "toy"
    follows = "nobody"

    def __init__(self, guest: Guest, backing: str | Backing = "kernel", **options: Any) -> None:
        super().__init__(guest, backing, **options)
        self.first = int(guest.ram.first_pfn[0])
        pfns = np.arange(self.first, guest.covered_pfn, dtype=np.uint64)
        self.words = np.zeros(-(-pfns.size // 512) * 512, np.uint64)
        self.words[: pfns.size] = guest.entries(pfns)
        self.root = np.arange(self.words.size // 512, dtype=np.uint64) * np.uint64(4096)
        self.root += np.uint64(self.words.ctypes.data)
        self._build(np.uint64(self.first), np.uint64(pfns.size))

    @abstractmethod
    def _build(self, first: np.uint64, size: np.uint64) -> None:
        """Set `tables`."""

    @classmethod
    def predict_footprint(cls, guest: Guest, backing: str | Backing = "kernel", **options: Any) -> Footprint:
        n_leaves = -(-(guest.covered_pfn - int(guest.ram.first_pfn[0])) // 512)
        return Footprint({"leaf": n_leaves}, 0, n_leaves * 4096, 0)

    def footprint(self) -> Footprint:
        return self.predict_footprint(self.guest)

    def audit(self) -> None:
        pfns = np.arange(self.first, self.guest.covered_pfn, dtype=np.uint64)
        self._require(
            self.words[: pfns.size] == self.guest.entries(pfns), "an entry is another than the map's"
        )

    def step_at(self, address: int) -> Load:
        index = (address - self.words.ctypes.data) // 8
        if 0 <= index < self.words.size:
            return Load("leaf", "direct", index // 512, index % 512, address)
        return Load("root", "direct", 0, (address - self.root.ctypes.data) // 8, address)

    def views(self) -> dict[str, int]:
        return {"direct": 4096}

    def set(self, pfns: Words, entries: Words) -> Any:
        index = np.asarray(pfns, np.uint64) - np.uint64(self.first)
        inside = index < self.tables.size
        self.words[index[inside]] = np.broadcast_to(entries, index.shape)[inside]
        return inside


class ToyArray(ToyDesign):
    name: ClassVar[str] = "toy-array"

    def _build(self, first: np.uint64, size: np.uint64) -> None:
        self.tables = ArrayTables(np.uint64(self.words.ctypes.data), first, size)


class ToyPages(ToyDesign):
    name: ClassVar[str] = "toy-pages"

    def _build(self, first: np.uint64, size: np.uint64) -> None:
        self.tables = PageTables(np.uint64(self.root.ctypes.data), first, size)
