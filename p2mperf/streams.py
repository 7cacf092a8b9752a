"""Seeded sequences of pfns over a guest's present RAM, its holes and its identity frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, known
from p2mperf.guests.frames import frame_numbers
from p2mperf.guests.geometry import Kind, Words
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.guests.machine import checked_seed
from p2mperf.guests.runs import Runs
from p2mperf.units import real_number, whole_number


def _sequential(n_lookups: int, n_frames: int, leaf: int, rng: np.random.Generator) -> NDArray[np.int64]:
    start = int(rng.integers(n_frames))
    return (np.arange(start, start + n_lookups) % n_frames).astype(np.int64)


def _uniform(n_lookups: int, n_frames: int, leaf: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(n_frames, size=n_lookups)


def _zipf(n_lookups: int, n_frames: int, leaf: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Zipf with exponent 1: popularity rank k has cumulative share ln k / ln n, so k = n ** u."""
    rank = np.minimum(np.exp(rng.random(n_lookups) * np.log(n_frames)), n_frames - 1).astype(np.int64)
    # Popular frames lie anywhere: an odd multiplier modulo a power of two scatters ranks without collisions
    # among the 2 ** bits; those beyond the last frame are folded back.
    bits = max(1, (n_frames - 1).bit_length())
    multiplier = int(rng.integers(1 << 30)) * 2 + 1
    scattered: NDArray[np.int64] = ((rank * multiplier) & ((1 << bits) - 1)) % n_frames
    return scattered


def _leaf_stride(n_lookups: int, n_frames: int, leaf: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """One leaf further each time, and one entry further each time around: no two neighbours share a page."""
    n_leaves = max(1, n_frames // leaf)
    step = np.arange(n_lookups) + int(rng.integers(n_leaves))
    lap, position = step // n_leaves, step % n_leaves
    entry = (lap * 8 + int(rng.integers(leaf))) % leaf
    return np.asarray(np.minimum(position * leaf + entry, n_frames - 1), np.int64)


_MOST_LOOKUPS = 1 << 40  # 8 TiB of frames


class Pattern(NamedTuple):
    """A stream, as it is declared.

    Attributes
    ----------
    draw : callable
        Makes ranks of frames, given how many, the number of frames, the entries of a leaf, and a generator.
    is_scattered : bool
        Whether neighbours in the stream lie apart in memory.
    """

    draw: Callable[[int, int, int, np.random.Generator], NDArray[np.int64]]
    is_scattered: bool = True


STREAMS = {
    "sequential": Pattern(_sequential, is_scattered=False),
    "uniform": Pattern(_uniform),
    "zipf": Pattern(_zipf),
    "leaf-stride": Pattern(_leaf_stride),
}


def is_scattered(name: str) -> bool:
    """Tell whether a stream's loads lie apart; those of what is no stream here, as of a whole table, do."""
    return name not in STREAMS or STREAMS[name].is_scattered


def make_stream(
    name: str,
    guest: Guest,
    n_lookups: int,
    *,
    seed: int = 1,
    hole_fraction: float = 0.0,
    identity_fraction: float = 0.0,
) -> Words:
    """Make a stream of frames.

    Parameters
    ----------
    name : str
        One of `STREAMS`.
    guest : Guest
        Whose frames.
    n_lookups : int
        Length.
    seed : int
        Equal seeds give equal streams.
    hole_fraction : float
        Share of lookups that go to frames without memory (extra or missing), uniformly.
    identity_fraction : float
        Share that goes to identity frames inside the map, uniformly.

    Returns
    -------
    ndarray of uint64, shape (n_lookups,)
        Frames.

    Raises
    ------
    BadInputError
        For an unknown stream, fractions that are none, or a guest without such frames.

    Examples
    --------
    >>> make_stream("sequential", Guest.plain("8K"), 4, seed=2)
    array([0, 1, 0, 1], dtype=uint64)
    """
    name = known("stream", name, STREAMS)
    n_lookups, seed = whole_number(n_lookups, "n_lookups", 0, _MOST_LOOKUPS), checked_seed(seed)
    hole_fraction = real_number(hole_fraction, "a hole fraction")
    identity_fraction = real_number(identity_fraction, "an identity fraction")
    require_guest(guest)
    check_fractions(guest, hole_fraction, identity_fraction)
    rng = np.random.default_rng([seed, sorted(STREAMS).index(name)])
    ranks = STREAMS[name].draw(n_lookups, int(guest.ram.n_frames.sum()), guest.geometry.leaf_frames, rng)
    pfns = _frames_at(guest.ram, ranks)
    if hole_fraction or identity_fraction:
        draw = rng.random(n_lookups)
        _replace(pfns, draw < hole_fraction, guest.runs.select(Kind.EXTRA, Kind.MISSING), rng)
        elsewhere = (draw >= hole_fraction) & (draw < hole_fraction + identity_fraction)
        _replace(pfns, elsewhere, guest.runs.select(Kind.IDENTITY), rng)
    return np.asarray(pfns, np.uint64)


def check_fractions(guest: Guest, hole_fraction: float, identity_fraction: float) -> None:
    """Refuse fractions that a guest cannot serve.

    Parameters
    ----------
    guest : Guest
        Whose frames.
    hole_fraction, identity_fraction : float
        As `make_stream`.

    Raises
    ------
    BadInputError
        When they are not in [0, 1], exceed 1 together, or ask for frames the guest does not have.
    """
    if not (hole_fraction >= 0 and identity_fraction >= 0 and hole_fraction + identity_fraction <= 1):
        raise BadInputError(
            f"hole fraction {hole_fraction} and identity fraction {identity_fraction} must lie in [0, 1] "
            "and not exceed 1 together"
        )
    for fraction, kinds, what in (
        (hole_fraction, (Kind.EXTRA, Kind.MISSING), "holes"),
        (identity_fraction, (Kind.IDENTITY,), "identity frames"),
    ):
        if fraction and not guest.runs.select(*kinds).n_frames.size:
            raise BadInputError(f"guest {guest.name} has no {what}: take one with gaps, as dom0-64-e820")


def replay(pfns: Any, guest: Guest) -> Words:
    """Take a recorded sequence of frames as a stream.

    Parameters
    ----------
    pfns : array_like of int
        Frames.
    guest : Guest
        Guest they are for.

    Returns
    -------
    ndarray of uint64
        The same frames.

    Raises
    ------
    BadInputError
        When one of them is no frame number, or lies beyond the guest's map.
    """
    require_guest(guest)
    stream = frame_numbers(pfns, "a trace holds frame numbers, which")
    if stream.size and int(stream.max()) >= guest.covered_pfn:
        raise BadInputError(f"the trace names pfn {int(stream.max()):#x}, beyond guest {guest.name}")
    return stream


def _frames_at(runs: Runs, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frames by their position among all frames of `runs`."""
    if runs.n_frames.size == 1:
        return np.asarray(ranks + runs.first_pfn[0], np.int64)
    ends = np.cumsum(runs.n_frames)
    run = np.searchsorted(ends, ranks, side="right")
    frames: NDArray[np.int64] = runs.first_pfn[run] + ranks - (ends[run] - runs.n_frames[run])
    return frames


def _replace(pfns: NDArray[np.int64], where: NDArray[np.bool_], runs: Runs, rng: np.random.Generator) -> None:
    n_frames = int(np.count_nonzero(where))
    if n_frames:
        pfns[where] = _frames_at(runs, rng.integers(int(runs.n_frames.sum()), size=n_frames))
