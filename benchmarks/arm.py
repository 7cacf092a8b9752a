"""Write faults on the ARM designs a second, against gcc's loop; and write protection against a copy."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
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
from p2mperf.designs.arm.vlpt import ArmVlpt
from p2mperf.designs.arm.walk import ArmWalkDirect
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.measure.rounds import latin_orders
from p2mperf.memory.pool import PagePool
from p2mperf.migration.tracing import handle_faults, protect_all, restore_all
from p2mperf.migration.writers import all_frames

BOUND_RATIO = 1.05
COPY_RATIO = 1.2
SLOTS = (1, 4, 16)
N_RUNS = 3
N_PROCESSES = 6  # the fewest that give an exact interval of 95 %
SOURCE = Path(__file__).with_name("arm_twins.c")
TWINS = {
    "arm-vlpt": "fault_vlpt",
    "arm-walk-direct": "fault_direct",
    "arm-walk": "fault_walk",
    "arm-walk-thrashing": "fault_walk",
}
# Millions of faults a second that each run must reach.
RATES = {
    ("arm-vlpt", "sequential"): 400,
    ("arm-walk-direct", "sequential"): 300,
    ("arm-vlpt", "random"): 300,
    ("arm-walk-direct", "random"): 150,
}


def run(effort: Effort) -> Report:
    """Measure faults on a guest of 1 GiB and write protection of one of 16 GiB, in fresh processes.

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
        "arm: write faults on a 1G guest, each page once; numba's loop against gcc's on the same tables",
        ("design", "writes", "numba M/s", "of runs", "gcc M/s", "numba/gcc", "95 % interval"),
        notes=[
            f"gcc {' '.join(twin_library.FLAGS)}: {twin_library.compiler_version()}",
            f"medians over {N_PROCESSES} fresh processes, rounds in Latin order; counts and bitmaps checked",
        ],
    )
    with tempfile.TemporaryDirectory() as directory:
        library = str(twin_library.compile_twins(Path(directory), SOURCE))
        n_processes, n_rounds = effort.choose(N_PROCESSES, N_PROCESSES, 1), effort.choose(60, 20, 4)
        answers = in_fresh_processes("arm", n_processes, library=library, n_rounds=n_rounds)
    for design in TWINS:
        for writes in ("sequential", "random"):
            _report_faults(report, design, writes, [answer[f"{design} {writes}"] for answer in answers])
    _report_protection(report, [answer["protect"] for answer in answers])
    report.notes.append(_switches([answer["switch"] for answer in answers]))
    return report


def _report_faults(report: Report, design: str, writes: str, found: list[dict[str, float]]) -> None:
    rates = [1e3 / one["numba_ns"] for one in found]
    ratio = ratio_interval([one["log_ratio"] for one in found])
    spread = f"{min(rates):.0f}-{max(rates):.0f}"
    gcc = f"{1e3 / median(one['gcc_ns'] for one in found):.0f}"
    figures = [f"{median(rates):.0f}", spread, gcc, f"{ratio.estimate:.3f}", interval_text(ratio)]
    report.rows.append([design, writes, *figures])
    report.criteria.append(Criterion.as_fast(f"{design} {writes}", ratio, BOUND_RATIO))
    if (design, writes) in RATES:
        wanted = RATES[design, writes]
        n_kept = sum(rate >= wanted for rate in rates[:N_RUNS])
        name = f"{design} {writes}: {wanted} million faults/s in {N_RUNS} of {N_RUNS} runs"
        report.criteria.append(Criterion(name, f"{n_kept} of {N_RUNS}", n_kept == N_RUNS))


def _report_protection(report: Report, found: list[dict[str, float]]) -> None:
    ratios = [one["copy_ns"] / one["protect_ns"] for one in found]
    n_kept = sum(ratio >= COPY_RATIO for ratio in ratios[:N_RUNS])
    report.notes.append(
        f"protecting all entries of a 16G guest: {median(one['protect_ns'] for one in found) / 1e6:.2f} ms, "
        f"copying as many bytes: {median(one['copy_ns'] for one in found) / 1e6:.2f} ms"
    )
    name = f"protect 16G at {COPY_RATIO} x copy bandwidth in {N_RUNS} of {N_RUNS} runs"
    spread = f"{n_kept} of {N_RUNS}, {min(ratios):.2f}-{max(ratios):.2f} x"
    report.criteria.append(Criterion(name, spread, n_kept == N_RUNS))


def work(library: str, seed: int, n_rounds: int) -> dict[str, dict[str, float]]:
    """Measure everything once, in this process.

    Parameters
    ----------
    library : str
        Path of the compiled twins.
    seed : int
        Seed of guest, stream and order.
    n_rounds : int
        Paired rounds.

    Returns
    -------
    dict
        By "<design> <writes>": ``log_ratio`` (natural log of numba / gcc), ``numba_ns`` and ``gcc_ns`` of a
        fault (medians); under "protect": ``protect_ns`` and ``copy_ns`` for the whole table; under "switch":
        time of a switch by "<slots> changed" and "<slots> unchanged" [ns].
    """
    guest = Guest.plain("1G", geometry="lpae", seed=seed)
    sequential = all_frames(guest)
    streams = {"sequential": sequential, "random": np.random.default_rng(seed).permutation(sequential)}
    answers = {"protect": _protection(seed, n_rounds), "switch": _switch(seed, n_rounds)}
    for name in TWINS:
        with api.build(name, guest) as design:
            for writes, stream in streams.items():
                times = _faults(_loops(library, design, stream), design, n_rounds, seed)
                answers[f"{name} {writes}"] = {
                    "log_ratio": process_ratio(times["numba"], times["gcc"]),
                    "numba_ns": median(times["numba"]),
                    "gcc_ns": median(times["gcc"]),
                }
    return answers


Loop = Callable[[Words], int]


def _loops(library: str, design: Any, stream: Words) -> dict[str, Loop]:
    first = int(stream.min())
    words = np.array([int(word) for word in design.tables], np.uint64)
    twin = ctypes.CDLL(library)[TWINS[design.name]]
    twin.restype = ctypes.c_uint64
    twin.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p]
    return {
        "numba": lambda dirty: handle_faults(design, stream, first, dirty),
        "gcc": lambda dirty: int(
            twin(words.ctypes.data, stream.ctypes.data, stream.size, first, dirty.ctypes.data)
        ),
    }


def _faults(loops: dict[str, Loop], design: Any, n_rounds: int, seed: int) -> dict[str, list[float]]:
    """Time each loop over all pages, protected afresh before; the time is that of one fault [ns]."""
    names = list(loops)
    dirty = np.zeros(design.guest.n_boot_pages // 64, np.uint64)
    times: dict[str, list[float]] = {name: [] for name in names}
    for order in latin_orders(len(names), n_rounds, np.random.default_rng(seed)):
        for name in (names[i] for i in order):
            protect_all(design.third_tables())
            dirty[:] = 0
            start = perf_counter_ns()
            n_faults = loops[name](dirty)
            times[name].append((perf_counter_ns() - start) / dirty.size / 64)
            if n_faults != dirty.size * 64 or not (dirty == ~np.uint64(0)).all():
                raise AssertionError(f"{name} handled {n_faults} faults of {dirty.size * 64}")
    return {name: found[2:] for name, found in times.items()}


def _protection(seed: int, n_rounds: int) -> dict[str, float]:
    """Time write protection of 16 GiB, and a copy of its table to memory on the same page sizes [ns]."""
    guest = Guest.plain("16G", geometry="lpae", seed=seed)
    times: dict[str, list[int]] = {"protect_ns": [], "copy_ns": []}
    with ArmWalkDirect(guest) as design, PagePool(design.third_words().size // 512) as pool:
        entries = design.third_words()
        other = pool.words(
            int(pool.allocate(design.third_words().size // 512, "copy")[0]),
            np.uint64,
            design.third_words().size // 512,
        )
        for _ in range(n_rounds):
            restore_all([entries])
            start = perf_counter_ns()
            protect_all([entries])
            middle = perf_counter_ns()
            np.copyto(other, entries)
            times["copy_ns"].append(perf_counter_ns() - middle)
            times["protect_ns"].append(middle - start)
        del entries, other
    return {name: median(found[2:]) for name, found in times.items()}


def _switch(seed: int, n_rounds: int) -> dict[str, float]:
    """Time `restore` between two domains that share the window, and where nothing has changed [ns]."""
    times: dict[str, list[int]] = {}
    for n_slots in SLOTS:
        guests = [Guest.plain(f"{n_slots}G", geometry="lpae", seed=seed + number) for number in range(2)]
        with ArmVlpt(guests[0]) as first, ArmVlpt(guests[1], domid=1, window=first.window) as second:
            for domain in (first, second) * n_rounds:
                for kind in ("changed", "unchanged"):
                    start = perf_counter_ns()
                    domain.restore()
                    times.setdefault(f"{n_slots} {kind}", []).append(perf_counter_ns() - start)
    return {name: median(found[2:]) for name, found in times.items()}


def _switches(found: list[dict[str, float]]) -> str:
    parts = [f"{name}: {median(one[name] for one in found) / 1e3:.0f} us" for name in found[0]]
    what = "here the kernel maps pages and fills its page tables, ARM would store an entry and invalidate"
    return f"switch to a traced domain, by slots ({what}): {', '.join(parts)}"
