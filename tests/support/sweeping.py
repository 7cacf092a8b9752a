"""Small sweeps for tests: a plan that takes a moment, and a unit's process made of cardboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import record_samples as samples

from p2mperf.measure.settings import Settings
from p2mperf.progress import Progress
from p2mperf.study.order import Order, unit_id
from p2mperf.study.plans import Plan
from p2mperf.study.specs import GuestSpec, StreamSpec

Record = dict[str, Any]
# No cell of it takes more than a moment.
MOMENT = Settings(
    n_visits=2, n_slices=1, target_ns=10_000, min_lookups=128, max_lookups=128, control=False, warm_up_ns=0
)


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
        has_ladder=False,
    )


@dataclass
class Units:
    """Stands in for `p2mperf.study.executors.local.child`: writes the records that a unit's process would.

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

    def __call__(self, task: Record, start: Any = None, meanwhile: Any = None) -> Iterator[Record]:
        self.orders.append(task)
        order = Order.from_json(task)
        unit = unit_id(order.unit, order.unit.guest.build(order.unit.seed))
        designs = {name: samples.design() for name in order.unit.designs}
        yield {"record": "unit", **unit.to_json(), "designs": designs}
        for cell in order.cells:
            record = samples.cell(**unit.to_json(), **cell.to_json())
            if "pv-linear" not in designs or "pv-tree" not in designs:  # the sample times these two
                record["rounds"] = [samples.block(*[2000] * len(designs), order=tuple(designs))]
            self.n_cells += 1
            yield self.spoil(self.n_cells, record | {"cell": cell.key_in(unit.key)})


@dataclass
class Listener:
    """What a sweep said, and how far it told it was."""

    said: list[str] = field(default_factory=list)
    told: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        return Progress(self.said.append, lambda *told: self.told.append(told))
