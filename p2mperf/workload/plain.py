"""Frozen types from plain data, such as JSON gives: nothing missing, added or of another type."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from p2mperf.errors import BadInputError, shown

T = TypeVar("T")
_KNOWN_HINTS: dict[type[object], dict[str, Any]] = {}  # strings are compiled each time


def from_plain(kind: type[T], data: object, where: str) -> T:
    """Make a value of a declared type.

    Parameters
    ----------
    kind : type
        A dataclass, or bool, int, float, str, a tuple or dict of these, or one of them or None.
    data : object
        Plain data; lists stand for tuples, whole numbers for floats too.
    where : str
        What an error calls it.

    Returns
    -------
    object
        Of type `kind`.

    Raises
    ------
    BadInputError
        Naming the place where something is missing, is too much, or is of another type.

    Examples
    --------
    >>> from_plain(tuple[int, ...], [1, 2], "numbers")
    (1, 2)
    >>> from_plain(dict[str, float], {"a": True}, "costs")
    Traceback (most recent call last):
    p2mperf.errors.BadInputError: costs['a'] must be a number, not True
    """
    return cast(T, _made(kind, data, where))


def _made(kind: Any, data: object, where: str) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return data
    if is_dataclass(kind):
        return _record(cast("type[object]", kind), data, where)
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise _wrong(where, "a list", data)
        kinds = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(data):
            raise _wrong(where, f"a list of {len(kinds)}", data)
        pairs = enumerate(zip(kinds, data, strict=True))
        return tuple(_made(each, value, f"{where}[{at}]") for at, (each, value) in pairs)
    if origin is dict:
        return _table(arguments, data, where)
    if origin in (types.UnionType, Union):
        return None if data is None else _made(next(a for a in arguments if a is not type(None)), data, where)
    return _simple(kind, data, where)


def _record(kind: type[object], data: object, where: str) -> object:
    if not isinstance(data, Mapping):
        raise _wrong(where, "a table", data)
    hints, there = _hints(kind), fields(cast(Any, kind))
    if strange := [name for name in data if name not in hints]:
        raise BadInputError(f"{where} has {shown(strange[0])}, which nobody has written there")
    values = {}
    for one in there:
        if one.name in data:
            values[one.name] = _made(hints[one.name], data[one.name], f"{where}.{one.name}")
        elif one.default is MISSING and one.default_factory is MISSING:
            raise BadInputError(f"{where} lacks {one.name}")
    return kind(**values)


def _hints(kind: type[object]) -> dict[str, Any]:
    if kind not in _KNOWN_HINTS:
        _KNOWN_HINTS[kind] = get_type_hints(kind)
    return _KNOWN_HINTS[kind]


def _table(arguments: tuple[Any, ...], data: object, where: str) -> object:
    if not isinstance(data, Mapping):
        raise _wrong(where, "a table", data)
    key_kind, value_kind = arguments
    made = {}
    for key, value in data.items():
        # JSON's keys are text, whatever they number.
        if key_kind is int and isinstance(key, str) and key.lstrip("-").isdecimal() and len(key) < 20:
            key = int(key)
        made[_simple(key_kind, key, f"a key of {where}")] = _made(value_kind, value, f"{where}[{shown(key)}]")
    return made


def _simple(kind: Any, data: object, where: str) -> object:
    if kind is bool and isinstance(data, bool):
        return data
    if kind is str and isinstance(data, str):
        return data
    if kind is int and isinstance(data, int) and not isinstance(data, bool):
        return data
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool):
        if isinstance(data, float) and math.isfinite(data):
            return data
        if isinstance(data, int) and data.bit_length() < 64:
            return float(data)
    names = {bool: "True or False", str: "text", int: "a whole number", float: "a number"}
    raise _wrong(where, names.get(kind, "of another type"), data)


def _wrong(where: str, wanted: str, data: object) -> BadInputError:
    return BadInputError(f"{where} must be {wanted}, not {shown(data)}")
