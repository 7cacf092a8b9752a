"""Frame numbers as users hand them over: checked once, where they enter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, DoesNotFitError, shown
from p2mperf.guests.geometry import Words
from p2mperf.units import whole_number

MAX_WORD = 2**64 - 1


def frame_numbers(numbers: Any, what: str = "frames") -> Words:
    """Take anything for an array of frame numbers, machine frames or entries.

    Parameters
    ----------
    numbers : array_like of unsigned or non-negative int
        Of any value that fits 64 bits.
    what : str
        What an error calls them.

    Returns
    -------
    ndarray of uint64
        In one piece, in the shape of `numbers`; the same array where it is that already.

    Raises
    ------
    BadInputError
        When they are not whole, non-negative numbers, all there, in the shape of an array.
    DoesNotFitError
        When memory does not hold so many.
    """
    array = as_array(numbers, what)
    if array.size == 0:
        return np.zeros(array.shape, np.uint64)
    if array.dtype.kind not in "iu" or (array.dtype.kind == "i" and array.min() < 0):
        raise BadInputError(f"{what} must be whole and not negative, not {array.dtype} {shown(numbers)}")
    try:
        return np.ascontiguousarray(array, np.uint64).reshape(array.shape)
    except MemoryError as error:  # of an array that takes none itself, as a broadcast one
        raise DoesNotFitError(f"no memory for {array.size} {what} at a time: give fewer") from error


def word(number: object, what: str = "a frame") -> int:
    """Take anything for one frame number, address or entry of at most 64 bits.

    Raises
    ------
    BadInputError
        When it is no single number, or out of range.
    """
    return whole_number(number, what, 0, MAX_WORD)


def as_array(numbers: Any, what: str) -> NDArray[Any]:
    """Take anything for an array, if it has the shape of one; what the numbers are is not looked at.

    A list of both small numbers and some above 2**63 would be floating-point to numpy.

    Parameters
    ----------
    numbers : array_like
        Anything.
    what : str
        What an error calls them.

    Returns
    -------
    ndarray

    Raises
    ------
    BadInputError
        For lists of different lengths, and arrays of which not all is there.
    """
    if isinstance(numbers, np.ndarray):
        if isinstance(numbers, np.ma.MaskedArray) and np.ma.is_masked(numbers):
            raise BadInputError(f"{what} must all be there: some of these are masked")
        return np.asarray(numbers)
    try:
        array = np.asarray(numbers)
    except ValueError as error:  # lists of different lengths, or that hold themselves
        raise BadInputError(f"{what} must have the shape of an array, not {shown(numbers)}") from error
    if array.dtype.kind == "f":
        exact = np.asarray(numbers, object)
        if all(isinstance(number, int | np.integer) and 0 <= number < 2**64 for number in exact.flat):
            return exact.astype(np.uint64)
    return array
