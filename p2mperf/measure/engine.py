"""Timing one cell: the same passes by every design of a family, in an order that cancels drift."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np

from p2mperf.control import CONTROL
from p2mperf.designs.base import Design
from p2mperf.errors import P2mperfError
from p2mperf.guests.geometry import Words
from p2mperf.kernels import throughput, translate_into
from p2mperf.measure.operations.ability import why_not
from p2mperf.measure.operations.base import Operation, StreamMaker
from p2mperf.measure.operations.registry import find_operation
from p2mperf.measure.rounds import Measured, Round, flagged, latin_orders, whole_squares
from p2mperf.measure.settings import Settings
from p2mperf.measure.touch import n_bytes_of, touch
from p2mperf.measure.visits import MOST_FILLING, UNTIMED_STRETCHES, Visitor, call_ns, lines_to_fill, one_pass
from p2mperf.preambles import Preamble

_ZERO = np.uint64(0)
_CHECKED = 1 << 14
_LONGEST_CELL_NS = 5e9  # of passes that cannot be made shorter
_TRIALS = 2
_TRIED = 4


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
    preamble: Preamble | None = None,
) -> Measured:
    """Time one operation of all designs over one stream.

    Parameters
    ----------
    designs : mapping of str to Design
        Built for one and the same guest; those that cannot do this are left out. Of those whose names begin
        with `CONTROL`, which are further builds of the others, the first one's takes part: by how much the
        two differ is noise. A design that were timed twice itself would keep its tables warm for itself.
    make : callable
        Goes on with a stream by as many lookups as it is asked for: no two calls give the same stretch.
    operation : str
        A name of `p2mperf.measure.operations.registry`.
    settings : Settings
        How long and how often.
    seed : int
        Seed of the order of designs.
    scattered : bool
        Whether what is not given by the stream's frames is done here and there, and not to neighbours.
    preamble : Preamble, optional
        What comes before each entry.

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
    All designs are visited equally often, in whole Latin squares; what a visit is tells
    `p2mperf.measure.visits.Visitor.visit`. Each timed pass has a fresh stretch of the stream. Timing one
    short stretch again and again would measure a cache.
    """
    start = perf_counter_ns()
    spec = find_operation(operation)
    told = {name: p2m for name, p2m in designs.items() if not name.startswith(CONTROL)}
    serving = {name: p2m for name, p2m in told.items() if not why_not(spec, type(p2m), p2m.guest)}
    if not serving:
        raise P2mperfError(f"{operation} is nothing that {', '.join(told)} can do: take another design")
    if (control := CONTROL + next(iter(serving))) in designs:
        serving[control] = designs[control]
    work = spec.make(preamble)
    checksum = check_agreement(serving, make(_CHECKED), work.kernel)
    shuffle = np.random.default_rng(seed) if scattered else None
    n_lookups, n_visits = _extent(serving, make, work, settings, shuffle)
    calls = {name: call_ns(work, design, make(0)) for name, design in serving.items()}
    visitor = _visitor(serving, make, work, n_lookups, n_visits, settings)
    orders = latin_orders(len(serving), n_visits, np.random.default_rng(seed))
    names = list(serving)
    work.mark(serving)
    gc.disable()
    try:
        rounds = [
            round_
            for number, order in enumerate(orders)
            for round_ in _rounds(number, [names[at] for at in order], serving, visitor)
        ]
    finally:
        gc.enable()
    if work.end(serving):
        check_agreement(serving, np.concatenate(visitor.sampled), throughput)
    return Measured(
        work.n_done(n_lookups),
        checksum,
        flagged(rounds),
        call_ns=_shorter(calls, rounds),
        warm_ns=visitor.warm_ns,
        timed_ns=visitor.timed_ns,
        cell_ns=perf_counter_ns() - start,
    )


def _rounds(number: int, order: list[str], designs: Mapping[str, Design], visitor: Visitor) -> list[Round]:
    """Visit all designs in one order; the slices that came first are one round, and so on."""
    visits = [visitor.visit(name, designs[name]) for name in order]
    return [Round(passes, visit=number) for passes in zip(*visits, strict=True)]


def _visitor(
    designs: Mapping[str, Design],
    make: StreamMaker,
    work: Operation[Any],
    n_lookups: int,
    n_visits: int,
    settings: Settings,
) -> Visitor:
    """Get ready for visits; the frames of untimed passes are the same in all of them, and never timed."""
    n_slices = settings.n_slices if work.repeats or not work.n_fixed else 1
    n_fill = max(lines_to_fill(n_bytes_of(design.stretches())) for design in designs.values())
    n_untimed = 1 if work.n_fixed else min(MOST_FILLING, max(UNTIMED_STRETCHES, 1 + n_fill // n_lookups))
    return Visitor(
        work,
        make,
        n_lookups,
        n_slices,
        settings.target_ns,
        untimed=[make(n_lookups) for _ in range(n_untimed)] if work.settles else [],
        n_sampled=max(1, _CHECKED // (len(designs) * n_visits * n_slices)),
    )


def _shorter(calls: Mapping[str, int], rounds: list[Round]) -> dict[str, int]:
    """Calls as they were timed, and never longer than a pass that they are a part of."""
    shortest: dict[str, int] = {}
    for one in (one for round_ in rounds for one in round_.passes):
        shortest[one.design] = min(one.elapsed_ns, shortest.get(one.design, one.elapsed_ns))
    return {name: min(taken, shortest[name] - 1) for name, taken in calls.items()}


def _extent(
    designs: Mapping[str, Design],
    make: StreamMaker,
    work: Operation[Any],
    settings: Settings,
    shuffle: np.random.Generator | None,
) -> tuple[int, int]:
    """Choose how long a pass is, and how many visits there are."""
    n_visits = whole_squares(settings.n_visits, len(designs))
    passes = _TRIALS + n_visits * (1 + work.settles)
    work.begin(designs, passes * work.n_fixed, shuffle)
    if not work.n_fixed:
        stream = make(_TRIED * len(designs) * settings.min_lookups)
        return calibrate(designs, stream, work, settings), n_visits
    if work.repeats:  # short passes, all alike
        return work.n_fixed, n_visits
    slices = _Slices(make(_TRIALS * len(designs) * work.n_fixed))
    for _ in range(_TRIALS):  # the last one counts: the first has to get its memory
        elapsed = sum(one_pass(work, design, slices.take(work.n_fixed)) for design in designs.values())
    affordable = int(_LONGEST_CELL_NS / (max(1, elapsed) * (1 + work.settles)))
    return work.n_fixed, min(n_visits, max(1, affordable // len(designs)) * len(designs))


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
        work = spec.make()
        n_frames = work.n_rehearsed or work.n_fixed or 1
        work.begin({design.name: design}, n_frames, None)
        one_pass(work, design, make(n_frames))


def check_agreement(
    designs: Mapping[str, Design],
    stream: Words,
    kernel: Callable[[NamedTuple, tuple[object, ...], Words, np.uint64], np.uint64],
) -> int:
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
    """Choose one loop count for all designs: the fastest fills the wanted time.

    Parameters
    ----------
    designs : mapping of str to Design
        All that will be timed.
    stream : ndarray of uint64
        At least `_TRIED` stretches of `min_lookups` for each of them.
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
    fastest = np.inf
    for design in designs.values():
        touch(design.stretches())
        one_pass(work, design, slices.take(least))  # the first pass after a build is like no other
        # The shortest: what else runs on the machine makes passes longer, and never shorter.
        elapsed = min(one_pass(work, design, slices.take(least)) for _ in range(_TRIED - 1))
        fastest = min(fastest, max(1, elapsed - call_ns(work, design, stream[:0])) / least)
    return min(max(int(settings.target_ns / fastest), least), most)


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
