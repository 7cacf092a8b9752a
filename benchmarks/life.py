"""What was promised of writing to a PV p2m: as fast as gcc's, ballooning at full rate, leaves broken in time.

What each operation costs on which guest is measured by the engine: ``p2mperf sweep --plan life``.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import twin_library
from benchmarks.effort import Effort
from benchmarks.paired import timed
from benchmarks.processes import in_fresh_process
from benchmarks.report import Criterion, Report
from p2mperf import api
from p2mperf.designs.pv.scenarios import P2m
from p2mperf.designs.pv.write_kernels import set_entries
from p2mperf.guests.guest import Guest

DESIGNS = ("pv-tree", "pv-linear")
BOUND_RATIO, BOUND_RATE, BOUND_BREAKS_S = 1.05, 50.0, 1.0  # -, M frames/s, s
N_BREAKS = 100_000
SIZE, SMALL_SIZE = "8G", "1G"
_SOURCE = Path(__file__).with_name("life_twins.c")
N_PROCESSES = 3


def run(effort: Effort) -> Report:
    """Try what was promised, each design in fresh processes.

    Parameters
    ----------
    effort : Effort
        Unless full, one process a design instead of three; smoke: a small guest, fewer rounds and leaves.

    Returns
    -------
    Report
    """
    twin_library.require_compiler()
    report = Report("life: writing to a p2m", ("design", "what", "processes"), notes=_notes())
    for design in DESIGNS:
        processes = [
            in_fresh_process(
                "life",
                design=design,
                n_rounds=effort.choose(40, 15, 2),
                n_breaks=effort.choose(N_BREAKS, N_BREAKS, N_BREAKS // 100),
                size=SMALL_SIZE if effort is Effort.SMOKE else SIZE,
            )
            for _ in range(effort.choose(N_PROCESSES, 1, 1))
        ]
        for group, (text, unit, holds) in _CRITERIA.items():
            for what in processes[0][group]:
                values = [process[group][what] for process in processes]
                shown = ", ".join(f"{value:.3g}" for value in values)
                report.rows.append([design, f"{what} [{unit}]", shown])
                name, value = f"{design} {what}: {text}", median(values)
                report.criteria.append(Criterion(name, f"{value:.3g}", holds(value)))
    return report


def _notes() -> list[str]:
    return [
        "a criterion is held against the median over processes",
        "what each costs: p2mperf sweep --plan life",
    ]


_CRITERIA: dict[str, tuple[str, str, Callable[[float], bool]]] = {
    "set in place": (f"numba/gcc <= {BOUND_RATIO}", "ratio", lambda ratio: ratio <= BOUND_RATIO),
    "balloon": (f">= {BOUND_RATE:.0f} M frames/s", "M frames/s", lambda rate: rate >= BOUND_RATE),
    "breaks": (f"< {BOUND_BREAKS_S:.0f} s", "s", lambda seconds: seconds < BOUND_BREAKS_S),
}


def work(design: str, n_rounds: int, n_breaks: int, size: str) -> dict[str, Any]:
    """Measure in this process: ratios to gcc's time, rates of ballooning, time for many broken leaves."""
    ratios: dict[str, float] = {}
    for bits in (64, 32):
        with api.build(design, Guest.plain(size, f"pv{bits}")) as p2m:
            ratios |= _ratios(p2m, n_rounds)
    balloon: dict[str, float] = {}
    with api.build(design, Guest.plain(size)) as p2m:
        for kept in ("", ", m2p kept"):
            if kept:
                assert isinstance(p2m, P2m)
                p2m.m2p  # noqa: B018
            balloon |= {f"balloon {way}{kept}": rate for way, rate in _balloon_rates(p2m).items()}
    return {"set in place": ratios, "balloon": balloon, "breaks": _many_breaks(design, n_breaks, size)}


def _balloon_rates(p2m: Any) -> dict[str, float]:
    """Millions of frames a second over all of a guest, where no leaf is broken."""
    pfns = np.arange(p2m.guest.n_boot_pages, dtype=np.uint64)
    entries = p2m.lookup(pfns)
    times: dict[str, list[float]] = {"down": [], "up": []}
    for _ in range(5):
        times["down"].append(timed(p2m.balloon_down, pfns)[0])
        times["up"].append(timed(p2m.balloon_up, pfns, entries)[0])
    return {way: 1e3 * pfns.size / median(values) for way, values in times.items()}


def _many_breaks(design: str, n_breaks: int, size: str) -> dict[str, float]:
    """Seconds for many leaves, the median of three: the first gets its memory from the hypervisor first."""
    with api.build(design, Guest.plain("64M"), limit="8G") as p2m:
        assert isinstance(p2m, P2m)
        p2m.set([p2m.guest.covered_pfn], 1 << 63)  # compiles
    times = []
    for _ in range(3):
        with api.build(design, Guest.plain(size), limit="512G") as p2m:
            assert isinstance(p2m, P2m)
            pfns = (p2m.guest.covered_pfn + np.arange(n_breaks) * 512).astype(np.uint64)
            entries = np.full(n_breaks, 1 << 63 | 1, np.uint64)
            times.append(timed(p2m.set, pfns, entries)[0] / 1e9)
            if p2m.n_breaks["leaf"] != n_breaks:
                raise RuntimeError(f"{p2m.n_breaks['leaf']} leaves were broken, not {n_breaks}")
    return {f"{n_breaks} neighbouring leaves broken": median(times)}


def _ratios(p2m: Any, n_rounds: int) -> dict[str, float]:
    """Ratios of numba's time to gcc's, sequential and random frames; pairs in alternating order."""
    n_frames, bits = 1 << 18, p2m.guest.geometry.entry_bits
    streams = {
        "sequential": np.arange(n_frames, dtype=np.uint64),
        "random": np.random.default_rng(1).integers(0, p2m.guest.n_boot_pages, n_frames).astype(np.uint64),
    }
    with tempfile.TemporaryDirectory() as directory:
        twin = _Twin(Path(directory), p2m)
        found = {}
        for what, pfns in streams.items():
            # Both write from and to the same arrays: where those lie decides more than who compiled the loop.
            arrays = (pfns, p2m.lookup(pfns), np.ones(pfns.size, np.bool_), np.zeros(3, np.int64))
            loops = (_numba_loop(p2m, *arrays), twin.loop(*arrays))
            logs = []
            for number in range(n_rounds + 2):
                order = (0, 1) if number % 2 else (1, 0)
                times = dict(sorted((side, timed(loops[side])[0]) for side in order))
                logs.append(log(times[0] / times[1]))
            found[f"set in place, {bits} bits {what}"] = exp(median(logs[2:]))
    return found


def _numba_loop(p2m: Any, pfns: Any, entries: Any, done: Any, changes: Any) -> Callable[[], Any]:
    tables, form, m2p = p2m.store.write_tables, p2m.store.form, p2m.way_back.words()
    return lambda: set_entries(tables, form, pfns, entries, False, 0, True, done, m2p, changes)


class _Twin:
    """set_entries as gcc compiles it, over a design's tables."""

    def __init__(self, directory: Path, p2m: Any) -> None:
        library = twin_library.compile_twins(directory, _SOURCE)
        kind = twin_library.KINDS[p2m.name]
        self._call = ctypes.CDLL(str(library))[f"set_{kind}_{p2m.guest.geometry.entry_bits}"]
        self._call.restype = ctypes.c_int64
        self._p2m = p2m

    def loop(self, pfns: Any, entries: Any, done: Any, changes: Any) -> Callable[[], Any]:
        tables, words = (
            np.array([int(word) for word in fields], np.uint64)
            for fields in (self._p2m.store.write_tables, self._p2m.store.form)
        )
        kept = (tables, words, pfns, entries, done, changes)
        at = [ctypes.c_void_p(array.ctypes.data) for array in kept]
        zero, n_frames = ctypes.c_int64(0), ctypes.c_int64(pfns.size)

        def call() -> Any:
            assert kept  # alive as long as its addresses are used
            return self._call(*at[:4], zero, n_frames, at[4], None, zero, at[5])

        return call
