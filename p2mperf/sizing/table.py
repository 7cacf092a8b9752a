"""The answers for a range of guest sizes, as rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

from p2mperf.errors import in_a_row
from p2mperf.sizing.answer import Answer, answer_for
from p2mperf.sizing.parameters import SETTINGS, Parameters, parameters
from p2mperf.sizing.registry import left_out
from p2mperf.sizing.shapes import DEFAULT_DESIGN, geometry_of
from p2mperf.units import PAGE_SIZE, parse_pages, whole_number


def table(
    sizes: Iterable[str | int],
    widths: Iterable[int] = (64, 32),
    *,
    geometry: str | None = None,
    design: str = DEFAULT_DESIGN,
    without: Iterable[str] = (),
    **settings: str | int | None,
) -> list[dict[str, object]]:
    """Put the answers for a range of guest sizes into rows.

    Parameters
    ----------
    sizes : iterable of str or int
        Guest sizes.
    widths : iterable of int
        Entry widths to ask for, each with every size [bits].
    geometry, design, without
        As `limits`.
    **settings
        As `limits`; each goes to the widths that have it.

    Returns
    -------
    list of dict
        One row a size and width, sizes in bytes; a guest beyond the width is a row that does not fit.

    Examples
    --------
    >>> [row["area_bytes"] >> 20 for row in table(["43G", "400G"])]
    [86, 44, 800, 400]
    """
    chosen = left_out(without)
    widths = tuple(whole_number(width, "an entry width") for width in in_a_row("widths", widths))
    built = [
        replace(_for_width(width, widths, geometry, design, settings), without=chosen) for width in widths
    ]
    asked = [parse_pages(size) * PAGE_SIZE for size in in_a_row("sizes", sizes)]
    return [_row(answer_for(each, n_bytes)) for n_bytes, each in product(asked, built)]


def _for_width(
    width: int,
    widths: tuple[int, ...],
    geometry: str | None,
    design: str,
    settings: dict[str, str | int | None],
) -> Parameters:
    """Pass on what this width has; what no width of the table has is refused as a contradiction."""
    own_geometry, geometries = geometry_of(design, width), {geometry_of(design, each) for each in widths}
    own = {
        name: value
        for name, value in settings.items()
        if name not in SETTINGS
        or own_geometry in SETTINGS[name].defaults
        or not geometries & SETTINGS[name].defaults.keys()
    }
    return parameters(entry_bits=width, geometry=geometry, design=design, **own)


def _row(answer: Answer) -> dict[str, object]:
    return {
        "guest_bytes": answer.guest_bytes,
        "entry_bits": answer.parameters.shape.entry_bytes * 8,
        "n_pages": answer.n_pages,
        "n_padding_entries": answer.n_padding_entries,
        "list_bytes": answer.list_bytes,
        "area_bytes": answer.area_bytes,
        "available_bytes": answer.available_bytes,
        "fits": answer.fits,
        "limits": list(answer.binds if answer.fits else answer.refused_by),
        "reason": answer.verdict,
    }
