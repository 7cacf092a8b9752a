"""What a field of results may hold: a check, the words for it, and the type of a column of such values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
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
    each : ValueType, optional
        What stands in a column of the samples frame, where a record has a table of such values.
    """

    holds: Callable[[object], bool]
    wants: str
    dtype: str = ""
    each: ValueType | None = None


# Longer ones would fill a figure, and a sentence that tells of them.
LONGEST_NAME = 200


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: object) -> bool:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return time is not None and time.tzinfo is not None and time.astimezone(UTC) is not None
    except (ValueError, OverflowError):  # the year 1 began earlier elsewhere
        return False


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_cost(value: object) -> bool:
    return isinstance(value, float) and 0 < value < math.inf


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return bool(value.encode()) or not value
    except UnicodeEncodeError:
        return False


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _is_key(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_hexadecimal(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{4,64}", value) is not None


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _count(least: int = 0, below: int = 1 << 63) -> ValueType:
    return ValueType(
        lambda value: is_whole(value) and least <= value < below,
        f"a whole number from {least if least >= 0 else '-2**63'} to below 2**{below.bit_length() - 1}",
        "Int64" if below <= 1 << 63 else "UInt64",
    )


def _by_design(each: ValueType) -> ValueType:
    """One value for each design of a round."""
    return ValueType(
        lambda value: isinstance(value, dict) and all(map(each.holds, value.values())),
        f"a table of design: {each.wants}",
        each.dtype,
        each,
    )


# What may be drawn and stands in keys, and what is only told: sentences, which may come from other packages.
NAME = ValueType(_is_name, f"a name of 1 to {LONGEST_NAME} printable characters", "string")
KEY = ValueType(_is_key, "text in printable characters", "string")
TEXT = ValueType(_is_text, "text that UTF-8 can write", "string")
HEXADECIMAL = ValueType(_is_hexadecimal, "4 to 64 hexadecimal digits", "string")
TIME = ValueType(_is_time, "an ISO 8601 time with its UTC offset")
COUNT, POSITIVE, SUM = _count(), _count(least=1), _count(below=1 << 64)
# Less than 2**63 bytes.
PAGES = _count(least=1, below=1 << 51)
FRACTION = ValueType(_is_fraction, "a number from 0 to 1", "float64")
COST = ValueType(_is_cost, "a positive, finite number", "float64")
TABLE = ValueType(_is_table, "a table")
# A table of which the samples frame shows one text: a name, a key, the form of one loop.
NAMED_TABLE = ValueType(_is_table, "a table", "string", TEXT)
LIST = ValueType(lambda value: isinstance(value, list), "a list")
TEXTS = ValueType(_is_list_of_texts, "a list of texts")
NAMES = ValueType(_is_list_of_names, "a list of designs")
COUNTS_BY_DESIGN, ELAPSED_BY_DESIGN = _by_design(COUNT), _by_design(POSITIVE)
CHANGES_BY_DESIGN, TEXTS_BY_DESIGN = _by_design(_count(least=-(1 << 63))), _by_design(TEXT)
