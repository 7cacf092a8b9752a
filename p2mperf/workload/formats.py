"""What a kernel says of its own events: format files of tracefs, fields and flag values in them."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from p2mperf.errors import BadInputError, cut, shown

# The largest format file of Linux 6.18 has 7 KiB; what is far beyond is none.
_LONGEST_TEXT = 1 << 20
_LONGEST_FLAG = 4000
_WORD_MASK = (1 << 64) - 1

_FIELD = re.compile(
    r"^\s*field:(?P<type>[^;]*?)\b(?P<name>\w+)(?P<array>\[[^\]]*\])?;"
    r"\s*offset:(?P<offset>\d{1,9});\s*size:(?P<size>\d{1,9});\s*signed:(?P<signed>[01]);",
    re.MULTILINE,
)
_CAST = re.compile(r"\(\s*(?:unsigned\s+long|unsigned\s+int|gfp_t)\s*\)")
_FLAG = re.compile(r"\{([^{}\"]*),\s*\"(_*GFP_\w+)\"\s*\}")
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.Add: operator.add,
    ast.LShift: operator.lshift,
}


@dataclass(frozen=True)
class Field:
    """Where a value stands in an event.

    Attributes
    ----------
    offset, size : int
        Within the payload [bytes].
    is_signed : bool
        Whether it is a signed number.
    is_located : bool
        Whether only the place of a text of any length stands there (``__data_loc``).
    """

    offset: int
    size: int
    is_signed: bool
    is_located: bool = False


@dataclass(frozen=True)
class Format:
    """Layout of one kind of event.

    Attributes
    ----------
    name : str
        As the kernel calls it, without its system.
    event_id : int
        Number that stands in each event, ``common_type``.
    fields : dict of str to Field
        By name.
    """

    name: str
    event_id: int
    fields: dict[str, Field]


def parse_format(text: str) -> Format:
    r"""Read the format file of an event.

    Parameters
    ----------
    text : str
        ``events/SYSTEM/EVENT/format`` of tracefs.

    Returns
    -------
    Format

    Raises
    ------
    BadInputError
        When it is none.

    Examples
    --------
    >>> text = "name: brk\nID: 7\nformat:\n\tfield:int nr;\toffset:8;\tsize:4;\tsigned:1;\n"
    >>> made = parse_format(text)
    >>> made.event_id, made.fields["nr"]
    (7, Field(offset=8, size=4, is_signed=True, is_located=False))

    Notes
    -----
    Linux kernel/trace/trace_events.c, f_show (6.1).
    """
    if len(text) > _LONGEST_TEXT:
        raise BadInputError(f"the format of an event has {len(text)} characters: that is none of a kernel's")
    name = re.search(r"^name: (\w+)$", text, re.MULTILINE)
    number = re.search(r"^ID: (\d{1,5})$", text, re.MULTILINE)
    fields = {
        found["name"]: Field(
            int(found["offset"]),
            int(found["size"]),
            found["signed"] == "1",
            found["type"].lstrip().startswith("__data_loc"),
        )
        for found in _FIELD.finditer(text.partition("print fmt:")[0])
    }
    if name is None or number is None or not fields:
        raise BadInputError(
            f"no format of an event, with its name, its ID and fields: {cut(text) or 'empty'}"
        )
    if int(number[1]) >= 1 << 16:
        raise BadInputError(f"the format of {cut(name[1])} has ID {number[1]}, beyond 16 bits")
    return Format(name[1], int(number[1]), fields)


def parse_gfp_flags(text: str) -> dict[str, int]:
    """Read the values of allocation flags, which change from kernel to kernel.

    Parameters
    ----------
    text : str
        Format file of ``kmem/mm_page_alloc``.

    Returns
    -------
    dict of str to int
        By name, as ``GFP_KERNEL`` and ``__GFP_ZERO``. One whose value is no constant is left out.

    Raises
    ------
    BadInputError
        When there is none.

    Examples
    --------
    >>> parse_gfp_flags('print fmt: __print_flags(x, "|", {( gfp_t)(0x400u|(1UL << 8)), "__GFP_ZERO"})')
    {'__GFP_ZERO': 1280}

    Notes
    -----
    Linux include/trace/events/mmflags.h, __def_gfpflag_names (6.1).
    """
    if len(text) > _LONGEST_TEXT:
        raise BadInputError(f"the format of an event has {len(text)} characters: that is none of a kernel's")
    values = {name: _value_of(value) for value, name in _FLAG.findall(text.partition("print fmt:")[2])}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        raise BadInputError("the format of mm_page_alloc tells no value of any gfp flag")
    return known


def _value_of(text: str) -> int | None:
    """Work out a constant of C with casts, shifts and masks; None for what is none."""
    plain = re.sub(r"\b(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\b", r"\1", _CAST.sub("", text)).strip()
    if len(plain) > _LONGEST_FLAG:
        return None
    try:
        return _evaluate(ast.parse(plain, mode="eval").body) & _WORD_MASK
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _evaluate(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int(value)) if value <= _WORD_MASK:
            return value
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return ~_evaluate(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            first, second = _evaluate(left), _evaluate(right)
            if isinstance(op, ast.LShift) and not 0 <= second < 64:
                raise ValueError(shown(second))
            return _OPERATORS[type(op)](first, second)
    raise ValueError(type(node).__name__)
