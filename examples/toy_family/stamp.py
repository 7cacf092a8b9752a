"""What the operation does: an entry is written over with itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import Design
from p2mperf.designs.capabilities import Writable
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.measure.operations.base import Operation, require_all


class Stamp(Operation[NDArray[np.bool_]]):
    """Write the entries that frames have."""

    @classmethod
    def why_not(cls, kind: type[Design], guest: Guest) -> str:
        return "" if guest.geometry.name == "toy64" else "only toys are stamped"

    def prepare(self, design: Design, frames: Words) -> Callable[[], NDArray[np.bool_]]:
        assert isinstance(design, Writable)
        return partial(design.set, frames, design.guest.entries(frames))  # what is timed is this call alone

    def finish(self, design: Design, frames: Words, result: NDArray[np.bool_]) -> None:
        require_all(result, f"{design.name} was not stamped")
