"""Guests of HAP: formats and their reach, memory in aligned blocks, and guests that are built of extents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, cast

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from p2mperf.errors import BadInputError
from p2mperf.guests.extents import Extents
from p2mperf.guests.geometries import find_geometry
from p2mperf.guests.geometry import Kind
from p2mperf.guests.guest import Guest
from p2mperf.guests.hap import Hap, P2mType
from p2mperf.guests.machine import Machine

GIB = 1 << 18  # frames


def shape_of(name: str) -> Hap:
    shape = find_geometry(name)
    assert isinstance(shape, Hap)
    return shape


def test_formats_are_those_of_xen() -> None:
    found = [shape_of(name) for name in ("hap64", "hap-pae", "hap-nonpae")]
    assert [(shape.n_levels, shape.leaf_frames, shape.entry_bytes) for shape in found] == [
        (4, 512, 8),
        (3, 512, 8),
        (2, 1024, 4),
    ]
    assert [shape.orders for shape in found] == [(0, 9, 18), (0, 9), (0, 10)]
    # The window of 256 GiB holds 2**35 entries; 4 GiB are 2**20 frames.
    assert [shape.max_frames for shape in found] == [2**35, 0x100000, 0x100000]
    assert "never merged" in found[2].note


def test_types_have_the_flags_of_3_3() -> None:
    # present 1, writable 2, user 4, uncached 0x10, accessed 0x20, dirty 0x40; the type in bits 9 to 11
    assert P2mType.RAM_RW.flags == 0x67 | 1 << 9
    assert P2mType.RAM_LOGDIRTY.flags == 0x65 | 2 << 9
    assert P2mType.RAM_RO.flags == 0x65 | 3 << 9
    assert P2mType.MMIO_DM.flags == 4 << 9
    assert P2mType.MMIO_DIRECT.flags == 0x77 | 5 << 9


@pytest.mark.parametrize(("size", "orders"), [("2M", {9: 1}), ("3G", {18: 3}), ("1025M", {8: 1, 18: 1})])
def test_plain_guests_have_memory_in_blocks_as_large_as_can_be(size: str, orders: dict[int, int]) -> None:
    guest = Guest.plain(size, geometry="hap64", seed=3)
    assert guest.extents.n_by_order == orders
    assert not (guest.extents.gfn == guest.extents.mfn).all()  # else swapping the two would not be seen
    assert Guest.plain(size, geometry="hap64", seed=3) == guest


def test_holes_leave_blocks_aligned() -> None:
    rows: list[tuple[int | str, int | str, str]] = [(0, "640K", "ram"), ("768K", "8M", "ram")]
    guest = Guest.from_e820(rows, "7M", geometry="hap64")
    # 160 frames, a hole of 32, then frames 192 to 1823: 7 MiB are 1792, less 160.
    assert (guest.ram.first_pfn.tolist(), guest.ram.end_pfn.tolist()) == ([0, 192], [160, 1824])
    assert guest.entry_kinds([159, 160, 191, 192]).tolist() == [
        Kind.RAM,
        Kind.MISSING,
        Kind.MISSING,
        Kind.RAM,
    ]
    # Frames 512 to 1535 lie on 2 MiB in guest and machine.
    assert guest.extents.n_by_order[9] == 2


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_a_guest_built_of_extents_has_their_memory_and_nothing_else(
    pieces: list[tuple[int, int]], random: Random
) -> None:
    rows, gfn, mfns = [], 0, random.sample(range(4096), len(pieces))
    for (gap, order), place in zip(pieces, mfns, strict=True):
        gfn = -(-(gfn + gap) >> order) << order
        rows.append((gfn, place << 4, order))  # 16 frames apart: none has more
        gfn += 1 << order
    extents = Extents.of(rows)
    guest = Guest.from_extents(extents)
    frames = np.arange(guest.covered_pfn + 10, dtype=np.uint64)
    behind = {first + i: mfn + i for first, mfn, order in rows for i in range(1 << order)}
    # present, writable, user, accessed, dirty, of type 1
    expected = [behind[f] << 12 | 0x267 if f in behind else 0 for f in frames.tolist()]
    assert guest.entries(frames).tolist() == expected
    assert guest.n_boot_pages == len(behind)
    assert guest.extents is extents


def test_extents_that_are_cut_from_runs_say_the_same() -> None:
    extents = Extents.of([(3, 9, 0), (4, 12, 2), (8, 16, 3), (512, 1024, 9)])
    guest = Guest.from_extents(extents)
    cut = guest.runs.as_extents()
    assert cut.n_frames == extents.n_frames
    frames = np.arange(1100)
    assert np.array_equal(cut.entries(frames), extents.entries(frames))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Guest.from_extents(Extents.of([])), "at least one extent"),
        (lambda: Guest.from_extents(cast(Any, [(0, 0, 0)])), "built of Extents, not of"),
        (lambda: Guest.from_extents(Extents.of([(1 << 20, 0, 0)]), "hap-pae"), "beyond the 4G that hap-pae"),
        (lambda: Guest.from_extents(Extents.of([(0, 512, 0)]), machine=Machine(512)), "beyond the machine"),
        (lambda: Guest.plain("5G", geometry="hap-nonpae"), "beyond the 4G that hap-nonpae"),
        (lambda: Guest.plain("4G", geometry="hap-nonpae"), "a machine of 4080M has no room for 4G of RAM"),
    ],
    ids=range(6),
)
def test_what_is_no_guest_is_refused(make: Callable[[], Guest], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        make()


def test_extents_that_say_another_than_the_runs_are_refused() -> None:
    guest = Guest.from_extents(Extents.of([(0, 7, 0)]))
    for rows in ([(0, 8, 0)], [(1, 7, 0)], [(0, 7, 0), (1, 9, 0)]):
        with pytest.raises(BadInputError, match="its extents say another than its runs"):
            replace(guest, built_of=Extents.of(rows))
