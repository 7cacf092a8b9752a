"""What is done to a p2m with superpages: splits, memory added and removed, and types changed.

Each pass does it to so many stretches of a superpage's size (2 MiB; 4 MiB without PAE), neighbours or such as
stand alone; what it did is undone untimed, superpages included, which Xen itself would never merge again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import Design
from p2mperf.designs.capabilities import Superpaged
from p2mperf.errors import P2mperfError
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.guests.hap import Hap
from p2mperf.measure.operations.base import Operation, require_all
from p2mperf.units import PAGE_SHIFT

Flags = NDArray[np.bool_]
_TABLES = 2  # that one split takes at most


class _OnSuperpages(Operation[Flags]):
    """Some stretches of a guest's memory, each of a superpage's size, and what stands there.

    Attributes
    ----------
    what : str
        What a design could not do, should it fail.
    """

    n_fixed = 64
    n_rehearsed = 8
    what: ClassVar[str] = ""

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        guest = next(iter(designs.values())).guest
        shape = guest.geometry
        assert isinstance(shape, Hap)
        self._shuffle, self._order, self._next = shuffle, shape.index_bits, 0
        self._address = np.uint64(shape.address_mask)
        extents = guest.extents.cut([0, self._order])
        self._stretches = extents.gfn[extents.order == self._order]
        n_there, n_wanted = self._stretches.size, min(n_frames, self.n_fixed)  # what a pass does is undone
        if n_there < n_wanted:
            raise P2mperfError(f"{guest.name} has {n_there} whole superpages, and {n_wanted} are {self.what}")
        self._orders: dict[int, NDArray[np.int8]] = {}
        self._chosen: dict[int, Words] = {}
        for design in designs.values():
            assert isinstance(design, Superpaged)
            design.make_ready(_TABLES * n_wanted)

    def _choose(self, design: Design, n_chosen: int) -> Words:
        """First frames of the next stretches, and a note of what leaves are there."""
        assert isinstance(design, Superpaged)
        if self._shuffle is not None:
            chosen = self._shuffle.choice(self._stretches, n_chosen, replace=False)
        else:
            first = self._next % (self._stretches.size - n_chosen + 1)
            chosen = self._stretches[first : first + n_chosen]
            self._next = first + n_chosen
        self._chosen[id(design)] = chosen
        self._orders[id(design)] = design.page_orders(chosen)
        return chosen

    def _mfns(self, design: Design, gfns: Words) -> Words:
        # From the map: what was just read would be in the caches when it is written.
        return (design.guest.entries(gfns) & self._address) >> np.uint64(PAGE_SHIFT)

    def _put_back(self, design: Design) -> None:
        """Let the leaves be of the sizes that they had; what they map is there again."""
        assert isinstance(design, Superpaged)
        gfns, orders = self._chosen.pop(id(design)), self._orders.pop(id(design))
        whole = orders > 0
        sizes = orders[whole].astype(np.uint64)
        bases, at = np.unique(gfns[whole] >> sizes << sizes, return_index=True)
        if bases.size:
            done = design.set_entry(bases, self._mfns(design, bases), sizes[at])
            require_all(done, f"{design.name} did not take its superpages back")

    def finish(self, design: Design, frames: Words, result: Flags) -> None:
        require_all(result, f"{design.name} refused what was {self.what}")
        self._put_back(design)

    def growth(self, design: Design, result: Flags) -> dict[str, int]:
        return {}

    def end(self, designs: Mapping[str, Design]) -> bool:
        for design in designs.values():
            design.audit()
        return True


class Split(_OnSuperpages):
    """Set one frame of each stretch to what it is: its superpage is split, and reads as it did."""

    what = "split"

    @classmethod
    def why_not(cls, kind: type[Design], guest: Guest) -> str:
        assert issubclass(kind, Superpaged)
        return "" if max(kind.leaf_orders(guest)) else f"{kind.name} has no superpages"

    def prepare(self, design: Design, frames: Words) -> Callable[[], Flags]:
        assert isinstance(design, Superpaged)
        gfns = self._choose(design, frames.size)
        return partial(design.set_entry, gfns, self._mfns(design, gfns))


class Remove(_OnSuperpages):
    """Take stretches away whole, the m2p along with them."""

    what = "removed"

    def prepare(self, design: Design, frames: Words) -> Callable[[], Flags]:
        assert isinstance(design, Superpaged)
        return partial(design.remove, self._choose(design, frames.size), self._order)

    def finish(self, design: Design, frames: Words, result: Flags) -> None:
        assert isinstance(design, Superpaged)
        gfns = self._chosen[id(design)]
        added = design.add(gfns, self._mfns(design, gfns), self._order)
        require_all(added, f"{design.name} did not take its memory back")
        super().finish(design, frames, result)


class Populate(_OnSuperpages):
    """Put memory behind stretches that have none, the m2p along with it."""

    what = "populated"

    def prepare(self, design: Design, frames: Words) -> Callable[[], Flags]:
        assert isinstance(design, Superpaged)
        gfns = self._choose(design, frames.size)
        mfns = self._mfns(design, gfns)
        require_all(design.remove(gfns, self._order), f"{design.name} did not give up its memory")
        return partial(design.add, gfns, mfns, self._order)


class Retype(_OnSuperpages):
    """Let writes to one frame of each stretch be seen, as log-dirty does: superpages are split."""

    what = "retyped"

    def prepare(self, design: Design, frames: Words) -> Callable[[], Flags]:
        assert isinstance(design, Superpaged)
        return partial(design.change_type, self._choose(design, frames.size), "ram_rw", "ram_logdirty")

    def finish(self, design: Design, frames: Words, result: Flags) -> None:
        assert isinstance(design, Superpaged)
        back = design.change_type(self._chosen[id(design)], "ram_logdirty", "ram_rw")
        require_all(back, f"{design.name} did not change its types back")
        super().finish(design, frames, result)
