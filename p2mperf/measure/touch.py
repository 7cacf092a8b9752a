"""What a design's lookups can read, touched before it is timed; and the pages that it really stands on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from p2mperf.designs.base import Design, Stretch
from p2mperf.measure.touch_kernels import touch_words
from p2mperf.memory import smaps
from p2mperf.units import MIB, PAGE_SIZE

LINE_BYTES = 64
# Tables up to this size are touched line by line: 5 ms at most, and less than passes would take to meet
# their lines by chance. Of larger ones no cache that is not shared keeps all lines.
LINED_BYTES = 32 * MIB


def n_bytes_of(stretches: Iterable[Stretch]) -> int:
    """Length of all stretches together [bytes]."""
    return sum(stretch.n_bytes for stretch in stretches)


def touch(stretches: tuple[Stretch, ...], lined: bool = True) -> None:
    """Read one word of every page, or, where that is at most `LINED_BYTES`, of every line.

    Parameters
    ----------
    stretches : tuple of Stretch
        As `Design.stretches` gives them.
    lined : bool
        Read lines at all: without it one word of every page, whatever there is.

    Notes
    -----
    A daemon of guest or host that watches memory clears the accessed bits of page-table entries, and the
    processor sets each again at its next walk: once a page and not once a lookup. Lists on 4 KiB pages
    looked up to ten times slower by that than they are.
    """
    if stretches:
        starts = np.array([stretch.address for stretch in stretches], np.uint64)
        ends = starts + np.array([stretch.n_bytes for stretch in stretches], np.uint64)
        lined = lined and n_bytes_of(stretches) <= LINED_BYTES
        touch_words(
            starts, ends, np.uint64(LINE_BYTES if lined else PAGE_SIZE), np.uint64(0 if lined else 63)
        )


class PageSizes:
    """Page sizes of some designs over time, read again only where they can have changed.

    Reading smaps has Linux walk all page tables of the process: 20 to 100 ms, where a cell takes 200 ms.

    Parameters
    ----------
    designs : mapping of str to Design
        By the names that the answers have.
    """

    def __init__(self, designs: Mapping[str, Design]) -> None:
        self._designs = designs
        self._events = smaps.huge_page_events()
        self._found = page_sizes(designs)

    def now(self, kept: bool = False) -> dict[str, dict[str, int]]:
        """Tell them as `page_sizes` does.

        Parameters
        ----------
        kept : bool
            Nothing was mapped or unmapped since they were told last: they are the same, unless Linux counts
            that huge pages have come or gone anywhere meanwhile.
        """
        events = smaps.huge_page_events()
        if not kept or not events or events != self._events:
            self._found = page_sizes(self._designs)
        self._events = events
        return self._found


def page_sizes(designs: Mapping[str, Design]) -> dict[str, dict[str, int]]:
    """Page size that really maps each view of some designs, by design and view, from one look at smaps.

    Parameters
    ----------
    designs : mapping of str to Design
        By the names that the answer has.

    Returns
    -------
    dict of str to dict
        4096, 2 MiB, or 0 where mixed [bytes]. Of a design that does not say what its lookups read, what its
        `views` say.
    """
    found = smaps.everything()
    return {name: _views(design, found) for name, design in designs.items()}


def _views(design: Design, found: list[smaps.Resident]) -> dict[str, int]:
    spans: dict[str, tuple[int, int]] = {}
    for view, address, n_bytes in design.stretches():
        start, end = spans.get(view, (address, address))
        spans[view] = min(start, address), max(end, address + n_bytes)
    if not spans:
        return design.views()
    return {
        view: smaps.page_bytes([one for one in found if one.start < end and start < one.end])
        for view, (start, end) in spans.items()
    }
