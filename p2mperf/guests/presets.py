"""The memory maps of the configurations that the source documents tested."""

from __future__ import annotations

from dataclasses import dataclass

from p2mperf.units import GIB, KIB, MIB


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
