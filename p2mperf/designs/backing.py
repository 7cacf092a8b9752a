"""Page backings: on which pages the views of a design's frames stand."""

from __future__ import annotations

from typing import NamedTuple

from p2mperf.errors import known
from p2mperf.units import HUGE_SIZE, PAGE_SIZE


class Backing(NamedTuple):
    """Page sizes of the two views of a design's frames.

    Attributes
    ----------
    name : str
        As results call it.
    direct_bytes : int
        Page size of the direct map, through which software walks.
    window_bytes : int
        Page size of windows, through which the MMU walks.
    """

    name: str
    direct_bytes: int
    window_bytes: int


BACKINGS = {
    backing.name: backing
    for backing in (
        Backing("kernel", HUGE_SIZE, PAGE_SIZE),  # as Linux: direct map on 2 MiB, vmalloc area on 4 KiB
        Backing("small", PAGE_SIZE, PAGE_SIZE),
        Backing("huge", HUGE_SIZE, HUGE_SIZE),
        Backing("swapped", PAGE_SIZE, HUGE_SIZE),
    )
}


def backing(name: str) -> Backing:
    """Find a page backing by name.

    Raises
    ------
    BadInputError
        When there is none of that name.
    """
    return BACKINGS[known("page backing", name, BACKINGS)]
