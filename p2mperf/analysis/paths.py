"""Real tables for readers: the map that they answer, and the way of a frame through them, load by load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import pandas as pd
from numpy.typing import ArrayLike

from p2mperf.designs import find
from p2mperf.designs.base import Design
from p2mperf.errors import BadInputError, in_a_row, shown
from p2mperf.guests.frames import frame_numbers
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.units import PAGE_SIZE


@runtime_checkable
class HasMap(Protocol):
    """A design that says what it answers in stretches of one kind."""

    def kind_runs(self) -> list[tuple[int, int, str]]:
        """First frame, end (exclusive) and kind of each stretch."""

    def lookup(self, pfns: ArrayLike) -> Words:
        """As `Design.lookup`."""


PATH_COLUMNS = (
    "guest",
    "design",
    "pfn",
    "step",
    "n_loads",
    "level",
    "view",
    "page",
    "index",
    "address",
    "entry",
    "kind",
    "mfn",
)
_MEMORY = {"pfn": "memory", "ram": "memory"}  # as dumps of the families call it
# Each is walked with a probe, one after the other.
_MOST = 10_000


def lookup_paths(
    guest: Guest | str,
    pfns: ArrayLike,
    designs: Sequence[str] = ("pv-tree", "pv-linear"),
    backing: str = "kernel",
) -> pd.DataFrame:
    """Build tables for a guest and follow frames through them, load by load.

    Parameters
    ----------
    guest : Guest or str
        A guest, or the name of a preset.
    pfns : array_like of int
        Frames to look up, at most 10000.
    designs : sequence of str
        Names of `p2mperf.designs`, all of them for guests of this kind.
    backing : str
        Page sizes of the views, as `p2mperf.build` takes it.

    Returns
    -------
    pandas.DataFrame
        One row a load: guest, design, pfn; step (from 1, or 0 in the one row of a lookup without a load) of
        n_loads; level (kind of page that is read), view
        ("direct" or "window"), page (its number in the design's memory, -1 where it has none), index (place
        in the page) and address; and of the whole lookup entry (raw), kind ("ram", "missing", "identity" ...)
        and mfn (missing where it has none). The figure ``path`` draws the rows of one frame.

    Raises
    ------
    BadInputError
        For an unknown design or guest, or frames that are none.
    DoesNotFitError
        When memory or mappings do not suffice.

    Examples
    --------
    >>> paths = lookup_paths("dom0-64-e820", [0])
    >>> paths[["design", "level", "view"]].values.tolist()[:3]
    [['pv-tree', 'top', 'direct'], ['pv-tree', 'mid', 'direct'], ['pv-tree', 'leaf', 'direct']]
    >>> paths[["design", "level", "view"]].values.tolist()[3:]
    [['pv-linear', 'leaf', 'window']]
    """
    guest = Guest.preset(guest) if isinstance(guest, str) else guest
    require_guest(guest)
    frames = frame_numbers(pfns).ravel().tolist()
    if not 0 < len(frames) <= _MOST:
        raise BadInputError(f"1 to {_MOST} frames are followed at a time, not {len(frames)}")
    kinds = [find(name) for name in in_a_row("designs", designs)]
    if not kinds:
        raise BadInputError(f"frames are followed through one design at least, and {shown(designs)} has none")
    rows: list[tuple[object, ...]] = []
    for kind in kinds:
        with kind(guest, backing) as design:
            for pfn in frames:
                found = design.lookup_path(pfn)
                meaning = design.explain(found.entry)
                whole = (found.entry, meaning["kind"], meaning["mfn"])
                for number, step in enumerate(found.steps, start=1):
                    of_step = (step.level, step.view, step.frame, step.index, step.address)
                    rows.append((guest.name, kind.name, pfn, number, len(found.steps), *of_step, *whole))
                if not found.steps:  # what is beyond all memory may be known without
                    rows.append((guest.name, kind.name, pfn, 0, 0, "", "", -1, -1, 0, *whole))
    table = pd.DataFrame(rows, columns=list(PATH_COLUMNS))
    # Beyond 63 bits an entry is no int64, and a column of Python's ints would be one of objects.
    types = {"entry": "UInt64", "mfn": "UInt64", "pfn": "UInt64", "address": "UInt64"}
    return table.astype(types)


def map_of(design: Design) -> pd.DataFrame:
    """Say what tables answer for all of a guest's map, in stretches of one kind.

    Parameters
    ----------
    design : Design
        Built, of a family whose designs have ``kind_runs``: PV or HAP.

    Returns
    -------
    pandas.DataFrame
        A row a stretch: first pfn and end pfn (exclusive, as text in hexadecimal), kind ("memory", "missing",
        "identity" ...), memory_bytes, and the entry of its first frame, in hexadecimal.

    Raises
    ------
    BadInputError
        When the design has no such map.

    Examples
    --------
    >>> import p2mperf
    >>> with p2mperf.build("pv-linear", "dom0-64-e820") as p2m:
    ...     map_of(p2m)["kind"].tolist()
    ['memory', 'missing', 'identity', 'missing']
    """
    if not isinstance(design, HasMap):
        raise BadInputError(f"{shown(design)} has no map in stretches, as designs of PV and HAP guests have")
    rows = [
        {
            "first pfn": f"{first:#x}",
            "end pfn": f"{end:#x}",
            "kind": _MEMORY.get(kind, kind),
            "memory_bytes": (end - first) * PAGE_SIZE,
            "entry of its first frame": f"{int(design.lookup([first])[0]):#x}",
        }
        for first, end, kind in design.kind_runs()
    ]
    return pd.DataFrame(rows)
