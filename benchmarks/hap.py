"""What was promised of HAP p2ms: lookups and writes as fast as gcc's, building, splits and audits in time."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import twin_library
from benchmarks.effort import Effort
from benchmarks.paired import timed
from benchmarks.processes import in_fresh_process, in_fresh_processes
from benchmarks.report import Criterion, Report
from p2mperf import api
from p2mperf.analysis.statistics import ratio_interval
from p2mperf.designs.hap.door import HapDoor
from p2mperf.guests.guest import Guest

SIZE, SMALL_SIZE = "64G", "2G"
TWINS_SIZE = "16G"
DESIGNS = ("hap-walk", "hap-linear", "hap-walk-2m", "hap-linear-2m", "hap-walk-4k", "hap-linear-4k")
N_PROCESSES, N_TWINS_PROCESSES = 3, 6  # six are the fewest that give an exact interval of 95 %
N_BUILDS, N_PARTS = 5, 8
BOUND_4K_S, BOUND_2M_S, BOUND_AUDIT_S = 0.4, 0.15, 2.0
BOUND_SPLITS, BOUND_SHOWN, BOUND_TWINS = 300_000, 1.5, 1.05  # a second; times, of the same in C
_SOURCE = Path(__file__).with_name("hap_twins.c")
_Bound = tuple[str, Callable[[float], bool]]
_MOST_BUILT: dict[str, float] = {"4 KiB": BOUND_4K_S, "2 MiB": BOUND_2M_S}


def _at_most(bound: float) -> _Bound:
    return f"<= {bound}", lambda value: value <= bound


_CRITERIA: dict[str, _Bound] = {
    **{f"built on {pages} [s]": _at_most(bound) for pages, bound in _MOST_BUILT.items()},
    **{f"audit on {pages} [s]": _at_most(BOUND_AUDIT_S) for pages in _MOST_BUILT},
    "footprints unlike predicted": _at_most(0),
    "splits [1/s]": (f">= {BOUND_SPLITS}", lambda rate: rate >= BOUND_SPLITS),
    f"splits, the slowest of {N_PARTS} parts [1/s]": (
        f">= {BOUND_SPLITS}",
        lambda rate: rate >= BOUND_SPLITS,
    ),
    "shown/bare, in order": _at_most(BOUND_SHOWN),
    "shown/bare, scattered": _at_most(BOUND_SHOWN),
}


def run(effort: Effort) -> Report:
    """Try what was promised, in fresh processes.

    Parameters
    ----------
    effort : Effort
        Unless full, fewer processes and rounds; smoke: one of each, and a small guest.

    Returns
    -------
    Report

    Raises
    ------
    RuntimeError
        When gcc is not installed, or a process fails.
    """
    twin_library.require_compiler()
    size = SMALL_SIZE if effort is Effort.SMOKE else SIZE
    report = Report(f"hap: a {size} guest", ("what", "processes"), notes=_notes())
    with tempfile.TemporaryDirectory() as directory:
        library = str(twin_library.compile_twins(Path(directory), _SOURCE))
        n_processes = effort.choose(N_PROCESSES, 1, 1)
        found = [in_fresh_process("hap", size=size, library=library) for _ in range(n_processes)]
        _report_times(report, found)
        _report_twins(report, str(twin_library.compile_twins(Path(directory))), library, effort)
    return report


def _notes() -> list[str]:
    return [
        f"gcc {' '.join(twin_library.FLAGS)}: {twin_library.compiler_version()}",
        f"built: with the m2p, in memory that the machine has given before; median of {N_BUILDS}",
        "splits: one 4 KiB entry of each superpage of 2 MiB set to what it is, in pages made ready",
        "fresh pages: those are touched only then, which takes as long as the machine takes to give memory",
        "shown: what a split takes more with windows; bare: the same calls in the same order from C",
        "scattered: half of the superpages, in random order",
        f"numba/gcc: {N_TWINS_PROCESSES} processes of paired rounds on a {TWINS_SIZE} guest; ns of numba",
    ]


def _report_times(report: Report, found: list[dict[str, float]]) -> None:
    for what in found[0]:
        report.rows.append([what, ", ".join(f"{process[what]:.3g}" for process in found)])
    for what, (text, holds) in _CRITERIA.items():
        value = median(process[what] for process in found)
        report.criteria.append(Criterion(f"{what} {text}", f"{value:.3g}", holds(value)))


def _report_twins(report: Report, lookups: str, writes: str, effort: Effort) -> None:
    common: dict[str, Any] = {
        "size": SMALL_SIZE if effort is Effort.SMOKE else TWINS_SIZE,
        "designs": DESIGNS,
    }
    common["n_rounds"] = effort.choose(40, 20, 4)
    n_processes = effort.choose(N_TWINS_PROCESSES, N_TWINS_PROCESSES, 1)
    for module, more in (
        ("twins", {"library": lookups, "geometry": "hap64"}),
        ("hap_writes", {"library": writes}),
    ):
        answers = in_fresh_processes(module, n_processes, **more, **common)
        for what, first in answers[0].items():
            logs = [answer[what]["log_ratio"] for answer in answers]
            ratio = ratio_interval(logs)
            times = f"{first['numba_ns']:.2f} ns"
            report.rows.append(
                [f"{what} numba/gcc", ", ".join(f"{exp(log):.3f}" for log in logs) + f"; {times}"]
            )
            report.criteria.append(Criterion.as_fast(what, ratio, BOUND_TWINS))


def work(size: str, library: str) -> dict[str, float]:
    """Measure in this process: seconds, splits a second, and ratios."""
    for design in DESIGNS:
        _rehearse(design)
    guest = Guest.plain(size, geometry="hap64")
    found: dict[str, float] = {}
    for name, text in (("4k", "4 KiB"), ("2m", "2 MiB")):
        found[f"built on {text} [s]"] = median(_build_s(f"hap-walk-{name}", guest))
        with api.build(f"hap-walk-{name}", guest) as p2m:
            found[f"audit on {text} [s]"] = timed(p2m.audit)[0] / 1e9
    found["footprints unlike predicted"] = sum(_is_unlike(name, guest) for name in DESIGNS)
    found |= _splits(guest)
    found |= _shown(guest, library)
    return found


def _build_s(design: str, guest: Guest) -> list[float]:
    times = []
    for _ in range(N_BUILDS + 1):
        with api.build(design, guest) as p2m:
            times.append(p2m.build_ns / 1e9)
    return times[1:]


def _is_unlike(name: str, guest: Guest) -> bool:
    """Compare all that is the design's own: page tables of the host are those of the whole process."""
    with api.build(name, guest) as p2m:
        counted, predicted = p2m.footprint(), type(p2m).predict_footprint(guest)
    return replace(counted, page_table_bytes=0) != replace(predicted, page_table_bytes=0)


def _rehearse(design: str) -> None:
    with api.build(design, Guest.plain("64M", geometry="hap64")) as p2m:
        assert isinstance(p2m, HapDoor)
        if max(p2m.leaves):
            _split(p2m, [_stretches(p2m.guest)])
        p2m.audit()


def _stretches(guest: Guest) -> NDArray[np.uint64]:
    return np.arange(0, guest.n_boot_pages, 512, dtype=np.uint64)


def _split(p2m: Any, parts: Sequence[NDArray[np.uint64]], *, is_ready: bool = True) -> list[float]:
    """Split superpages part by part; time for one in each part [ns]."""
    before = p2m.counts["splits"]
    mfns = [p2m.lookup(gfns) >> np.uint64(12) for gfns in parts]
    if is_ready:
        p2m.make_ready(sum(gfns.size for gfns in parts))
    times = [timed(p2m.set_entry, gfns, mfns)[0] / gfns.size for gfns, mfns in zip(parts, mfns, strict=True)]
    assert p2m.counts["splits"] - before == sum(gfns.size for gfns in parts)
    return times


def _splits(guest: Guest) -> dict[str, float]:
    parts = np.array_split(_stretches(guest), N_PARTS)
    with api.build("hap-walk-2m", guest) as p2m:
        ready = _split(p2m, parts)
    with api.build("hap-walk-2m", guest) as p2m:
        fresh = _split(p2m, parts, is_ready=False)
    return {
        "splits [1/s]": 1e9 / float(np.mean(ready)),
        f"splits, the slowest of {N_PARTS} parts [1/s]": 1e9 / max(ready),
        "splits, fresh pages [1/s]": 1e9 / float(np.mean(fresh)),
    }


def _shown(guest: Guest, library: str) -> dict[str, float]:
    every = _stretches(guest)
    orders = {"in order": every, "scattered": np.random.default_rng(1).permutation(every)[: every.size // 2]}
    found: dict[Any, Any] = {}
    for how, gfns in orders.items():
        with api.build("hap-walk-2m", guest) as p2m:
            (walked_ns,) = _split(p2m, [gfns])
        with api.build("hap-linear-2m", guest) as p2m:
            shown_ns = _split(p2m, [gfns])[0] - walked_ns
        with api.build("hap-linear-2m", guest) as p2m:
            bare_ns = _show(p2m, gfns >> np.uint64(9), library)
        found |= {f"shown, {how} [ns]": shown_ns, f"bare, {how} [ns]": bare_ns}
        found[f"shown/bare, {how}"] = shown_ns / bare_ns
    return found


def _show(p2m: Any, pages: NDArray[np.uint64], library: str) -> float:
    """Let a loop in C show as many pages in the window of L1; time for one [ns]."""
    p2m.make_ready(pages.size)
    first = sum(p2m.plan.pages.values()) + p2m.plan.shape.leaf_frames
    show = ctypes.CDLL(library).show
    show.restype = ctypes.c_uint64
    show.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_uint64]
    arguments = (p2m.windows.address(0), pages.ctypes.data, pages.size, p2m.pool.fd, first)
    elapsed, refused = timed(show, *arguments)
    assert refused == 0
    return elapsed / pages.size
