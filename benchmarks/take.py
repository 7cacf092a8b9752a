"""The list's throughput loop against what a notebook would write: `numpy.take` over the same entries."""

from __future__ import annotations

import ctypes
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.effort import Effort
from benchmarks.paired import paired_times, translated, uniform_stream
from benchmarks.processes import in_fresh_process
from benchmarks.report import Criterion, Report
from benchmarks.twins import numba_loop
from p2mperf import api, kernels
from p2mperf.analysis.statistics import process_ratio
from p2mperf.guests.guest import Guest

# How many times as fast the loop must be.
SPEEDUPS = {"512M": 1.4, "128G": 0.97}
N_RUNS = 3


def run(effort: Effort) -> Report:
    """Measure both guests in three fresh processes each; every one of them must reach the bound.

    Parameters
    ----------
    effort : Effort
        Unless full, fewer rounds; smoke: the smaller guest, once.

    Returns
    -------
    Report
    """
    report = Report(
        'take: list throughput against numpy.take(list, pfns, out=, mode="clip"), uniform stream',
        ("guest", "run", "loop ns", "take ns", "take/loop"),
        notes=["medians of paired rounds in Latin order over the same window; a fresh process a run"],
    )
    n_runs = effort.choose(N_RUNS, N_RUNS, 1)
    for size, bound in list(SPEEDUPS.items())[: effort.choose(2, 2, 1)]:
        speedups = []
        for seed in range(1, n_runs + 1):
            found = in_fresh_process("take", size=size, seed=seed, n_rounds=effort.choose(60, 20, 4))
            speedups.append(found["speedup"])
            times = [f"{found[side]:.2f}" for side in ("loop_ns", "take_ns")]
            report.rows.append([size, str(seed), *times, f"{found['speedup']:.3f}"])
        n_kept = sum(speedup >= bound for speedup in speedups)
        name = f"{size}: loop at least {bound} times as fast as numpy.take in {n_runs} of {n_runs} runs"
        report.criteria.append(Criterion(name, f"{n_kept} of {n_runs}", n_kept == n_runs))
    return report


def work(size: str, seed: int, n_rounds: int) -> dict[str, float]:
    """Compare both over one guest, in this process.

    Parameters
    ----------
    size : str
        The guest's.
    seed : int
        Seed of guest, stream and order.
    n_rounds : int
        Paired rounds.

    Returns
    -------
    dict
        ``speedup`` (take / loop), and ``loop_ns`` and ``take_ns`` for one lookup.
    """
    guest = Guest.plain(size, seed=seed)
    stream = uniform_stream(guest, seed)
    with api.build("pv-linear", guest) as design:
        loops = {
            "loop": numba_loop(kernels.throughput, design),
            "take": _take(_list_array(design), stream.size),
        }
        times = paired_times(
            loops, stream, translated(design, stream), n_rounds=n_rounds, slice_ns=4e6, seed=seed
        )
    return {
        "speedup": float(np.exp(process_ratio(times["take"], times["loop"]))),
        "loop_ns": median(times["loop"]),
        "take_ns": median(times["take"]),
    }


def _list_array(design: Any) -> NDArray[np.uint64]:
    n_bytes = int(design.tables.size) * design.guest.geometry.entry_bytes
    area = (ctypes.c_char * n_bytes).from_address(design.window.base)
    return np.frombuffer(area, design.guest.geometry.dtype)


def _take(entries: NDArray[np.uint64], n_lookups: int) -> Any:
    room = np.empty(n_lookups, entries.dtype)

    def take(stream: NDArray[np.uint64]) -> NDArray[np.uint64]:
        # numpy would copy unsigned indices to signed ones first: give it signed ones.
        return np.take(entries, stream.view(np.int64), out=room[: stream.size], mode="clip")

    return take
