"""What the real p2m.c and setup.c answered, run in user space: Linux 3.18.14, 3.19.8, and the list as landed.

Integers only, each read there or worked out from what was read; `test_kernel_expectations` holds us to them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
INVALID, INVALID_32 = 2**64 - 1, 2**32 - 1
IDENTITY, IDENTITY_32 = 1 << 62, 1 << 30
TREE, LIST = "pv-tree", "pv-linear"
BUG = "BUG"


class Map(NamedTuple):
    """A guest: rows in bytes, memory at boot and at most, bits of an entry."""

    rows: tuple[tuple[int, int, str], ...]
    boot: int
    maximum: int
    bits: int = 64


class Expectation(NamedTuple):
    """What a kernel answered.

    Attributes
    ----------
    name : str
        Of the test.
    guest : Map or str
        Or the name of a preset.
    designs : tuple of str
        Which it holds for.
    question : str
        "entries": of a frame; "pages": by kind; "ram", "extra": frames with memory, and balloonable ones;
        "padding": INVALID entries behind the boot list; "area": bytes of list; "writes": what is said of a
        write; "identity": what a frame reads after set_phys_range_identity; "boot": whether it comes up;
        "tools": frames that tools see.
    asked : tuple of int
        The question's own numbers.
    answers : dict
        By frame, kind or nothing.
    quirks : tuple of str
        Which of the kernel's own ways are not mended.
    """

    name: str
    guest: Map | str
    designs: tuple[str, ...]
    question: str
    answers: dict[Any, Any]
    asked: tuple[int, ...] = ()
    quirks: tuple[str, ...] = ()


def one_row(size: int, bits: int = 64) -> Map:
    """A domU: RAM and nothing else."""
    return Map(((0, size, "ram"),), size, size, bits)


BOTH = (TREE, LIST)
# 3.18's ways, and those of the list as it landed, that these answers depend on.
OF_3_18 = (
    "lost-write-under-identity",
    "invalid-under-identity-ignored",
    "identity-widens",
    "bug-beyond-end",
    "tools-end-early",
)
AS_LANDED = ("half-window", "early-free-bug", "identity-from-written-pfn")

FAR_RAM = ((0, 512 * MIB, "ram"), (512 * MIB, 20 * GIB, "reserved"), (20 * GIB, 24 * GIB, "ram"))
SPLIT_RAM = ((0, 640 * KIB, "ram"), (MIB, 256 * MIB, "ram"), (512 * MIB, GIB, "ram"))
HALF_PAGES = (
    (0, 8 * MIB, "ram"),
    (8 * MIB, 16 * MIB + 2 * KIB, "reserved"),
    (16 * MIB + 2 * KIB, 32 * MIB + 2 * KIB, "ram"),
    (32 * MIB + 2 * KIB, 40 * MIB, "reserved"),
)
ONE_LEAF_HOLE = ((0, 2 * MIB, "ram"), (2 * MIB, 4 * MIB, "reserved"), (4 * MIB, 32 * MIB, "ram"))
TWO_ROWS = ((0, 8 * MIB, "ram"), (8 * MIB, 64 * MIB, "ram"))

# The hole from 1029 MiB = pfn 263424 up to 2001 MiB = pfn 512256, end exclusive; around it INVALID.
EDGES = {
    263423: INVALID,
    263424: IDENTITY | 263424,
    512255: IDENTITY | 512255,
    512256: INVALID,
}
EDGES_32 = {
    263423: INVALID_32,
    263424: IDENTITY_32 | 263424,
    512255: IDENTITY_32 | 512255,
    512256: INVALID_32,
}

EXPECTATIONS = (
    Expectation("the hole of the example", "dom0-64-e820", BOTH, "entries", EDGES),
    Expectation("the hole of the example, 32 bits", "dom0-32-e820", BOTH, "entries", EDGES_32),
    # 262144 frames of boot list are 512 leaves and a mid; the hole takes a mid and a leaf at either end.
    Expectation("three pages for the hole", "dom0-64-e820", (TREE,), "pages", {"leaf": 514, "mid": 2}),
    # 262144 frames of boot list are 512 leaves in a mid; the hole ends at frame 262400, half a leaf into the
    # next mid. Identity goes on behind it, but what was split off there stays.
    Expectation(
        "a leaf split at the end of a hole stays",
        Map(((0, GIB, "ram"), (GIB, 1025 * MIB, "reserved")), GIB, GIB),
        (TREE,),
        "pages",
        {"leaf": 513, "mid": 2},
    ),
    # Leaves of 1024 frames, mids of 4 GiB: 1024 and one; frame 1048832 lies inside a leaf and a mid.
    Expectation(
        "a leaf split at the end of a hole stays, 32 bits",
        Map(((0, 4 * GIB, "ram"), (4 * GIB, 4097 * MIB, "reserved")), 4 * GIB, 4 * GIB, 32),
        (TREE,),
        "pages",
        {"leaf": 1025, "mid": 2},
    ),
    # 4096 leaves at boot; of the 517 that displaced memory needs, two find no page that could be used again.
    Expectation("pages used again", "dom0-64-8g", (TREE,), "pages", {"leaf": 4098}),
    # Four leaves at boot, the second is a hole: its memory moves to a whole leaf, and its page goes along.
    Expectation(
        "a page moves to a whole leaf",
        Map(ONE_LEAF_HOLE, 8 * MIB, 8 * MIB),
        (TREE,),
        "pages",
        {"leaf": 4},
    ),
    # Four and a half: the first half of its memory fills up the last, and the rest is moved before there is
    # any identity: a fresh page.
    Expectation(
        "no page moves to half a leaf",
        Map(ONE_LEAF_HOLE, 9 * MIB, 9 * MIB),
        (TREE,),
        "pages",
        {"leaf": 6},
    ),
    # As landed, identity there counts from 512256 = 0x7d100, with which the leaf was broken at boot.
    Expectation(
        "identity from the written frame at boot",
        "dom0-64-e820",
        (LIST,),
        "entries",
        {512000: 0x400000000007D100, 512255: 0x400000000007D1FF},
        quirks=("identity-from-written-pfn",),
    ),
    # 3.18 ends at MAX_P2M_PFN = 2^27; what is written beyond the map before that is lost.
    Expectation(
        "a lost write beyond the map",
        "dom0-64-8g",
        (TREE,),
        "writes",
        {0x400000: True, 0x7FFFFFF: True, 0x8000000: BUG},
        quirks=OF_3_18,
    ),
    Expectation(
        "a lost write is read as identity",
        "dom0-64-8g",
        (TREE,),
        "entries",
        {0x400000: IDENTITY | 0x400000, 0x7FFFFFF: IDENTITY | 0x7FFFFFF},
        asked=(0x400000, 0x7FFFFFF),
        quirks=OF_3_18,
    ),
    Expectation(
        "a range of identity is split at both ends",
        Map(TWO_ROWS, 8 * MIB, 8 * MIB),
        (TREE,),
        "identity",
        {4999: INVALID, 5000: IDENTITY | 5000, 5002: IDENTITY | 5002, 5003: INVALID},
        asked=(5000, 3),
        quirks=OF_3_18,
    ),
    # xen_max_p2m_pfn: 8 GiB at boot, behind which displaced memory goes on unseen.
    Expectation("tools end with boot memory", "dom0-64-8g", (TREE,), "tools", {0: 2097152}, quirks=OF_3_18),
    # 524288 frames may be ballooned up to: 1280 from 1024 to 1029 MiB, and 523008 from frame 512256 on.
    Expectation(
        "tools end where ballooning does", "dom0-64-e820", (TREE,), "tools", {0: 1035264}, quirks=OF_3_18
    ),
    # Half of frame 4096 = 16 MiB is balloonable, and half of frame 8192: PFN_DOWN, PFN_UP in 3.19.
    Expectation(
        "half a page is rounded out",
        Map(HALF_PAGES, 8 * MIB, 24 * MIB),
        (LIST,),
        "entries",
        {4095: IDENTITY | 4095, 4096: INVALID, 8192: INVALID, 8193: IDENTITY | 8193},
        quirks=("extra-memory-rounded-out",),
    ),
    Expectation(
        "half a page is rounded out, 32 bits",
        Map(HALF_PAGES, 8 * MIB, 24 * MIB, 32),
        (LIST,),
        "entries",
        {4095: IDENTITY_32 | 4095, 4096: INVALID_32, 8192: INVALID_32, 8193: IDENTITY_32 | 8193},
        quirks=("extra-memory-rounded-out",),
    ),
    # 3.18 leaves identity alone that it comes to there.
    Expectation(
        "half a page is identity",
        Map(HALF_PAGES, 8 * MIB, 24 * MIB),
        (TREE,),
        "entries",
        {4096: IDENTITY | 4096, 4097: INVALID, 8191: INVALID, 8192: IDENTITY | 8192},
        quirks=OF_3_18,
    ),
    Expectation(
        "no boot with memory in half a window",
        Map(FAR_RAM, 512 * MIB, 4 * GIB, 32),
        (LIST,),
        "boot",
        {0: BUG},
        quirks=AS_LANDED,
    ),
    # 640 KiB to 1 MiB are 96 pages; boot memory ends where a row of RAM does: there is no place for them.
    Expectation(
        "memory without a place is released",
        Map(SPLIT_RAM, 256 * MIB, 256 * MIB),
        BOTH,
        "ram",
        {0: 256 * 256 - 96},
    ),
    Expectation(
        "where released memory would have gone",
        Map(SPLIT_RAM, 256 * MIB, 256 * MIB),
        BOTH,
        "entries",
        {159: "ram", 160: IDENTITY | 160, 255: IDENTITY | 255, 256: "ram", 131072: INVALID},
    ),
    # 1 GiB at boot is 512 leaves; ten times that may be ballooned up to, 5120 leaves, and not 39 GiB.
    Expectation(
        "ten times boot memory",
        Map(((0, 40 * GIB, "ram"),), GIB, 40 * GIB),
        (LIST,),
        "pages",
        {"leaf": 5632},
    ),
    Expectation(
        "the end of ten times boot memory",
        Map(((0, 40 * GIB, "ram"),), GIB, 40 * GIB),
        (LIST,),
        "extra",
        {0: 10 * 262144},
    ),
    # 2 GiB at boot is more than the 727 MiB of low memory: 7270 MiB of 256 pages.
    Expectation(
        "ten times low memory",
        Map(((0, 32 * GIB, "ram"),), 2 * GIB, 32 * GIB, 32),
        (LIST,),
        "extra",
        {0: 7270 * 256},
    ),
    # 8 GiB: 4096 leaves of 2 MiB in 8 mids; at 32 bits 2048 of 4 MiB in 2 mids of two page-table pages.
    Expectation("8 GiB of list", one_row(8 * GIB), (LIST,), "pages", {"leaf": 4096, "pte": 8}),
    Expectation("8 GiB of list, 32 bits", one_row(8 * GIB, 32), (LIST,), "pages", {"leaf": 2048, "pte": 4}),
    Expectation("2049 MiB padded", one_row(2049 * MIB), BOTH, "padding", {0: 256}),
    Expectation("2049 MiB padded, 32 bits", one_row(2049 * MIB, 32), BOTH, "padding", {0: 768}),
    Expectation("5000 MiB padded", one_row(5000 * MIB), BOTH, "padding", {0: 0}),
    Expectation("1025 MiB padded", one_row(1025 * MIB), BOTH, "padding", {0: 256}),
    Expectation("1025 MiB padded, 32 bits", one_row(1025 * MIB, 32), BOTH, "padding", {0: 768}),
    Expectation("area of 512 MiB", one_row(512 * MIB), (LIST,), "area", {0: 2 * MIB}),
    Expectation("area of 512 MiB, 32 bits", one_row(512 * MIB, 32), (LIST,), "area", {0: 4 * MIB}),
    Expectation("area of 2049 MiB", one_row(2049 * MIB), (LIST,), "area", {0: 6 * MIB}),
    Expectation("area of 2049 MiB, 32 bits", one_row(2049 * MIB, 32), (LIST,), "area", {0: 4 * MIB}),
    Expectation("area of 43 GiB, 32 bits", one_row(43 * GIB, 32), (LIST,), "area", {0: 44 * MIB}),
    Expectation("area of 64 GiB, 32 bits", one_row(64 * GIB, 32), (LIST,), "area", {0: 64 * MIB}),
    Expectation("area of 400 GiB", one_row(400 * GIB), (LIST,), "area", {0: 800 * MIB}),
)
