"""Of which leaves the tables in a samples frame were: what all that is said of superpages stands on."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from p2mperf.designs import find
from p2mperf.designs.hap.door import HapDoor
from p2mperf.errors import BadInputError, PluginError
from p2mperf.guests.geometries import find_geometry
from p2mperf.guests.geometry import Geometry
from p2mperf.guests.guest import Guest
from p2mperf.guests.hap import Hap
from p2mperf.guests.presets import ALL_PRESETS, BuiltPreset
from p2mperf.units import PAGE_SIZE, format_size

WALK, WINDOW = "walk", "windows"
# A share that is less than that is not worth a word: a builder's first MiB, and its special pages.
_LEAST_SHARE = 0.005


class Leaves(NamedTuple):
    """Leaves of a design's table for a guest.

    Attributes
    ----------
    way : str
        How it finds them: `WALK` or `WINDOW`.
    label : str
        Their sizes, with the shares of memory that they map where these are mixed.
    walk_loads : float
        Entries that a walk reads for a uniform frame, on average.
    """

    way: str
    label: str
    walk_loads: float


@lru_cache(maxsize=256)
def leaves_of(design: str, guest: str, geometry: str, guest_bytes: int) -> Leaves | None:
    """Tell of which leaves a table was, by its guest's memory; None where that cannot be known here.

    Parameters
    ----------
    design, guest, geometry : str
        Their names, as results have them.
    guest_bytes : int
        Memory of the guest [bytes].

    Returns
    -------
    Leaves or None
        None for designs of other families, and for guests and designs that are none here.

    Examples
    --------
    >>> leaves_of("hap-walk", "hap-1g", "hap64", 1 << 30)
    Leaves(way='walk', label='1 GiB', walk_loads=2.0)
    >>> leaves_of("hap-linear-2m", "hap-1g", "hap64", 1 << 30)
    Leaves(way='windows', label='2 MiB', walk_loads=3.0)
    """
    try:
        kind = find(design)
        if not issubclass(kind, HapDoor):
            return None
        shape, extents = _memory_of(guest, geometry, guest_bytes)
    except (BadInputError, PluginError):
        return None
    if not isinstance(shape, Hap):
        return None
    orders = kind.switches.orders(shape)
    frames = dict.fromkeys(orders, 0)
    for order, n_extents in extents.items():
        frames[max(each for each in orders if each <= order)] += n_extents << order
    n_all = sum(frames.values())
    shares = {order: n_frames / n_all for order, n_frames in frames.items()}
    loads = sum(share * (shape.n_levels - order // shape.index_bits) for order, share in shares.items())
    return Leaves(WINDOW if kind.has_windows else WALK, _label(shares), loads)


@lru_cache(maxsize=256)
def _memory_of(guest: str, geometry: str, guest_bytes: int) -> tuple[Geometry, dict[int, int]]:
    """Format of a guest's table, and how many extents of each order its memory consists of.

    A preset's extents are asked for without a guest around them, whose map takes ten times as long.
    """
    preset = ALL_PRESETS.get(guest)
    if isinstance(preset, BuiltPreset):
        extents, _ = preset.give(seed=1)
        return find_geometry(preset.geometry), extents.n_by_order
    built = Guest.preset(guest) if preset else Guest.plain(guest_bytes, geometry)
    return built.geometry, built.extents.n_by_order


def _label(shares: dict[int, float]) -> str:
    told = {order: share for order, share in sorted(shares.items(), reverse=True) if share >= _LEAST_SHARE}
    sizes = {order: format_size(PAGE_SIZE << order) for order in told}
    names = {order: f"{size[:-1]} {size[-1]}iB" for order, size in sizes.items()}
    if len(told) == 1:
        return next(iter(names.values()))
    return ", ".join(f"{100 * share:.0f} % {names[order]}" for order, share in told.items())
