"""How soon the command line answers, and how soon a sweep measures."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.effort import Effort
from benchmarks.processes import ROOT
from benchmarks.report import Criterion, Report

HELP_BOUND_S = 0.3
SWEEP_BOUND_S = 3.0
N_HELP = 5
N_SWEEPS = 3
_GIVE_UP_S = 60


def run(effort: Effort) -> Report:
    """Time `--help`, and a warm quick sweep up to its first finished cell.

    Parameters
    ----------
    effort : Effort
        Unless full, one warm sweep instead of three; smoke: each command once.

    Returns
    -------
    Report

    Raises
    ------
    RuntimeError
        When a sweep ends, or a minute passes, without a finished cell.
    """
    helps = [_help_s() for _ in range(effort.choose(N_HELP, N_HELP, 1))]
    if effort is not Effort.SMOKE:
        first_cell_s()  # compiles what is not in the cache
    sweeps = [first_cell_s() for _ in range(effort.choose(N_SWEEPS, 1, 1))]
    return Report(
        "startup",
        ("command", "best s", "all s"),
        [
            ["--help", f"{min(helps):.3f}", _list(helps)],
            ["sweep --plan quick, first cell", f"{min(sweeps):.2f}", _list(sweeps)],
        ],
        ["a cell is written when all its samples are taken, so its first sample was earlier than shown"],
        [
            _below(f"--help, best of {len(helps)}", min(helps), HELP_BOUND_S),
            _below(f"warm quick sweep to its first cell, best of {len(sweeps)}", min(sweeps), SWEEP_BOUND_S),
        ],
    )


def _below(name: str, seconds: float, bound_s: float) -> Criterion:
    return Criterion(f"{name}: < {bound_s} s", f"{seconds:.3f}", seconds < bound_s)


def _list(seconds: list[float]) -> str:
    return " ".join(f"{one:.3f}" for one in seconds)


def _help_s() -> float:
    start = perf_counter()
    subprocess.run([sys.executable, "-m", "p2mperf", "--help"], cwd=ROOT, check=True, capture_output=True)
    return perf_counter() - start


def first_cell_s() -> float:
    """Start a quick sweep, wait until its first cell is written, and interrupt it [s]."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "p2mperf", "sweep", "--plan", "quick", "--quiet", "--out", out]
        start = perf_counter()
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as sweep:
            while not _has_cell(Path(out)):
                if sweep.poll() is not None or perf_counter() - start > _GIVE_UP_S:
                    sweep.kill()
                    assert sweep.stderr is not None
                    raise RuntimeError(f"the sweep gave no cell: {sweep.stderr.read().decode()[-1000:]}")
                sleep(0.005)
            elapsed = perf_counter() - start
            sweep.send_signal(signal.SIGINT)
            sweep.wait()
    return elapsed


def _has_cell(out: Path) -> bool:
    return any(b'"record":"cell"' in path.read_bytes() for path in out.rglob("*.jsonl"))
