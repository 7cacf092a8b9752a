"""Whole tables: the tools' tree, and a p2m built from the memory map or from the flat list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from p2mperf.designs.base import Design, Footprint
from p2mperf.designs.capabilities import HasTools
from p2mperf.errors import P2mperfError
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.measure.operations.base import Operation, difference

_NOTHING = Footprint({}, 0, 0, 0)
_CHUNK = 1 << 20


class RebuildTools(Operation[None]):
    """Build the tools' tree anew, which a resume does first, for all machine frames have changed."""

    n_fixed = 1

    def prepare(self, design: Design, frames: Words) -> Callable[[], None]:
        assert isinstance(design, HasTools)
        return design.rebuild_tools


class Build(Operation[Design]):
    """Build a p2m from the memory map, beside the one there is.

    The untimed pass before gives back the memory that the timed one takes: in a virtual machine new memory
    comes from the hypervisor, at a cost that is not the design's.
    """

    n_fixed = 1

    def prepare(self, design: Design, frames: Words) -> Callable[[], Design]:
        return design.again

    def growth(self, design: Design, result: Design) -> dict[str, int]:
        return difference(_NOTHING, result.footprint())

    def finish(self, design: Design, frames: Words, result: Design) -> None:
        with result:
            runs = design.guest.runs
            ends = np.concatenate([runs.first_pfn, runs.end_pfn - 1]).astype(np.uint64)
            if not np.array_equal(result.lookup(ends), design.guest.entries(ends)):
                raise P2mperfError(
                    f"{design.name} of {design.guest.name} was built otherwise than its map asks"
                )


class Rebuild(Build):
    """Build a p2m at boot from the flat list that the domain builder left."""

    @classmethod
    def why_not(cls, kind: type[Design], guest: Guest) -> str:
        return "" if guest.is_flat else f"the memory of {guest.name} has holes, which no flat list holds"

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        design = next(iter(designs.values()))
        guest = design.guest
        self._boot_list = np.empty(guest.n_boot_pages, guest.geometry.dtype)
        for first in range(
            0, guest.n_boot_pages, _CHUNK
        ):  # frames and entries of all would be twice the list
            end = min(first + _CHUNK, guest.n_boot_pages)
            self._boot_list[first:end] = design.lookup(np.arange(first, end, dtype=np.uint64))

    def prepare(self, design: Design, frames: Words) -> Callable[[], Design]:
        return partial(design.again, boot_list=self._boot_list)
