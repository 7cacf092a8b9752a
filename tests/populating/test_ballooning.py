"""Giving memory back: what is split, what it takes, what survives, and that the closed form says so."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from p2mperf.errors import BadInputError
from p2mperf.guests.extents import INVALID_MFN, Extents
from p2mperf.populating.ballooning import (
    count_runs,
    course,
    drawn_runs,
    expected_survival,
    release,
)
from p2mperf.populating.populate import populate
from p2mperf.populating.tables import count_tables

GIB_FRAMES = 1 << 18


@st.composite
def some_leaves(draw: st.DrawFn, orders: tuple[int, ...] = (0, 0, 9)) -> Extents:
    """Leaves with holes between them, on machine frames in another order."""
    sizes = draw(st.lists(st.sampled_from(orders), min_size=1, max_size=12))
    places = draw(st.permutations(range(len(sizes))))
    rows, next_gfn = [], 0
    for order, place in zip(sizes, places, strict=True):
        gfn = (-(-next_gfn >> order) + draw(st.integers(0, 2))) << order
        rows.append((gfn, place << 18, order))
        next_gfn = gfn + (1 << order)
    return Extents.of(rows)


def frames_of(leaves: Extents) -> np.ndarray:
    return leaves.cut([]).gfn


# ---- what one frame costs: the table of the sheet ----


def test_a_frame_of_2_mib_costs_a_page_and_514_writes() -> None:
    left = release(Extents.of([(512, 1024, 9)]), [700])
    assert left.leaves.n_by_order == {0: 511}
    assert (left.n_split_1gb, left.n_split_2mb, left.n_new_pages) == (0, 1, 1)
    assert left.n_writes == 512 + 1 + 1


@pytest.mark.parametrize("frame", [0, 1, 511, 512, GIB_FRAMES // 2 + 3, GIB_FRAMES - 1])
def test_a_frame_of_1_gib_costs_two_pages_and_1027_writes(frame: int) -> None:
    left = release(Extents.of([(GIB_FRAMES, 5 * GIB_FRAMES, 18)]), [GIB_FRAMES + frame])
    assert left.leaves.n_by_order == {0: 511, 9: 511}
    assert (left.n_split_1gb, left.n_split_2mb, left.n_new_pages) == (1, 1, 2)
    assert left.n_writes == 513 + 513 + 1
    assert left.leaves.entries([GIB_FRAMES + frame]).tolist() == [INVALID_MFN]


def test_a_second_frame_of_a_split_leaf_costs_one_write() -> None:
    once = release(Extents.of([(0, 0, 9)]), [3])
    twice = release(once.leaves, [4])
    assert (twice.n_new_pages, twice.n_writes) == (0, 1)


def test_all_of_a_leaf_is_still_a_split_and_512_writes() -> None:
    left = release(Extents.of([(0, 0, 9), (512, 512, 0)]), range(512))
    assert left.leaves == Extents.of([(512, 512, 0)])
    assert left.n_writes == 513 + 512
    # its page of L1 is empty, and stays: counting by leaves alone would not find it
    assert count_tables(left.leaves).l1 == 1
    assert count_tables(Extents.of([(0, 0, 9), (512, 512, 0)])).l1 + left.n_new_pages == 2


# ---- laws ----


@settings(max_examples=60)
@given(some_leaves(), st.data())
def test_what_is_not_given_back_is_as_it_was(leaves: Extents, data: st.DataObject) -> None:
    frames = frames_of(leaves)
    released = data.draw(st.sets(st.sampled_from(frames.tolist()), max_size=20))
    left = release(leaves, sorted(released, reverse=True))
    kept = np.setdiff1d(frames, np.array(sorted(released), np.uint64))
    assert frames_of(left.leaves).tolist() == kept.tolist()  # none is lost, none appears
    assert left.leaves.entries(kept).tolist() == leaves.entries(kept).tolist()
    assert left.n_released == len(released)
    # a leaf survives when no frame of it was given back, and only then
    holes = leaves.at(sorted(released))
    survivors = np.setdiff1d(np.flatnonzero(leaves.order == 9), holes)
    large = left.leaves.order == 9
    assert left.leaves.gfn[large].tolist() == leaves.gfn[survivors].tolist()


@settings(max_examples=25)
@given(some_leaves((0, 9, 18)), st.data())
def test_giving_back_in_two_goes_is_giving_back_at_once(leaves: Extents, data: st.DataObject) -> None:
    runs, _ = drawn_runs(leaves, seed=data.draw(st.integers(0, 99)))
    n_all = data.draw(st.integers(0, min(30, runs.size)))
    n_first = data.draw(st.integers(0, n_all))
    at_once = release(leaves, runs[:n_all])
    first = release(leaves, runs[:n_first])
    second = release(first.leaves, runs[n_first:n_all])
    assert second.leaves == at_once.leaves
    assert first.n_new_pages + second.n_new_pages == at_once.n_new_pages
    assert first.n_writes + second.n_writes == at_once.n_writes


@settings(max_examples=25)
@given(some_leaves((0, 9, 9, 18)), st.sampled_from([0, 1, 4, 9]), st.integers(0, 99), st.data())
def test_a_course_is_what_giving_back_step_by_step_makes(
    leaves: Extents, run_order: int, seed: int, data: st.DataObject
) -> None:
    runs, n_frames = drawn_runs(leaves, run_order, seed=seed)
    assert int(n_frames.sum()) == leaves.n_frames
    assert np.unique(runs).size == runs.size == count_runs(leaves, run_order)
    steps = sorted(data.draw(st.lists(st.integers(0, min(12, runs.size)), min_size=1, max_size=3)))
    found = course(leaves, steps, run_order, seed)
    for step, n_given in enumerate(steps):
        frames = (runs[:n_given, None] << np.uint64(run_order)) + np.arange(1 << run_order, dtype=np.uint64)
        frames = frames.ravel()[leaves.at(frames.ravel()) >= 0]
        left = release(leaves, frames)
        n_by_order = left.leaves.n_by_order
        assert found.n_released[step] == left.n_released
        assert [int(found.n_4k[step]), int(found.n_2mb[step]), int(found.n_1gb[step])] == [
            n_by_order.get(order, 0) for order in (0, 9, 18)
        ]
        assert found.n_table_pages[step] == count_tables(leaves).n_pages + left.n_new_pages


@given(some_leaves((0, 9, 18)), st.sampled_from([0, 3, 9]), st.integers(0, 99))
@settings(max_examples=25)
def test_superpages_only_become_fewer_and_pages_only_more(leaves: Extents, run_order: int, seed: int) -> None:
    n_runs = count_runs(leaves, run_order)
    found = course(leaves, np.linspace(0, n_runs, 9).astype(int), run_order, seed)
    assert (np.diff(found.n_1gb) <= 0).all()
    large = (found.n_1gb << 9) + found.n_2mb
    assert (np.diff(large) <= 0).all()
    assert (np.diff(found.n_table_pages) >= 0).all()
    frames = found.n_4k + (found.n_2mb << 9) + (found.n_1gb << 18)
    assert (frames + found.n_released == leaves.n_frames).all()
    assert [int(column[-1]) for column in (found.n_4k, found.n_2mb, found.n_1gb)] == [0, 0, 0]


def test_a_course_of_nothing_is_what_there_is() -> None:
    leaves = populate("3G").extents
    found = course(leaves, [0])
    assert (int(found.n_4k[0]), int(found.n_2mb[0]), int(found.n_1gb[0])) == (485, 511, 2)
    assert found.table_bytes.tolist() == [count_tables(leaves).n_bytes]
    assert found.n_released.tolist() == [0]


# ---- the closed form ----


@given(st.integers(1, 60), st.integers(1, 20), st.data())
def test_the_closed_form_is_that_quotient_of_binomials(n: int, leaf: int, data: st.DataObject) -> None:
    leaf = min(leaf, n)
    given_back = data.draw(st.integers(0, n))
    exact = comb(n - leaf, given_back) / comb(n, given_back)
    assert expected_survival(n, leaf, given_back) == pytest.approx(exact, abs=1e-12)


def test_the_closed_form_says_what_the_sheet_says() -> None:
    # 4 GiB in 2048 leaves of 2 MiB: share given back, share of leaves that are split
    n = 2048 * 512
    for released, split in ((0.0001, 0.050), (0.0005, 0.226), (0.001, 0.40), (0.002, 0.64), (0.005, 0.92)):
        assert 1 - expected_survival(n, 512, round(released * n)) == pytest.approx(split, abs=0.005)
    assert 1 - expected_survival(n, 512, round(0.01 * n)) == pytest.approx(0.994, abs=0.0005)
    assert expected_survival(n, 512, [0, n]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("run_order", [0, 3, 9])
def test_what_is_counted_follows_the_closed_form(run_order: int) -> None:
    # 2 GiB in 1024 leaves and nothing else: shares of 1024 vary by less than 0.016, and the mean of 20 of
    # them by less than 0.0035 (binomial; drawing without replacement varies less)
    leaves = Extents.of([(leaf << 9, leaf << 9, 9) for leaf in range(1024)])
    n_runs = count_runs(leaves, run_order)
    assert n_runs == 1024 * 512 >> run_order
    steps = [n_runs // 2000, n_runs // 500, n_runs // 100, n_runs // 4]
    counted = np.mean([course(leaves, steps, run_order, seed).n_2mb / 1024 for seed in range(20)], axis=0)
    assert counted == pytest.approx(expected_survival(n_runs, 512 >> run_order, steps), abs=5 * 0.0035)


def test_equal_seeds_give_equal_orders() -> None:
    leaves = populate("16M").extents
    one, same, other = (drawn_runs(leaves, seed=seed)[0].tolist() for seed in (1, 1, 2))
    assert one == same != other
    assert sorted(one) == sorted(other)
    # fewer are the first of them
    assert drawn_runs(leaves, n_runs=100)[0].tolist() == one[:100]


# ---- what cannot be ----


def test_what_cannot_be_given_back_is_refused() -> None:
    leaves = Extents.of([(0, 0, 9)])
    for frames, sentence in (
        ([512], "frame 0x200 cannot be given back: it has no memory"),
        ([3, 4, 3], "frame 0x3 is given back twice"),
        ([-1], "frames to give back must be whole and not negative"),
        (["x"], "frames to give back must be whole"),
    ):
        with pytest.raises(BadInputError, match=sentence):
            release(leaves, frames)
    with pytest.raises(BadInputError, match="orders 0, 9 or 18, not 10"):
        release(Extents.of([(0, 0, 10)]), [0])
    with pytest.raises(BadInputError, match="orders 0, 9 or 18, not 1"):
        course(Extents.of([(0, 0, 1)]), [0])


def test_courses_that_cannot_be_are_refused() -> None:
    leaves = Extents.of([(0, 0, 9)])
    with pytest.raises(BadInputError, match="the guest has 512 runs of 1 frames, not 513"):
        course(leaves, [513])
    with pytest.raises(BadInputError, match="the order of a run must be a whole number up to 9"):
        course(leaves, [0], run_order=10)
    with pytest.raises(BadInputError, match="a number of runs must be a whole number up to 512"):
        drawn_runs(leaves, n_runs=513)
    with pytest.raises(BadInputError, match="a seed must be a whole number"):
        course(leaves, [0], seed=-1)
    with pytest.raises(BadInputError, match="of 512 units no 513 can be given back"):
        expected_survival(512, 512, 513)
    with pytest.raises(BadInputError, match="the units of a leaf must be a whole number up to 8"):
        expected_survival(8, 9, 0)
