"""Guests by name: memory maps that the source documents tested, and memory as a domain builder gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from p2mperf.plugins import import_target
from p2mperf.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from p2mperf.guests.extents import Extents
    from p2mperf.guests.machine import Machine


@dataclass(frozen=True)
class Preset:
    """A configuration named after the source document that tested it."""

    rows: tuple[tuple[int, int, str], ...]
    boot: int
    maximum: int
    geometry: str = "pv64"


def _plain(n_bytes: int, geometry: str = "pv64") -> Preset:
    return Preset(((0, n_bytes, "ram"),), n_bytes, n_bytes, geometry)


def _e820(geometry: str) -> Preset:
    """The drawing in the comment of arch/x86/xen/p2m.c: identity from 1029 MB to 2001 MB."""
    rows = (
        (0, 1029 * MIB, "ram"),
        (1029 * MIB, 1034 * MIB, "acpi"),
        (1800 * MIB, 2001 * MIB, "reserved"),
        (2001 * MIB, 4096 * MIB, "ram"),
    )
    return Preset(rows, 1 * GIB, 3 * GIB, geometry)


_ISA = ((0, 640 * KIB, "ram"), (640 * KIB, 1 * MIB, "reserved"))

PRESETS = {
    "dom0-64-8g": Preset(
        (
            *_ISA,
            (1 * MIB, 3064 * MIB, "ram"),
            (3064 * MIB, 3072 * MIB, "acpi"),
            (0xFEC00000, 4096 * MIB, "reserved"),
            (4096 * MIB, 9224 * MIB + 384 * KIB, "ram"),
        ),
        8 * GIB,
        8 * GIB,
    ),
    "dom0-64-128g-pci": Preset(
        (
            *_ISA,
            (1 * MIB, 2048 * MIB, "ram"),
            (2048 * MIB, 4096 * MIB, "reserved"),
            (4 * GIB, 64 * GIB, "ram"),
            (64 * GIB, 66 * GIB, "reserved"),
            (66 * GIB, 133 * GIB, "ram"),
        ),
        128 * GIB,
        128 * GIB,
    ),
    "domu-32-512m": _plain(512 * MIB, "pv32"),
    "domu-32-8g": _plain(8 * GIB, "pv32"),
    "domu-32-43g": _plain(43 * GIB, "pv32"),
    "domu-64-8g": _plain(8 * GIB),
    "domu-64-2049m": _plain(2049 * MIB),
    "domu-64-5000m": _plain(5000 * MIB),
    "dom0-64-e820": _e820("pv64"),
    "dom0-32-e820": _e820("pv32"),
    "pv-64-400g": _plain(400 * GIB),
}


@dataclass(frozen=True)
class BuiltPreset:
    """A HAP guest whose memory is what Xen's domain builder got for it.

    Attributes
    ----------
    memory : int
        What was asked for [bytes].
    broken_share : float
        Share of the host's 2 MiB blocks that give no extent of 2 MiB any more; which ones, its seed decides.
    geometry : str
        Format of its table.
    """

    memory: int
    broken_share: float = 0.0
    geometry: str = "hap64"

    def give(self, seed: int) -> tuple[Extents, Machine]:
        """Give it its memory: the extents, and the host that they are of."""
        # By name, as designs are declared: who populates guests stands above them.
        populate: Any = import_target("p2mperf.populating.populate:populate")
        given = populate(self.memory, fragmentation=self.broken_share, seed=seed)
        return given.extents, given.machine


BUILT_PRESETS = {
    "hvm-16g": BuiltPreset(16 * GIB),
    "hvm-16g-broken30": BuiltPreset(16 * GIB, 0.3),
    "hvm-16g-broken60": BuiltPreset(16 * GIB, 0.6),
}
ALL_PRESETS: dict[str, Preset | BuiltPreset] = {**PRESETS, **BUILT_PRESETS}
