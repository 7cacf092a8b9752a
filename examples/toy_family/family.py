"""A family: the entries of its guests, and its designs by name. Nothing heavy is imported here."""

from __future__ import annotations

from p2mperf.families import DesignSpec, Family
from p2mperf.guests.geometry import Geometry, Kind, Words
from p2mperf.units import GIB


class ToyGeometry(Geometry):
    """Entries of 64 bits: twice the mfn and a valid bit; RAM begins at 1 GiB, and gaps read 0."""

    @property
    def invalid(self) -> int:
        return 0

    @property
    def gap_kind(self) -> Kind:
        return Kind.MISSING

    def ram_entries(self, mfns: Words) -> Words:
        return mfns + mfns + 1

    def entries_above(self, pfns: Words, above: str) -> Words:
        return pfns * 0


GEOMETRY = ToyGeometry("toy64", 64, short_name="toy", ram_base_bytes=GIB)
FAMILY = Family(
    "toy",
    geometries=("toy64",),
    reference="toy-array",
    designs=(
        DesignSpec("toy-pages", "toy_family.designs:ToyPages", colour="#117733"),
        DesignSpec("toy-array", "toy_family.designs:ToyArray", colour="#882255"),
    ),
    sizes={"quick": {"toy64": ("8M",)}},
)
