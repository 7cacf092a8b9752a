"""Shared leaves made private."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import Design
from p2mperf.designs.capabilities import Shared, Writable
from p2mperf.errors import BadInputError, P2mperfError
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.measure.operations.base import Operation, require_all
from p2mperf.units import PAGE_SHIFT, format_size

# Leaves taken of one p2m: 128 a pass, two trials and six visits, neighbours and others.
MOST_BROKEN = 128 * (2 + 6) * 2


class BreakLeaves(Operation[NDArray[np.bool_]]):
    """Make shared leaves beyond the map private, by a write of INVALID as hotplug does; tools look on.

    Both designs break the same leaves in the same order: neighbours, or such as stand alone. The pages that
    this takes are there before: what a virtual machine's new memory costs is not the design's. The tree is a
    mended one: 3.18's own leaves INVALID under the shared identity page, and reaches alloc_p2m only from
    missing.
    """

    n_fixed = 128
    settles = False

    @classmethod
    def check_room(cls, guest: Guest, limit_bytes: int) -> None:
        n_frames = (limit_bytes >> PAGE_SHIFT) - guest.covered_pfn
        if n_frames // guest.geometry.leaf_frames < MOST_BROKEN:
            room = format_size(MOST_BROKEN * guest.geometry.leaf_frames << PAGE_SHIFT)
            raise BadInputError(
                f"cow breaks up to {MOST_BROKEN} shared leaves beyond the map of {guest.name}: give it "
                f"{room} of room with --limit, as 512G (32-bit guests reach 64G)"
            )

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        self._left: dict[int, NDArray[np.int64]] = {}
        for name, design in designs.items():
            assert isinstance(design, Shared)
            leaves = design.shared_leaves_beyond()
            if leaves.size < n_frames:
                raise P2mperfError(
                    f"{name} of {design.guest.name} has {leaves.size} shared leaves beyond its map, and "
                    f"{n_frames} are to be broken: give it room with --limit, as 512G"
                )
            design.make_ready(n_frames)
            self._left[id(design)] = leaves
        if shuffle is not None:
            order = shuffle.permutation(min(left.size for left in self._left.values()))
            self._left = {key: left[order] for key, left in self._left.items()}

    def prepare(self, design: Design, frames: Words) -> Callable[[], NDArray[np.bool_]]:
        assert isinstance(design, Writable)
        leaves, self._left[id(design)] = np.split(self._left[id(design)], [frames.size])
        shape = design.guest.geometry
        return partial(design.set, leaves.astype(np.uint64) * np.uint64(shape.leaf_frames), shape.invalid)

    def finish(self, design: Design, frames: Words, result: NDArray[np.bool_]) -> None:
        require_all(result, f"{design.name} could not break a leaf")

    def end(self, designs: Mapping[str, Design]) -> bool:
        for design in designs.values():
            design.audit()
        return True
