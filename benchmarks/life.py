"""What the life of a PV p2m costs: writing, ballooning, breaking shared leaves, building, tools' trees."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from benchmarks import twin_library
from benchmarks.processes import in_fresh_process
from benchmarks.report import Criterion, Report
from p2mperf import api
from p2mperf.guests import Guest
from p2mperf.tables.write_kernels import set_entries
from p2mperf.units import GIB

DESIGNS = ("pv-tree", "pv-linear")
BOUND_RATIO, BOUND_FRAMES_PER_S, BOUND_BREAKS_S = 1.05, 50e6, 1.0
N_BREAKS = 100_000
N_REGION = 8 * GIB >> 12
_SOURCE = Path(__file__).with_name("life_twins.c")
# guest, entry width, hotplug limit: 16 GiB above it, so that there are shared leaves to break
_GUESTS = (("8G", 64, "24G"), ("43G", 32, "59G"), ("128G", 64, "144G"), ("400G", 64, "416G"))
_COLUMNS = (
    "build ms",
    "tools ms",
    "rebuild ms",
    "leaf us",
    "leaf+mid us",
    "leaves us",
    "down ns",
    "up ns",
    "set ns",
)


def run(quick: bool) -> Report:
    """Measure every guest in a fresh process for each design, then what was promised.

    Parameters
    ----------
    quick : bool
        Without the largest guest.

    Returns
    -------
    Report
    """
    report = Report(
        "life: costs over a p2m's life", ("guest", "design", *_COLUMNS, "pages", "VMAs"), notes=_notes()
    )
    for size, bits, limit in _GUESTS[: 3 if quick else None]:
        for design in DESIGNS:
            found = in_fresh_process("life", task="costs", size=size, bits=bits, limit=limit, design=design)
            times = [f"{found[column]:.2f}" for column in _COLUMNS]
            growth = [f"{found[what][0]} -> {found[what][1]}" for what in ("pages", "VMAs")]
            report.rows.append([f"{size} pv{bits}", design, *times, *growth])
    for design in DESIGNS:
        _hold(report, design, quick)
    return report


def _notes() -> list[str]:
    return [
        "tools: the tools' tree built, and rebuilt as after a resume.",
        "leaf: one shared leaf broken by one call, and with its mid; leaves: each of 128 in an array.",
        "down, up, set: a frame of an 8 GiB region, in array form.",
        "published, not ours: at boot kernels took 0.25 to 0.77 s to rebuild a list of 1 GiB (logs)",
    ]


def _hold(report: Report, design: str, quick: bool) -> None:
    found = in_fresh_process("life", task="promises", design=design, n_rounds=15 if quick else 40)
    for what, ratio in found["ratios"].items():
        name = f"{design} set in place, {what}: numba/gcc <= {BOUND_RATIO}"
        report.criteria.append(Criterion(name, f"{ratio:.3f}", ratio <= BOUND_RATIO))
    for what, rate in found["balloon"].items():
        name = f"{design} {what}: >= {BOUND_FRAMES_PER_S / 1e6:.0f} M frames/s"
        report.criteria.append(Criterion(name, f"{rate / 1e6:.0f} M/s", rate >= BOUND_FRAMES_PER_S))
    for what, seconds in found["breaks"].items():
        name = f"{design} {N_BREAKS} leaves broken, {what}: < {BOUND_BREAKS_S:.0f} s"
        report.criteria.append(Criterion(name, f"{seconds:.2f} s", seconds < BOUND_BREAKS_S))


def work(task: str, **arguments: Any) -> dict[str, Any]:
    """Measure in this process: `costs` of a guest, or the `promises`."""
    return _costs(**arguments) if task == "costs" else _promises(**arguments)


def _timed(step: Callable[[], Any]) -> float:
    start = perf_counter_ns()
    step()
    return perf_counter_ns() - start


def _costs(size: str, bits: int, limit: str, design: str) -> dict[str, Any]:
    guest = Guest.plain(size, f"pv{bits}")
    _warm(design, bits)
    with api.build(design, guest, limit=limit) as p2m:
        before = p2m.footprint()
        found: dict[str, Any] = {"build ms": p2m.build_ns / 1e6}
        found["tools ms"] = _timed(lambda: p2m.tools) / 1e6
        found["rebuild ms"] = median(_timed(p2m.tools.rebuild) for _ in range(5)) / 1e6
        found |= _breaks(p2m) | _region(p2m)
        after = p2m.footprint()
        p2m.audit()
    return found | {"pages": [before.n_pages, after.n_pages], "VMAs": [before.n_vmas, after.n_vmas]}


def _warm(design: str, bits: int) -> None:
    """Compile everything on a small guest."""
    with api.build(design, Guest.plain("64M", f"pv{bits}"), limit="8G") as p2m:
        p2m.tools.rebuild()
        p2m.set([p2m.guest.covered_pfn], 1 << bits - 1)
        p2m.balloon_up(np.arange(9), p2m.balloon_down(np.arange(9)))


def _breaks(p2m: Any) -> dict[str, float]:
    shape = p2m.guest.geometry
    leaf, first = shape.leaf_frames, p2m.guest.covered_pfn + shape.mid_frames
    first -= first % shape.mid_frames
    foreign = shape.foreign_bit | 1
    with_mid = _timed(lambda: p2m.set([first], foreign))
    alone = median(_timed(lambda at=at: p2m.set([first + at * leaf], foreign)) for at in range(2, 40, 2))
    many = first + shape.mid_frames // 4 + np.arange(128) * leaf
    together = _timed(lambda: p2m.set(many, foreign)) / many.size
    return {"leaf us": alone / 1e3, "leaf+mid us": with_mid / 1e3, "leaves us": together / 1e3}


def _region(p2m: Any) -> dict[str, float]:
    pfns = np.arange(min(N_REGION, p2m.guest.n_boot_pages), dtype=np.uint64)
    entries = p2m.lookup(pfns)
    times: dict[str, list[float]] = {"down ns": [], "up ns": [], "set ns": []}
    for _ in range(5):
        times["set ns"].append(_timed(lambda: p2m.set(pfns, entries)))
        times["down ns"].append(_timed(lambda: p2m.balloon_down(pfns)))
        times["up ns"].append(_timed(lambda: p2m.balloon_up(pfns, entries)))
    return {what: median(values) / pfns.size for what, values in times.items()}


def _promises(design: str, n_rounds: int) -> dict[str, Any]:
    ratios = {}
    for bits in (64, 32):
        with api.build(design, Guest.plain("8G", f"pv{bits}")) as p2m:
            ratios |= _ratios(p2m, n_rounds)
    balloon = {}
    with api.build(design, Guest.plain("8G")) as p2m:
        for what in ("", ", m2p kept"):
            if what:
                p2m.m2p  # noqa: B018
            times = _region(p2m)
            balloon |= {f"balloon {way}{what}": 1e9 / times[f"{way} ns"] for way in ("down", "up")}
    return {"ratios": ratios, "balloon": balloon, "breaks": _many_breaks(design)}


def _many_breaks(design: str) -> dict[str, float]:
    _warm(design, 64)
    with api.build(design, Guest.plain("8G"), limit="512G") as p2m:
        pfns = (p2m.guest.covered_pfn + np.arange(N_BREAKS) * 512).astype(np.uint64)
        entries = np.full(N_BREAKS, 1 << 63 | 1, np.uint64)
        seconds = _timed(lambda: p2m.set(pfns, entries)) / 1e9
        if p2m.n_breaks["leaf"] != N_BREAKS:
            raise RuntimeError(f"{p2m.n_breaks['leaf']} leaves were broken, not {N_BREAKS}")
    return {"neighbours": seconds}


def _ratios(p2m: Any, n_rounds: int) -> dict[str, float]:
    """Ratios of numba's time to gcc's, sequential and random frames; pairs in alternating order."""
    n_frames, bits = 1 << 18, p2m.guest.geometry.entry_bits
    streams = {
        "sequential": np.arange(n_frames, dtype=np.uint64),
        "random": np.random.default_rng(1).integers(0, N_REGION, n_frames).astype(np.uint64),
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
                times = dict(sorted((side, _timed(loops[side])) for side in order))
                logs.append(log(times[0] / times[1]))
            found[f"{bits} bits {what}"] = exp(median(logs[2:]))
    return found


def _numba_loop(p2m: Any, pfns: Any, entries: Any, done: Any, changes: Any) -> Callable[[], Any]:
    tables, words, m2p = p2m._write_tables, p2m._words, p2m._m2p_words()
    return lambda: set_entries(tables, words, pfns, entries, False, 0, True, done, m2p, changes)


class _Twin:
    """set_entries as gcc compiles it, over a design's tables."""

    def __init__(self, directory: Path, p2m: Any) -> None:
        library = directory / "life_twins.so"
        subprocess.run(["gcc", *twin_library.FLAGS, "-o", str(library), str(_SOURCE)], check=True)
        kind = twin_library.KINDS[p2m.name]
        self._call = ctypes.CDLL(str(library))[f"set_{kind}_{p2m.guest.geometry.entry_bits}"]
        self._call.restype = ctypes.c_int64
        self._p2m = p2m

    def loop(self, pfns: Any, entries: Any, done: Any, changes: Any) -> Callable[[], Any]:
        tables, words = (
            np.array([int(word) for word in fields], np.uint64)
            for fields in (self._p2m._write_tables, self._p2m._words)
        )
        kept = (tables, words, pfns, entries, done, changes)
        at = [ctypes.c_void_p(array.ctypes.data) for array in kept]
        zero, n_frames = ctypes.c_int64(0), ctypes.c_int64(pfns.size)
        return lambda _kept=kept: self._call(*at[:4], zero, n_frames, at[4], None, zero, at[5])
