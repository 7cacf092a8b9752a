"""What guests are called: presets by their own names, and those with nothing but RAM by kind and size."""

from __future__ import annotations

import re
from typing import NamedTuple

from p2mperf.errors import unknown
from p2mperf.guests.geometries import geometries
from p2mperf.guests.presets import ALL_PRESETS

_SIZE = "[0-9]{1,20}[kmgt]"


class PlainName(NamedTuple):
    """What the name of a guest with nothing but RAM says.

    Attributes
    ----------
    size : str
        Its memory, as ``8G``.
    geometry : str
        Format of its table.
    """

    size: str
    geometry: str


def plain_forms() -> dict[str, str]:
    """How guests with nothing but RAM are called, with SIZE for their size, and the geometry of each."""
    return {f"{shape.short_name or shape.name}-SIZE": shape.name for shape in geometries().values()}


def read_name(name: object) -> PlainName | None:
    """Read what results call a guest.

    Parameters
    ----------
    name : str
        A preset, as ``dom0-64-e820``, or a guest with nothing but RAM, as ``pv-64-8g``.

    Returns
    -------
    PlainName, or None
        None for a preset.

    Raises
    ------
    BadInputError
        When it is neither.

    Examples
    --------
    >>> read_name("pv-64-2049m")
    PlainName(size='2049M', geometry='pv64')
    """
    if isinstance(name, str) and name in ALL_PRESETS:
        return None
    for form, geometry in plain_forms().items():
        pattern = re.escape(form.removesuffix("SIZE")) + f"({_SIZE})"
        if isinstance(name, str) and (found := re.fullmatch(pattern, name)):
            return PlainName(found[1].upper(), geometry)
    raise unknown("guest", name, [*ALL_PRESETS, *plain_forms()])
