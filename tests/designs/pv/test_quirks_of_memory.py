"""Quirks of where memory ends: for tools, and inside a page; with each, and without."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from naive import LEAF_PAGES, PAGE, Oracle
from small_guests import build, unused

import p2mperf
from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest

widths = pytest.mark.parametrize("bits", [64, 32])
MIB = 1 << 20


def test_tools_end_early() -> None:
    # 8 GiB at boot, and no more to come: 2097152 frames. The memory of its holes is behind, up to 2361440.
    wrong, right = [
        p2mperf.build("pv-tree", "dom0-64-8g", quirks=quirks) for quirks in (("tools-end-early",), ())
    ]
    with wrong, right:
        # Whole leaves of 512: 2361440 / 512 = 4612.2.
        assert [p2m.tools.n_entries for p2m in (wrong, right)] == [2097152, 4613 * 512]
        seen, all_seen = wrong.tools.read(), right.tools.read()
        assert seen.size == 2097152
        assert (seen == all_seen[:2097152]).all()
        moved = right.lookup(np.arange(2097152, 2361440))
        assert right.has_memory(moved).all()
        assert (all_seen[2097152:2361440] == moved).all()
        # Where a tools' page of the last mid would be, there is none: 8 mids of 1 GiB, and two behind.
        assert [p2m.store.taken["tools_mid"] for p2m in (wrong, right)] == [8, 10]
        with pytest.raises(BadInputError, match=r"264288 frames of dom0-64-8g .* tools do not see"):
            wrong.save()
        assert not wrong.suspended
        assert wrong.balloon_down([0]).tolist() == right.balloon_down([0]).tolist()
        right.restore(right.save())
        wrong.audit()
        right.audit()


@widths
def test_tools_that_end_early_stay_there(bits: int) -> None:
    # The small guest may have 8 leaves of memory, all in mid 0: tools see as far as that, whatever comes.
    leaf = LEAF_PAGES[bits]
    with build("pv-tree", bits, quirks=("tools-end-early",)) as tree:
        end = tree.tools.n_entries
        extra = tree.guest.runs.kind == 1
        assert end == int(tree.guest.runs.end_pfn[extra][-1]) < 20 * leaf
        assert tree.set([2 * leaf**2], unused(tree, 1)).all()
        assert tree.tools.n_entries == end
        assert tree.set([end - 1], unused(tree, 2)[1]).all()
        assert int(tree.tools.read()[end - 1]) == unused(tree, 2)[1]
        tree.audit()
    with build("pv-tree", bits) as tree:
        assert tree.tools.n_entries > end


@widths
def test_a_guest_whose_count_leaves_memory_out_is_not_saved(bits: int) -> None:
    # The hint is the frame itself, 20 leaves and 5: its leaf is left out, and with it the memory there.
    guest = Guest.plain("16M", geometry=f"pv{bits}")
    with p2mperf.build("pv-linear", guest, limit="1G", quirks=("hint-is-a-pfn",)) as p2m:
        p2m.tools  # noqa: B018
        assert p2m.set([20 * LEAF_PAGES[bits] + 5], unused(p2m, 1)).all()
        with pytest.raises(BadInputError, match=r"1 frames of .* tools do not see"):
            p2m.save()
        assert not p2m.suspended


def test_tools_of_3_18_have_a_page_for_a_mid_of_identity() -> None:
    # 1 GiB of memory, a mid of identity, and a leaf in the third: what is lost there can be read by tools.
    rows: list[tuple[int | str, int | str, str]] = [
        (0, "1G", "ram"),
        ("1G", "2G", "reserved"),
        ("2G", "2050M", "ram"),
    ]
    guest = Guest.from_e820(rows, "1G", "1026M")
    names = ("tools-end-early", "lost-write-under-identity")
    with p2mperf.build("pv-tree", guest, quirks=names) as tree:
        assert tree.tools.n_entries == 2 * 262144 + 512
        # The third mid is private in either case, for the map ends inside it.
        assert tree.store.taken["tools_mid"] == 3
        assert tree.set([262144 + 5], 7).all()
        assert tree.tools.read()[[262144 + 5, 262144 + 517]].tolist() == [7, 7]


def shared_page_guest(bits: int, n_extra_mib: int = 16) -> Guest:
    """8 MiB at boot; RAM from 16 MiB and half a page on, of 16 MiB."""
    rows = [
        (0, 8 * MIB, "ram"),
        (8 * MIB, 16 * MIB + 2048, "reserved"),
        (16 * MIB + 2048, 32 * MIB + 2048, "ram"),
        (32 * MIB + 2048, 40 * MIB, "reserved"),
    ]
    return Guest.from_e820(rows, 8 * MIB, (8 + n_extra_mib) * MIB, geometry=f"pv{bits}")


@widths
def test_extra_memory_rounded_out(bits: int) -> None:
    # 16 MiB are frame 4096, of which RAM has the second half; of frame 8192 = 32 MiB it has the first.
    guest = shared_page_guest(bits)
    asked = [4095, 4096, 4097, 8191, 8192, 8193]
    wrong, right = [
        p2mperf.build("pv-linear", guest, quirks=quirks) for quirks in (("extra-memory-rounded-out",), ())
    ]
    with wrong, right, p2mperf.build("pv-tree", guest) as tree:
        invalid, identity = guest.geometry.invalid, guest.geometry.identity_bit
        assert wrong.lookup(asked).tolist() == [4095 | identity, *[invalid] * 4, 8193 | identity]
        expected = [4095 | identity, 4096 | identity, invalid, invalid, 8192 | identity, 8193 | identity]
        assert right.lookup(asked).tolist() == tree.lookup(asked).tolist() == expected
        wrong.audit()
        right.audit()


@widths
def test_pages_are_rounded_out_where_the_extra_memory_is(bits: int) -> None:
    # 4 MiB more are all in the row: its first page is rounded out, and the rest ends half a page into frame
    # 5120, which is RAM without memory in any case. Nothing is extra with 8 MiB at most.
    for n_mib, page in ((4, True), (0, False)):
        with p2mperf.build(
            "pv-linear", shared_page_guest(bits, n_mib), quirks=("extra-memory-rounded-out",)
        ) as p2m:
            shape = p2m.guest.geometry
            first = shape.invalid if page else 4096 | shape.identity_bit
            assert p2m.lookup([4096, 5120, 8192]).tolist() == [
                first,
                shape.invalid,
                8192 | shape.identity_bit,
            ]


def random_rows(choose: random.Random, leaf: int) -> list[tuple[int, int, str]]:
    """RAM and holes by turns, each ending anywhere inside a page."""
    rows, end = [], 0
    for number in range(choose.randint(2, 7)):
        start, end = end, end + choose.randint(1, 3 * leaf) * PAGE
        end = end // PAGE * PAGE + choose.choice((0, 0, 100, 2048))
        rows.append((start, end, "ram" if number % 2 == 0 else "acpi"))
    return rows


@pytest.mark.parametrize("seed", range(30))
def test_no_random_page_is_rounded_otherwise_than_the_oracle_says(seed: int) -> None:
    choose = random.Random(seed)
    bits = choose.choice((64, 32))
    rows = random_rows(choose, LEAF_PAGES[bits])
    n_ram = sum(end - first for first, end in Oracle(rows, 0, 0, bits, []).ram)
    n_boot = choose.randint(1, max(1, n_ram // 2))
    n_max = n_boot + choose.randint(0, n_ram)
    guest = Guest.from_e820(rows, n_boot * PAGE, n_max * PAGE, geometry=f"pv{bits}")
    quirks = ("extra-memory-rounded-out",)
    with p2mperf.build("pv-linear", guest, quirks=quirks) as p2m:
        oracle = Oracle(rows, n_boot, n_max, bits, [(n_boot, 0)], rounds_out=True)
        asked = range(min(oracle.map_end, p2m.end_pfn))
        kinds = [int(kind) for kind in np.array(asked)[[is_other(p2m, oracle, pfn) for pfn in asked]]]
        assert kinds == []
        p2m.audit()
        assert p2m.footprint().pages == type(p2m).predict_footprint(guest, quirks=quirks).pages


def is_other(p2m: Any, oracle: Oracle, pfn: int) -> bool:
    """Whether a frame is of another kind than the oracle says."""
    return bool(p2m.explain(int(p2m.lookup([pfn])[0]))["kind"] != oracle.kind(pfn))
