"""The pages of a tree against those that 3.18 comes to step by step, for maps with many and odd holes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from naive import LEAF_PAGES, MID_PAGES, PAGE, Oracle, Row
from naive_boot import BootTree

from p2mperf.designs.pv.tree import PvTree
from p2mperf.guests.guest import Guest

KINDS = ("ram", "ram", "ram", "acpi", "reserved", "")
N_MAPS = 150


def predicted(rows: list[Row], n_boot: int, n_max: int, bits: int, above: str) -> tuple[int, int]:
    """Private leaves and mids that the package foresees."""
    guest = Guest.from_e820(rows, n_boot * PAGE, n_max * PAGE, geometry=f"pv{bits}")
    pages = PvTree.predict_footprint(guest, above=above).pages
    return pages["leaf"], pages["mid"]


def booted(rows: list[Row], n_boot: int, n_max: int, bits: int, above: str) -> BootTree:
    """The tree as it comes to be."""
    return BootTree(Oracle(rows, n_boot, n_max, bits, [(n_boot, 0)], above))


def random_guest(choose: random.Random) -> tuple[list[Row], int, int, int, str]:
    """Rows about as long as leaves and mids; some begin or end inside a page, or are less than one."""
    bits = choose.choice((64, 32))
    leaf, rows, start, previous = LEAF_PAGES[bits], [(0, PAGE, "ram")], PAGE, "ram"
    for _ in range(choose.randint(2, 8)):
        kind = choose.choice(KINDS)
        about = (1, 2, leaf - 1, leaf, leaf + 1, 3 * leaf + 5, choose.randint(1, 40 * leaf))
        n_bytes = choose.choice(about) * PAGE
        if choose.random() < 0.1:
            n_bytes = (MID_PAGES[bits] + choose.choice((-leaf, 0, 1, leaf + 3))) * PAGE
        start += choose.choice((0, 0, 0, 100)) if (previous == "ram") != (kind == "ram") else 0
        end = start + 300 if choose.random() < 0.1 else start // PAGE * PAGE + n_bytes
        if kind and start < end:
            rows.append((start, end, kind))
        start, previous = max(start, end), kind
    n_ram = sum(end - first for first, end in Oracle(rows, 0, 0, bits, []).ram)
    n_boot = choose.choice((choose.randint(1, min(n_ram, 3 * leaf)), choose.randint(1, n_ram), n_ram))
    above = choose.choice(("identity", "identity", "invalid"))
    return rows, n_boot, n_boot + choose.choice((0, 1000)), bits, above


def test_no_random_map_takes_other_pages_than_3_18() -> None:
    seen: set[str] = set()
    for seed in range(N_MAPS):
        guest = random_guest(random.Random(seed))
        tree = booted(*guest)
        assert predicted(*guest) == (len(tree.leaves), len(tree.mids)), seed
        n_boot_leaves = -(-guest[1] // tree.leaf)
        seen |= {"used again"} if not set(range(n_boot_leaves)) <= set(tree.leaves) else set()
        uniform = [leaf for leaf, row in tree.leaves.items() if row in (b"I" * tree.leaf, b"-" * tree.leaf)]
        seen |= {"uniform behind boot memory" if leaf >= n_boot_leaves else "uniform" for leaf in uniform}
    assert seen == {"used again", "uniform", "uniform behind boot memory"}


M = 1 << 20


@pytest.mark.parametrize(
    ("rows", "n_leaves"),
    [
        # Frame 1024 = 4 MiB, and less than a page of RAM in it: the hole before ends behind that, inside
        # leaf 2, which is split off; identity behind the map begins before.
        ([(0, 2 * M, "ram"), (4 * M + 400, 4 * M + 700, "ram")], 1 + 1),
        # The same in the midst of a hole, from 2 to 8 MiB: it is two then.
        ([(0, 2 * M, "ram"), (4 * M + 400, 4 * M + 700, "ram"), (8 * M, 10 * M, "ram")], 1 + 1),
        # And without: all leaves of the hole are shared.
        ([(0, 2 * M, "ram"), (8 * M, 10 * M, "ram")], 1),
    ],
)
def test_less_than_a_page_of_ram_parts_two_holes(rows: list[Any], n_leaves: int) -> None:
    guest = (rows, 512, 512, 64, "identity")
    assert predicted(*guest)[0] == len(booted(*guest).leaves) == n_leaves
