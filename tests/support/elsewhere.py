"""Another host that is none: units run in this process, the rest is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from p2mperf.measure.ladder import Knee
from p2mperf.study.executors.base import Capacity, Knees, Place
from p2mperf.study.order import Order
from p2mperf.study.unit import run_unit
from p2mperf.units import GIB, MIB

Record = dict[str, Any]


ROOM = Capacity(memory_bytes=64 * GIB, n_maps=60_000)


@dataclass
class Elsewhere:
    """Another host, for all that a sweep can tell: units run in this process, the rest is made up."""

    room: Capacity = ROOM
    machine_key: str = "fee2"
    orders: list[Order] = field(default_factory=list)

    def place(self) -> Place:
        return Place("elsewhere", {"n_cpus": 96}, self.machine_key, "0c0de")

    def capacity(self) -> Capacity:
        return self.room

    def alone(self) -> nullcontext[None]:
        return nullcontext()

    def run(self, order: Order) -> Iterator[Record]:
        self.orders.append(order)
        records: list[Record] = []
        # What goes to another host and back is JSON.
        run_unit(Order.from_json(json.loads(json.dumps(order.to_json()))), records.append)
        yield from json.loads(json.dumps(records))

    def knees(self) -> Knees:
        return Knees({"sizes": [1]}, (Knee("L2", 5 * MIB, "measured"),))
