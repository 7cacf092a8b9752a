"""Tree and list on pages of one size, whichever backing is asked for: what the pages alone cost.

Backings are units of their own; two of these are designs of one cell, and are timed in turns in one process.
Each has leaves of its own all the same, as every design has: a pair that shared them would keep them warm for
each other, and the control of a cell, which is a build of its own, would stand alone. Pools are collapsed to
2 MiB before they are shown on 4 KiB pages, so that both stand in memory alike.
"""

from __future__ import annotations

from typing import ClassVar, Unpack

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design
from p2mperf.designs.pv.area import check_guest
from p2mperf.designs.pv.changing import WriteDoor
from p2mperf.designs.pv.linear import LinearDoor, ListOptions, grow_list
from p2mperf.designs.pv.listing import ListDoor
from p2mperf.designs.pv.reading import ReadDoor
from p2mperf.designs.pv.tree import TreeDoor, TreeOptions, grow_tree
from p2mperf.guests.guest import Guest
from p2mperf.units import HUGE_SIZE, PAGE_SIZE


class PvTree4k(TreeDoor, WriteDoor, ReadDoor, Design):
    """`PvTree` on 4 KiB pages, as a PV kernel has it; parameters as there."""

    name = "pv-tree-4k"
    page_bytes: ClassVar[int] = PAGE_SIZE

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[TreeOptions]
    ) -> None:
        check_guest(self.name, self.family, guest)
        super().__init__(guest, backing)
        grow_tree(self, **options)


class PvTree2m(TreeDoor, WriteDoor, ReadDoor, Design):
    """`PvTree` on 2 MiB pages; parameters as there."""

    name = "pv-tree-2m"
    page_bytes: ClassVar[int] = HUGE_SIZE

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[TreeOptions]
    ) -> None:
        check_guest(self.name, self.family, guest)
        super().__init__(guest, backing)
        grow_tree(self, **options)


class PvLinear4k(LinearDoor, WriteDoor, ListDoor, ReadDoor, Design):
    """`PvLinear` on 4 KiB pages, as a PV kernel has it; parameters as there."""

    name = "pv-linear-4k"
    page_bytes: ClassVar[int] = PAGE_SIZE

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[ListOptions]
    ) -> None:
        check_guest(self.name, self.family, guest)
        super().__init__(guest, backing)
        grow_list(self, **options)


class PvLinear2m(LinearDoor, WriteDoor, ListDoor, ReadDoor, Design):
    """`PvLinear` on 2 MiB pages; parameters as there."""

    name = "pv-linear-2m"
    page_bytes: ClassVar[int] = HUGE_SIZE

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[ListOptions]
    ) -> None:
        check_guest(self.name, self.family, guest)
        super().__init__(guest, backing)
        grow_list(self, **options)
