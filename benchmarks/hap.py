"""What was promised of HAP p2ms: built, split and audited in time; windows cost what the system takes."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from benchmarks import twin_library
from benchmarks.effort import Effort
from benchmarks.processes import in_fresh_process
from benchmarks.report import Criterion, Report
from p2mperf import api
from p2mperf.guests.guest import Guest

SIZE, SMALL_SIZE = "64G", "2G"
N_PROCESSES = 3
BOUND_4K_S, BOUND_2M_S, BOUND_AUDIT_S = 0.4, 0.15, 2.0
BOUND_SPLITS, BOUND_SHOWN = 300_000, 1.5  # a second; time of showing over that of a bare loop
_SOURCE = Path(__file__).with_name("hap_twins.c")
_CRITERIA: dict[str, tuple[str, Callable[[float], bool]]] = {
    "built on 4 KiB [s]": (f"< {BOUND_4K_S}", lambda seconds: seconds < BOUND_4K_S),
    "built on 2 MiB [s]": (f"< {BOUND_2M_S}", lambda seconds: seconds < BOUND_2M_S),
    "audit on 4 KiB [s]": (f"< {BOUND_AUDIT_S}", lambda seconds: seconds < BOUND_AUDIT_S),
    "audit on 2 MiB [s]": (f"< {BOUND_AUDIT_S}", lambda seconds: seconds < BOUND_AUDIT_S),
    "splits [1/s]": (f">= {BOUND_SPLITS}", lambda rate: rate >= BOUND_SPLITS),
    "shown/bare": (f"<= {BOUND_SHOWN}", lambda ratio: ratio <= BOUND_SHOWN),
}


def run(effort: Effort) -> Report:
    """Try what was promised, in fresh processes.

    Parameters
    ----------
    effort : Effort
        Unless full, one process instead of three; smoke: a small guest.

    Returns
    -------
    Report
    """
    if not twin_library.compiler():
        raise twin_library.NoCompilerError
    size = SMALL_SIZE if effort is Effort.SMOKE else SIZE
    report = Report(f"hap: a {size} guest", ("what", "processes"), notes=_notes())
    with tempfile.TemporaryDirectory() as directory:
        library = str(Path(directory, "hap_twins.so"))
        subprocess.run(["gcc", *twin_library.FLAGS, "-o", library, str(_SOURCE)], check=True)
        n_processes = effort.choose(N_PROCESSES, 1, 1)
        found = [in_fresh_process("hap", size=size, library=library) for _ in range(n_processes)]
    for what in found[0]:
        report.rows.append([what, ", ".join(f"{process[what]:.3g}" for process in found)])
    for what, (text, holds) in _CRITERIA.items():
        value = median(process[what] for process in found)
        report.criteria.append(Criterion(f"{what} {text}", f"{value:.3g}", holds(value)))
    return report


def _notes() -> list[str]:
    return [
        "built: the second time in a process, in memory that the machine has given it before; with the m2p",
        "splits: one 4 KiB entry of each superpage of 2 MiB set to what it is, in pages made ready",
        "shown: what a split takes more with windows; bare: the same calls from a loop in C",
    ]


def work(size: str, library: str) -> dict[str, float]:
    """Measure in this process: seconds, splits a second, and ratios."""
    for design in ("hap-walk-4k", "hap-walk-2m", "hap-linear-2m"):
        _rehearse(design)
    guest = Guest.plain(size, geometry="hap64")
    found: dict[str, float] = {}
    for name, text in (("4k", "4 KiB"), ("2m", "2 MiB")):
        api.build(f"hap-walk-{name}", guest).close()
        with api.build(f"hap-walk-{name}", guest) as p2m:
            found[f"built on {text} [s]"] = p2m.build_ns / 1e9
            found[f"audit on {text} [s]"] = _timed(p2m.audit) / 1e9
    n = guest.n_boot_pages >> 9
    with api.build("hap-walk-2m", guest) as p2m:
        walked_ns = _split_all(p2m) / n
        found["splits [1/s]"] = 1e9 / walked_ns
    with api.build("hap-linear-2m", guest) as p2m:
        shown_ns = _split_all(p2m) / n - walked_ns
    with api.build("hap-linear-2m", guest) as p2m:
        bare_ns = _show_all(p2m, library) / n
    return {**found, "shown [ns]": shown_ns, "bare [ns]": bare_ns, "shown/bare": shown_ns / bare_ns}


def _timed(step: Callable[[], Any]) -> float:
    start = perf_counter_ns()
    step()
    return perf_counter_ns() - start


def _rehearse(design: str) -> None:
    with api.build(design, Guest.plain("64M", geometry="hap64")) as p2m:
        _split_all(p2m)
        p2m.audit()


def _split_all(p2m: Any) -> float:
    gfns = np.arange(0, p2m.guest.n_boot_pages, 512, dtype=np.uint64)
    mfns = p2m.lookup(gfns) >> np.uint64(12)
    p2m.table.make_ready(gfns.size)
    elapsed = _timed(lambda: p2m.set_entry(gfns, mfns))
    assert set(p2m.leaves) == {0}
    return elapsed


def _show_all(p2m: Any, library: str) -> float:
    """Let a loop in C show as many pages in the window of L1, in the same order."""
    pages = np.arange(p2m.guest.n_boot_pages >> 9, dtype=np.uint64)
    p2m.table.make_ready(pages.size)
    first = sum(p2m.plan.pages.values()) + p2m.plan.shape.leaf_frames
    show = ctypes.CDLL(library).show
    show.restype = ctypes.c_uint64
    show.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_uint64]
    arguments = (p2m.windows.address(0), pages.ctypes.data, pages.size, p2m.pool.fd, first)
    refused: list[int] = []
    elapsed = _timed(lambda: refused.append(show(*arguments)))
    assert refused == [0]
    return elapsed
