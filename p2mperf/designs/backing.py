"""Page backings: on which pages the views of a design's frames stand."""

from __future__ import annotations

from typing import NamedTuple

from p2mperf.errors import BadInputError, known, shown
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, is_one_of


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


def backing(name: str | Backing) -> Backing:
    """Find a page backing by name; one of your own is taken as it is.

    Raises
    ------
    BadInputError
        When there is none of that name, or there are no pages of its sizes.
    """
    if isinstance(name, Backing):
        for n_bytes in (name.direct_bytes, name.window_bytes):
            if not is_one_of(n_bytes, PAGE_SIZE, HUGE_SIZE):
                raise BadInputError(f"pages have {PAGE_SIZE} or {HUGE_SIZE} bytes, not {shown(n_bytes)}")
        return name
    return BACKINGS[known("page backing", name, BACKINGS)]
