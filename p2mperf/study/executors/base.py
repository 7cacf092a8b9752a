"""What a sweep asks of the place where its units run; the sweep itself may be elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from p2mperf.host.card import Card
from p2mperf.measure.ladder import Knee
from p2mperf.results.fields import Record
from p2mperf.study.order import Order


@dataclass(frozen=True)
class Capacity:
    """What a unit's process can have at most, just now.

    Attributes
    ----------
    memory_bytes : int
        Memory [bytes].
    n_maps : int
        Mappings, its own libraries included.
    """

    memory_bytes: int
    n_maps: int


@dataclass(frozen=True)
class Place:
    """What a run record says of where its units run.

    Attributes
    ----------
    host : str
        Name of the host.
    card : dict
        Its machine card.
    card_key : str
        Hash of what makes timings comparable.
    code : str
        Hash of all code there that can decide a number.
    """

    host: str
    card: Card
    card_key: str
    code: str


@dataclass(frozen=True)
class Knees:
    """Where a machine's latency ladder rises.

    Attributes
    ----------
    ladder : dict
        The ladder as plain data: it is kept with a run to explain it, and not read again.
    knees : tuple of Knee
        Sizes at which the cost of a load changes.
    """

    ladder: Record
    knees: tuple[Knee, ...]

    @property
    def sizes_bytes(self) -> list[int]:
        """Bytes at which a cache or translation buffer is full, ascending."""
        return sorted(knee.bytes for knee in self.knees)

    def to_json(self) -> Record:
        """Plain data, as the machine card of a run has it."""
        return {"ladder": self.ladder, "knees": [knee.to_dict() for knee in self.knees]}

    @classmethod
    def from_json(cls, data: Record) -> Self:
        """Read what `to_json` made, alone or in a machine card."""
        return cls(data["ladder"], tuple(Knee(**knee) for knee in data["knees"]))


@runtime_checkable
class Executor(Protocol):
    """A place where units run, one at a time: two at once would time each other."""

    def place(self) -> Place:
        """Say which machine and which code it is."""

    def capacity(self) -> Capacity:
        """Say what the next unit can have."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep other sweeps away from the machine.

        Raises
        ------
        ResultsError
            When another one is at work there.
        """

    def run(self, order: Order) -> Iterator[Record]:
        """Run one unit in a process of its own.

        Parameters
        ----------
        order : Order
            What to build and measure.

        Yields
        ------
        dict
            The unit record, then a record a cell, each as soon as it is there.

        Raises
        ------
        P2mperfError
            When the unit could not be built, or its process died; what was yielded before holds.
        """

    def knees(self) -> Knees:
        """Measure the latency ladder of the machine, and find its knees.

        Raises
        ------
        P2mperfError
            When that fails.
        """
