"""Keys: what a plan, a unit and a cell are called in results, made of what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Self

from p2mperf.results.field import Field
from p2mperf.results.fields import RECORDS, Record
from p2mperf.results.values import FRACTION

# What a key is made of, in its order. A cell's key begins with that of its unit.
UNIT_KEY = tuple(field for field in RECORDS["unit"].values() if field.key)
CELL_KEY = tuple(field for field in RECORDS["cell"].values() if field.key and field not in UNIT_KEY)


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


@dataclass(frozen=True)
class UnitId:
    """What tells a unit from the others of its plan.

    Attributes
    ----------
    guest, geometry, backing : str
        Names, as in the unit record.
    entry_bits : int
        Width of one p2m entry, which follows from the geometry [bits].
    guest_pages : int
        Guest memory [pages].
    replicate, seed : int
        Which of the fresh processes over the same guest and backing.
    limit_bytes : int
        Memory that may be hot-plugged later; none is not named [bytes].

    Examples
    --------
    >>> UnitId("domu-64-8g", "pv64", 64, 2097152, "kernel", 0, 17).key
    'domu-64-8g/pv64/2097152-pages/kernel/replicate-0/seed-17'
    """

    guest: str
    geometry: str
    entry_bits: int
    guest_pages: int
    backing: str
    replicate: int
    seed: int
    limit_bytes: int = 0

    @property
    def key(self) -> str:
        """Readable and stable; different for different units."""
        return unit_key(asdict(self))

    def to_json(self) -> Record:
        """Plain data, as every record of the unit and of its cells has it."""
        return {"unit": self.key, **_told("unit", self)}

    @classmethod
    def from_json(cls, data: Record) -> Self:
        """Read what `to_json` made, alone or in a record that holds more."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})


@dataclass(frozen=True)
class CellSpec:
    """What a unit measures in one cell: the designs of a family by one operation over one stream.

    Attributes
    ----------
    family, stream, operation : str
        Names, as in the cell record.
    hole_fraction, identity_fraction : float
        Shares of the stream that land elsewhere than in RAM.
    preamble : str
        What came before each entry; none is not named.
    hole_pattern : str
        How those come; drawn for each lookup is not named.

    Examples
    --------
    >>> CellSpec("pv", "uniform", 0, 0.25, "latency").key_in("U")
    'U/pv/uniform/hole-0.0/identity-0.25/latency'
    """

    family: str
    stream: str
    hole_fraction: float
    identity_fraction: float
    operation: str
    preamble: str = ""
    hole_pattern: str = "random"

    def key_in(self, unit: str) -> str:
        """Readable and stable key in the unit of the given key; different for different cells."""
        return f"{unit}/{_joined(CELL_KEY, asdict(self))}"

    def to_json(self) -> Record:
        """Plain data, as the cell record has it."""
        return _told("cell", self)

    @classmethod
    def from_json(cls, data: Record) -> Self:
        """Read what `to_json` made, alone or in a record that holds more."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})


def unit_key(record: Record, with_optional: bool = True) -> str:
    """Key of the unit that a record is of.

    Parameters
    ----------
    record : dict
        A unit or cell record.
    with_optional : bool
        Whether to name what a record may leave out; the first files of version 2 did not.

    Returns
    -------
    str
        As `UnitId.key`.
    """
    return _joined((field for field in UNIT_KEY if with_optional or not field.optional), record)


def _told(record: str, identity: UnitId | CellSpec) -> Record:
    """What a record says of it: what may be left out, and is not there, is."""
    known = RECORDS[record]
    return {name: value for name, value in asdict(identity).items() if _is_said(known[name], value)}


def _joined(fields: Iterable[Field], values: Record) -> str:
    pairs = [(field, values.get(field.name)) for field in fields]
    parts = [field.key.format(_written(field, value)) for field, value in pairs if _is_said(field, value)]
    return "/".join(parts)


def _is_said(field: Field, value: object) -> bool:
    return not (field.optional and value in (None, field.absent))


def _written(field: Field, value: object) -> str:
    if field.type is FRACTION and isinstance(value, int | float):
        return repr(float(value))  # reads back exactly, and 0 is written like 0.0
    # A slash is kept for the joints, so that different parts never give equal keys.
    return str(value).replace("%", "%25").replace("/", "%2F")
