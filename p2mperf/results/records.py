"""Whether a record is one of a journal: each field for itself, and what the fields of one must agree in.

The journal (`p2mperf.results.journal`) holds records of four shapes, in this order: one *run*, then for every
unit its *unit* record before the *cell* records measured in it, and at the end an *end* record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from p2mperf.control import CONTROL
from p2mperf.errors import ResultsError, cut, shown
from p2mperf.results.field import Field
from p2mperf.results.fields import LINES, RECORDS, STATUS, VERSION, Record
from p2mperf.results.grid import check_grid
from p2mperf.results.keys import CellSpec, UnitId, unit_key
from p2mperf.results.values import COUNT, KEY, NAME, POSITIVE, TEXT, is_whole

_FOOTPRINT_KIND = re.compile(r"[a-z][a-z0-9_]{0,99}")
# Of a machine card, what is read again: under figures, and for the sizes of a plan.
_CARD_TEXTS = {"cpu_model": KEY, "kernel_release": KEY, "hypervisor": TEXT, "key": TEXT}
_KNEE = {"name": NAME, "bytes": POSITIVE, "source": NAME}


def validate(record: object) -> Record:
    """Refuse what is not a journal record of this version.

    Parameters
    ----------
    record : object
        One line of a journal, decoded.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    ResultsError
        Naming the record and the first field that is wrong.
    """
    if not isinstance(record, dict) or record.get("record") not in list(LINES):
        raise ResultsError(f"a journal line is a table whose 'record' is one of {', '.join(LINES)}")
    name = record["record"]
    if name == "run":
        check_version(record.get("schema"), "this run")
    _check_fields(record, RECORDS[name], f"{name} record", also=("record",))
    if name in _CHECKS:
        _CHECKS[name](record)
    return record


def is_footprint_kind(name: str) -> bool:
    """Tell whether a footprint may have pages of such a kind."""
    return _FOOTPRINT_KIND.fullmatch(name) is not None


def is_design(name: object, may_be_control: bool = True) -> bool:
    """Tell whether a name can be a design's, or that of the control of one."""
    if may_be_control and isinstance(name, str):
        name = name.removeprefix(CONTROL)
    return NAME.holds(name) and not str(name).startswith(CONTROL)


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
            raise ResultsError(f"{name!r} of a {where} is {shown(value)}, but must be {field.type.wants}")
    for name in record:
        if name not in shape and name not in also:
            raise ResultsError(f"{where} has an unknown field {shown(name)} (known: {', '.join(shape)})")


def _check_run(record: Record) -> None:
    if not NAME.holds(record["plan"].get("name")):
        raise ResultsError("'plan' of a run record must hold the 'name' of the plan")
    check_grid(record["plan"])
    card = record["machine"]
    for name, kind in _CARD_TEXTS.items():
        if card.get(name) is not None and not kind.holds(card[name]):
            raise ResultsError(
                f"{name!r} of the machine card of a run record is {shown(card[name])}, "
                f"but must be {kind.wants}"
            )
    if card.get("knees") is not None:
        _check_knees(card)


def _check_knees(card: Record) -> None:
    knees = card["knees"]
    is_right = isinstance(knees, list) and all(
        isinstance(knee, dict)
        and knee.keys() == _KNEE.keys()
        and all(kind.holds(knee[name]) for name, kind in _KNEE.items())
        for knee in knees
    )
    if not is_right or not isinstance(card.get("ladder"), dict):
        raise ResultsError(
            f"'knees' of the machine card of a run record must be tables of {', '.join(_KNEE)} "
            f"beside a 'ladder', not {shown(knees)}"
        )


def _check_unit_key(record: Record) -> None:
    if record["unit"] != unit_key(record, with_optional=False):
        _check_key(record, "unit", UnitId.from_json(record).key)


def _check_unit(record: Record) -> None:
    _check_unit_key(record)
    for name, design in record["designs"].items():
        where = f"design {shown(name)} of unit {cut(record['unit'], 200)}"
        if not is_design(name, may_be_control=False):
            raise ResultsError(f"{where} must have {NAME.wants}, and not begin with {CONTROL}")
        if not isinstance(design, dict):
            raise ResultsError(f"{where} is not a table")
        _check_fields(design, RECORDS["design"], where)
        for kind, n_pages in design["footprint"].items():
            if not is_footprint_kind(kind) or not COUNT.holds(n_pages):
                raise ResultsError(
                    f"'footprint' of {where} must hold whole numbers by names of [a-z0-9_], "
                    f"not {shown(kind)}: {shown(n_pages)}"
                )
        if not all(TEXT.holds(form) for form in design["code_form"].values()):
            raise ResultsError(f"'code_form' of {where} must hold text by operation")


def _check_cell(record: Record) -> None:
    _check_unit_key(record)
    _check_key(record, "cell", CellSpec.from_json(record).key_in(record["unit"]))
    status = record["status"]
    if status not in STATUS:
        raise ResultsError(
            f"'status' of cell {cut(record['cell'], 200)} is {shown(status)}, "
            f"but must be one of {', '.join(STATUS)}"
        )
    for name in STATUS[status]:
        if record.get(name) is None:
            raise ResultsError(f"cell {cut(record['cell'], 200)} is {status!r} but has no {name!r}")
    if status == "done" and not record["rounds"]:
        raise ResultsError(f"cell {cut(record['cell'], 200)} is 'done' but has no round")
    for round_ in record.get("rounds") or ():
        _check_round(round_, f"round of cell {cut(record['cell'], 200)}")
    _check_calls(record)


def _check_round(round_: object, where: str) -> None:
    if not isinstance(round_, dict):
        raise ResultsError(f"a {where} is not a table")
    _check_fields(round_, RECORDS["round"], where)
    designs = sorted(round_["order"])
    if not designs:
        raise ResultsError(f"'order' of a {where} names no design")
    if wrong := next((name for name in designs if not is_design(name)), None):
        raise ResultsError(f"'order' of a {where} names {shown(wrong)}, which no design is called")
    if len(set(designs)) != len(designs):
        raise ResultsError(f"'order' of a {where} names a design twice")
    for name in ("elapsed_ns", "n_involuntary_switches", "n_steal_ticks"):
        if sorted(round_[name]) != designs:
            raise ResultsError(f"{name!r} of a {where} has other designs than its 'order'")
    for name in ("flagged", "n_pages_grown", "n_vmas_grown", "n_minor_faults"):
        if not set(round_.get(name) or ()).issubset(designs):
            raise ResultsError(f"{name!r} of a {where} has other designs than its 'order'")


def _check_calls(record: Record) -> None:
    """A call takes less than each pass that it is a part of."""
    times = [round_["elapsed_ns"] for round_ in record.get("rounds") or ()]
    for design, call_ns in (record.get("call_ns") or {}).items():
        if not all(call_ns < elapsed_ns.get(design, 0) for elapsed_ns in times):
            raise ResultsError(
                f"'call_ns' of cell {cut(record['cell'], 200)} has {shown(call_ns)} for {shown(design)}, "
                "which is no part of each of its elapsed_ns"
            )


def _check_key(record: Record, name: str, expected: str) -> None:
    if record[name] != expected:
        raise ResultsError(
            f"{name!r} of a {record['record']} record is {cut(record[name], 200)!r}, but its fields say "
            f"{cut(expected, 200)!r}"
        )


_CHECKS: dict[str, Callable[[Record], None]] = {"run": _check_run, "unit": _check_unit, "cell": _check_cell}
