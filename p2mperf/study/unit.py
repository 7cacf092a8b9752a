"""One unit: a fresh process that builds once and measures all its cells.

``python -m p2mperf.study.unit`` reads what to do as JSON from stdin and writes one JSON line to stdout for
the unit and for each cell. A fresh process means a new address-space layout and new page colours; that, not
repetition inside a process, is what an interval must cover.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from p2mperf.designs import family_of, find
from p2mperf.designs.base import Design
from p2mperf.errors import P2mperfError
from p2mperf.guests.guest import Guest
from p2mperf.measure.code_form import code_form
from p2mperf.measure.engine import Settings, measure_cell, rehearse, warm_up
from p2mperf.measure.operations.registry import find_operation, lookups
from p2mperf.results.keys import CellSpec, UnitId
from p2mperf.streams import STREAMS, make_stream
from p2mperf.study.rehearsal import rehearsal_guest
from p2mperf.study.specs import GuestSpec, build_options
from p2mperf.units import GIB

Record = dict[str, Any]
Emit = Callable[[Record], None]
_PR_SET_PDEATHSIG = 1
_LADDER_BYTES = 1 * GIB  # beyond the 800 MiB list of a 400 GB guest


def main() -> int:
    """Do what stdin asks for; exit code 0, or 1 when a cell failed or the sweep is gone."""
    # A killed sweep must not leave a child behind that goes on computing.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    order = json.load(sys.stdin)
    if os.getppid() != order["parent"]:
        return 1  # it was killed before the call above
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not end up among the records

    def emit(record: Record) -> None:
        out.write(json.dumps(record) + "\n")
        out.flush()

    try:
        return measure_machine(emit) if order["task"] == "ladder" else run_unit(order, emit)
    except P2mperfError as error:
        emit({"record": "error", "error": str(error)})
        return error.exit_code


def measure_machine(emit: Emit) -> int:
    """Measure the latency ladder of this machine and find its knees."""
    from p2mperf.host.card import machine_card
    from p2mperf.measure.ladder import knees, measure_ladder

    ladder = measure_ladder(_LADDER_BYTES)
    found = [asdict(knee) for knee in knees(ladder, machine_card())]
    emit({"ladder": ladder.to_dict(), "knees": found})
    return 0


def run_unit(order: Mapping[str, Any], emit: Emit) -> int:
    """Build a unit's designs and measure its cells.

    Parameters
    ----------
    order : mapping
        ``guest`` (name, geometry, n_bytes), ``backing``, ``replicate``, ``seed``, ``designs``,
        ``limit_bytes``, ``cells`` (stream, hole_fraction, identity_fraction, operation), ``settings`` and
        ``warm_up``.
    emit : callable
        Takes the unit record, then one record a cell.

    Returns
    -------
    int
        0, or 1 when a cell failed.
    """
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[-1]})
    guest = GuestSpec(**order["guest"]).build(order["seed"])
    settings = Settings(**order["settings"])
    identity = _identity(guest, order)
    designs: dict[str, Design] = {}
    try:
        facts = {name: _build(name, guest, order, designs) for name in order["designs"]}
        if order["warm_up"]:
            stream = make_stream("uniform", guest, settings.min_lookups)
            warm_up(next(iter(designs.values())), stream, settings.warm_up_ns)
        for name, design in designs.items():
            facts[name]["code_form"] = _code_forms(design, {cell["operation"] for cell in order["cells"]})
        emit({"record": "unit", **identity, "limit_bytes": order["limit_bytes"], "designs": facts})
        failed = False
        for cell in order["cells"]:
            record = _measure(cell, designs, settings, identity)
            emit(record)
            failed |= record["status"] == "failed"
        return int(failed)
    finally:
        for design in designs.values():
            design.close()


def _identity(guest: Guest, order: Mapping[str, Any]) -> Record:
    shape = guest.geometry
    named = {name: order[name] for name in ("backing", "replicate", "seed", "limit_bytes")}
    return UnitId(guest.name, shape.name, shape.entry_bits, guest.n_boot_pages, **named).to_json()


def _build(name: str, guest: Guest, order: Mapping[str, Any], designs: dict[str, Design]) -> Record:
    kind = find(name)
    options = build_options(kind, order["limit_bytes"])
    _rehearse(kind, guest, order)
    predicted = kind.predict_footprint(guest, **options)
    design = designs[name] = kind(guest, order["backing"], **options)
    footprint = design.footprint()
    views = design.views()
    return {
        "family": family_of(name),
        "build_ns": design.build_ns,
        "mfn_generation_ns": design.mfn_generation_ns,
        "footprint": footprint.pages,
        "n_vmas": footprint.n_vmas,
        "page_table_bytes": footprint.page_table_bytes,
        "memory_bytes": footprint.memory_bytes,
        "predicted_memory_bytes": predicted.memory_bytes,
        "view_page_bytes": views.get("window", views.get("direct")),
    }


def _rehearse(kind: type[Design], guest: Guest, order: Mapping[str, Any]) -> None:
    """Compiling, or loading what was compiled, is no part of building, nor of what is timed."""
    small = rehearsal_guest(guest)
    with kind(small, order["backing"], **build_options(kind, order["limit_bytes"])) as design:
        for operation in {cell["operation"] for cell in order["cells"]}:
            rehearse(operation, design, partial(make_stream, "sequential", small))


def _code_forms(design: Design, operations: set[str]) -> dict[str, str]:
    return {
        name: code_form(find_operation(name).load().kernel, design.tables)
        for name in lookups()
        if name in operations
    }


def _measure(cell: Record, designs: dict[str, Design], settings: Settings, identity: Record) -> Record:
    guest = next(iter(designs.values())).guest
    family = family_of(next(iter(designs)))
    key = CellSpec(family, **cell).key_in(identity["unit"])
    # Each call draws another stretch: what was looked up to calibrate is not looked up again when timed.
    draws = iter(range(1 << 30))

    def make(n_lookups: int) -> Any:
        return make_stream(
            cell["stream"] if cell["stream"] in STREAMS else "uniform",
            guest,
            n_lookups,
            seed=identity["seed"] * 1000 + next(draws),
            hole_fraction=cell["hole_fraction"],
            identity_fraction=cell["identity_fraction"],
        )

    record = {"record": "cell", "cell": key, **identity, "family": family, **cell}
    try:
        scattered = cell["stream"] != "sequential"
        measured = measure_cell(designs, make, cell["operation"], settings, identity["seed"], scattered)
        return {**record, "status": "done", **measured.to_json()}
    except P2mperfError as error:
        return {**record, "status": "failed", "error": str(error)}


if __name__ == "__main__":
    sys.exit(main())
