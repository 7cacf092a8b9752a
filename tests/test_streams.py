"""Streams go where they say, in the share they say, and are the same for the same seed."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest

from p2mperf import Guest
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Kind
from p2mperf.streams import STREAMS, check_fractions, is_scattered, make_stream, replay

N_LOOKUPS = 1 << 14
E820 = Guest.preset("dom0-64-e820")
SMALL = Guest.plain("256M")  # 65536 frames


def kinds(guest: Guest, pfns: Any) -> list[int]:
    return np.bincount(guest.entry_kinds(pfns), minlength=len(Kind)).tolist()


def five_sigma(share: float, n_lookups: int) -> float:
    """Five standard deviations of a binomial share: a right stream exceeds this once in a million seeds."""
    return 5 * sqrt(share * (1 - share) / n_lookups)


@pytest.mark.parametrize("name", STREAMS)
def test_equal_seeds_give_equal_streams(name: str) -> None:
    one, again = (make_stream(name, E820, N_LOOKUPS, seed=3) for _ in range(2))
    other = make_stream(name, E820, N_LOOKUPS, seed=4)
    assert one.dtype == np.uint64
    assert one.shape == (N_LOOKUPS,)
    assert (one == again).all()
    assert (one != other).any()


def test_streams_of_one_seed_differ_by_name() -> None:
    first = [make_stream(name, SMALL, 64, seed=1).tolist() for name in STREAMS]
    assert len({tuple(stream) for stream in first}) == len(STREAMS)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("guest", ["dom0-64-e820", "dom0-32-e820", "dom0-64-8g"])
def test_streams_stay_in_memory_unless_told(guest: str, name: str) -> None:
    shape = Guest.preset(guest)
    pfns = make_stream(name, shape, N_LOOKUPS)
    assert kinds(shape, pfns) == [N_LOOKUPS, 0, 0, 0]


@pytest.mark.parametrize("name", STREAMS)
def test_a_guest_of_one_page_has_streams_too(name: str) -> None:
    assert make_stream(name, Guest.plain("4K"), 5).tolist() == [0] * 5


def test_a_stream_says_whether_it_is_scattered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for name in STREAMS if not is_scattered(name)] == ["sequential"]
    assert is_scattered("whole-table")
    monkeypatch.setitem(STREAMS, "in-order-too", STREAMS["sequential"])
    assert not is_scattered("in-order-too")


def test_sequential_goes_through_all_memory_and_around() -> None:
    # 65536 frames: one and a half times around is every frame once, half of them twice, in steps of one.
    pfns = make_stream("sequential", SMALL, 98304).astype(np.int64)
    assert (np.diff(pfns) % 65536 == 1).all()
    assert sorted(np.bincount(pfns, minlength=65536).tolist()) == [1] * 32768 + [2] * 32768


def test_sequential_passes_over_holes() -> None:
    # Pages 0-159 and 256-511 are RAM: the ISA hole from 640K to 1M is 96 pages.
    rows = [(0, "640K", "ram"), ("640K", "1M", "reserved"), ("1M", "2432K", "ram")]
    guest = Guest.from_e820(rows, "2M")
    pfns = make_stream("sequential", guest, 2000, seed=2).astype(np.int64)
    assert set(np.diff(pfns).tolist()) == {1, 97, -607}
    # 512 pages at boot: 96 of them are displaced behind page 511, to 607.
    assert sorted(set(pfns.tolist())) == [*range(160), *range(256, 608)]


def test_uniform_is_uniform() -> None:
    pfns = make_stream("uniform", SMALL, N_LOOKUPS)
    shares = np.bincount(pfns.astype(np.int64) // 4096, minlength=16) / N_LOOKUPS
    assert shares.size == 16
    assert np.abs(shares - 1 / 16).max() < five_sigma(1 / 16, N_LOOKUPS)


def test_zipf_has_popular_frames() -> None:
    # Rank k of n has cumulative share ln k / ln n: the 256 most popular of 65536 frames draw one half.
    pfns = make_stream("zipf", SMALL, N_LOOKUPS).astype(np.int64)
    popular = np.argsort(-np.bincount(pfns, minlength=65536), kind="stable")[:256]
    share = np.isin(pfns, popular).mean()
    # Counted after the draw, the 256 best are a little better than the 256 expected.
    assert 0.5 - five_sigma(0.5, N_LOOKUPS) < share < 0.56
    # The most popular one draws ln 2 / ln 65536 = 1/16.
    top = np.bincount(pfns).max() / N_LOOKUPS
    assert abs(top - 1 / 16) < five_sigma(1 / 16, N_LOOKUPS)


def test_popular_frames_lie_anywhere() -> None:
    # 256 frames at random over 128 leaves of 512: a leaf stays empty with 1/e^2, so 111 are hit; side by side
    # they would fill one.
    pfns = make_stream("zipf", SMALL, N_LOOKUPS).astype(np.int64)
    popular = np.argsort(-np.bincount(pfns, minlength=65536), kind="stable")[:256]
    assert np.unique(popular // 512).size > 64


@pytest.mark.parametrize(("geometry", "leaf"), [("pv64", 512), ("pv32", 1024)])
def test_leaf_stride_takes_another_leaf_each_time(geometry: str, leaf: int) -> None:
    guest = Guest.plain("256M", geometry=geometry)
    pfns = make_stream("leaf-stride", guest, N_LOOKUPS).astype(np.int64)
    n_leaves = 65536 // leaf
    # All leaves once before the first comes again, and then at another entry of it, 8 entries on.
    leaves = pfns // leaf
    assert (np.diff(leaves) % n_leaves == 1).all()
    assert ((pfns[n_leaves:] - pfns[:-n_leaves])[: n_leaves // 2] % leaf == 8).all()


# ---- holes and identity ----


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(("hole", "identity"), [(0.5, 0.0), (0.0, 0.25), (0.25, 0.5), (1.0, 0.0), (0.0, 1.0)])
def test_shares_go_to_holes_and_identity(name: str, hole: float, identity: float) -> None:
    pfns = make_stream(name, E820, N_LOOKUPS, hole_fraction=hole, identity_fraction=identity)
    ram, extra, missing, found = np.array(kinds(E820, pfns)) / N_LOOKUPS
    assert abs(extra + missing - hole) <= five_sigma(hole, N_LOOKUPS)
    assert abs(found - identity) <= five_sigma(identity, N_LOOKUPS)
    assert abs(ram - (1 - hole - identity)) <= five_sigma(hole + identity, N_LOOKUPS)
    # 524288 balloonable frames (2 GiB), 13312 that will never have memory: see the map's literal in naive.py.
    if hole == 1:
        assert abs(missing - 13312 / (13312 + 524288)) < five_sigma(13312 / 537600, N_LOOKUPS)


def test_a_share_elsewhere_leaves_the_rest_as_it_was() -> None:
    plain = make_stream("zipf", E820, N_LOOKUPS)
    mixed = make_stream("zipf", E820, N_LOOKUPS, hole_fraction=0.5)
    in_ram = E820.entry_kinds(mixed) == Kind.RAM
    assert (plain[in_ram] == mixed[in_ram]).all()


@pytest.mark.parametrize(
    ("guest", "hole", "identity", "message"),
    [
        (E820, -0.1, 0.0, r"must lie in \[0, 1\]"),
        (E820, 0.0, -0.1, r"must lie in \[0, 1\]"),
        (E820, 0.6, 0.6, "not exceed 1 together"),
        (E820, float("nan"), 0.0, r"must lie in \[0, 1\]"),
        (SMALL, 0.5, 0.0, "guest pv-64-256m has no holes: take one with gaps"),
        (SMALL, 0.0, 0.5, "guest pv-64-256m has no identity frames: take one with gaps"),
    ],
)
def test_shares_that_cannot_be_are_refused(guest: Guest, hole: float, identity: float, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        check_fractions(guest, hole, identity)
    with pytest.raises(BadInputError, match=message):
        make_stream("uniform", guest, 4, hole_fraction=hole, identity_fraction=identity)


def test_an_unknown_stream_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInputError, match="unknown stream 'unifrom': did you mean 'uniform'"):
        make_stream("unifrom", SMALL, 4)


# ---- replay ----


def test_a_recorded_stream_is_replayed_as_it_is() -> None:
    assert replay([5, 5, 0, 65535], SMALL).tolist() == [5, 5, 0, 65535]
    assert replay([], SMALL).tolist() == []


@pytest.mark.parametrize("pfns", [[65536], [0, 70000]])
def test_a_recorded_frame_beyond_the_guest_is_refused(pfns: list[int]) -> None:
    with pytest.raises(BadInputError, match=f"the trace names pfn {max(pfns):#x}, beyond guest pv-64-256m"):
        replay(pfns, SMALL)


@pytest.mark.parametrize("pfns", [[-1], [0.5], ["a"], [True]])
def test_a_recording_of_anything_else_is_refused(pfns: Any) -> None:
    with pytest.raises(BadInputError, match="a trace holds frame numbers"):
        replay(pfns, SMALL)
