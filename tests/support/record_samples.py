"""Journal records that are right, for tests to write, change and break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from p2mperf.results.keys import CellSpec, UnitId, fingerprint

Record = dict[str, Any]

MACHINE = {"cpu": "Example 9000", "n_cpus": 2}


def run(**changes: Any) -> Record:
    plan = {"name": "quick", "sizes": ["512M"], "streams": ["uniform"]}
    record = {
        "record": "run",
        "schema": 3,
        "run": "0123456789ab",
        "host": "alpha",
        "started": "2026-11-21T10:00:00+00:00",
        "plan": plan,
        "plan_key": fingerprint(plan),
        "code": "c0de",
        "machine": MACHINE,
        "machine_key": "fee1",
        "n_units": 1,
        "n_cells": 2,
    }
    return record | changes


def _identity(**changes: Any) -> Record:
    fields: Record = {
        "guest": "domu-32-512m",
        "geometry": "pv32",
        "entry_bits": 32,
        "guest_pages": 131072,
        "backing": "4k",
        "replicate": 0,
        "seed": 7,
    }
    fields |= {name: value for name, value in changes.items() if name in (*fields, "limit_bytes")}
    return fields | {"unit": UnitId(**fields).key}


def design(**changes: Any) -> Record:
    record = {
        "family": "pv",
        "build_ns": 1000,
        "mfn_generation_ns": 200,
        "footprint": {"leaf": 128, "top": 1},
        "n_vmas": 3,
        "page_table_bytes": 8192,
        "memory_bytes": 528384,
        "predicted_memory_bytes": 528384,
        "view_page_bytes": 4096,
        "code_form": {"latency": "scalar", "throughput": "gather:5"},
    }
    return record | changes


def unit(designs: Record | None = None, **changes: Any) -> Record:
    if designs is None:
        designs = {"pv-linear": design(footprint={"leaf": 128}), "pv-tree": design()}
    return {"record": "unit", **_identity(**changes), "designs": designs}


def unit_of(cell: Record) -> Record:
    """Record of the unit that a cell was measured in: it has built what the cell names."""
    names = sorted({name.removeprefix("control:") for block in cell["rounds"] for name in block["order"]})
    return unit({name: design(family=cell["family"]) for name in names}, **cell)


def with_units(*records: Record) -> Iterator[Record]:
    """Records as a journal takes them: no measured cell without a record of its unit before it."""
    known = set()
    for record in records:
        if record.get("status") == "done" and record["unit"] not in known:
            yield unit_of(record)
        known.add(record.get("unit"))
        yield record


def block(*elapsed_ns: int, order: tuple[str, ...] = ("pv-linear", "pv-tree")) -> Record:
    """One round: the designs in the order timed, and the time of each."""
    return {
        "order": list(order),
        "elapsed_ns": dict(zip(order, elapsed_ns, strict=True)),
        "n_involuntary_switches": dict.fromkeys(order, 0),
        "n_steal_ticks": dict.fromkeys(order, 0),
    }


def cell(**changes: Any) -> Record:
    record = {
        "record": "cell",
        **_identity(**changes),
        "family": "pv",
        "stream": "uniform",
        "hole_fraction": 0.0,
        "identity_fraction": 0.0,
        "operation": "latency",
        "status": "done",
        "n_lookups": 1000,
        "rounds": [block(2000, 3000), block(3300, 2200, order=("pv-tree", "pv-linear"))],
        "checksum": 2**64 - 1,
        "need_bytes": None,
        "have_bytes": None,
        "error": None,
    }
    record |= changes
    return record | {"cell": CellSpec.from_json(record).key_in(record["unit"])}


def skipped(**changes: Any) -> Record:
    missing: Record = {"status": "skipped_memory", "n_lookups": None, "rounds": [], "checksum": None}
    return cell(**missing | {"need_bytes": 2**40, "have_bytes": 2**34} | changes)


def failed(**changes: Any) -> Record:
    missing: Record = {"status": "failed", "n_lookups": None, "rounds": [], "checksum": None}
    return cell(**missing | {"error": "the process died with signal 7"} | changes)


def end(**changes: Any) -> Record:
    return {"record": "end", "finished": "2026-11-21T10:05:00+00:00", "n_done": 1} | changes
