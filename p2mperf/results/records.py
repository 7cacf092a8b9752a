"""What stands in a journal: its records.

One registry of their fields is documentation, types and check in one. The journal (`p2mperf.results.journal`)
holds records of four shapes, in this order: one *run*, then for every unit its *unit* record before the
*cell* records measured in it, and at the end an *end* record.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from p2mperf.errors import ResultsError

# History of the format. Whoever changes the meaning of a record or of a column adds a line and a number.
#   1  run, unit, cell and end records; the columns of the samples frame
#   2  operations beside lookups: limit_bytes of a unit, n_pages_grown and n_vmas_grown of a round
#      (keys of units with a limit, and of their cells, name it; the first files of version 2 did not)
VERSION = 2

Record = dict[str, Any]
_KIND = re.compile(r"[a-z][a-z0-9_]*")

# A design of this prefix in the rounds of a cell is the design after it, timed once more as an A/A control.
CONTROL = "control:"

# The operations that look frames up; all others change a p2m, or make one.


def fingerprint(data: object) -> str:
    """Short hash of plain data: equal data, equal text, whatever the order of the keys.

    Used as the key of a plan: the fingerprint of its grid.

    Parameters
    ----------
    data : object
        Anything JSON can hold.

    Returns
    -------
    str
        12 hexadecimal digits.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def unit_key(
    guest: str,
    geometry: str,
    guest_pages: int,
    backing: str,
    replicate: int,
    seed: int,
    limit_bytes: int | None = None,
) -> str:
    """Readable, stable name of a unit within its plan.

    Parameters
    ----------
    guest, geometry, backing : str
        Names, as in the unit record.
    guest_pages : int
        Guest memory [pages].
    replicate, seed : int
        Which of the fresh processes over the same guest and backing.
    limit_bytes : int, optional
        Memory that may be hot-plugged later; none is not named [bytes].

    Returns
    -------
    str
        Different for different arguments.

    Examples
    --------
    >>> unit_key("domu-64-8g", "pv64", 2097152, "4k", 0, 17)
    'domu-64-8g/pv64/2097152-pages/4k/replicate-0/seed-17'
    >>> unit_key("domu-64-8g", "pv64", 2097152, "4k", 0, 17, 1 << 39)
    'domu-64-8g/pv64/2097152-pages/4k/replicate-0/seed-17/limit-549755813888'
    """
    parts = (
        _escaped(guest),
        _escaped(geometry),
        f"{guest_pages}-pages",
        _escaped(backing),
        f"replicate-{replicate}",
        f"seed-{seed}",
        *([f"limit-{limit_bytes}"] if limit_bytes else ()),
    )
    return "/".join(parts)


def cell_key(
    unit: str, family: str, stream: str, hole_fraction: float, identity_fraction: float, operation: str
) -> str:
    """Readable, stable name of a cell within its plan.

    Parameters
    ----------
    unit : str
        Key of the unit that measures it.
    family, stream, operation : str
        Names, as in the cell record.
    hole_fraction, identity_fraction : float
        As in the cell record; written so that they read back exactly.

    Returns
    -------
    str
        Different for different arguments.

    Examples
    --------
    >>> cell_key("U", "pv", "uniform", 0, 0.25, "latency")
    'U/pv/uniform/hole-0.0/identity-0.25/latency'
    """
    return "/".join(
        (
            unit,
            _escaped(family),
            _escaped(stream),
            f"hole-{float(hole_fraction)!r}",
            f"identity-{float(identity_fraction)!r}",
            _escaped(operation),
        )
    )


def _escaped(part: str) -> str:
    """Keep the slash for the joints of a key, so that different parts never give equal keys."""
    return part.replace("%", "%25").replace("/", "%2F")


@dataclass(frozen=True)
class Field:
    """One field of a journal record.

    Parameters
    ----------
    holds : callable
        Whether a value is acceptable.
    wants : str
        What is acceptable, for the sentence that refuses.
    doc : str
        What the field means.
    optional : bool
        Whether it may be null or left out.
    """

    holds: Callable[[Any], bool]
    wants: str
    doc: str
    optional: bool = False


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _text(doc: str, optional: bool = False) -> Field:
    return Field(lambda value: isinstance(value, str), "text", doc, optional)


def _hexadecimal(doc: str) -> Field:
    return Field(
        lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{4,64}", value) is not None,
        "4 to 64 hexadecimal digits",
        doc,
    )


def _count(doc: str, least: int = 0, below: int = 1 << 63, optional: bool = False) -> Field:
    return Field(
        lambda value: _is_whole(value) and least <= value < below,
        f"a whole number from {least} to below 2**{below.bit_length() - 1}",
        doc,
        optional,
    )


def _fraction(doc: str) -> Field:
    return Field(
        lambda value: (_is_whole(value) or isinstance(value, float)) and 0 <= value <= 1,
        "a number from 0 to 1",
        doc,
    )


def _changes(doc: str) -> Field:
    return Field(
        lambda value: isinstance(value, dict) and all(map(_is_whole, value.values())),
        "a table of design: a whole number",
        doc,
        optional=True,
    )


def _table(doc: str) -> Field:
    return Field(lambda value: isinstance(value, dict), "a table", doc)


def _time(doc: str) -> Field:
    return Field(_is_time, "an ISO 8601 time with its UTC offset", doc)


def _counts(doc: str, least: int = 0) -> Field:
    count = _count(doc, least)
    return Field(
        lambda value: isinstance(value, dict) and all(map(count.holds, value.values())),
        f"a table of design: {count.wants}",
        doc,
    )


_UNIT_IDENTITY = {
    "guest": _text("guest name"),
    "geometry": _text("radix geometry of the guest's tables"),
    "entry_bits": _count("width of one p2m entry [bit]", least=1),
    "guest_pages": _count("guest memory [page]", least=1),
    "backing": _text("page backing asked for"),
    "replicate": _count("number of the fresh process"),
    "seed": _count("seed of the unit"),
}

RUN = {
    "schema": _count("version of this format", least=1),
    "run": _hexadecimal("run id; journals of several hosts may share one"),
    "host": _text("name of the host"),
    "started": _time("start of the run"),
    "plan": _table("name of the plan and its full grid as plain data"),
    "plan_key": _text("fingerprint of the grid: only a run of the same plan is continued"),
    "code": _text("hash of all that decides a number: only a run of the same code is continued"),
    "machine": _table("machine card"),
    "machine_key": _text(
        "hash of what makes timings comparable: only a run of the same machine is continued"
    ),
    "n_units": _count("units of the plan"),
    "n_cells": _count("cells of the plan"),
}

UNIT = {
    "unit": _text("unit_key of the fields below"),
    **_UNIT_IDENTITY,
    "limit_bytes": _count("memory that may be hot-plugged later [byte]", optional=True),
    "designs": _table("what was built: DESIGN by name of the design"),
}

DESIGN = {
    "family": _text("family of the design"),
    "build_ns": _count("time to build [ns]", optional=True),
    "mfn_generation_ns": _count("time to make the machine frame numbers [ns]", optional=True),
    "footprint": _table("pages by kind"),
    "n_vmas": _count("mappings taken", optional=True),
    "page_table_bytes": _count("hardware page tables taken", optional=True),
    "memory_bytes": _count("memory taken, counted", optional=True),
    "predicted_memory_bytes": _count("memory taken, predicted", optional=True),
    "view_page_bytes": _count("page size the timed view really has", optional=True),
    "code_form": _table("form of the compiled loop by operation"),
}

CELL = {
    "cell": _text("cell_key of the fields below"),
    "unit": _text("unit_key of the fields below"),
    **_UNIT_IDENTITY,
    "family": _text("family of the designs measured together"),
    "stream": _text("name of the access pattern"),
    "hole_fraction": _fraction("share of the stream that lands in holes"),
    "identity_fraction": _fraction("share of the stream that lands in identity ranges"),
    "operation": _text("what is timed"),
    "limit_bytes": _count("as of its unit, if that has one [byte]", optional=True),
    "status": _text("one of STATUS"),
    "n_lookups": _count("loop count of one timed pass", least=1, optional=True),
    "rounds": Field(lambda value: isinstance(value, list), "a list", "ROUND for every block", optional=True),
    "checksum": _count("wrapping sum of the entries", below=1 << 64, optional=True),
    "need_bytes": _count("memory a skipped cell would have needed", optional=True),
    "have_bytes": _count("memory there was for a skipped cell", optional=True),
    "error": _text("why the cell was not measured", optional=True),
}

ROUND = {
    "order": Field(
        lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
        "a list of designs",
        "designs in the order timed",
    ),
    "elapsed_ns": _counts("time of the pass by design [ns]", least=1),
    "n_involuntary_switches": _counts("preemptions during the pass by design"),
    "n_steal_ticks": _counts("time the hypervisor took away during the pass by design [tick]"),
    "n_pages_grown": _changes("pages that the pass took by design [page]"),
    "n_vmas_grown": _changes("mappings that the pass took by design"),
    "flagged": Field(
        lambda value: isinstance(value, dict) and all(isinstance(cause, str) for cause in value.values()),
        "a table of design: text",
        "cause of an outlier by design, for those passes that are outliers",
        optional=True,
    ),
}

END = {
    "finished": _time("end of the run"),
    "n_done": _count("cells measured over the whole run"),
}

RECORDS: dict[str, dict[str, Field]] = {"run": RUN, "unit": UNIT, "cell": CELL, "end": END}

# Fields that are optional in general and needed by cells of this status.
STATUS = {
    "done": ("n_lookups", "rounds", "checksum"),
    "skipped_memory": ("need_bytes", "have_bytes"),
    "skipped_maps": ("error",),
    "failed": ("error",),
}


def validate(record: object) -> None:
    """Refuse what is not a journal record of this version.

    Parameters
    ----------
    record : object
        One line of a journal, decoded.

    Raises
    ------
    ResultsError
        Naming the record and the first field that is wrong.
    """
    if not isinstance(record, dict) or record.get("record") not in RECORDS:
        raise ResultsError(f"a journal line is a table whose 'record' is one of {', '.join(RECORDS)}")
    name = record["record"]
    if name == "run":
        check_version(record.get("schema"), "this run")
    _check_fields(record, RECORDS[name], f"{name} record", also=("record",))
    if name in _CHECKS:
        _CHECKS[name](record)


def check_version(version: object, what: str) -> None:
    """Refuse data of a later schema than this program knows.

    Raises
    ------
    ResultsError
        When `version` is higher than `VERSION`.
    """
    if _is_whole(version) and version > VERSION:  # type: ignore[operator]
        raise ResultsError(
            f"{what} has results schema {version}, this p2mperf knows up to {VERSION}: install a newer one"
        )


def _check_fields(
    record: Mapping[str, Any], shape: Mapping[str, Field], where: str, also: tuple[str, ...] = ()
) -> None:
    for name, field in shape.items():
        value = record.get(name)
        if value is None and field.optional:
            continue
        if name not in record:
            raise ResultsError(f"{where} has no {name!r} ({field.doc})")
        if not field.holds(value):
            raise ResultsError(f"{name!r} of a {where} is {_shown(value)}, but must be {field.wants}")
    for name in record:
        if name not in shape and name not in also:
            raise ResultsError(f"{where} has an unknown field {name!r} (known: {', '.join(shape)})")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_run(record: Record) -> None:
    if not isinstance(record["plan"].get("name"), str):
        raise ResultsError("'plan' of a run record must hold the 'name' of the plan")


def _check_unit_key(record: Record) -> None:
    fields = ("guest", "geometry", "guest_pages", "backing", "replicate", "seed")
    of_all = {field: record[field] for field in fields}
    if record["unit"] != unit_key(**of_all):  # the first files of version 2 name no limit
        _check_key(record, "unit", unit_key(**of_all, limit_bytes=record.get("limit_bytes")))


def _check_unit(record: Record) -> None:
    _check_unit_key(record)
    for name, design in record["designs"].items():
        where = f"design {name!r} of unit {record['unit']}"
        if not isinstance(design, dict):
            raise ResultsError(f"{where} is not a table")
        _check_fields(design, DESIGN, where)
        for kind, n_pages in design["footprint"].items():
            if not _KIND.fullmatch(kind) or not _is_whole(n_pages):
                raise ResultsError(
                    f"'footprint' of {where} must hold whole numbers by names of [a-z0-9_], "
                    f"not {kind!r}: {_shown(n_pages)}"
                )
        if not all(isinstance(form, str) for form in design["code_form"].values()):
            raise ResultsError(f"'code_form' of {where} must hold text by operation")


def _check_cell(record: Record) -> None:
    _check_unit_key(record)
    fields = ("unit", "family", "stream", "hole_fraction", "identity_fraction", "operation")
    _check_key(record, "cell", cell_key(*(record[field] for field in fields)))
    status = record["status"]
    if status not in STATUS:
        raise ResultsError(
            f"'status' of cell {record['cell']} is {status!r}, but must be one of {', '.join(STATUS)}"
        )
    for name in STATUS[status]:
        if record.get(name) is None:
            raise ResultsError(f"cell {record['cell']} is {status!r} but has no {name!r}")
    if status == "done" and not record["rounds"]:
        raise ResultsError(f"cell {record['cell']} is 'done' but has no round")
    for block in record.get("rounds") or ():
        _check_round(block, f"round of cell {record['cell']}")


def _check_round(block: object, where: str) -> None:
    if not isinstance(block, dict):
        raise ResultsError(f"a {where} is not a table")
    _check_fields(block, ROUND, where)
    designs = sorted(block["order"])
    if not designs:
        raise ResultsError(f"'order' of a {where} names no design")
    if len(set(designs)) != len(designs):
        raise ResultsError(f"'order' of a {where} names a design twice")
    for name in ("elapsed_ns", "n_involuntary_switches", "n_steal_ticks"):
        if sorted(block[name]) != designs:
            raise ResultsError(f"{name!r} of a {where} has other designs than its 'order'")
    for name in ("flagged", "n_pages_grown", "n_vmas_grown"):
        if not set(block.get(name) or ()).issubset(designs):
            raise ResultsError(f"{name!r} of a {where} has other designs than its 'order'")


def _check_key(record: Record, name: str, expected: str) -> None:
    if record[name] != expected:
        raise ResultsError(
            f"{name!r} of a {record['record']} record is {record[name]!r}, but its fields say {expected!r}"
        )


_CHECKS: dict[str, Callable[[Record], None]] = {"run": _check_run, "unit": _check_unit, "cell": _check_cell}
