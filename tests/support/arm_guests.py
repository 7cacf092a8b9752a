"""ARM guests of every kind: at the usual base and at 0, of an odd size, of two banks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2mperf.designs.arm.vlpt import ArmVlpt
from p2mperf.designs.arm.walk import ArmWalk, ArmWalkDirect
from p2mperf.guests.guest import Guest

GIB = 1 << 30
RAM_BITS = 0x6FF  # by hand: valid, table, write-back 0xF << 2, read, write, outer shareable 2 << 8, accessed
GUESTS = {
    "base-2g": Guest.plain("1300M", geometry="lpae"),
    "base-0": Guest.plain("1025M", geometry="lpae", base=0),
    "odd": Guest.plain(12 << 12, geometry="lpae", base=3 * GIB - (7 << 12)),
    "two-banks": Guest.from_e820([("1G", "4G", "ram"), ("8G", "9G", "ram")], "4G", geometry="lpae"),
}
BANKS = Guest.from_e820([("1G", "1030M", "ram"), ("3G", "3115M", "ram")], "49M", geometry="lpae")


@pytest.fixture
def three_ways() -> Iterator[tuple[ArmVlpt, ArmWalkDirect, ArmWalk]]:
    """Window, walk through the direct map and walk through map slots, over one table."""
    guest = GUESTS["base-2g"]
    with (
        ArmVlpt(guest) as window,
        ArmWalkDirect(guest, like=window) as direct,
        ArmWalk(guest, like=window) as walk,
    ):
        yield window, direct, walk
