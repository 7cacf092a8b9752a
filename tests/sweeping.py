"""Small sweeps for tests: a plan that takes a moment, and a unit's process made of cardboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import record_samples as samples

from p2mperf.progress import Progress
from p2mperf.results.keys import CellSpec, UnitId
from p2mperf.study.plans import Plan
from p2mperf.study.specs import GuestSpec, StreamSpec

Record = dict[str, Any]
# Called quick, so that no ladder is measured first.
MOMENT = {
    "n_rounds": 2,
    "target_ns": 10_000,
    "min_lookups": 128,
    "max_lookups": 128,
    "control": False,
    "warm_up_ns": 0,
}


def small_plan(
    *sizes: str,
    n_replicates: int = 1,
    streams: tuple[str, ...] = ("uniform", "zipf"),
    limit_bytes: int = 0,
) -> Plan:
    """Plan of sizes * replicates units, each of one latency cell a stream."""
    return Plan(
        "quick",
        tuple(GuestSpec.plain(size, "pv64") for size in sizes or ("16M",)),
        streams=tuple(map(StreamSpec, streams)),
        operations=("latency",),
        n_replicates=n_replicates,
        settings=MOMENT,
        limit_bytes=limit_bytes,
    )


@dataclass
class Units:
    """Stands in for `p2mperf.study.sweep.child`: writes the records that a unit's process would.

    Attributes
    ----------
    orders : list
        What was ordered.
    spoil : callable
        Given the number of the cell over all units and its record, returns the record to write, or raises.
    """

    orders: list[Record] = field(default_factory=list)
    spoil: Callable[[int, Record], Record] = field(default=lambda number, record: record)
    n_cells: int = 0

    def __call__(self, order: Record, seed: int = 0) -> Iterator[Record]:
        self.orders.append(order)
        guest = GuestSpec(**order["guest"]).build(order["seed"])
        identity = {
            "guest": guest.name,
            "geometry": guest.geometry.name,
            "guest_pages": guest.n_boot_pages,
            "backing": order["backing"],
            "replicate": order["replicate"],
            "seed": order["seed"],
        }
        if order["limit_bytes"]:
            identity["limit_bytes"] = order["limit_bytes"]
        identity = UnitId(entry_bits=guest.geometry.entry_bits, **identity).to_json()
        yield {"record": "unit", **identity, "designs": {name: samples.design() for name in order["designs"]}}
        for cell in order["cells"]:
            record = samples.cell(**identity, **cell)
            record["cell"] = CellSpec.from_json(record).key_in(record["unit"])
            self.n_cells += 1
            yield self.spoil(self.n_cells, record)


@dataclass
class Listener:
    """What a sweep said, and how far it told it was."""

    said: list[str] = field(default_factory=list)
    told: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        return Progress(self.said.append, lambda *told: self.told.append(told))
