"""Building a 400 GB guest's tables against touching as many fresh bytes."""

from __future__ import annotations

import ctypes
import os
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from benchmarks.effort import Effort
from benchmarks.processes import in_fresh_process
from benchmarks.report import Criterion, Report, mebibytes, milliseconds
from p2mperf import api
from p2mperf.designs.pv.scenarios import P2m
from p2mperf.memory import vm
from p2mperf.units import PAGE_SIZE

BOUND_RATIO = 1.5
GUEST, SMALL_GUEST = "pv-64-400g", "domu-64-8g"
DESIGNS = ("pv-tree", "pv-linear")
N_RUNS = 3


def run(effort: Effort) -> Report:
    """Build in three fresh processes for each design; every one of them must reach the bound.

    Parameters
    ----------
    effort : Effort
        Unless full, fewer builds in a process; smoke: a small guest, in one process.

    Returns
    -------
    Report
    """
    n_runs = effort.choose(N_RUNS, N_RUNS, 1)
    guest = SMALL_GUEST if effort is Effort.SMOKE else GUEST
    report = Report(
        f"build: tables of {guest} against the first touch of as many bytes in a fresh memfd",
        ("design", "run", "MiB", "build ms", "mfns ms", "touch ms", "build/touch", "(build - mfns)/touch"),
        notes=["medians in turns, after one discarded touch; a touch writes one word a page of 4 KiB"],
    )
    for design in DESIGNS:
        ratios = []
        for number in range(1, n_runs + 1):
            found = in_fresh_process("build", design=design, guest=guest, n_rounds=effort.choose(5, 3, 2))
            ratios.append((found["build_ns"] - found["mfn_generation_ns"]) / found["touch_ns"])
            report.rows.append(_row(design, number, found, ratios[-1]))
        name = f"{design}: (build - mfns)/touch <= {BOUND_RATIO} in {n_runs} of {n_runs} runs"
        n_kept = sum(ratio <= BOUND_RATIO for ratio in ratios)
        report.criteria.append(Criterion(name, f"{n_kept} of {n_runs}", n_kept == n_runs))
    return report


def _row(design: str, number: int, found: dict[str, Any], ratio: float) -> list[str]:
    times = [milliseconds(found[key]) for key in ("build_ns", "mfn_generation_ns", "touch_ns")]
    with_mfns = f"{found['build_ns'] / found['touch_ns']:.2f}"
    return [design, str(number), mebibytes(found["n_bytes"]), *times, with_mfns, f"{ratio:.2f}"]


def work(design: str, guest: str, n_rounds: int) -> dict[str, float]:
    """Build and touch in turns, in this process.

    Parameters
    ----------
    design, guest : str
        What to build, and for whom.
    n_rounds : int
        Builds, each with a touch after it.

    Returns
    -------
    dict
        Medians ``build_ns``, ``mfn_generation_ns``, ``touch_ns``, and ``n_bytes``, the memory of the tables.
    """
    api.build(design, SMALL_GUEST).close()  # what is compiled is no part of building
    built: list[tuple[int, int]] = []
    touched: list[int] = []
    for number in range(n_rounds):
        with api.build(design, guest) as tables:
            built.append((tables.build_ns, tables.mfn_generation_ns))
            assert isinstance(tables, P2m)
            n_bytes = tables.pool.memory_bytes
        if number == 0:
            first_touch(n_bytes)
        touched.append(first_touch(n_bytes))
    return {
        "build_ns": median(build for build, _ in built),
        "mfn_generation_ns": median(mfns for _, mfns in built),
        "touch_ns": median(touched),
        "n_bytes": n_bytes,
    }


def first_touch(n_bytes: int) -> int:
    """Time the first touch of every page of a fresh memfd [ns]."""
    fd = os.memfd_create("first-touch")
    os.ftruncate(fd, n_bytes)
    address = vm.map_pages(0, n_bytes, vm.READ_WRITE, fd)
    words = np.frombuffer(memoryview((ctypes.c_char * n_bytes).from_address(address)), np.uint64)
    start = perf_counter_ns()
    words[:: PAGE_SIZE // words.itemsize] = 1
    elapsed = perf_counter_ns() - start
    vm.unmap(address, n_bytes)
    os.close(fd)
    return elapsed
