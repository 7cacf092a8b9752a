"""Streams go where they say, in the share they say, and are the same for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare
from stream_shares import five_sigma, kinds

from p2mperf import Guest, streams_kernels as kernels
from p2mperf.draws_kernels import Draws
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Kind, Words
from p2mperf.streams import (
    HOLE_PATTERNS,
    STREAMS,
    _leaves,
    is_scattered,
    make_stream,
    open_stream,
    replay,
)

N_LOOKUPS = 1 << 14
E820 = Guest.preset("dom0-64-e820")
SMALL = Guest.plain("256M")  # 65536 frames

# Pages 0-159 and 256-511 are RAM: the ISA hole from 640K to 1M is 96 pages, which are displaced.
GAPPED = Guest.from_e820([(0, "640K", "ram"), ("640K", "1M", "reserved"), ("1M", "2432K", "ram")], "2M")


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
    assert is_scattered(["sequential"])  # no name, and nothing that could be one
    assert is_scattered("whole-table")
    monkeypatch.setitem(STREAMS, "in-order-too", STREAMS["sequential"])
    assert not is_scattered("in-order-too")


def test_sequential_goes_through_all_memory_and_around() -> None:
    # 65536 frames: one and a half times around is every frame once, half of them twice, in steps of one.
    pfns = make_stream("sequential", SMALL, 98304).astype(np.int64)
    assert (np.diff(pfns) % 65536 == 1).all()
    assert sorted(np.bincount(pfns, minlength=65536).tolist()) == [1] * 32768 + [2] * 32768


def test_sequential_passes_over_holes() -> None:
    pfns = make_stream("sequential", GAPPED, 2000, seed=2).astype(np.int64)
    assert set(np.diff(pfns).tolist()) == {1, 97, -607}
    # 512 pages at boot: 96 of them are displaced behind page 511, to 607.
    assert sorted(set(pfns.tolist())) == [*range(160), *range(256, 608)]


def test_uniform_is_uniform() -> None:
    pfns = make_stream("uniform", SMALL, N_LOOKUPS)
    shares = np.bincount(pfns.astype(np.int64) // 4096, minlength=16) / N_LOOKUPS
    assert shares.size == 16
    assert np.abs(shares - 1 / 16).max() < five_sigma(1 / 16, N_LOOKUPS)


def counted(name: str, guest: Guest, n_lookups: int, seed: int = 1) -> NDArray[np.int64]:
    """How often each frame of RAM comes, the most popular one first."""
    pfns = make_stream(name, guest, n_lookups, seed=seed).astype(np.int64)
    return -np.sort(-np.bincount(pfns)[guest.entry_kinds(np.arange(pfns.max() + 1)) == Kind.RAM])


@pytest.mark.parametrize("seed", range(4))
def test_uniform_passes_a_test_of_each_frame(seed: int) -> None:
    # 512 frames in two runs, none a power of two; 200 draws a frame.
    assert chisquare(counted("uniform", GAPPED, 102_400, seed)).pvalue > 0.001


def harmonic(n: int) -> float:
    return float((1 / np.arange(1, n + 1)).sum())


@pytest.mark.parametrize("n_frames", [2, 3, 40])
@pytest.mark.parametrize("seed", range(3))
def test_zipf_is_zipf(n_frames: int, seed: int) -> None:
    # Rank k of n draws 1 / (k H_n). Which frame has which rank is known from the counts alone: that mixes
    # ranks that are drawn nearly alike, as the last of 40, and can make no other distribution look right.
    n_lookups = 1 << 15
    expected = n_lookups / (np.arange(1, n_frames + 1) * harmonic(n_frames))
    counts = counted("zipf", Guest.plain(n_frames << 12), n_lookups, seed)
    assert chisquare(counts, expected).pvalue > 0.001


def test_zipf_at_43_gigabytes() -> None:
    # 43 * 2**18 frames: H_n = ln n + 0.5772 = 16.815: the most popular one draws 5.95 %, the next half of it.
    n_lookups = 1 << 17
    top = counted("zipf", Guest.plain("43G"), n_lookups)[:4] / n_lookups
    shares = 1 / (16.815 * np.arange(1, 5))
    assert round(100 * shares[0], 2) == 5.95
    assert (np.abs(top - shares) < [five_sigma(share, n_lookups) for share in shares]).all()


def test_zipf_has_the_share_of_every_octave() -> None:
    # Ranks 2**j to 2**(j + 1) - 1 of 65536 draw their part of H_n = 11.667, from 1/11.667 for the first one
    # down to nearly ln 2 / 11.667. Those met often stand in the order of their ranks: rank 127 has
    # 2**20 / (127 * 11.667) = 708 draws with a deviation of 27, which mixes neighbours and hardly octaves.
    counts = counted("zipf", SMALL, 1 << 20)
    for octave in range(7):
        ranks = np.arange(1 << octave, 2 << octave)
        expected = (1 / ranks).sum() / harmonic(65536)
        assert counts[ranks - 1].sum() / 2**20 == pytest.approx(expected, rel=0.02)


def test_log_uniform_has_half_in_the_root_of_all_frames() -> None:
    # Ranks up to k of n have the share ln(k + 1) / ln(n + 1): the 256 most popular of 65536 draw one half.
    counts = counted("log-uniform", SMALL, N_LOOKUPS)
    # Counted after the draw, the 256 best are a little better than the 256 expected.
    assert 0.5 - five_sigma(0.5, N_LOOKUPS) < counts[:256].sum() / N_LOOKUPS < 0.56
    # The most popular one draws ln 2 / ln 65537 = 1/16.
    assert abs(counts[0] / N_LOOKUPS - 1 / 16) < five_sigma(1 / 16, N_LOOKUPS)


@pytest.mark.parametrize("name", ["zipf", "log-uniform"])
@pytest.mark.parametrize("n_frames", [1, 2, 5, 13, 64, 65, 127])
def test_each_frame_has_one_popularity(name: str, n_frames: int) -> None:
    # Were two ranks folded onto one frame, another would never come: the last has 1 / (127 * 5.4) of 2**15,
    # 47 draws, or ln(128 / 127) / ln 128 of them, 52.
    counts = counted(name, Guest.plain(n_frames << 12), 1 << 15)
    assert counts.size == n_frames
    assert counts.min() > 0


@pytest.mark.parametrize("name", ["zipf", "log-uniform"])
def test_popular_frames_lie_anywhere(name: str) -> None:
    # 256 frames at random over 128 leaves of 512: a leaf stays empty with 1/e^2, so 111 are hit; side by side
    # they would fill one.
    pfns = make_stream(name, SMALL, N_LOOKUPS).astype(np.int64)
    popular = np.argsort(-np.bincount(pfns, minlength=65536), kind="stable")[:256]
    assert np.unique(popular // 512).size > 100


# ---- leaf-stride ----


@pytest.mark.parametrize(("geometry", "leaf"), [("pv64", 512), ("pv32", 1024), ("lpae", 512)])
def test_leaf_stride_takes_another_leaf_each_time(geometry: str, leaf: int) -> None:
    guest = Guest.plain("256M", geometry=geometry)
    pfns = make_stream("leaf-stride", guest, N_LOOKUPS).astype(np.int64)
    n_leaves = 65536 // leaf
    # All leaves once, in their order, before the first comes again.
    assert (np.diff(pfns // leaf) % n_leaves == 1).all()
    # Each has one of the 64 lines of its page, whose entries come in no order: no lap comes twice.
    line_of_leaf = np.unique(np.stack([pfns // leaf, pfns % leaf // (leaf // 64)]), axis=1)
    assert line_of_leaf.shape[1] == n_leaves
    assert np.unique(pfns).size == n_leaves * leaf // 64
    laps = pfns[: n_leaves * 16].reshape(16, n_leaves)
    assert np.unique(laps, axis=0).shape[0] == 16
    # 64 leaves side by side have 64 lines, so that no set of a cache is asked more often than another.
    lines = line_of_leaf[1].reshape(-1, 64)
    assert (np.sort(lines) == np.arange(64)).all()


@pytest.mark.parametrize("seed", range(8))
def test_leaf_stride_has_no_stride(seed: int) -> None:
    pfns = make_stream("leaf-stride", SMALL, 64 * 128, seed=seed).astype(np.int64)
    steps = np.diff(pfns // 8)  # lines
    # A quadratic polynomial's steps change by a constant that is no multiple of 64: none comes twice in a
    # row, but where one group of 64 leaves ends and the next begins, by chance.
    assert (np.diff(steps) == 0).mean() < 1 / 64


@pytest.mark.parametrize(
    "shape", [E820, Guest.preset("dom0-32-e820"), GAPPED], ids=["64", "32", "shared leaf"]
)
def test_leaf_stride_meets_every_leaf_that_has_memory(shape: Guest) -> None:
    leaf = shape.geometry.leaf_frames
    leaves = set((shape.ram.cut(np.arange(0, shape.covered_pfn, leaf)).first_pfn // leaf).tolist())
    laps = make_stream("leaf-stride", shape, 3 * len(leaves)).reshape(3, -1) // np.uint64(leaf)
    assert [set(lap) == leaves for lap in laps.tolist()] == [True] * 3


# ---- pieces and seeds ----


@given(
    name=st.sampled_from(sorted(STREAMS)),
    guest=st.sampled_from([E820, GAPPED, Guest.plain("4K")]),
    pieces=st.lists(st.integers(0, 700), max_size=6),
    hole=st.sampled_from([0.0, 0.3, 1.0]),
    pattern=st.sampled_from(HOLE_PATTERNS),
)
def test_a_stream_is_the_same_however_it_is_cut(
    name: str, guest: Guest, pieces: list[int], hole: float, pattern: str
) -> None:
    shares: dict[str, Any] = (
        {"hole_fraction": hole, "hole_pattern": pattern} if guest is E820 and hole else {}
    )
    stream = open_stream(name, guest, seed=5, **shares)
    taken = np.concatenate([np.empty(0, np.uint64), *map(stream.take, pieces)])
    assert taken.dtype == np.uint64
    assert (taken == make_stream(name, guest, sum(pieces), seed=5, **shares)).all()


def test_a_seed_may_be_several_numbers() -> None:
    seeds: list[Any] = [3, (1,), (1, 0), (0, 1), (1, 2), (2, 1), (2**32,), (1, 2, 3), (12, 3)]
    assert len({tuple(make_stream("uniform", SMALL, 8, seed=seed).tolist()) for seed in seeds}) == len(seeds)
    alike: tuple[Any, Any] = (3, [np.uint8(3)])
    one, other = (make_stream("uniform", SMALL, 8, seed=seed) for seed in alike)
    assert (one == other).all()
    with pytest.raises(BadInputError, match="a seed must be a whole number"):
        open_stream("uniform", SMALL, seed=(1, "2"))  # type: ignore[arg-type]


def windows(pfns: Words, length: int) -> set[bytes]:
    return {window.tobytes() for window in np.lib.stride_tricks.sliding_window_view(pfns, length)}


@pytest.mark.parametrize("name", sorted({*STREAMS} - {"sequential"}))
def test_no_stretch_comes_twice(name: str) -> None:
    # Eight streams of 8192 frames of 43 GB. Two draws of zipf's are equal with (pi^2 / 6) / 16.8^2 = 0.006,
    # twelve in a row never.
    guest = Guest.plain("43G")
    found = [windows(make_stream(name, guest, 8192, seed=(9, seed)), 12) for seed in range(8)]
    assert [len(each) for each in found] == [8192 - 11] * 8
    assert len(set().union(*found)) == 8 * (8192 - 11)


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


def drawn_again(n: int, spill: int, word: int) -> int:
    """A number below n, by numbers that cannot overflow."""
    while word * n % 2**64 < spill:
        word = splitmix(word + 0x9E37_79B9_7F4A_7C15)
    return word * n >> 64


def splitmix(word: int) -> int:
    word %= 2**64
    word = (word ^ word >> 30) * 0xBF58_476D_1CE4_E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D0_49BB_1331_11EB % 2**64
    return word ^ word >> 31


def test_words_that_would_be_unfair_are_drawn_again() -> None:
    # With its own threshold a stream meets one in years; with this one it is every other word.
    n, spill, start, gamma = 1000, 1 << 63, 12345, 0x9E37_79B9_7F4A_7C13
    ground = kernels.Ground(np.array([n], np.uint64), np.zeros(1, np.uint64))
    draws = Draws(np.uint64(start), np.uint64(gamma))
    words = [splitmix(start + i * gamma) for i in range(3000)]
    out = np.empty(3000, np.uint64)
    ram = kernels.Ram(np.uint64(n), np.uint64(spill), ground)
    kernels.uniform(out, np.uint64(0), draws, ram, _leaves(Guest.plain("8M")))
    assert out.tolist() == [drawn_again(n, spill, word) for word in words]
    none, many = np.uint64(0), np.uint64(1 << 53)
    elsewhere = kernels.Elsewhere(
        many,
        many,
        none,
        np.full(2, n, np.uint64),
        np.full(2, spill, np.uint64),
        np.zeros(2, np.uint64),
        ground,
    )
    kernels.divert(out, np.uint64(0), draws, elsewhere)
    again = [splitmix(word + 0x9E37_79B9_7F4A_7C15) for word in words]
    assert out.tolist() == [drawn_again(n, spill, word) for word in again]
