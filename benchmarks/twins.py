"""numba's loops against gcc's: the same walks over the same tables."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import twin_library
from benchmarks.effort import Effort
from benchmarks.paired import paired_times, translated, uniform_stream
from benchmarks.processes import in_fresh_process
from benchmarks.report import Criterion, Report, interval_text
from p2mperf import api, kernels
from p2mperf.analysis.statistics import Ratio, process_ratio, ratio_interval
from p2mperf.guests.guest import Guest
from p2mperf.host.card import machine_card

BOUND_RATIO = 1.05
N_PROCESSES = 6  # the fewest that give an exact interval of 95 %
OPERATIONS = ("latency", "throughput")
DESIGNS = ("pv-linear", "pv-tree")
# size, geometry, designs, whether the criterion covers them
_GUESTS = (
    ("512M", "pv64", DESIGNS, True),
    ("128G", "pv64", DESIGNS, True),
    ("512M", "pv32", DESIGNS, False),
)
_SLICE_NS = 4e6
_CODE = ("code numba", "code gcc")
_ZERO = np.uint64(0)


def run(effort: Effort) -> Report:
    """Measure every guest in fresh processes and hold each loop to the bound.

    Parameters
    ----------
    effort : Effort
        Unless full, fewer rounds, and only the guests that the criterion covers; smoke: the smallest, once.

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
        "twins: numba's loops against gcc's on the same tables, uniform stream",
        ("guest", "design", "loop", "numba ns", "gcc ns", "numba/gcc", "95 % interval", *_CODE),
        notes=_notes(),
    )
    with tempfile.TemporaryDirectory() as directory:
        library = twin_library.compile_twins(Path(directory))
        for size, geometry, designs, held in _GUESTS[: effort.choose(3, 2, 1)]:
            _measure_guest(report, library, (size, geometry), designs, held, effort)
    return report


def _notes() -> list[str]:
    return [
        f"gcc {' '.join(twin_library.FLAGS)}: {twin_library.compiler_version()}",
        f"numba: LLVM for {machine_card()['llvm_cpu_name']}",
        f"medians over {N_PROCESSES} fresh processes, each of paired rounds in Latin order; all sums checked",
        "code: instructions/gathers/zmm/ymm/prefetches/calls of the whole function, its one loop included; "
        "gcc calls the list's slow path, LLVM puts it behind the loop",
    ]


def _measure_guest(
    report: Report,
    library: Path,
    guest: tuple[str, str],
    designs: tuple[str, ...],
    held: bool,
    effort: Effort,
) -> None:
    size, geometry = guest
    answers = [
        in_fresh_process(
            "twins",
            library=str(library),
            size=size,
            geometry=geometry,
            designs=designs,
            seed=seed,
            n_rounds=effort.choose(40, 20, 4),
            with_code=seed == 1,
        )
        for seed in range(1, effort.choose(N_PROCESSES, N_PROCESSES, 1) + 1)
    ]
    for design, operation in product(designs, OPERATIONS):
        found = [answer[f"{design} {operation}"] for answer in answers]
        ratio = ratio_interval([one["log_ratio"] for one in found])
        report.rows.append(_row(f"{size} {geometry}", design, operation, found, ratio))
        if held:
            what = f"{size} {geometry} {design} {operation}"
            report.criteria.append(Criterion.as_fast(what, ratio, BOUND_RATIO))


def _row(guest: str, design: str, operation: str, found: list[Any], ratio: Ratio) -> list[str]:
    times = [f"{median(one[side] for one in found):.2f}" for side in ("numba_ns", "gcc_ns")]
    code = ["/".join(map(str, found[0][side].values())) for side in ("numba_code", "gcc_code")]
    return [guest, design, operation, *times, f"{ratio.estimate:.3f}", interval_text(ratio), *code]


def work(
    library: str,
    size: str,
    geometry: str,
    designs: Sequence[str],
    seed: int,
    n_rounds: int,
    with_code: bool = False,
) -> dict[str, Any]:
    """Compare all loops over one guest, in this process.

    Parameters
    ----------
    library : str
        Path of the compiled twins.
    size, geometry : str
        The guest's.
    designs : sequence of str
        Whose loops.
    seed : int
        Seed of guest, stream and order.
    n_rounds : int
        Paired rounds for each loop.
    with_code : bool
        Count the machine code too, which takes compiling anew.

    Returns
    -------
    dict
        By "<design> <loop>": ``log_ratio`` (natural log of numba / gcc), ``numba_ns`` and ``gcc_ns`` for one
        lookup (medians), and the counts ``numba_code`` and ``gcc_code``.
    """
    guest = Guest.plain(size, geometry, seed=seed)
    stream = uniform_stream(guest, seed)
    answers = {}
    for name in designs:
        with api.build(name, guest) as design:
            entries = translated(design, stream)
            for operation in OPERATIONS:
                loops = _loops(Path(library), design, operation)
                times = paired_times(loops, stream, entries, n_rounds=n_rounds, slice_ns=_SLICE_NS, seed=seed)
                answer = _answer(times)
                if with_code:
                    answer["numba_code"] = twin_library.numba_code(getattr(kernels, operation), design)
                    answer["gcc_code"] = twin_library.twin_code(Path(library), design, operation)
                answers[f"{name} {operation}"] = answer
    return answers


def _loops(library: Path, design: Any, operation: str) -> dict[str, Any]:
    return {
        "numba": numba_loop(getattr(kernels, operation), design),
        "gcc": twin_library.Twin(library, design, operation),
    }


def _answer(times: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "log_ratio": process_ratio(times["numba"], times["gcc"]),
        "numba_ns": median(times["numba"]),
        "gcc_ns": median(times["gcc"]),
    }


def numba_loop(kernel: Any, design: Any) -> Any:
    """Bind a timed loop to a design."""
    return lambda stream: kernel(design.tables, design.state, stream, _ZERO)
