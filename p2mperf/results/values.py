"""What a field of results may hold: a check, the words for it, and the type of a column of such values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeGuard


@dataclass(frozen=True)
class ValueType:
    """What a field may hold.

    Parameters
    ----------
    holds : callable
        Whether a value is acceptable.
    wants : str
        What is acceptable, for the sentence that refuses.
    dtype : str
        pandas dtype of a column of such values, or of those in the tables that a record has of them:
        ``string``, ``Int64``, ``UInt64`` (all three know missing values) or ``float64``; empty when they are
        no column.
    """

    holds: Callable[[object], bool]
    wants: str
    dtype: str = ""


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_hexadecimal(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{4,64}", value) is not None


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _count(least: int = 0, below: int = 1 << 63) -> ValueType:
    return ValueType(
        lambda value: is_whole(value) and least <= value < below,
        f"a whole number from {least} to below 2**{below.bit_length() - 1}",
        "Int64" if below <= 1 << 63 else "UInt64",
    )


def _by_design(holds: Callable[[object], bool], wants: str, dtype: str) -> ValueType:
    """One value for each design of a round."""
    return ValueType(
        lambda value: isinstance(value, dict) and all(map(holds, value.values())),
        f"a table of design: {wants}",
        dtype,
    )


TEXT = ValueType(_is_text, "text", "string")
HEXADECIMAL = ValueType(_is_hexadecimal, "4 to 64 hexadecimal digits", "string")
TIME = ValueType(_is_time, "an ISO 8601 time with its UTC offset")
COUNT, POSITIVE, SUM = _count(), _count(least=1), _count(below=1 << 64)
FRACTION = ValueType(_is_fraction, "a number from 0 to 1", "float64")
REAL = ValueType(lambda value: isinstance(value, float), "a number", "float64")
TABLE = ValueType(_is_table, "a table")
# A table of which the samples frame shows one text: a name, a key, the form of one loop.
NAMED_TABLE = ValueType(_is_table, "a table", "string")
LIST = ValueType(lambda value: isinstance(value, list), "a list")
NAMES = ValueType(_is_list_of_names, "a list of designs")
COUNTS_BY_DESIGN = _by_design(COUNT.holds, COUNT.wants, COUNT.dtype)
ELAPSED_BY_DESIGN = _by_design(POSITIVE.holds, POSITIVE.wants, POSITIVE.dtype)
CHANGES_BY_DESIGN = _by_design(is_whole, "a whole number", "Int64")
TEXTS_BY_DESIGN = _by_design(_is_text, "text", "string")
