"""Extents of a guest: what they cover, what they answer, how they are cut, and which cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from populated_guests import rows_of

from p2mperf.errors import BadInputError
from p2mperf.guests.extents import INVALID_MFN, MAX_ORDER, Extents
from p2mperf.guests.machine import MAX_FRAMES

ORDERS = st.integers(0, MAX_ORDER)


@st.composite
def some_extents(draw: st.DrawFn, most: int = 8, orders: st.SearchStrategy[int] = ORDERS) -> Extents:
    """Extents with holes between them, on machine frames in another order."""
    sizes = draw(st.lists(orders, max_size=most))
    places = draw(st.permutations(range(len(sizes))))
    gaps = draw(st.lists(st.integers(0, 3), min_size=len(sizes), max_size=len(sizes)))
    rows, next_gfn = [], 0
    for order, place, gap in zip(sizes, places, gaps, strict=True):
        gfn = -(-next_gfn >> order << order) + (gap << order)
        rows.append((gfn, place << MAX_ORDER, order))
        next_gfn = gfn + (1 << order)
    return Extents.of(rows)


def mfns_of(extents: Extents) -> dict[int, int]:
    """Frame by frame, as slowly as can be."""
    return {gfn + i: mfn + i for gfn, mfn, order in rows_of(extents) for i in range(1 << order)}


@given(some_extents(orders=st.integers(0, 6)))
def test_extents_answer_frame_by_frame(extents: Extents) -> None:
    mfns = mfns_of(extents)
    frames = range(extents.end_gfn + 3)
    assert extents.entries(frames).tolist() == [mfns.get(frame, INVALID_MFN) for frame in frames]
    rows = rows_of(extents)
    for frame, at in zip(frames, extents.at(frames).tolist(), strict=True):
        assert at == -1 if frame not in mfns else rows[at][0] <= frame < rows[at][0] + (1 << rows[at][2])
    assert extents.n_frames == len(mfns)
    assert extents.end_gfn == max(mfns, default=-1) + 1


@given(some_extents())
def test_extents_are_counted_by_order(extents: Extents) -> None:
    orders = extents.order.tolist()
    assert extents.n_by_order == {order: orders.count(order) for order in sorted(set(orders))}
    assert extents.n_frames == sum(extents.sizes.tolist())


@given(some_extents(orders=st.integers(0, 11)), st.sets(ORDERS, max_size=3))
def test_cutting_translates_every_frame_as_before(extents: Extents, orders: set[int]) -> None:
    pieces = extents.cut(orders)
    assert mfns_of(pieces) == mfns_of(extents)
    assert set(pieces.n_by_order) <= {0, *orders}
    # as large as may be: the largest allowed order that is not above the extent's own
    for gfn, _, order in rows_of(pieces):
        whole = int(extents.order[extents.at(gfn)])
        assert order == max(each for each in {0, *orders} if each <= whole)
    assert pieces.cut(orders) == pieces


def test_a_gibibyte_is_cut_into_what_there_are_leaves_for() -> None:
    gibibyte = Extents.of([(1 << 18, 3 << 18, 18)])
    # 2^18 frames in pieces of 2^9 are 2^9 pieces, in pieces of 2^10 they are 2^8
    assert gibibyte.cut([9]).n_by_order == {9: 512}
    assert gibibyte.cut([10]).n_by_order == {10: 256}
    assert gibibyte.cut([]).n_by_order == {0: 1 << 18}
    assert np.shares_memory(gibibyte.cut([9, 18]).gfn, gibibyte.gfn)


def test_lookups_keep_the_shape_of_what_is_asked() -> None:
    extents = Extents.of([(0, 5, 0)])
    assert extents.entries([[0], [1]]).tolist() == [[5], [INVALID_MFN]]
    assert extents.entries(0).shape == extents.at(0).shape == ()
    assert Extents.of([]).entries([7]).tolist() == [INVALID_MFN]


# ---- equal, and the same for ever ----


def test_extents_are_equal_by_value() -> None:
    one, same, other = (Extents.of([(0, mfn, 0)]) for mfn in (5, 5, 6))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != Extents.of([])
    assert one != "extents"


def test_nobody_can_write_to_extents() -> None:
    gfn, mfn, order = np.array([0], np.uint64), np.array([5], np.uint64), np.array([0], np.uint8)
    view = gfn[:]
    view.flags.writeable = False  # of what can still be written to by its owner
    extents = Extents(view, mfn, order)
    gfn[0] = mfn[0] = order[0] = 9
    assert rows_of(extents) == [(0, 5, 0)]
    for column in (extents.gfn, extents.mfn, extents.order):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_what_nobody_can_write_to_is_kept() -> None:
    gfn = np.array([0], np.uint64)
    gfn.flags.writeable = False
    assert np.shares_memory(Extents(gfn, np.array([5], np.uint64), np.array([0], np.uint8)).gfn, gfn)


# ---- those that cannot be ----

FAR = MAX_FRAMES


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([(1, 512, 9)], "order 9 at gfn 0x1, mfn 0x200 is not aligned"),
        ([(512, 1, 9)], "order 9 at gfn 0x200, mfn 0x1 is not aligned"),
        ([(0, 0, 0), (1024, 512 + 256, 9)], "order 9 at gfn 0x400, mfn 0x300 is not aligned"),
        (
            [(5, 0, 0), (4, 1, 0)],
            "gfn 0x4, mfn 0x1 begins before the one of order 0 at gfn 0x5, mfn 0x0 ends",
        ),
        ([(0, 0, 9), (511, 600, 0)], "gfn 0x1ff, mfn 0x258 begins before the one of order 9 at gfn 0x0"),
        ([(FAR, 0, 0)], f"gfn {FAR:#x}, mfn 0x0 is beyond the {FAR} frames"),
        ([(0, FAR, 18)], f"mfn {FAR:#x} is beyond"),
        ([(2**63, 2**63, 18)], "is beyond"),
        ([(0, 7, 0), (1, 7, 0)], "gfn 0x1, mfn 0x7 has machine frames of another one"),
        ([(0, 512, 9), (512, 512 + 511, 0)], "mfn 0x3ff has machine frames of another one"),
        ([(0, 512 + 511, 0), (512, 512, 9)], "mfn 0x200 has machine frames of another one"),
        ([(0, 8, 2), (8, 8, 3)], "mfn 0x8 has machine frames of another one"),
        # beyond what a bitmap is made for
        ([(0, 1 << 39, 9), (512, (1 << 39) + 511, 0)], "mfn 0x80000001ff has machine frames of another"),
    ],
)
def test_extents_that_cannot_be_are_refused(rows: list[tuple[int, int, int]], sentence: str) -> None:
    with pytest.raises(BadInputError, match=f"^extents cannot be: the one of .*{sentence}"):
        Extents.of(rows)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (([0], [0], [19]), "orders of extents must be whole, from 0 to 18, not \\[19\\]"),
        (([0], [0], [-1]), "orders of extents must be whole"),
        (([0], [0], [0.0]), "orders of extents must be whole"),
        (([-1], [0], [0]), "gfns of extents must be whole and not negative"),
        (([0], ["x"], [0]), "mfns of extents must be whole"),
        (([0, 1], [0], [0]), r"three equal columns, not \(2,\), \(1,\), \(1,\)"),
        (([[0]], [[0]], [[0]]), r"three equal columns, not \(1, 1\)"),
        ((0, 0, 0), r"three equal columns, not \(\)"),
    ],
)
def test_what_are_no_extents_is_refused(columns: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence):
        Extents(*columns)


@pytest.mark.parametrize("order", [-1, MAX_ORDER + 1, 0.5, "9"])
def test_what_is_no_order_of_leaves_is_refused(order: Any) -> None:
    with pytest.raises(BadInputError, match="an order of leaves must be"):
        Extents.of([(0, 0, 0)]).cut([order])


@given(some_extents(most=20, orders=st.integers(0, 8)), st.data())
def test_a_frame_that_two_have_is_found_wherever_it_is(extents: Extents, data: st.DataObject) -> None:
    if not len(extents):
        return
    taken = data.draw(st.sampled_from(sorted(mfns_of(extents).values())))
    rows = [*rows_of(extents), (extents.end_gfn, taken, 0)]
    with pytest.raises(BadInputError, match="has machine frames of another one"):
        Extents.of(rows)
    # far away there is no bitmap of all frames
    with pytest.raises(BadInputError, match="has machine frames of another one"):
        Extents.of([(gfn, mfn + (1 << 38), order) for gfn, mfn, order in rows])
