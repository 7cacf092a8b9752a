"""Sizes as people write them, and the one definition of a page."""

from __future__ import annotations

import re
from math import inf
from numbers import Integral, Real
from operator import index

from p2mperf.errors import BadInputError, shown

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
HUGE_SHIFT = 21
HUGE_SIZE = 1 << HUGE_SHIFT

KIB, MIB, GIB, TIB = (1 << shift for shift in (10, 20, 30, 40))
_SUFFIX = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}
_MOST_BITS = 128  # of a size: no machine will ever have so much, and more cannot be shown
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([A-Za-z]*)")


def round_up(value: int, granule: int) -> int:
    """Smallest multiple of `granule` that is not below `value`.

    Examples
    --------
    >>> round_up(524544, 512)
    524800
    """
    return -(-value // granule) * granule


def whole_number(value: object, what: str, least: int | None = None, most: int | None = None) -> int:
    """Take one whole number: what is no single one, or out of range, is refused.

    Parameters
    ----------
    value : object
        An int, or what stands for one, as numpy's integers do; True and False do not.
    what : str
        What an error calls it.
    least, most : int, optional
        Its bounds, themselves included.

    Returns
    -------
    int
        Python's own, which nothing that is added to it can overflow.

    Raises
    ------
    BadInputError
        For anything else.

    Examples
    --------
    >>> import numpy as np
    >>> whole_number(np.int8(127), "seed", 0) + 1
    128
    """
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise BadInputError(f"{what} must be a whole number, not {shown(value)}") from None
    if isinstance(value, bool):
        raise BadInputError(f"{what} must be a whole number, not {value}")
    if least is not None and number < least:
        raise BadInputError(f"{what} must be a whole number from {least} on, not {shown(number)}")
    if most is not None and number > most:
        raise BadInputError(f"{what} must be a whole number up to {most}, not {shown(number)}")
    return number


def real_number(value: object, what: str) -> float:
    """Take one number; that it is within bounds is for the caller to see, and whether it is one at all.

    Parameters
    ----------
    value : object
        A float or an int, or what stands for one, as numpy's do; True and False do not.
    what : str
        What an error calls it.

    Returns
    -------
    float
        Infinite where the number is beyond all floats.

    Raises
    ------
    BadInputError
        For what is no single number.

    Examples
    --------
    >>> real_number(20000, "a dirty rate"), real_number(10**400, "a dirty rate")
    (20000.0, inf)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BadInputError(f"{what} must be a number, not {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return -inf if value < 0 else inf
    except TypeError:  # numpy counts a length of time among its whole numbers
        raise BadInputError(f"{what} must be a number, not {shown(value)}") from None


def flag(value: object, what: str) -> bool:
    """Take a yes or no: only True and False are, Python's or numpy's.

    Parameters
    ----------
    value : object
        What was handed over. Text, numbers and lists are true or false in ways that nobody means.
    what : str
        What an error calls it.

    Returns
    -------
    bool

    Raises
    ------
    BadInputError
        For anything else.

    Examples
    --------
    >>> import numpy as np
    >>> flag(np.bool_(False), "fresh")
    False
    """
    # numpy's own, told without numpy, which not all need that read sizes.
    kind = type(value)
    if kind is not bool and (kind.__module__, kind.__name__) not in (("numpy", "bool"), ("numpy", "bool_")):
        raise BadInputError(f"{what} must be True or False, not {shown(value)}")
    return bool(value)


def is_one_of(value: object, *numbers: int) -> bool:
    """Tell whether a value is one of a few whole numbers; what is no single number is none of them.

    Examples
    --------
    >>> import numpy as np
    >>> is_one_of(np.int64(32), 32, 64), is_one_of(32.0, 32, 64), is_one_of(np.array([32, 64]), 32, 64)
    (True, False, False)
    """
    return isinstance(value, Integral) and value in numbers


def parse_size(text: str | int) -> int:
    """Read a size such as ``512M``, ``43G`` or ``1T``.

    Parameters
    ----------
    text : str or int
        A whole number of bytes with an optional binary suffix K, M, G or T (``MB`` and ``MiB`` mean
        the same here as everywhere in the sources); an int is taken as bytes.

    Returns
    -------
    int
        Size [bytes].

    Raises
    ------
    BadInputError
        When the text is not a size, or the size is not positive or not whole bytes.

    Examples
    --------
    >>> parse_size("2049M") == 2049 * 2**20
    True
    """
    if not isinstance(text, str):
        try:
            n_bytes: float = index(text)
        except TypeError:
            raise BadInputError(
                f"{shown(text)} is not a size: write 512M, or a whole number of bytes"
            ) from None
    else:
        match = _SIZE.fullmatch(text.strip())
        suffix = match[2].upper().removesuffix("B").removesuffix("I") if match else "?"
        if match is None or suffix not in _SUFFIX:
            raise BadInputError(
                f"{shown(text)} is not a size: write a positive number with K, M, G or T, as in 512M or 43G"
            )
        n_bytes = float(match[1]) * _SUFFIX[suffix] if "." in match[1] else int(match[1]) * _SUFFIX[suffix]
    if n_bytes <= 0 or n_bytes != int(n_bytes):
        raise BadInputError(f"{shown(text)} is not a size: it must be a positive, whole number of bytes")
    if int(n_bytes).bit_length() > _MOST_BITS:
        raise BadInputError(f"{shown(text)} is more memory than there can be")
    return int(n_bytes)


def parse_pages(text: str | int) -> int:
    """Read a guest memory size and return it in 4 KiB pages.

    Parameters
    ----------
    text : str or int
        As `parse_size`.

    Returns
    -------
    int
        Size [pages].

    Raises
    ------
    BadInputError
        When `text` is not a size or not a whole number of pages.

    Examples
    --------
    >>> parse_pages("2049M")
    524544
    """
    n_bytes = parse_size(text)
    if n_bytes % PAGE_SIZE:
        raise BadInputError(
            f"{shown(text)} is {n_bytes / PAGE_SIZE:g} pages: guest memory is a whole number of 4 KiB pages"
        )
    return n_bytes >> PAGE_SHIFT


def format_ns(nanoseconds: float) -> str:
    """Write a time with a unit that suits it, to four digits.

    Parameters
    ----------
    nanoseconds : float
        Time [ns].

    Returns
    -------
    str
        As ``4.68 ns``, ``21.63 us``, ``264.7 ms`` or ``1.203 s``.

    Examples
    --------
    >>> format_ns(4.681), format_ns(999.96), format_ns(264.714e6), format_ns(1.2034e9)
    ('4.681 ns', '1.000 us', '264.7 ms', '1.203 s')
    """
    for unit, unit_ns in (("ns", 1.0), ("us", 1e3), ("ms", 1e6)):
        if nanoseconds < 999.95 * unit_ns:
            return f"{nanoseconds / unit_ns:#.4g} {unit}"
    return f"{nanoseconds / 1e9:#.4g} s"


def format_size(n_bytes: float) -> str:
    """Write a size the way `parse_size` reads it, with the largest suffix that keeps it exact or short.

    Examples
    --------
    >>> format_size(2049 * 2**20), format_size(400 * 2**30), format_size(12345)
    ('2049M', '400G', '12.1K')
    """
    for suffix in "TGMK":
        unit = _SUFFIX[suffix]
        if n_bytes >= unit and n_bytes % unit == 0:
            return f"{int(n_bytes) // unit}{suffix}"
    for suffix in "TGMK":
        if n_bytes >= _SUFFIX[suffix]:
            return f"{n_bytes / _SUFFIX[suffix]:.1f}{suffix}"
    return f"{int(n_bytes)}"


def readable_size(n_bytes: int) -> str:
    """Write a size in at most four digits, exact where that can be, with suffixes up to Y; beyond, in more.

    Examples
    --------
    >>> readable_size(2049 * 2**20), readable_size(604205056), readable_size(2**74), readable_size(2**100)
    ('2049M', '576.2M', '16Z', '1048576Y')
    """
    exact = format_size(n_bytes)
    if len(exact) <= 5 and n_bytes < 1 << 50:
        return exact
    suffixes = "BKMGTPEZY"
    power = min((n_bytes.bit_length() - 1) // 10, len(suffixes) - 1)
    return f"{n_bytes / (1 << 10 * power):.1f}".removesuffix(".0") + suffixes[power]
