"""A limit: what the array of a toy finds room in."""

from __future__ import annotations

from p2mperf.sizing import Limit, Parameters, list_bytes
from p2mperf.units import MIB


def _room(built: Parameters, guest_bytes: int) -> int:
    return MIB


ROOM = Limit(
    "toy-room",
    geometries=("toy64",),
    unit="room for the array",
    needed=list_bytes,
    available=_room,
    source="its own declaration",
    confidence="assumed",
)
