"""Writes where no leaf is shared: entries set in place, memory given up and taken back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import Design
from p2mperf.designs.capabilities import Ballooned, Writable
from p2mperf.guests.geometry import Words
from p2mperf.measure.operations.base import Operation, require_all


class SetInPlace(Operation[NDArray[np.bool_]]):
    """Write the entry that a frame has: set_phys_to_machine where no leaf is shared."""

    def prepare(self, design: Design, frames: Words) -> Callable[[], NDArray[np.bool_]]:
        assert isinstance(design, Writable)
        # From the map: what was just read would be in the caches when it is written.
        return partial(design.set, frames, design.guest.entries(frames))

    def finish(self, design: Design, frames: Words, result: NDArray[np.bool_]) -> None:
        require_all(result, f"{design.name} refused to write in place")


class BalloonDown(Operation[Words]):
    """Give up the memory of frames; it is put back untimed."""

    distinct = True

    def prepare(self, design: Design, frames: Words) -> Callable[[], Words]:
        assert isinstance(design, Ballooned)
        return partial(design.balloon_down, frames)

    def finish(self, design: Design, frames: Words, result: Words) -> None:
        assert isinstance(design, Ballooned)
        require_all(design.balloon_up(frames, result), f"{design.name} did not take its memory back")


class BalloonUp(Operation[NDArray[np.bool_]]):
    """Put memory behind frames that have given it up just before: their entries are in the caches."""

    distinct = True

    def prepare(self, design: Design, frames: Words) -> Callable[[], NDArray[np.bool_]]:
        assert isinstance(design, Ballooned)
        return partial(design.balloon_up, frames, design.balloon_down(frames))

    def finish(self, design: Design, frames: Words, result: NDArray[np.bool_]) -> None:
        require_all(result, f"{design.name} did not take its memory back")
