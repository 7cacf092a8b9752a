"""Timing one cell: the same lookups by every design of a family, in an order that cancels drift."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import Design
from p2mperf.errors import P2mperfError, unknown
from p2mperf.kernels import latency, throughput, translate_into
from p2mperf.measure.machine_card import steal_ticks
from p2mperf.measure.statistics import flag_outliers, latin_orders

Stream = NDArray[np.uint64]
StreamMaker = Callable[[int], Stream]

OPERATIONS: dict[str, Any] = {"latency": latency, "throughput": throughput}
CONTROL = "control:"  # prefix of the design that is timed a second time, against itself
_ZERO = np.uint64(0)
_CHECKED = 1 << 14


@dataclass(frozen=True)
class Settings:
    """How long and how often a cell is timed.

    Attributes
    ----------
    n_rounds : int
        Blocks over all designs.
    target_ns : int
        Wanted length of one timed pass [ns].
    min_lookups, max_lookups : int
        Bounds of the loop count, which all designs of a cell share.
    control : bool
        Time the first design twice, against itself: the noise floor.
    warm_up_ns : int
        How long a run's first process computes before it times anything [ns].
    """

    n_rounds: int = 6
    target_ns: int = 6_000_000
    min_lookups: int = 1 << 15
    max_lookups: int = 1 << 17
    control: bool = True
    warm_up_ns: int = 1_000_000_000

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as a plan's fingerprint needs it."""
        return asdict(self)


class _Slices:
    """Hands out stretches of one long stream, each once."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._next = 0

    def take(self, n_lookups: int) -> Stream:
        start = self._next
        self._next += n_lookups
        if self._next > self._stream.size:
            raise P2mperfError("a stream is too short for its cell")  # a defect of ours, not of the user's
        return self._stream[start : self._next]


def measure_cell(
    designs: Mapping[str, Design], make: StreamMaker, operation: str, settings: Settings, seed: int
) -> dict[str, Any]:
    """Time one operation of all designs over one stream.

    Parameters
    ----------
    designs : mapping of str to Design
        Built for one and the same guest.
    make : callable
        Makes a stream of the length it is given [lookups].
    operation : str
        One of `OPERATIONS`.
    settings : Settings
        How long and how often.
    seed : int
        Seed of the order of designs.

    Returns
    -------
    dict
        ``n_lookups``, ``checksum`` and ``rounds``, as `p2mperf.results.schema.CELL` has them.

    Raises
    ------
    BadInputError
        For an unknown operation.
    P2mperfError
        When the designs disagree with each other or with the guest's map: nothing is timed then.

    Notes
    -----
    Each timed pass has a fresh slice of one long stream, and a pass before it, over yet another slice, that
    puts the design into its own steady state. Timing one short slice again and again would measure a cache.
    """
    if operation not in OPERATIONS:
        raise unknown("operation", operation, OPERATIONS)
    kernel = OPERATIONS[operation]
    checksum = check_agreement(designs, make(_CHECKED), kernel)
    timed = dict(designs)
    if settings.control:
        first = next(iter(designs))
        timed[CONTROL + first] = designs[first]
    n_lookups = calibrate(timed, make(2 * len(timed) * settings.min_lookups), kernel, settings)
    slices = _Slices(make(2 * len(timed) * settings.n_rounds * n_lookups))
    orders = latin_orders(len(timed), settings.n_rounds, np.random.default_rng(seed))
    names = list(timed)
    gc.disable()
    try:
        rounds = [
            _round([names[index] for index in order], timed, slices, kernel, n_lookups) for order in orders
        ]
    finally:
        gc.enable()
    _flag(rounds, names)
    return {"n_lookups": n_lookups, "checksum": checksum, "rounds": rounds}


def check_agreement(designs: Mapping[str, Design], stream: Stream, kernel: Any) -> int:
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


def calibrate(designs: Mapping[str, Design], stream: Stream, kernel: Any, settings: Settings) -> int:
    """Choose one loop count for all designs: the slowest fills the wanted time.

    Parameters
    ----------
    designs : mapping of str to Design
        All that will be timed.
    stream : ndarray of uint64
        At least two stretches of `min_lookups` for each of them.
    kernel : dispatcher
        The loop.
    settings : Settings
        Wanted time and bounds.

    Returns
    -------
    int
        Lookups of one pass.
    """
    slices = _Slices(stream)
    slowest = 0.0
    for design in designs.values():
        kernel(design.tables, design.state, slices.take(settings.min_lookups), _ZERO)
        stretch = slices.take(settings.min_lookups)
        start = perf_counter_ns()
        kernel(design.tables, design.state, stretch, _ZERO)
        slowest = max(slowest, (perf_counter_ns() - start) / settings.min_lookups)
    wanted = int(settings.target_ns / slowest)
    return min(max(wanted, settings.min_lookups), settings.max_lookups)


def warm_up(design: Design, stream: Stream, duration_ns: int) -> None:
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
    order: list[str], designs: Mapping[str, Design], slices: _Slices, kernel: Any, n_lookups: int
) -> dict[str, Any]:
    elapsed, switches, steal = {}, {}, {}
    for name in order:
        tables, state = designs[name].tables, designs[name].state
        settle, stretch = slices.take(n_lookups), slices.take(n_lookups)
        kernel(tables, state, settle, _ZERO)
        switches_before, steal_before = _involuntary_switches(), steal_ticks() or 0
        start = perf_counter_ns()
        kernel(tables, state, stretch, _ZERO)
        elapsed[name] = max(1, perf_counter_ns() - start)
        switches[name] = _involuntary_switches() - switches_before
        steal[name] = max(0, (steal_ticks() or 0) - steal_before)
    return {
        "order": order,
        "elapsed_ns": elapsed,
        "n_involuntary_switches": switches,
        "n_steal_ticks": steal,
    }


def _involuntary_switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _flag(rounds: list[dict[str, Any]], names: list[str]) -> None:
    """Add the cause to every outlying pass; nothing is dropped."""
    for block in rounds:
        block["flagged"] = {}
    for name in names:
        columns = [
            [block[key][name] for block in rounds]
            for key in ("elapsed_ns", "n_steal_ticks", "n_involuntary_switches")
        ]
        for block, cause in zip(rounds, flag_outliers(*columns), strict=True):
            if cause:
                block["flagged"][name] = str(cause)
