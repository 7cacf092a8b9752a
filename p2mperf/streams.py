"""Seeded sequences of pfns over a guest's present RAM, its holes and its identity frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from hashlib import sha256
from math import lcm
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.errors import BadInputError, DoesNotFitError, known
from p2mperf.guests.frames import frame_numbers
from p2mperf.guests.geometry import Kind, Words
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.guests.machine import checked_seed
from p2mperf.guests.runs import Runs
from p2mperf.host.memory import require_memory
from p2mperf.units import real_number, whole_number

if TYPE_CHECKING:
    from p2mperf.draws_kernels import Draws
    from p2mperf.streams_kernels import Elsewhere, Ground, Leaves, Ram

Seed = int | Sequence[int]

# Shortest run of lookups of one kind where they come in runs: so long that branches of a walk are seldom
# mispredicted, at its ends only; so short that a pass has hundreds.
RUN_LOOKUPS = 64
_FINEST = 1_000_000  # shares in runs are exact in millionths
_MOST_LOOKUPS = 1 << 40  # 8 TiB of frames
_UNASKED_LOOKUPS = 1 << 23  # 64 MiB of frames; a pass has an eighth of that at most
_LINE_BYTES = 64


class Pattern(NamedTuple):
    """A stream, as it is declared.

    Attributes
    ----------
    loop : str
        Name of its compiled loop in `p2mperf.streams_kernels`, which opening a stream imports.
    is_scattered : bool
        Whether neighbours in the stream lie apart in memory.
    """

    loop: str
    is_scattered: bool = True


STREAMS = {
    "sequential": Pattern("sequential", is_scattered=False),
    "uniform": Pattern("uniform"),
    "zipf": Pattern("zipf"),
    "log-uniform": Pattern("log_uniform"),
    "leaf-stride": Pattern("leaf_stride"),
}

HOLE_PATTERNS = ("random", "runs")


def is_scattered(name: object) -> bool:
    """Tell whether a stream's loads lie apart; those of what is no stream here, as of a whole table, do."""
    return not (isinstance(name, str) and name in STREAMS) or STREAMS[name].is_scattered


class Stream:
    """A stream that is made as it is taken; `open_stream` opens one.

    Parameters
    ----------
    parts : sequence of callable
        Compiled loops with all but the first arguments bound: each is given frames to fill or to change, and
        the place of the first one in the stream.
    """

    def __init__(self, parts: Sequence[Callable[[Words, np.uint64], None]]) -> None:
        self._parts = parts
        self._at = 0

    def take(self, n_lookups: int) -> Words:
        """Make the frames that come next, each of the stream once.

        Parameters
        ----------
        n_lookups : int
            How many.

        Returns
        -------
        ndarray of uint64, shape (n_lookups,)
            Frames, the caller's own. Taken in pieces they are the same as at one go.

        Raises
        ------
        BadInputError
            When it is no number of lookups.
        DoesNotFitError
            When memory does not hold so many frames.
        """
        frames = _room_for(whole_number(n_lookups, "n_lookups", 0, _MOST_LOOKUPS))
        for part in self._parts:
            part(frames, np.uint64(self._at))
        self._at += frames.size
        return frames


def _room_for(n_lookups: int) -> Words:
    if n_lookups > _UNASKED_LOOKUPS:
        require_memory(8 * n_lookups, f"a stream of {n_lookups} lookups", "take fewer at a time")
    try:
        return np.empty(n_lookups, np.uint64)
    except MemoryError as error:  # a limit of this process
        raise DoesNotFitError(f"no memory for {n_lookups} lookups at a time: take fewer") from error


def open_stream(
    name: str,
    guest: Guest,
    *,
    seed: Seed = 1,
    hole_fraction: float = 0.0,
    identity_fraction: float = 0.0,
    hole_pattern: str = "random",
) -> Stream:
    """Open a stream of frames, to be made piece by piece.

    Parameters
    ----------
    name : str
        One of `STREAMS`.
    guest : Guest
        Whose frames.
    seed : int or sequence of int
        Equal seeds give equal streams. Several numbers, as of a replicate and a cell, are one seed.
    hole_fraction : float
        Share of lookups that go to frames without memory (extra or missing), uniformly.
    identity_fraction : float
        Share that goes to identity frames inside the map, uniformly.
    hole_pattern : str
        One of `HOLE_PATTERNS`: whether each lookup draws if it goes there, or both shares come in runs of
        `RUN_LOOKUPS` or little more, and are exact over each whole period of the runs.

    Returns
    -------
    Stream

    Raises
    ------
    BadInputError
        For an unknown stream or pattern, fractions that are none, or a guest without such frames.

    Examples
    --------
    >>> stream = open_stream("sequential", Guest.plain("8K"), seed=(2, 3))
    >>> stream.take(3), stream.take(2)
    (array([0, 1, 0], dtype=uint64), array([1, 0], dtype=uint64))
    """
    name = known("stream", name, STREAMS)
    seeds = _seeds(seed)
    hole_fraction, identity_fraction = check_fractions(guest, hole_fraction, identity_fraction, hole_pattern)
    from p2mperf import streams_kernels as kernels

    loop = getattr(kernels, STREAMS[name].loop)
    draws, ram, leaves = seeded_draws(name, seeds), _ram(guest.ram), _leaves(guest)
    parts = [lambda frames, at: loop(frames, at, draws, ram, leaves)]
    if hole_fraction or identity_fraction:
        others = seeded_draws(f"{name}, elsewhere", seeds)
        elsewhere = _elsewhere(guest.runs, hole_fraction, identity_fraction, hole_pattern)
        parts.append(lambda frames, at: kernels.divert(frames, at, others, elsewhere))
    return Stream(parts)


def make_stream(
    name: str,
    guest: Guest,
    n_lookups: int,
    *,
    seed: Seed = 1,
    hole_fraction: float = 0.0,
    identity_fraction: float = 0.0,
    hole_pattern: str = "random",
) -> Words:
    """Make the beginning of a stream of frames.

    Parameters
    ----------
    name : str
        One of `STREAMS`.
    guest : Guest
        Whose frames.
    n_lookups : int
        Length.
    seed, hole_fraction, identity_fraction, hole_pattern
        As `open_stream`.

    Returns
    -------
    ndarray of uint64, shape (n_lookups,)
        Frames.

    Raises
    ------
    BadInputError
        As `open_stream`.
    DoesNotFitError
        As `Stream.take`.

    Examples
    --------
    >>> make_stream("sequential", Guest.plain("8K"), 4, seed=2)
    array([0, 1, 0, 1], dtype=uint64)
    """
    n_lookups = whole_number(n_lookups, "n_lookups", 0, _MOST_LOOKUPS)
    stream = open_stream(
        name,
        guest,
        seed=seed,
        hole_fraction=hole_fraction,
        identity_fraction=identity_fraction,
        hole_pattern=hole_pattern,
    )
    return stream.take(n_lookups)


def check_fractions(
    guest: Guest, hole_fraction: float, identity_fraction: float, hole_pattern: str = "random"
) -> tuple[float, float]:
    """Take fractions that a guest can serve for what they are.

    Parameters
    ----------
    guest : Guest
        Whose frames.
    hole_fraction, identity_fraction, hole_pattern
        As `open_stream`.

    Returns
    -------
    tuple of float
        Both fractions.

    Raises
    ------
    BadInputError
        When they are not in [0, 1], exceed 1 together, or ask for frames the guest does not have; when there
        is no such pattern, or no share to have one.
    """
    hole_fraction = real_number(hole_fraction, "a hole fraction")
    identity_fraction = real_number(identity_fraction, "an identity fraction")
    require_guest(guest)
    known("pattern of holes", hole_pattern, HOLE_PATTERNS)
    if not (hole_fraction >= 0 and identity_fraction >= 0 and hole_fraction + identity_fraction <= 1):
        raise BadInputError(
            f"hole fraction {hole_fraction} and identity fraction {identity_fraction} must lie in [0, 1] "
            "and not exceed 1 together"
        )
    if hole_pattern != HOLE_PATTERNS[0] and not (hole_fraction or identity_fraction):
        raise BadInputError(
            f"nothing can come in {hole_pattern}: give a share of holes or of identity frames"
        )
    for fraction, kinds, what in (
        (hole_fraction, (Kind.EXTRA, Kind.MISSING), "holes"),
        (identity_fraction, (Kind.IDENTITY,), "identity frames"),
    ):
        if fraction and not guest.runs.select(*kinds).n_frames.size:
            raise BadInputError(f"guest {guest.name} has no {what}: take one with gaps, as dom0-64-e820")
    return hole_fraction, identity_fraction


def replay(pfns: ArrayLike, guest: Guest) -> Words:
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


def _seeds(seed: Seed) -> tuple[int, ...]:
    seeds = tuple(map(checked_seed, seed)) if isinstance(seed, tuple | list) else ()
    return seeds or (checked_seed(seed),)


def seeded_draws(what: str, seeds: tuple[int, ...]) -> Draws:
    """Random words of their own for each thing and seeds; nothing else, as a new stream, may change them."""
    from p2mperf.draws_kernels import Draws

    digest = sha256(repr((what, *seeds)).encode()).digest()
    start, gamma = np.frombuffer(digest, "<u8", 2).tolist()
    gamma |= 1
    # Words whose bits hardly change are mixed badly: the threshold and the mend are SplitMix's own.
    if (gamma ^ gamma >> 1).bit_count() < 24:
        gamma ^= 0xAAAA_AAAA_AAAA_AAAA
    return Draws(np.uint64(start), np.uint64(gamma))


def _spill(n: int) -> int:
    return 2**64 % max(n, 1)


def _ground(first: NDArray[np.int64], n: NDArray[np.int64]) -> Ground:
    from p2mperf.streams_kernels import Ground

    ends = np.cumsum(n)
    return Ground(ends.astype(np.uint64), (first - (ends - n)).astype(np.uint64))


def _ram(runs: Runs) -> Ram:
    from p2mperf.streams_kernels import Ram

    n_frames = int(runs.n_frames.sum())
    return Ram(np.uint64(n_frames), np.uint64(_spill(n_frames)), _ground(runs.first_pfn, runs.n_frames))


def _leaves(guest: Guest) -> Leaves:
    """The leaves of a guest's RAM; one that two runs share is the first one's."""
    from p2mperf.streams_kernels import Leaves

    runs, geometry = guest.ram, guest.geometry
    ends = -(-runs.end_pfn // geometry.leaf_frames)
    first = np.maximum(runs.first_pfn // geometry.leaf_frames, np.append(0, ends[:-1]))
    has = ends > first
    return Leaves(
        np.uint64((ends - first).sum()),
        np.uint64(geometry.leaf_frames),
        np.uint64(_LINE_BYTES // geometry.entry_bytes),
        _ground(first[has], (ends - first)[has]),
        runs.first_pfn[has].astype(np.uint64),
        runs.end_pfn[has].astype(np.uint64) - np.uint64(1),
    )


def _elsewhere(runs: Runs, hole_fraction: float, identity_fraction: float, hole_pattern: str) -> Elsewhere:
    from p2mperf.streams_kernels import Elsewhere

    if hole_pattern == "random":
        hole_end, end = (round(share * 2**53) for share in (hole_fraction, hole_fraction + identity_fraction))
        period = 0
    else:
        hole_end, end, period = _runs_of_lookups(hole_fraction, identity_fraction)
    holes, identity = runs.select(Kind.EXTRA, Kind.MISSING), runs.select(Kind.IDENTITY)
    n = [int(holes.n_frames.sum()), int(identity.n_frames.sum())]
    return Elsewhere(
        np.uint64(hole_end),
        np.uint64(end),
        np.uint64(period),
        n=np.array(n, np.uint64),
        spill=np.array([_spill(frames) for frames in n], np.uint64),
        first=np.array([0, n[0]], np.uint64),
        ground=_ground(
            np.append(holes.first_pfn, identity.first_pfn), np.append(holes.n_frames, identity.n_frames)
        ),
    )


def _runs_of_lookups(hole_fraction: float, identity_fraction: float) -> list[int]:
    """Where holes end, where identity frames end, and where all begins again: the fractions of that."""
    hole, identity = (
        Fraction(str(share)).limit_denominator(_FINEST) for share in (hole_fraction, identity_fraction)
    )
    elsewhere = min(hole + identity, Fraction(1))
    whole = lcm(hole.denominator, elsewhere.denominator)
    ends = [int(hole * whole), int(elsewhere * whole), whole]
    shortest = min(length for length in np.diff([0, *ends]).tolist() if length)
    return [end * -(-RUN_LOOKUPS // shortest) for end in ends]
