"""What limits the linear list, as tables: by the size of the guest, by the area, and limit by limit."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from p2mperf.errors import in_a_row
from p2mperf.sizing.answer import limits
from p2mperf.sizing.registry import CONFIDENCE, every_limit
from p2mperf.sizing.shapes import DEFAULT_DESIGN
from p2mperf.sizing.table import table
from p2mperf.units import parse_size

SPLITS = ("3:1", "2:2")


def limits_by_size(
    sizes: Iterable[str | int],
    widths: Iterable[int] = (64, 32),
    *,
    geometry: str | None = None,
    design: str = DEFAULT_DESIGN,
    without: Iterable[str] = (),
    **settings: str | int | None,
) -> pd.DataFrame:
    """Answer for guests of many sizes, at both widths unless told otherwise.

    Parameters
    ----------
    sizes : iterable of str or int
        Guest sizes, such as "43G".
    widths : iterable of int
        Entry widths to ask for, each with every size [bits].
    geometry, design, without, **settings
        As `p2mperf.limits`.

    Returns
    -------
    pandas.DataFrame
        A row a size and width, as `p2mperf.sizing.table` has them: ``guest_bytes``, ``entry_bits``,
        ``list_bytes``, ``area_bytes``, ``available_bytes``, ``fits``, and the ``limits`` that bind or refuse.

    Raises
    ------
    BadInputError
        For sizes and options that are none.

    Examples
    --------
    >>> limits_by_size(["43G", "400G"])["fits"].tolist()
    [True, True, True, False]
    """
    rows = table(sizes, widths, geometry=geometry, design=design, without=without, **settings)
    found = pd.DataFrame(rows)
    return found.assign(limits=found["limits"].map(", ".join))


def largest_guests(
    vmalloc_sizes: Iterable[str | int],
    splits: Iterable[str] = SPLITS,
    *,
    geometry: str | None = None,
    design: str = DEFAULT_DESIGN,
    without: Iterable[str] = (),
    **settings: str | int | None,
) -> pd.DataFrame:
    """Find the largest 32-bit guest that fits, by the size of the vmalloc area and by the split.

    Parameters
    ----------
    vmalloc_sizes : iterable of str or int
        Sizes of the area, as ``vmalloc=`` gives them.
    splits : iterable of str
        "3:1" or "2:2".
    geometry, design, without, **settings
        As `p2mperf.limits`.

    Returns
    -------
    pandas.DataFrame
        A row a split and size: ``split``, ``vmalloc_bytes``, ``largest_guest_bytes``, and what ``binds``.

    Raises
    ------
    BadInputError
        For sizes and options that are none.

    Examples
    --------
    >>> found = largest_guests(["32M", "64M"], ["3:1"])
    >>> (found["largest_guest_bytes"] // 2**30).tolist()
    [32, 64]
    """
    sizes, rows = in_a_row("sizes", vmalloc_sizes), []
    for split in in_a_row("splits", splits):
        for size in sizes:
            answer = limits(
                entry_bits=32,
                vmalloc=size,
                split=split,
                geometry=geometry,
                design=design,
                without=without,
                **settings,
            )
            rows.append((split, parse_size(size), answer.largest_guest_bytes, ", ".join(answer.binds)))
    return pd.DataFrame(rows, columns=["split", "vmalloc_bytes", "largest_guest_bytes", "binds"])


def limit_list() -> pd.DataFrame:
    """List every limit that is known, and what it rests on.

    Returns
    -------
    pandas.DataFrame
        A row a limit: ``name``, ``geometries``, ``unit`` that is counted, ``confidence``, what that
        ``means``, and ``source``.
    """
    rows = [
        (
            limit.name,
            ", ".join(limit.geometries),
            limit.unit,
            limit.confidence,
            CONFIDENCE[limit.confidence],
            limit.source,
        )
        for limit in every_limit().values()
    ]
    return pd.DataFrame(rows, columns=["name", "geometries", "unit", "confidence", "means", "source"])
