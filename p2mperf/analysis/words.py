"""Numbers in sentences: how many of how many, from where to where."""

from __future__ import annotations

import math
from collections.abc import Iterable


def n_of(n: int, total: int) -> str:
    """Say how many of how many.

    Examples
    --------
    >>> n_of(3, 7), n_of(0, 7), n_of(7, 7), n_of(1, 1)
    ('3 of 7', 'none of 7', 'all 7', '1 of 1')
    """
    if n == total > 1:
        return f"all {total}"
    return f"{n or 'none'} of {total}"


def span(values: Iterable[float], form: str = ".2f") -> str:
    """Say from where to where numbers reach.

    Parameters
    ----------
    values : iterable of float
        Numbers; those that are missing do not count.
    form : str
        How one is written.

    Examples
    --------
    >>> span([1.5, 1.25]), span([2.0, 2.001]), span([])
    ('1.25 to 1.50', '2.00', 'none')
    """
    there = [float(value) for value in values if math.isfinite(value)]
    if not there:
        return "none"
    return " to ".join(dict.fromkeys([f"{min(there):{form}}", f"{max(there):{form}}"]))


def sentence(text: str) -> str:
    """Begin with a capital letter.

    Examples
    --------
    >>> sentence("the list is faster")
    'The list is faster'
    """
    return text[:1].upper() + text[1:]


def as_sentence(text: str) -> str:
    """Begin with a capital and end with a full stop.

    Examples
    --------
    >>> as_sentence("measured here")
    'Measured here.'
    """
    return f"{sentence(text)}."
