"""Whether a record is one of a journal: each field for itself, and what the fields of one must agree in.

The journal (`p2mperf.results.journal`) holds records of four shapes, in this order: one *run*, then for every
unit its *unit* record before the *cell* records measured in it, and at the end an *end* record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from p2mperf.errors import ResultsError
from p2mperf.results.fields import LINES, RECORDS, STATUS, VERSION, Field, Record
from p2mperf.results.keys import CellSpec, UnitId, unit_key
from p2mperf.results.values import is_whole

_FOOTPRINT_KIND = re.compile(r"[a-z][a-z0-9_]*")


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
    if not isinstance(record, dict) or record.get("record") not in LINES:
        raise ResultsError(f"a journal line is a table whose 'record' is one of {', '.join(LINES)}")
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
    if is_whole(version) and version > VERSION:
        raise ResultsError(
            f"{what} has results schema {version}, this p2mperf knows up to {VERSION}: install a newer one"
        )


def _check_fields(record: Record, shape: Mapping[str, Field], where: str, also: tuple[str, ...] = ()) -> None:
    for name, field in shape.items():
        value = record.get(name)
        if value is None and field.optional:
            continue
        if name not in record:
            raise ResultsError(f"{where} has no {name!r} ({field.doc})")
        if not field.type.holds(value):
            raise ResultsError(f"{name!r} of a {where} is {_shown(value)}, but must be {field.type.wants}")
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
    if record["unit"] != unit_key(record, with_optional=False):
        _check_key(record, "unit", UnitId.from_json(record).key)


def _check_unit(record: Record) -> None:
    _check_unit_key(record)
    for name, design in record["designs"].items():
        where = f"design {name!r} of unit {record['unit']}"
        if not isinstance(design, dict):
            raise ResultsError(f"{where} is not a table")
        _check_fields(design, RECORDS["design"], where)
        for kind, n_pages in design["footprint"].items():
            if not _FOOTPRINT_KIND.fullmatch(kind) or not is_whole(n_pages):
                raise ResultsError(
                    f"'footprint' of {where} must hold whole numbers by names of [a-z0-9_], "
                    f"not {kind!r}: {_shown(n_pages)}"
                )
        if not all(isinstance(form, str) for form in design["code_form"].values()):
            raise ResultsError(f"'code_form' of {where} must hold text by operation")


def _check_cell(record: Record) -> None:
    _check_unit_key(record)
    _check_key(record, "cell", CellSpec.from_json(record).key_in(record["unit"]))
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
    _check_fields(block, RECORDS["round"], where)
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
