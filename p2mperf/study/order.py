"""What a unit's process is told, and what its unit is called."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

from p2mperf.guests.guest import Guest
from p2mperf.measure.settings import Settings
from p2mperf.results.fields import Record
from p2mperf.results.keys import CellSpec, UnitId
from p2mperf.study.specs import GuestSpec, Unit

END_WITH = "--end-with="  # argument of a unit's process: the process that it does not outlive
READY = b"ready"  # what the process that forks units says first


@dataclass(frozen=True)
class Order:
    """All that the process of a unit is told; what runs it need not be where the plan is.

    Attributes
    ----------
    unit : Unit
        What to build.
    cells : tuple of CellSpec
        What to measure, in this order.
    settings : Settings
        How long and how often.
    warm_up : bool
        Whether to keep the processor busy first: the run's first process.
    need_bytes : int
        Memory that the process takes at most; 0 where nobody has worked it out [bytes].
    """

    unit: Unit
    cells: tuple[CellSpec, ...]
    settings: Settings
    warm_up: bool = False
    need_bytes: int = 0

    def to_json(self) -> Record:
        """Plain data, as it goes to a process."""
        return {
            **asdict(self.unit),
            "cells": [cell.to_json() for cell in self.cells],
            "settings": self.settings.to_json(),
            "warm_up": self.warm_up,
            "need_bytes": self.need_bytes,
        }

    @classmethod
    def from_json(cls, data: Record) -> Self:
        """Read what `to_json` made, alone or among other things."""
        unit = {name: data[name] for name in Unit.__dataclass_fields__}
        unit |= {"guest": GuestSpec(**data["guest"]), "designs": tuple(data["designs"])}
        cells = tuple(map(CellSpec.from_json, data["cells"]))
        settings = Settings(**data["settings"])
        return cls(Unit(**unit), cells, settings, data["warm_up"], data.get("need_bytes", 0))


def unit_id(unit: Unit, guest: Guest) -> UnitId:
    """Name a unit in results.

    Parameters
    ----------
    unit : Unit
        What is built.
    guest : Guest
        The guest that its spec builds.

    Returns
    -------
    UnitId
    """
    shape = guest.geometry
    return UnitId(
        guest=guest.name,
        geometry=shape.name,
        entry_bits=shape.entry_bits,
        guest_pages=guest.n_boot_pages,
        backing=unit.backing,
        replicate=unit.replicate,
        seed=unit.seed,
        limit_bytes=unit.limit_bytes,
    )
