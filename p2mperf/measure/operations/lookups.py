"""Lookups: the loops of `p2mperf.kernels`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from p2mperf.designs.base import Design
from p2mperf.guests.geometry import Words
from p2mperf.kernels import latency, throughput
from p2mperf.measure.operations.base import Operation, R

_ZERO = np.uint64(0)


class Reading(Operation[R]):
    """What only reads: nothing grows by it, and tables are afterwards what they were."""

    def mark(self, designs: Mapping[str, Design]) -> None:
        """Nothing grows by lookups."""

    def growth(self, design: Design, result: R) -> dict[str, int]:
        return {}

    def end(self, designs: Mapping[str, Design]) -> bool:
        return False


class TimedLookup(Reading[np.uint64]):
    """One of the loops; designs agree in it before it is timed."""

    has_empty_pass: ClassVar[bool] = True

    def prepare(self, design: Design, frames: Words) -> Callable[[], np.uint64]:
        # On the tables themselves: the timed call does not pass the design's door, which nobody closes here.
        return partial(self.kernel, design.tables, design.state, frames, _ZERO)


class Latency(TimedLookup):
    """Each lookup begins when the one before has its answer."""

    kernel: ClassVar[Any] = staticmethod(latency)


class Throughput(TimedLookup):
    """Lookups that may overlap."""

    kernel: ClassVar[Any] = staticmethod(throughput)
