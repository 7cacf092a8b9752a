"""numba's loop over a build's entries against gcc's: what both say that the lookups of an entry take."""

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
from numpy.typing import NDArray

from benchmarks import twin_library
from benchmarks.effort import Effort
from benchmarks.processes import in_fresh_processes
from benchmarks.report import Criterion, Report, interval_text
from p2mperf.analysis.statistics import process_ratio, ratio_interval
from p2mperf.families import find_family
from p2mperf.guests.guest import Guest
from p2mperf.measure.disturb import FLUSHED_PAGES
from p2mperf.measure.operations.entry import trimmed_mean
from p2mperf.measure.replay import Replayer, condition_of
from p2mperf.measure.replay_kernels import Condition, Replayed, replay
from p2mperf.measure.rounds import latin_orders
from p2mperf.streams import make_stream
from p2mperf.units import PAGE_SIZE
from p2mperf.workload.translation_stream import M2P_ITEM, Entered, TranslationStream

BOUND_RATIO = 1.05
N_PROCESSES = 6  # the fewest that give an exact interval of 95 %
DESIGNS = ("pv-linear", "pv-tree")
CONDITIONS = ("tight", "flushed")
_SIZE, _N_TIGHT, _N_FLUSHED = "512M", 20_000, 1_000
_ZERO = np.uint64(0)
# Of an anonymous fault's nine lookups, mk_pte's of the data and set_pte_at's of its table ask no m2p.
_OF_M2P = np.array([1, 1, 1, 1, 1, 0, 1, 1, 0], np.uint32) * np.uint32(M2P_ITEM)


def run(effort: Effort) -> Report:
    """Measure replays in fresh processes and hold each design to the bound.

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
        f"replays: numba's loop against gcc's, anonymous faults with their m2p lookups, {_SIZE}",
        ("design", "condition", "numba ns", "gcc ns", "numba/gcc", "95 % interval", "gcc, called ns"),
        notes=[
            "of an entry, as the loops time it themselves; all sums, flushes and work checked",
            "called: the tree's lookup as a function of its own, as Linux 3.18 has it; numba folds it in",
        ],
    )
    with tempfile.TemporaryDirectory() as directory:
        library = twin_library.compile_twins(Path(directory))
        n_processes, n_rounds = effort.choose(N_PROCESSES, N_PROCESSES, 1), effort.choose(40, 12, 2)
        answers = in_fresh_processes("replays", n_processes, library=str(library), n_rounds=n_rounds)
    for design, condition in product(DESIGNS, CONDITIONS):
        found = [answer[f"{design} {condition}"] for answer in answers]
        ratio = ratio_interval([one["log_ratio"] for one in found])
        numba, gcc, called = (
            median(one[f"{side}_ns"] for one in found) for side in ("numba", "gcc", "called")
        )
        times = [f"{numba:.1f}", f"{gcc:.1f}", f"{ratio.estimate:.3f}", interval_text(ratio)]
        report.rows.append([design, condition, *times, f"{called:.1f}" if design == "pv-tree" else "-"])
        report.criteria.append(Criterion.as_fast(f"{design}, {condition}", ratio, BOUND_RATIO))
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
        Paired rounds for each design and condition.

    Returns
    -------
    dict
        By "<design> <condition>": ``log_ratio`` (natural log of numba / gcc), ``numba_ns``, ``gcc_ns`` and
        ``called_ns`` for one entry (medians).
    """
    guest = Guest.plain(_SIZE, seed=seed)
    with Replayer(guest, DESIGNS, _faults(guest, seed), control=False) as replayer:
        return {
            f"{name} {condition}": _compared(Path(library), replayer, name, condition, n_rounds, seed)
            for name, condition in product(DESIGNS, CONDITIONS)
        }


def _faults(guest: Guest, seed: int) -> TranslationStream:
    asks = find_family("pv").entry
    assert asks is not None
    frames = make_stream("uniform", guest, asks.n_frames * _N_TIGHT, seed=seed).reshape(_N_TIGHT, -1)
    items = frames[:, list(asks.asks)].astype(np.uint32) | _OF_M2P
    return TranslationStream(
        items.reshape(-1),
        np.arange(_N_TIGHT + 1) * len(asks.asks),
        np.full(_N_TIGHT, Entered.ANONYMOUS_WRITE, np.uint8),
        np.zeros(_N_TIGHT, np.uint32),
        guest.n_boot_pages,
        True,
    )


def _compared(
    library: Path, replayer: Replayer, name: str, condition: str, n_rounds: int, seed: int
) -> dict[str, float]:
    """Time of an entry by loop, one a round, each behind an untimed pass over entries before."""
    n_entries = _N_TIGHT // 4 if condition == "tight" else _N_FLUSHED
    came = condition_of(condition, 0, np.zeros(_N_TIGHT, np.uint32))
    design = replayer.designs[name]

    def by_numba(first: int, end: int, took: NDArray[np.int64]) -> Replayed:
        result: Replayed = replay(design.tables, design.state, replayer.asked, came, first, end, took, _ZERO)
        return result

    loops: dict[str, Callable[..., Replayed]] = {
        "numba": by_numba,
        "gcc": ReplayTwin(library, replayer, name, came),
    }
    loops["called"] = ReplayTwin(library, replayer, name, came, called=name == "pv-tree")
    times: dict[str, list[float]] = {loop: [] for loop in loops}
    rng = np.random.default_rng(seed)
    for order in latin_orders(len(loops), n_rounds, rng):
        first = int(rng.integers(0, _N_TIGHT - 2 * n_entries + 1))
        for loop in (list(loops)[at] for at in order):
            for begin in (first, first + n_entries):  # the second one counts
                took = np.zeros(n_entries, np.int64)
                start = perf_counter_ns()
                result = loops[loop](begin, begin + n_entries, took)
                elapsed_ns = perf_counter_ns() - start
                replayer.check(name, begin, begin + n_entries, result)
                assert result.n_flushes == n_entries * (condition == "flushed")
            times[loop].append(trimmed_mean(took) * elapsed_ns / max(1, int(result.whole)))
    ratio = process_ratio(times["numba"], times["gcc"])
    return {"log_ratio": ratio, **{f"{loop}_ns": median(each) for loop, each in times.items()}}


class _Asked(ctypes.Structure):
    _fields_ = (("items", ctypes.c_void_p), ("starts", ctypes.c_void_p), ("m2p", ctypes.c_uint64))


class _Condition(ctypes.Structure):
    _fields_ = (
        ("flushed", ctypes.c_void_p),
        ("n_flushed_bytes", ctypes.c_uint64),
        ("worked_on", ctypes.c_void_p),
        ("n_lines", ctypes.c_uint64),
        ("n_touches", ctypes.c_void_p),
        ("apart", ctypes.c_uint64),
    )


class ReplayTwin:
    """The loop over a build's entries, bound to a design's tables and to what comes before.

    Parameters
    ----------
    library : Path
        From `twin_library.compile_twins`.
    replayer : Replayer
        Whose stream and tables are read in place.
    name : str
        pv-tree or pv-linear.
    condition : Condition
        What comes before; its memory is used in place.
    called : bool
        Call the tree's lookup, as Linux 3.18 does.
    """

    def __init__(
        self, library: Path, replayer: Replayer, name: str, condition: Condition, called: bool = False
    ) -> None:
        kind = "called_tree" if called else twin_library.KINDS[name]
        self._loop = ctypes.CDLL(str(library))[f"{kind}_replay_64"]
        self._loop.restype = None
        self._loop.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2
        self._loop.argtypes += [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p]
        self._words = np.array([int(word) for word in replayer.designs[name].tables], np.uint64)
        asked = replayer.asked
        self._kept = asked, condition
        self._asked = _Asked(asked.items.ctypes.data, asked.starts.ctypes.data, int(asked.m2p))
        self._condition = _Condition(
            int(condition.flush_address),
            condition.flushed.nbytes,
            condition.worked_on.ctypes.data,
            condition.worked_on.size // 8,
            condition.n_touches.ctypes.data,
            (FLUSHED_PAGES - 1) * PAGE_SIZE // 8,
        )

    def __call__(self, first: int, end: int, took: NDArray[np.int64]) -> Replayed:
        out = np.zeros(5, np.uint64)
        told = ctypes.byref(self._asked), ctypes.byref(self._condition)
        self._loop(self._words.ctypes.data, *told, first, end, took.ctypes.data, 0, out.ctypes.data)
        return Replayed(*out)
