"""All geometries by name; another package adds one by an entry point in the group ``p2mperf.geometries``."""

from __future__ import annotations

from collections.abc import Collection

from p2mperf.errors import BadInputError, known
from p2mperf.guests.geometry import Geometry
from p2mperf.guests.hap import HAP64, HAP_NONPAE, HAP_PAE
from p2mperf.guests.lpae import Lpae
from p2mperf.plugins import Registry
from p2mperf.units import GIB, MIB

COMPAT_M2P_FRAMES = 168 * MIB // 4  # what a 32-bit guest's m2p shows: the hole above 0xF5800000

_GEOMETRIES = (
    Geometry("pv64", 64, "pv-64", hotplug_reach_bytes=512 * GIB),
    Geometry("pv32", 32, "pv-32", max_machine_frames=COMPAT_M2P_FRAMES, hotplug_reach_bytes=64 * GIB),
    # GUEST_RAM_BASE of Xen 4.4 (xen/include/public/arch-arm.h)
    Lpae("lpae", 64, "arm", ram_base_bytes=2 * GIB, max_machine_frames=1 << 28),
    HAP64,
    HAP_PAE,
    HAP_NONPAE,
)


def _wrong(geometry: Geometry) -> str:
    """What is wrong with a geometry of another package, or ""."""
    bits = geometry.entry_bits
    return "" if bits in (32, 64) else f"has entries of {bits} bits: they may have 32 or 64"


GEOMETRIES: Registry[Geometry] = Registry(
    "geometry", "p2mperf.geometries", Geometry, {shape.name: shape for shape in _GEOMETRIES}, _wrong
)
# By name; those of other packages are among them.
geometries = GEOMETRIES.sound
find_geometry = GEOMETRIES.find


def choose_geometry(name: object, among: Collection[str], entry_bits: int | None = None) -> str:
    """Take one of some geometries by name.

    Parameters
    ----------
    name : str
        Its name.
    among : collection of str
        Those that there are to choose from.
    entry_bits : int, optional
        Width that was asked for as well.

    Raises
    ------
    BadInputError
        For another name, or one whose entries are not so wide.
    """
    chosen = known("geometry of these guests", name, among)
    if entry_bits not in (None, n_bits := find_geometry(chosen).entry_bits):
        raise BadInputError(
            f"geometry {chosen} with {entry_bits}-bit entries contradicts itself: it has {n_bits}-bit ones"
        )
    return chosen
