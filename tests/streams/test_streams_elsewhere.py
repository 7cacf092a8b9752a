"""Streams of which a share goes to holes and to identity: how much, in which runs, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare
from stream_shares import five_sigma, kinds

from p2mperf import Guest
from p2mperf.errors import BadInputError, DoesNotFitError
from p2mperf.guests.geometry import Kind
from p2mperf.streams import (
    STREAMS,
    check_fractions,
    make_stream,
    open_stream,
)

N_LOOKUPS = 1 << 14
E820 = Guest.preset("dom0-64-e820")
SMALL = Guest.plain("256M")  # 65536 frames


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


# Share of holes and of identity frames; stretches of holes, identity frames and RAM that repeat: the smallest
# multiple of the shares' numerators over their common denominator, so that the shortest is 64 or little more.
RUNS = [
    (0.5, 0.0, (64, 0, 64)),
    (0.25, 0.25, (64, 64, 128)),
    (0.3, 0.0, (66, 0, 154)),  # 3 : 7, 22 times
    (0.29, 0.7, (29 * 64, 70 * 64, 64)),  # 29 : 70 : 1 of 100
    (1 / 3, 0.0, (64, 0, 128)),
    (0.0, 0.75, (0, 192, 64)),
    (1.0, 0.0, (64, 0, 0)),
    (0.5, 0.5, (64, 64, 0)),
]


@pytest.mark.parametrize(("hole", "identity", "lengths"), RUNS)
@pytest.mark.parametrize("seed", [1, 2])
def test_shares_come_in_runs(hole: float, identity: float, lengths: tuple[int, ...], seed: int) -> None:
    period = sum(lengths)
    shares: dict[str, Any] = {"hole_fraction": hole, "identity_fraction": identity, "hole_pattern": "runs"}
    pfns = make_stream("uniform", E820, 3 * period, seed=seed, **shares)
    kind = E820.entry_kinds(pfns)
    in_hole, found = (kind == Kind.EXTRA) | (kind == Kind.MISSING), kind == Kind.IDENTITY
    # Whatever it begins with, each whole period has exactly its shares ...
    for start in (0, 17, period):
        part = slice(start, start + period)
        assert (in_hole[part].sum(), found[part].sum()) == lengths[:2]
    # ... and but for the first stretch and the last one all are as long as they are said to be.
    what = np.where(in_hole, 0, np.where(found, 1, 2))
    ends = np.flatnonzero(np.diff(what))
    assert set(zip(what[ends[1:]], np.diff(ends), strict=True)) <= {
        (each, length) for each, length in enumerate(lengths) if length
    }


def test_frames_of_a_run_are_drawn_as_others_are() -> None:
    # 537600 holes in 16 equal parts: 4096 draws a part.
    holes = E820.runs.select(Kind.EXTRA, Kind.MISSING)
    pfns = make_stream("uniform", E820, 1 << 16, hole_fraction=1.0, hole_pattern="runs").astype(np.int64)
    before = np.cumsum(holes.n_frames) - holes.n_frames
    run = np.searchsorted(holes.first_pfn, pfns, side="right") - 1
    ranks = before[run] + pfns - holes.first_pfn[run]
    assert chisquare(np.bincount(ranks * 16 // int(holes.n_frames.sum()), minlength=16)).pvalue > 0.001


def test_runs_begin_anywhere() -> None:
    shares: dict[str, Any] = {"hole_fraction": 0.5, "hole_pattern": "runs"}
    begun = {
        int(
            np.flatnonzero(
                np.diff(E820.entry_kinds(make_stream("uniform", E820, 200, seed=seed, **shares)) == 0)
            )[0]
        )
        for seed in range(16)
    }
    assert len(begun) > 8


def test_a_pattern_of_no_share_is_refused() -> None:
    with pytest.raises(BadInputError, match="nothing can come in runs: give a share"):
        open_stream("uniform", E820, hole_pattern="runs")
    with pytest.raises(BadInputError, match="unknown pattern of holes 'clumps'"):
        open_stream("uniform", E820, hole_fraction=0.5, hole_pattern="clumps")


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


def test_more_lookups_than_memory_holds_are_refused_before_any_is_made() -> None:
    stream = open_stream("uniform", SMALL)
    with pytest.raises(DoesNotFitError, match=r"^a stream of 1099511627776 lookups needs 8T and .* fewer at"):
        stream.take(1 << 40)
    # It stands where it stood.
    assert (stream.take(10) == make_stream("uniform", SMALL, 10)).all()


def test_an_unknown_stream_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInputError, match="unknown stream 'unifrom': did you mean 'uniform'"):
        make_stream("unifrom", SMALL, 4)
