"""Timing one cell: the same passes by every design of a family, in an order that cancels drift."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterable, Mapping
from time import perf_counter_ns
from typing import Any

import numpy as np

from p2mperf.control import CONTROL
from p2mperf.designs.base import Design
from p2mperf.errors import P2mperfError
from p2mperf.guests.geometry import Words
from p2mperf.host.probes import steal_ticks
from p2mperf.kernels import throughput, translate_into
from p2mperf.measure.operations.base import Operation, StreamMaker
from p2mperf.measure.operations.registry import find_operation, why_not
from p2mperf.measure.rounds import Measured, Pass, Round, flagged, latin_orders
from p2mperf.measure.settings import Settings

_ZERO = np.uint64(0)
_CHECKED = 1 << 14
_LONGEST_CELL_NS = 5e9  # of passes that cannot be made shorter
_LEAST_ROUNDS = 2
_TRIALS = 2


class _Slices:
    """Hands out stretches of one long stream, each once."""

    def __init__(self, stream: Words) -> None:
        self._stream = stream
        self._next = 0

    def take(self, n_lookups: int) -> Words:
        start = self._next
        self._next += n_lookups
        if self._next > self._stream.size:
            raise P2mperfError("a stream is too short for its cell")  # a defect of ours, not of the user's
        return self._stream[start : self._next]


def measure_cell(
    designs: Mapping[str, Design],
    make: StreamMaker,
    operation: str,
    settings: Settings,
    seed: int,
    scattered: bool = False,
) -> Measured:
    """Time one operation of all designs over one stream.

    Parameters
    ----------
    designs : mapping of str to Design
        Built for one and the same guest; those that cannot do this are left out.
    make : callable
        Makes a stream of the length it is given [lookups].
    operation : str
        A name of `p2mperf.measure.operations.registry`.
    settings : Settings
        How long and how often.
    seed : int
        Seed of the order of designs.
    scattered : bool
        Whether what is not given by the stream's frames is done here and there, and not to neighbours.

    Returns
    -------
    Measured

    Raises
    ------
    BadInputError
        For an unknown operation.
    P2mperfError
        When no design can do this, or the designs disagree with each other or with the guest's map, before or
        after: nothing is told then.

    Notes
    -----
    Each timed pass has a fresh slice of one long stream, and most have a pass before it, over yet another
    slice, that puts the design into its own steady state. Timing one short slice again and again would
    measure a cache.
    """
    spec = find_operation(operation)
    serving = {name: p2m for name, p2m in designs.items() if not why_not(spec, type(p2m), p2m.guest)}
    if not serving:
        raise P2mperfError(f"{operation} is nothing that {', '.join(designs)} can do: take another design")
    work = spec.load()()
    checksum = check_agreement(serving, make(_CHECKED), work.kernel)
    timed = dict(serving)
    if settings.control and work.repeatable:
        first = next(iter(serving))
        timed[CONTROL + first] = serving[first]
    shuffle = np.random.default_rng(seed) if scattered else None
    n_lookups, n_rounds = _extent(timed, make, work, settings, shuffle)
    stream = make((1 + work.settles) * len(timed) * n_rounds * n_lookups)
    slices = _Slices(stream)
    orders = latin_orders(len(timed), n_rounds, np.random.default_rng(seed))
    names = list(timed)
    work.mark(serving)
    gc.disable()
    try:
        rounds = [_round((names[at] for at in order), timed, slices, work, n_lookups) for order in orders]
    finally:
        gc.enable()
    if work.end(serving):
        check_agreement(serving, stream[:: -(-stream.size // _CHECKED)], throughput)
    return Measured(work.n_done(n_lookups), checksum, flagged(rounds))


def _extent(
    designs: Mapping[str, Design],
    make: StreamMaker,
    work: Operation[Any],
    settings: Settings,
    shuffle: np.random.Generator | None,
) -> tuple[int, int]:
    """Choose how long a pass is, and how many rounds there are."""
    passes = _TRIALS + settings.n_rounds * (1 + work.settles)
    work.begin(designs, passes * work.n_fixed, shuffle)
    if not work.n_fixed:
        stream = make(2 * len(designs) * settings.min_lookups)
        return calibrate(designs, stream, work, settings), settings.n_rounds
    slices = _Slices(make(_TRIALS * len(designs) * work.n_fixed))
    for _ in range(_TRIALS):  # the last one counts: the first has to get its memory
        elapsed = sum(_pass(work, design, slices.take(work.n_fixed)) for design in designs.values())
    affordable = int(_LONGEST_CELL_NS / (elapsed * (1 + work.settles)))
    return work.n_fixed, max(_LEAST_ROUNDS, min(settings.n_rounds, affordable))


def _pass(work: Operation[Any], design: Design, frames: Words) -> int:
    """Do one pass from beginning to end; its time [ns]."""
    timed = work.prepare(design, frames)
    start = perf_counter_ns()
    result = timed()
    elapsed = work.timed_ns(result, perf_counter_ns() - start)
    work.finish(design, frames, result)
    return max(1, elapsed)


def rehearse(operation: str, design: Design, make: StreamMaker) -> None:
    """Do one short pass, so that nothing is compiled when it counts.

    Parameters
    ----------
    operation : str
        A name of `p2mperf.measure.operations.registry`.
    design : Design
        A small one of the type that will be timed.
    make : callable
        Makes a stream of its guest.
    """
    spec = find_operation(operation)
    if not why_not(spec, type(design), design.guest):
        work = spec.load()()
        n_frames = work.n_fixed or 1
        work.begin({design.name: design}, n_frames, None)
        _pass(work, design, make(n_frames))


def check_agreement(designs: Mapping[str, Design], stream: Words, kernel: Any) -> int:
    """Make sure that all designs say the same as the guest's map, entry by entry and in sum.

    Parameters
    ----------
    designs : mapping of str to Design
        Built for one guest.
    stream : ndarray of uint64
        Frames to ask for.
    kernel : dispatcher
        The loop that is to be timed.

    Returns
    -------
    int
        The common sum of the entries, modulo 2**64.

    Raises
    ------
    P2mperfError
        Naming the design, the frame, and both answers.
    """
    sums = {}
    out = np.empty_like(stream)
    for name, design in designs.items():
        expected = design.guest.entries(stream)
        translate_into(design.tables, design.state, stream, out)
        wrong = np.flatnonzero(out != expected)
        if wrong.size:
            at = wrong[0]
            raise P2mperfError(
                f"{name} reads {out[at]:#x} at frame {stream[at]:#x} of {design.guest.name}, "
                f"where its map says {expected[at]:#x}"
            )
        sums[name] = int(kernel(design.tables, design.state, stream, _ZERO))
    if len(set(sums.values())) != 1:
        raise P2mperfError(f"designs of one cell differ in their sums: {sums}")
    return next(iter(sums.values()))


def calibrate(designs: Mapping[str, Design], stream: Words, work: Operation[Any], settings: Settings) -> int:
    """Choose one loop count for all designs: the slowest fills the wanted time.

    Parameters
    ----------
    designs : mapping of str to Design
        All that will be timed.
    stream : ndarray of uint64
        At least two stretches of `min_lookups` for each of them.
    work : Operation
        What will be timed.
    settings : Settings
        Wanted time and bounds.

    Returns
    -------
    int
        Lookups of one pass.
    """
    slices = _Slices(stream)
    least, most = settings.min_lookups, settings.max_lookups
    if work.distinct:
        n_frames = min(int(design.guest.ram.n_frames.sum()) for design in designs.values())
        least, most = min(least, n_frames), min(most, n_frames)
    slowest = 0.0
    for design in designs.values():
        _pass(work, design, slices.take(least))
        slowest = max(slowest, _pass(work, design, slices.take(least)) / least)
    return min(max(int(settings.target_ns / slowest), least), most)


def warm_up(design: Design, stream: Words, duration_ns: int) -> None:
    """Keep the processor busy for a while, so that its clock has settled before anything is timed.

    Parameters
    ----------
    design : Design
        What to look up in.
    stream : ndarray of uint64
        What to look up.
    duration_ns : int
        How long [ns].
    """
    end = perf_counter_ns() + duration_ns
    while perf_counter_ns() < end:
        throughput(design.tables, design.state, stream, _ZERO)


def _round(
    order: Iterable[str],
    designs: Mapping[str, Design],
    slices: _Slices,
    work: Operation[Any],
    n_lookups: int,
) -> Round:
    return Round(tuple(_timed_pass(name, designs[name], slices, work, n_lookups) for name in order))


def _timed_pass(name: str, design: Design, slices: _Slices, work: Operation[Any], n_lookups: int) -> Pass:
    if work.settles:
        _pass(work, design, slices.take(n_lookups))
    frames = slices.take(n_lookups)
    timed = work.prepare(design, frames)
    switches_before, steal_before = _involuntary_switches(), steal_ticks() or 0
    start = perf_counter_ns()
    result = timed()
    elapsed_ns = max(1, work.timed_ns(result, perf_counter_ns() - start))
    n_switches = _involuntary_switches() - switches_before
    n_steal_ticks = max(0, (steal_ticks() or 0) - steal_before)
    growth = work.growth(design, result)
    work.finish(design, frames, result)
    return Pass(name, elapsed_ns, n_switches, n_steal_ticks, growth)


def _involuntary_switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
