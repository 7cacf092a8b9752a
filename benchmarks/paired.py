"""Two loops over the same tables, timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle
from time import perf_counter_ns
from typing import Any

import numpy as np

from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.kernels import translate_into
from p2mperf.measure.rounds import latin_orders
from p2mperf.streams import make_stream

Loop = Callable[[Words], Any]


def paired_times(
    loops: Mapping[str, Loop],
    stream: Words,
    entries: Words,
    *,
    n_rounds: int,
    slice_ns: float,
    seed: int,
) -> dict[str, list[float]]:
    """Time loops in turns, each on a fresh slice of one long stream, after an untimed slice of its own.

    Parameters
    ----------
    loops : mapping of str to callable
        Each takes a slice of the stream and returns the entries, or their sum.
    stream, entries : ndarray of uint64, shape (n_lookups,)
        Frames, and what they translate to.
    n_rounds : int
        Rounds; each times every loop once, in Latin order.
    slice_ns : float
        About how long a timed slice shall take [ns].
    seed : int
        Seed of the order.

    Returns
    -------
    dict of str to list of float
        Time for one lookup by loop, one a round [ns].

    Raises
    ------
    AssertionError
        When the sum of a loop's entries over the stream, or over a timed slice, is not that of `entries`:
        the loops must be shown to answer alike before their times mean anything.
    """
    names = list(loops)
    ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(entries, dtype=np.uint64)])
    for name in names:
        _check(name, loops[name](stream), int(ends[-1]))
    length = _slice_length(loops, stream, slice_ns)
    places = cycle(range(0, stream.size - length + 1, length))
    times: dict[str, list[float]] = {name: [] for name in names}
    for order in latin_orders(len(names), n_rounds, np.random.default_rng(seed)):
        for name in (names[i] for i in order):
            settle, start = next(places), next(places)
            loops[name](stream[settle : settle + length])
            elapsed, result = timed(loops[name], stream[start : start + length])
            _check(name, result, int(ends[start + length] - ends[start]))
            times[name].append(elapsed / length)
    return times


def uniform_stream(guest: Guest, seed: int) -> Words:
    """Uniform frames, one for each cache line of 64-bit entries, and at least 2 ** 21."""
    return make_stream("uniform", guest, max(1 << 21, guest.n_boot_pages // 8), seed=seed)


def translated(design: Any, stream: Words) -> Words:
    """Entries of a stream, by the design's own compiled loop."""
    entries = np.empty_like(stream)
    translate_into(design.tables, design.state, stream, entries)
    return entries


def timed(act: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    """What it takes [ns], and what it answers."""
    start = perf_counter_ns()
    result = act(*arguments)
    return perf_counter_ns() - start, result


def _slice_length(loops: Mapping[str, Loop], stream: Words, slice_ns: float) -> int:
    trial = stream[: 1 << 15]
    slowest = max(timed(loop, trial)[0] for loop in loops.values())
    return int(np.clip(trial.size * slice_ns / slowest, trial.size, stream.size // 4))


def _check(name: str, result: Any, expected: int) -> None:
    found = int(np.sum(result, dtype=np.uint64))
    if found != expected:
        raise AssertionError(f"{name} sums its entries to {found:#x}, not {expected:#x}")
