"""An operation: an entry is written over with itself."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from p2mperf.designs.base import Design
from p2mperf.errors import P2mperfError
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.measure.operations.base import Operation, require_all

OTHERS = ("p2mperf.designs.pv.", "p2mperf.designs.arm.")


class Stamp(Operation):
    """Refuses to run where a module of another family is loaded: none is needed."""

    @classmethod
    def why_not(cls, kind: type[Design], guest: Guest) -> str:
        return "" if guest.geometry.name == "toy64" else "only toys are stamped"

    def prepare(self, design: Any, frames: Words) -> Callable[[], Any]:
        if loaded := [name for name in sys.modules if name.startswith(OTHERS)]:
            raise P2mperfError(f"{', '.join(loaded)} were imported to measure toys")
        return partial(design.set, frames, design.guest.entries(frames))

    def finish(self, design: Design, frames: Words, result: Any) -> None:
        require_all(result, f"{design.name} was not stamped")
