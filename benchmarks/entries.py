"""numba's loop over kernel entries against gcc's: what both say that the lookups of an entry take."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from benchmarks import twin_library
from benchmarks.effort import Effort
from benchmarks.processes import in_fresh_processes
from benchmarks.report import Criterion, Report, interval_text
from p2mperf import api
from p2mperf.analysis.statistics import process_ratio, ratio_interval
from p2mperf.designs.base import Design
from p2mperf.families import find_preamble
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.measure.operations.entry import Entry
from p2mperf.measure.operations.entry_kernels import Before, Entered, enter
from p2mperf.measure.rounds import latin_orders
from p2mperf.streams import make_stream
from p2mperf.units import PAGE_SIZE

BOUND_RATIO = 1.05
N_PROCESSES = 6  # the fewest that give an exact interval of 95 %
DESIGNS = ("pv-linear", "pv-tree")
PREAMBLES = ("tight", "flush")
_SIZE = "512M"
_ZERO = np.uint64(0)


def run(effort: Effort) -> Report:
    """Measure entries in fresh processes and hold each design to the bound.

    Parameters
    ----------
    effort : Effort
        Unless full, fewer rounds; smoke: in one process.

    Returns
    -------
    Report

    Raises
    ------
    RuntimeError
        When gcc is not installed, or a process fails.
    """
    twin_library.require_compiler()
    report = Report(
        f"entries: numba's loop against gcc's, lookups of a kernel entry, {_SIZE}, uniform stream",
        ("design", "preamble", "numba ns", "gcc ns", "numba/gcc", "95 % interval"),
        notes=["of an entry, as the loops time it themselves; all sums, flushes and work checked"],
    )
    with tempfile.TemporaryDirectory() as directory:
        library = twin_library.compile_twins(Path(directory))
        n_processes, n_rounds = effort.choose(N_PROCESSES, N_PROCESSES, 1), effort.choose(40, 12, 2)
        answers = in_fresh_processes("entries", n_processes, library=str(library), n_rounds=n_rounds)
    for design, preamble in product(DESIGNS, PREAMBLES):
        found = [answer[f"{design} {preamble}"] for answer in answers]
        ratio = ratio_interval([one["log_ratio"] for one in found])
        times = [f"{median(one[side] for one in found):.1f}" for side in ("numba_ns", "gcc_ns")]
        report.rows.append([design, preamble, *times, f"{ratio.estimate:.3f}", interval_text(ratio)])
        report.criteria.append(Criterion.as_fast(f"{design}, {preamble}", ratio, BOUND_RATIO))
    return report


def work(library: str, seed: int, n_rounds: int) -> dict[str, Any]:
    """Compare both loops over one guest, in this process.

    Parameters
    ----------
    library : str
        Path of the compiled twins.
    seed : int
        Seed of guest, stream and order.
    n_rounds : int
        Paired rounds for each design and preamble.

    Returns
    -------
    dict
        By "<design> <preamble>": ``log_ratio`` (natural log of numba / gcc), ``numba_ns`` and ``gcc_ns`` for
        one entry (medians).
    """
    guest = Guest.plain(_SIZE, seed=seed)
    answers = {}
    for name in DESIGNS:
        with api.build(name, guest) as design:
            for preamble in PREAMBLES:
                times = _paired_times(Path(library), design, preamble, n_rounds, seed)
                answers[f"{name} {preamble}"] = {
                    "log_ratio": process_ratio(times["numba"], times["gcc"]),
                    "numba_ns": median(times["numba"]),
                    "gcc_ns": median(times["gcc"]),
                }
    return answers


def _paired_times(
    library: Path, design: Design, preamble: str, n_rounds: int, seed: int
) -> dict[str, list[float]]:
    """Time of an entry by loop, one a round, each behind an untimed pass of its own [ns]."""
    operation = Entry(find_preamble("pv", preamble))
    operation.begin({design.name: design}, operation.n_fixed, None)
    before = operation.before
    twin = EntryTwin(library, design, before)
    loops: dict[str, Callable[[Any], Any]] = {
        "numba": lambda frames: enter(design.tables, (), frames, _ZERO, before),
        "gcc": twin,
    }
    times: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    stream = make_stream("uniform", design.guest, 4 * n_rounds * operation.n_fixed, seed=seed)
    passes = iter(stream.reshape(-1, operation.n_fixed))
    for order in latin_orders(len(names), n_rounds, np.random.default_rng(seed)):
        for name in (names[at] for at in order):
            for _ in range(2):  # the second one counts
                frames = next(passes)
                start = perf_counter_ns()
                result = loops[name](frames)
                elapsed_ns = perf_counter_ns() - start
                operation.finish(design, frames, result)
            times[name].append(operation.timed_ns(result, elapsed_ns) / operation.n_done(frames.size))
    return times


class _Before(ctypes.Structure):
    _fields_ = (
        ("asks", ctypes.c_void_p),
        ("n_asks", ctypes.c_uint64),
        ("n_frames", ctypes.c_uint64),
        ("flushed", ctypes.c_void_p),
        ("n_flushed_bytes", ctypes.c_uint64),
        ("worked_on", ctypes.c_void_p),
        ("n_lines", ctypes.c_uint64),
        ("n_touches", ctypes.c_uint64),
        ("apart", ctypes.c_uint64),
    )


class EntryTwin(twin_library.Twin):
    """The loop over entries, bound to a design's tables and to what comes before.

    Parameters
    ----------
    library : Path
        From `twin_library.compile_twins`.
    design : Design
        A pv-tree or pv-linear; its tables are read in place.
    before : Before
        What comes before; its memory is used in place.
    """

    def __init__(self, library: Path, design: Any, before: Before) -> None:
        super().__init__(library, design, "entry")
        self._loop.restype = None
        self._loop.argtypes = [*self._loop.argtypes, *[ctypes.c_void_p] * 3]
        self._kept = before
        self._before = _Before(
            before.asks.ctypes.data,
            before.asks.size,
            int(before.n_frames),
            int(before.flush_address),
            before.flushed.nbytes,
            before.worked_on.ctypes.data,
            before.worked_on.size // 8,
            int(before.n_touches),
            PAGE_SIZE // 8,
        )

    def __call__(self, stream: Words) -> Entered:  # type: ignore[override]
        out, took = np.zeros(4, np.uint64), np.zeros(stream.size // int(self._kept.n_frames), np.int64)
        before = ctypes.byref(self._before)
        self._loop(
            self._tables, stream.ctypes.data, stream.size, 0, before, took.ctypes.data, out.ctypes.data
        )
        total, whole, n_flushes, work = out
        return Entered(total, took, whole, n_flushes, work)
