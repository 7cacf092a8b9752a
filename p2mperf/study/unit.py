"""One unit: a process of its own that builds once and measures all its cells.

``python -m p2mperf.study.unit`` reads what to do as JSON from stdin and writes one JSON line to stdout for
the unit and for each cell; with ``--end-with=PID`` it does not outlive the process that started it. A process
of another replicate means a new address-space layout and new page colours; that, not repetition inside a
process, is what an interval must cover. `p2mperf.study.fork_server` starts units without an interpreter's
start.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from traceback import extract_tb

from p2mperf.control import CONTROL
from p2mperf.designs import family_of, find, is_shipped, registry
from p2mperf.designs.base import Design
from p2mperf.errors import P2mperfError, PluginError
from p2mperf.families import find_preamble
from p2mperf.guests.guest import Guest
from p2mperf.host.card import boot_key
from p2mperf.kernels import throughput
from p2mperf.measure.code_form import code_form
from p2mperf.measure.engine import check_agreement, measure_cell, rehearse, warm_up
from p2mperf.measure.operations.ability import answered_for, first_able
from p2mperf.measure.operations.lookups import Reading
from p2mperf.measure.operations.registry import find_operation, lookups
from p2mperf.measure.settings import Settings
from p2mperf.measure.touch import PageSizes
from p2mperf.plugins import foreign, said_by
from p2mperf.results.fields import Record
from p2mperf.results.keys import CellSpec, UnitId
from p2mperf.streams import STREAMS, Stream, is_scattered, make_stream, open_stream
from p2mperf.study.order import END_WITH, Order, unit_id
from p2mperf.study.rehearsal import rehearsal_guest
from p2mperf.study.replay_order import ReplayOrder
from p2mperf.study.specs import build_options
from p2mperf.units import GIB

Emit = Callable[[Record], None]
Views = dict[str, dict[str, int]]  # page sizes by design and view
_PACKAGE = Path(__file__).parents[1]
_PR_SET_PDEATHSIG = 1
# mallopt(3): from which size on an array gets a mapping of its own, and how much free memory is given back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD, _NEVER = 32 << 20, -1
_TRIED = 1 << 12  # lookups of each stream
_LADDER_BYTES = 1 * GIB  # beyond the 800 MiB list of a 400 GB guest


def main(argv: list[str]) -> int:
    """Do what stdin asks for; exit code 0, or 1 when a cell failed or the sweep is gone."""
    if not is_tied(argv):
        return 1
    task = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not end up among the records

    def emit(record: Record) -> None:
        out.write(json.dumps(record) + "\n")
        out.flush()

    try:
        if task["task"] == "ladder":
            return measure_machine(emit)
        _keep_freed_memory()
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[-1]})
        if task["task"] == "replay":
            from p2mperf.study.replay_unit import run_replay

            return run_replay(ReplayOrder.from_json(task), emit)
        return run_unit(Order.from_json(task), emit)
    except P2mperfError as error:
        emit({"record": "error", "error": str(error)})
        return error.exit_code
    except BaseException as error:  # a fault of ours, or of a design that is not: the journal says which
        emit({"record": "error", "error": f"{said_by(error)}{_fault_at(error)}"})
        raise


def _fault_at(error: BaseException) -> str:
    """Where a fault of ours was raised, for nobody sees its traceback; "" for others' code."""
    at = extract_tb(error.__traceback__)[-1]
    place = Path(at.filename)
    return f" at {place.name}, line {at.lineno}" if _PACKAGE in place.parents else ""


def is_tied(argv: list[str]) -> bool:
    """End with the process that an argument names, if one does; False when that is gone already.

    A killed sweep must not leave a process behind that goes on computing: it is killed too.
    """
    for argument in argv:
        if argument.startswith(END_WITH):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            # Another parent: it was killed before the call above.
            return os.getppid() == int(argument.removeprefix(END_WITH))
    return True


def _keep_freed_memory() -> None:
    """Let streams take the memory of those before them, where the C library is glibc.

    Fresh pages have to be cleared, and a virtual machine's host may be slow to give them.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)


def measure_machine(emit: Emit) -> int:
    """Measure the latency ladder of this machine and find its knees."""
    from p2mperf.host.card import machine_card
    from p2mperf.measure.ladder import knees, measure_ladder

    ladder = measure_ladder(_LADDER_BYTES)
    found = [asdict(knee) for knee in knees(ladder, machine_card())]
    emit({"ladder": ladder.to_dict(), "knees": found})
    return 0


def run_unit(order: Order, emit: Emit) -> int:
    """Build a unit's designs and measure its cells.

    Parameters
    ----------
    order : Order
        What to build and measure.
    emit : callable
        Takes the unit record, then one record a cell.

    Returns
    -------
    int
        0, or 1 when a cell failed.
    """
    guest = order.unit.guest.build(order.unit.seed)
    unit = unit_id(order.unit, guest)
    designs: dict[str, Design] = {}
    try:
        facts, left_out = _build_all(guest, order, designs)
        for name, design in designs.items():
            facts[name]["code_form"] = _code_forms(design, {cell.operation for cell in order.cells})
        if order.settings.control:
            _build_controls(guest, order, designs)
        if order.warm_up:
            stream = make_stream("uniform", guest, order.settings.min_lookups)
            warm_up(next(iter(designs.values())), stream, order.settings.warm_up_ns)
        told = {**unit.to_json(), "limit_bytes": unit.limit_bytes, "boot": boot_key()}
        emit({"record": "unit", **told, "designs": facts, **left_out})
        failed = False
        sizes = PageSizes(designs)
        pages = sizes.now(kept=True)
        for cell in order.cells:
            record = _measure(cell, designs, order.settings, unit)
            pages_after = sizes.now(kept=record["status"] == "done" and _only_reads(cell.operation))
            if record["status"] == "done":
                record["views"] = _before_and_after(record, pages, pages_after)
            emit(record)
            failed |= record["status"] == "failed"
            pages = pages_after
        return int(failed)
    finally:
        for design in designs.values():
            design.close()


def _only_reads(operation: str) -> bool:
    return issubclass(find_operation(operation).load(), Reading)


def _before_and_after(record: Record, before: Views, after: Views) -> Record:
    """Page sizes of every view of the designs that a cell has timed."""
    timed = record["rounds"][0]["order"]
    return {
        name: {view: [n_bytes, after[name].get(view, 0)] for view, n_bytes in before[name].items()}
        for name in sorted(timed)
    }


def _build_all(guest: Guest, order: Order, designs: dict[str, Design]) -> tuple[Record, Record]:
    """Build all designs; one of another package that breaks, and that nobody asked for, is left out."""
    facts, reasons, there = {}, [], registry()
    for name in order.unit.designs:
        if is_shipped(name) or name not in there or order.unit.asked:
            facts[name] = _build(name, guest, order, designs)
            continue
        try:
            with foreign("design", name, there[name].target):
                built = _build(name, guest, order, designs)
                for cell in order.cells:
                    tried = _stream(cell, guest, order.unit.seed).take(_TRIED)
                    check_agreement({name: designs[name]}, tried, throughput)
            facts[name] = built
        except PluginError as error:
            reasons.append(str(error))
            if broken := designs.pop(name, None):
                with suppress(PluginError), foreign("design", name, ""):
                    broken.close()
    if not designs:
        raise PluginError(reasons[0])
    return facts, {"left_out": reasons} if reasons else {}


def _build_controls(guest: Guest, order: Order, designs: dict[str, Design]) -> None:
    """Build the first design of each cell once more: what is told of a build is told of that one."""
    kinds = {name: type(design) for name, design in designs.items()}
    for operation in dict.fromkeys(cell.operation for cell in order.cells):
        first = first_able(find_operation(operation), kinds, guest)
        if first and CONTROL + first not in designs:
            designs[CONTROL + first] = designs[first].again()


def _stream(cell: CellSpec, guest: Guest, seed: int) -> Stream:
    return open_stream(
        cell.stream if cell.stream in STREAMS else "uniform",
        guest,
        seed=seed,
        hole_fraction=cell.hole_fraction,
        identity_fraction=cell.identity_fraction,
        hole_pattern=cell.hole_pattern,
    )


def _build(name: str, guest: Guest, order: Order, designs: dict[str, Design]) -> Record:
    """Build one design, and say what came of it as the unit record has it."""
    kind = find(name)
    options = build_options(kind, order.unit.limit_bytes)
    _rehearse(kind, guest, order)
    predicted = kind.predict_footprint(guest, backing=kind.backing_of(order.unit.backing), **options)
    design = designs[name] = kind(guest, order.unit.backing, **options)
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


def _rehearse(kind: type[Design], guest: Guest, order: Order) -> None:
    """Compiling, or loading what was compiled, is no part of building, nor of what is timed."""
    small = rehearsal_guest(guest)
    with kind(small, order.unit.backing, **build_options(kind, order.unit.limit_bytes)) as design:
        for operation in {cell.operation for cell in order.cells}:
            # What an operation of another package raises here it raises in its cells too: they tell of it.
            with suppress(PluginError), answered_for(find_operation(operation)):
                rehearse(operation, design, partial(make_stream, "sequential", small))


def _code_forms(design: Design, operations: set[str]) -> dict[str, str]:
    return {
        name: code_form(find_operation(name).load().kernel, design.tables)
        for name in lookups()
        if name in operations
    }


def cell_seeds(key: str) -> tuple[int, int]:
    """Seeds of a cell's order of designs and of its stream: no two cells or processes share one.

    Parameters
    ----------
    key : str
        The cell's, which names its unit with its replicate and seed.

    Returns
    -------
    tuple of int
        The same at every run of the plan.
    """
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")


def _measure(cell: CellSpec, designs: dict[str, Design], settings: Settings, unit: UnitId) -> Record:
    guest = next(iter(designs.values())).guest
    key = cell.key_in(unit.key)
    seed, of_stream = cell_seeds(key)
    record = {"record": "cell", "cell": key, **unit.to_json(), **cell.to_json()}
    try:
        # One stream for all of it: what was looked up to calibrate is not looked up again when timed.
        make, scattered = _stream(cell, guest, of_stream).take, is_scattered(cell.stream)
        with answered_for(find_operation(cell.operation)):
            before = find_preamble(cell.family, cell.preamble) if cell.preamble else None
            measured = measure_cell(designs, make, cell.operation, settings, seed, scattered, before)
        return {**record, "status": "done", **measured.to_json()}
    except P2mperfError as error:
        return {**record, "status": "failed", "error": str(error)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
