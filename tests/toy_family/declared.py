"""What the toy package declares: one object for each of its entry points, and nothing heavy imported."""

from p2mperf.families import DesignSpec, Family
from p2mperf.guests.geometry import Geometry, Kind, Words
from p2mperf.measure.operations.registry import OperationSpec
from p2mperf.sizing import Limit, Parameters, list_bytes
from p2mperf.units import GIB, MIB

MODULE = "toy_family.designs"


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
    ("toy64",),
    "toy-array",
    (
        DesignSpec("toy-pages", f"{MODULE}:ToyPages", colour="#117733"),
        DesignSpec("toy-array", f"{MODULE}:ToyArray", colour="#882255"),
    ),
    sizes={"quick": {"toy64": ("8M",)}},
)
STAMP = OperationSpec(
    "stamp",
    "toy_family.stamp:Stamp",
    per="frame",
    streams=("uniform",),
    needs=("Writable",),
    title="an entry written and put back",
    unit="ns per frame",
)


def _room(built: Parameters, guest_bytes: int) -> int:
    return MIB


ROOM = Limit(
    "toy-room", ("toy64",), "room for the array", list_bytes, _room, "its own declaration", "assumed"
)
