"""The oracle itself, against facts worked out by hand and against a dict filled page by page."""

from __future__ import annotations

import ast
import random
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import naive
import pytest
from naive import CONFIGURATIONS, INVALID, Configuration, Oracle

M = 2**20
WIDTHS = (64, 32)
# One extent is enough where the frames do not matter; mfn = pfn + 1000000 is never a pfn's own number.
OFFSET = 1000000


def plain(n_mib: int, entry_bits: int, **options: Any) -> Oracle:
    n_pages = n_mib * 256
    return Oracle([(0, n_mib * M, "ram")], n_pages, n_pages, entry_bits, [(n_pages, OFFSET)], **options)


def of(name: str, **options: Any) -> Oracle:
    configuration = CONFIGURATIONS[name]
    return configuration.oracle([(configuration.n_boot_pages, OFFSET)], **options)


def test_the_oracle_stands_on_the_standard_library_alone() -> None:
    tree = ast.parse(Path(naive.__file__).read_text("ascii"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize("entry_bits", WIDTHS)
def test_the_e820_example(entry_bits: int) -> None:
    # 1029 MiB * 256 = pfn 263424 is the first identity page, 2001 MiB * 256 = pfn 512256 the RAM page after.
    oracle = of(f"dom0-{entry_bits}-e820")
    expected = ["missing", "identity", "identity", "missing"]
    assert [oracle.kind(pfn) for pfn in (263423, 263424, 512255, 512256)] == expected
    bit = 1 << (62 if entry_bits == 64 else 30)
    assert oracle.entry(263424) == 263424 + bit
    assert oracle.entry(512255) == 512255 + bit
    assert oracle.mfn(512255) == 512255
    assert oracle.mfn(512256) == INVALID[entry_bits]


def test_the_dump_of_the_e820_example() -> None:
    # 1 GiB = 0x40000 pages with frames, then 0x40500 = 263424 and 0x7d100 = 512256; 4 GiB = 0x100000 ends the
    # map and is already a mid edge at both widths (4 mids of 0x40000; 1 mid of 0x100000).
    expected = [
        "[0x00000000->0x00040000] pfn",
        "[0x00040000->0x00040500] missing",
        "[0x00040500->0x0007d100] identity",
        "[0x0007d100->0x00100000] missing",
    ]
    assert of("dom0-64-e820").dump() == expected
    assert of("dom0-32-e820").dump() == expected


def test_the_dump_of_a_padded_end() -> None:
    # 2049 MiB = 0x80100 pages; padded to 0x80200 (64 bit) or 0x80400 (32 bit); the covered map ends there, so
    # the dump ends at the next mid: 3 * 0x40000 = 0xc0000 (64 bit), 0x100000 (32 bit).
    assert plain(2049, 64).dump() == [
        "[0x00000000->0x00080100] pfn",
        "[0x00080100->0x00080200] missing",
        "[0x00080200->0x000c0000] identity",
    ]
    assert plain(2049, 32).dump() == [
        "[0x00000000->0x00080100] pfn",
        "[0x00080100->0x00080400] missing",
        "[0x00080400->0x00100000] identity",
    ]
    assert plain(2049, 64, above="invalid").dump()[1:] == ["[0x00080100->0x000c0000] missing"]


@pytest.mark.parametrize(
    ("n_mib", "entry_bits", "n_padded"),
    [
        # 2049 MiB = 524544 pages: 1025 leaves of 512 = 524800, less 524544 = 256; 513 of 1024 = 525312: 768
        (2049, 64, 256),
        (2049, 32, 768),
        # 5000 MiB = 1280000 pages = 2500 * 512 = 1250 * 1024: whole leaves
        (5000, 64, 0),
        (5000, 32, 0),
        # 1025 MiB = 262400 pages: 513 * 512 = 262656, less 262400 = 256; 257 * 1024 = 263168: 768
        (1025, 64, 256),
        (1025, 32, 768),
    ],
)
def test_padding_of_odd_sizes(n_mib: int, entry_bits: int, n_padded: int) -> None:
    oracle = plain(n_mib, entry_bits)
    end = n_mib * 256
    assert oracle.kind(end - 1) == "pfn"
    assert {oracle.entry(pfn) for pfn in range(end, end + n_padded)} <= {INVALID[entry_bits]}
    assert oracle.kind(end + n_padded) == "identity"
    assert oracle.covered_end == end + n_padded


def test_padding_gives_way_to_the_map() -> None:
    # 257 boot pages, the map goes on to page 300: 257..259 identity (a row), 260..299 RAM without frames,
    # 300..511 padding, 512 above the end.
    rows = [(0, 257 * 4096, "ram"), (257 * 4096, 260 * 4096, "reserved"), (260 * 4096, 300 * 4096, "ram")]
    oracle = Oracle(rows, 257, 257, 64, [(257, OFFSET)])
    assert [oracle.kind(pfn) for pfn in (256, 257, 259)] == ["pfn", "identity", "identity"]
    assert [oracle.kind(pfn) for pfn in (260, 299, 300, 511, 512)] == ["missing"] * 4 + ["identity"]


def test_displaced_frames_are_attached_again_in_order() -> None:
    # Boot pages 0..9; 3, 4 (a row) and 7 (a gap) are not RAM: frames 3, 4 go to the RAM pages from 10 on, 10
    # and 11. Then that stretch ends, and frame 7 goes back to Xen, though there is RAM after the hole at 12.
    page = 4096
    rows = [(0, 3 * page, "ram"), (3 * page, 5 * page, "acpi"), (5 * page, 7 * page, "ram")]
    rows += [(8 * page, 12 * page, "ram"), (12 * page, 13 * page, "reserved"), (13 * page, 20 * page, "ram")]
    oracle = Oracle(rows, 10, 12, 64, [(4, 500), (6, 900)])
    # Frame of boot page 3 is 503, of 4 is 900, of 7 would be 903.
    assert [oracle.entry(pfn) for pfn in (10, 11, 13)] == [503, 900, INVALID[64]]
    assert [oracle.kind(pfn) for pfn in (3, 4, 7, 12)] == ["identity"] * 4
    # 9 pages have frames and 12 are the most: RAM pages 13, 14 and 15 are extra, 16 to 19 are not.
    assert [pfn for pfn in range(25) if oracle.is_extra(pfn)] == [13, 14, 15]
    assert {oracle.entry(pfn) for pfn in range(13, 20)} == {INVALID[64]}


def test_the_moved_frames_of_dom0() -> None:
    # 8 GiB: frame 160 (640 KiB) is the first that is displaced, the 97th is that of 3064 MiB = page 784384.
    oracle = of("dom0-64-8g")
    assert oracle.entry(2097152) == 160 + OFFSET
    assert oracle.entry(2097152 + 95) == 255 + OFFSET
    assert oracle.entry(2097152 + 96) == 784384 + OFFSET
    # The last of the 264288 is the page below 4 GiB, at the last RAM page; then the map ends: 2361440 pages
    # are 4612.2 leaves, and no padding is due, because the boot list ended on a whole leaf.
    assert oracle.entry(2097152 + 264287) == 1048575 + OFFSET
    assert oracle.entry(2361440) == 2361440 | 1 << 62
    # 128 GiB: 1048672 of the 1310720 pages above 128 GiB are filled, the last with the page below 66 GiB
    # (66 * 262144 = 17301504); 133 GiB = page 34865152 ends the map.
    oracle = of("dom0-64-128g-pci")
    last = 33554432 + 1048672 - 1
    assert oracle.entry(last) == 17301503 + OFFSET
    assert [oracle.kind(pfn) for pfn in (last + 1, 34865151, 34865152)] == ["missing", "missing", "identity"]
    assert not oracle.is_extra(last + 1)


def test_extra_ends_where_the_maximum_is_reached() -> None:
    # 262144 pages at boot, 786432 at most: 524288 extra. 1280 of them are 1024..1029 MiB, 523008 follow
    # 2001 MiB: 512256 + 523008 = 1035264 is the first RAM page that is no more than missing.
    oracle = of("dom0-64-e820")
    asked = (262143, 262144, 263423, 263424, 512255, 512256, 1035263, 1035264)
    extra = [oracle.is_extra(pfn) for pfn in asked]
    assert extra == [False, True, True, False, False, True, True, False]
    assert oracle.entry(1035263) == oracle.entry(1035264) == INVALID[64]


@pytest.mark.parametrize("entry_bits", WIDTHS)
def test_what_is_above_the_end(entry_bits: int) -> None:
    # 1025 MiB, padded to 262656 (64 bit) or 263168 (32 bit); a whole top is 2^27 or 2^30 pfns.
    bit = 1 << (62 if entry_bits == 64 else 30)
    end = 262656 if entry_bits == 64 else 263168
    top = 1 << (27 if entry_bits == 64 else 30)
    identity = plain(1025, entry_bits)
    assert [identity.entry(pfn) for pfn in (end, top - 1, top)] == [end | bit, (top - 1) | bit, top | bit]
    # All ones with a marker bit set is all ones still.
    assert identity.entry(INVALID[entry_bits]) == INVALID[entry_bits]
    missing = plain(1025, entry_bits, above="invalid")
    assert {missing.entry(pfn) for pfn in (end, top - 1, top, INVALID[entry_bits])} == {INVALID[entry_bits]}
    assert missing.entry(end - 1) == identity.entry(end - 1)


def test_only_what_is_below_the_end_stays_identity_by_the_invalid_policy() -> None:
    # The hole of the example is in the map; 4 GiB = page 1048576 is not.
    oracle = of("dom0-64-e820", above="invalid")
    assert [oracle.kind(pfn) for pfn in (263424, 1048576)] == ["identity", "missing"]


def test_frames_beyond_the_domain_limit_are_not_taken() -> None:
    # 1025 MiB cut at 1 GiB = 262144 pages, whole leaves: the last MiB of RAM has no frames, and none to come.
    oracle = plain(1025, 64, max_domain_pages=262144)
    expected = ["pfn", "missing", "missing", "identity"]
    assert [oracle.kind(pfn) for pfn in (262143, 262144, 262399, 262400)] == expected
    assert not oracle.is_extra(262144)


def test_rows_are_rounded_outwards() -> None:
    # RAM to 2.5 pages, reserved to 3.25: page 2 is half RAM, page 3 a quarter reserved; both are identity.
    rows = [(0, 10240, "ram"), (10240, 13312, "reserved"), (13312, 6 * 4096, "ram")]
    oracle = Oracle(rows, 2, 6, 64, [(2, OFFSET)])
    expected = ["pfn"] * 2 + ["identity"] * 2 + ["missing"] * 2
    assert [oracle.kind(pfn) for pfn in range(6)] == expected


def test_a_marker_is_not_a_value() -> None:
    # A frame that is numerically its own pfn is RAM; all ones has both markers and is neither of them.
    oracle = Oracle([(0, 8 * 4096, "ram")], 8, 8, 64, [(8, 0)])
    assert [oracle.kind(5), oracle.entry(5), oracle.mfn(5)] == ["pfn", 5, 5]
    assert naive.word(5 | 1 << 62, 64) == "identity"
    assert naive.word(5 | 1 << 63, 64) == "foreign"
    assert naive.word(5 | 1 << 30, 32) == "identity"
    assert naive.word(5 | 1 << 31, 32) == "foreign"
    assert naive.word(5 | 1 << 30, 64) == "pfn"
    assert [naive.word(INVALID[bits], bits) for bits in WIDTHS] == ["missing", "missing"]


def test_boundaries_of_the_e820_example() -> None:
    # The hole's ends with their neighbours; the leaves about them, 263168..263680 and 512000..512512; the mid
    # between, 262144 and 524288; the end of the whole, and what no table holds.
    asked = set(of("dom0-64-e820").boundaries())
    for edge in (263424, 512256, 263168, 263680, 512000, 512512, 262144, 524288, 1048576):
        assert {edge - 1, edge, edge + 1} <= asked
    # The end of extra (worked out above), and the ends of the structure: 2^27 - 1, 2^27, all ones.
    assert {0, 1035263, 1035264, (1 << 27) - 1, 1 << 27, INVALID[64]} <= asked


@pytest.mark.parametrize(
    ("name", "n_ram_pages", "n_displaced"),
    [
        # As many RAM pages as boot pages; 264288 of them are moved (worked out beside the rows)
        ("dom0-64-8g", 2097152, 264288),
        # 128 GiB plus the 262048 pages that stay empty
        ("dom0-64-128g-pci", 33554432 + 262048, 1048672),
        # 4096 - (2001 - 1029) = 3124 MiB of RAM, and no hole below 1 GiB
        ("dom0-64-e820", 799744, 0),
        ("domu-32-43g", 11272192, 0),
    ],
)
def test_the_literal_maps_hold_what_their_comments_say(name: str, n_ram_pages: int, n_displaced: int) -> None:
    oracle = of(name)
    assert sum(end - first for first, end in oracle.ram) == n_ram_pages
    assert sum(end - first for first, end in oracle.displaced) == n_displaced


def page_by_page(configuration: Configuration, mfns: list[int], above: str) -> dict[int, int]:
    """All entries of a small guest as a dict, each page on its own; maps in whole pages only."""
    bits = configuration.entry_bits
    end = max(row[1] for row in configuration.rows) // 4096
    is_ram = dict.fromkeys(range(end), False)
    for start, stop, kind in configuration.rows:
        for pfn in range(start // 4096, stop // 4096):
            is_ram[pfn] = kind == "ram"
    leaf = 512 if bits == 64 else 1024
    entries, moved = {}, []
    for pfn in range(configuration.n_boot_pages):
        if is_ram[pfn]:
            entries[pfn] = mfns[pfn]
        else:
            moved.append(mfns[pfn])
    first = configuration.n_boot_pages
    if is_ram.get(first - 1) and not is_ram.get(first):
        moved = []  # RAM ends just where boot memory does
    for pfn in range(first, end):
        if is_ram[pfn]:
            entries[pfn] = moved.pop(0) if moved else INVALID[bits]
            moved = moved if is_ram.get(pfn + 1) else []
    padded = configuration.n_boot_pages
    while padded % leaf:
        padded += 1
    for pfn in range(4096):
        if pfn not in entries:
            covered = pfn in is_ram
            is_padding = not covered and pfn < padded
            is_above = not covered and not is_padding
            invalid = is_padding or (is_above and above == "invalid")
            entries[pfn] = INVALID[bits] if invalid else pfn + (1 << (62 if bits == 64 else 30))
    return entries


@pytest.mark.parametrize("seed", range(60))
def test_the_oracle_equals_a_dict_filled_page_by_page(seed: int) -> None:
    choose = random.Random(seed)
    edges = sorted(choose.sample(range(1, 3000), choose.randint(1, 6)))
    kinds = [choose.choice(("ram", "ram", "acpi", None)) for _ in edges[1:]]
    rows = [(0, edges[0] * 4096, "ram")]
    rows += [
        (low * 4096, high * 4096, kind)
        for low, high, kind in zip(edges, edges[1:], kinds, strict=False)
        if kind is not None
    ]
    end = max(row[1] for row in rows) // 4096
    n_boot_pages = choose.randint(1, end)
    n_max_pages = n_boot_pages + choose.randint(0, 500)
    cut = choose.randint(0, n_boot_pages)
    extents = [(cut, 70000), (n_boot_pages - cut, 10000)]
    mfns = [70000 + index for index in range(cut)] + [10000 + index for index in range(n_boot_pages - cut)]
    configuration = Configuration(choose.choice(WIDTHS), n_boot_pages, n_max_pages, tuple(rows))
    above = choose.choice(("identity", "invalid"))
    expected = page_by_page(configuration, mfns, above)
    oracle = configuration.oracle(extents, above)
    assert {pfn: oracle.entry(pfn) for pfn in expected} == expected
    # changes() leaves nothing out: between two of them every entry follows from its neighbour.
    changes = set(oracle.changes())
    for pfn in range(1, 4096):
        follows = oracle.kind(pfn) == oracle.kind(pfn - 1) and (
            oracle.kind(pfn) == "missing" or oracle.entry(pfn) == oracle.entry(pfn - 1) + 1
        )
        assert follows or pfn in changes


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_frozen_frames_are_frames_of_one_machine(name: str) -> None:
    extents, n_machine_frames = naive.boot_extents(name), naive.machine_frames(name)
    assert min(n_frames for n_frames, _ in extents) >= 1
    assert sum(n_frames for n_frames, _ in extents) == CONFIGURATIONS[name].n_boot_pages
    ordered = sorted((first, first + n_frames) for n_frames, first in extents)
    assert ordered[0][0] >= 0
    assert ordered[-1][1] <= n_machine_frames
    assert all(end <= first for (_, end), (first, _) in pairwise(ordered))
    # A compat guest sees the m2p of 168 MiB, 4 bytes an entry: 168 * 2^20 / 4 = 44040192 frames.
    assert CONFIGURATIONS[name].entry_bits == 64 or n_machine_frames <= 44040192


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_only_the_announced_frame_is_its_own_pfn(name: str) -> None:
    oracle = CONFIGURATIONS[name].oracle(naive.boot_extents(name))
    # Between two changes frames and pfns count up together, so the first page of a run speaks for all of it.
    runs = [(low, high) for low, high in pairwise(oracle.changes()) if oracle.entry(low) == low]
    equal = [pfn for low, high in runs for pfn in range(low, high)]
    assert equal == naive.coincident_pfns(name)
    assert len(equal) >= 1
    assert [oracle.kind(pfn) for pfn in equal] == ["pfn"] * len(equal)


def test_the_frames_are_in_no_order_that_could_be_guessed() -> None:
    # A frame list in pfn order would let a design pass that adds a constant. In a shuffled list of any length
    # a neighbour follows its neighbour about once (n pairs at odds of 1 to n); in an ordered one, 1000 times.
    extents = naive.boot_extents("domu-64-8g")
    following = [first for (n, low), (_, first) in pairwise(extents) if low + n == first]
    assert len(extents) > 1000
    assert len(following) < 5
