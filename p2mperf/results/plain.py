"""Plain data as results have it: JSON that every reader takes alike, and no number beyond 64 bits."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from p2mperf.errors import ResultsError, shown

# A high or low half alone, as JSON can write it and UTF-8 cannot.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def decoded(text: bytes) -> object:
    """Read JSON.

    Parameters
    ----------
    text : bytes
        What should be JSON, in UTF-8.

    Returns
    -------
    object
        Plain data.

    Raises
    ------
    ValueError
        When it is no JSON: torn, or something else.
    ResultsError
        When it is, but of a kind that readers take differently or not at all: a name given twice, a number
        that no 64 bits hold, half a character, or a hundred thousand brackets.
    """
    try:
        string = text.decode()
        data = json.loads(
            string,
            object_pairs_hook=_table,
            parse_int=_whole,
            parse_float=_real,
            parse_constant=_refuse_number,
        )
        if _SURROGATE.search(string):
            json.dumps(data, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ResultsError("lists or tables are nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ResultsError("text holds half a character (a lone surrogate)") from error
    return data


def encoded(data: object) -> bytes:
    """Write JSON that `decoded` reads.

    Parameters
    ----------
    data : object
        Plain data.

    Returns
    -------
    bytes
        One line, without its end.

    Raises
    ------
    TypeError, ValueError
        When JSON cannot hold it.
    ResultsError
        When `decoded` would refuse it.
    """
    try:
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).encode()
    except RecursionError as error:
        raise ResultsError("lists or tables are nested too deeply") from error
    decoded(text)
    return text


def _table(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ResultsError(f"a table has {shown(twice)} twice")
    return table


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 64:
        _refuse_number(digits)
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        _refuse_number(digits)
    return value


def _refuse_number(digits: str) -> NoReturn:
    raise ResultsError(f"{shown(digits)} is no number that 64 bits hold")
