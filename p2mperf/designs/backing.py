"""Page backings: on which pages the views of a design's frames stand."""

from __future__ import annotations

from typing import NamedTuple

from p2mperf.errors import BadInputError, known, shown
from p2mperf.families import KernelLayout, families
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


KERNEL = "kernel"  # as the system of a family has it: see `p2mperf.families.Family.kernel_layout`
BACKINGS = {
    backing.name: backing
    for backing in (
        Backing("mixed", HUGE_SIZE, PAGE_SIZE),  # a direct map with large pages, a vmalloc area without
        Backing("small", PAGE_SIZE, PAGE_SIZE),
        Backing("huge", HUGE_SIZE, HUGE_SIZE),
        Backing("swapped", PAGE_SIZE, HUGE_SIZE),
    )
}
NAMES = (KERNEL, *BACKINGS)


def backing(name: str | Backing, family: str) -> Backing:
    """Find a page backing by name; one of your own is taken as it is.

    Parameters
    ----------
    name : str or Backing
        One of `NAMES`.
    family : str
        Of the designs that are to stand on it: it says what ``kernel`` is.

    Returns
    -------
    Backing
        Called ``kernel`` where its pages are the family's kernel's, whichever name was asked for: the same
        layout has one name in results and is measured once.

    Raises
    ------
    BadInputError
        When there is none of that name, or there are no pages of its sizes.

    Examples
    --------
    >>> backing("kernel", "pv")
    Backing(name='kernel', direct_bytes=4096, window_bytes=4096)
    >>> backing("small", "pv").name, backing("mixed", "arm").name, backing("mixed", "pv").name
    ('kernel', 'kernel', 'mixed')
    """
    if isinstance(name, Backing):
        for n_bytes in (name.direct_bytes, name.window_bytes):
            if not is_one_of(n_bytes, PAGE_SIZE, HUGE_SIZE):
                raise BadInputError(f"pages have {PAGE_SIZE} or {HUGE_SIZE} bytes, not {shown(n_bytes)}")
        return name
    there = families()
    layout = there[family].kernel_layout if family in there else KernelLayout()
    kernel = Backing(KERNEL, layout.direct_bytes, layout.window_bytes)
    found = {**BACKINGS, KERNEL: kernel}[known("page backing", name, NAMES)]
    return kernel if found[1:] == kernel[1:] else found
