"""Memory that a real 400 GB unit of a sweep takes against what was predicted for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import sleep
from typing import Any

from benchmarks.processes import ROOT
from benchmarks.report import Criterion, Report, mebibytes
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan
from p2mperf.study.sweep import PROCESS_BYTES, jobs

BOUND_RATIO = 1.15
GUEST = "pv-64-400g"
_POLL_S = 0.01
_KINDS = ("memfd", "anonymous", "page tables")


def run(quick: bool) -> Report:
    """Run a unit of the default plan for a 400 GB guest and watch its memory.

    Parameters
    ----------
    quick : bool
        One stream only.

    Returns
    -------
    Report

    Raises
    ------
    RuntimeError
        When the unit fails.
    """
    streams = ("uniform",) if quick else ()
    plan = narrow(make_plan("default"), guests=[GUEST], streams=streams, n_replicates=1)
    job = next(jobs(plan))
    peak, at_peak = _peak(_order(job, plan))
    ratio = peak / job.need_bytes
    rows = [[kind, mebibytes(n_bytes)] for kind, n_bytes in at_peak.items()]
    rows += [["together, at the peak", mebibytes(peak)], ["predicted", mebibytes(job.need_bytes)]]
    return Report(
        f"memory: a unit of {GUEST}, {len(job.cells)} cells of {' and '.join(job.unit.designs)}",
        ("part", "MiB"),
        rows,
        [
            f"sampled every {_POLL_S * 1000:.0f} ms from outside; the resident size would count every view",
            f"predicted: the footprints of all designs and {mebibytes(PROCESS_BYTES)} MiB for interpreter, "
            "compiler and streams",
        ],
        [Criterion(f"peak <= {BOUND_RATIO} of predicted", f"{ratio:.3f}", ratio <= BOUND_RATIO)],
    )


def _order(job: Any, plan: Any) -> dict[str, Any]:
    unit = job.unit
    named = ("stream", "hole_fraction", "identity_fraction", "operation")
    return {
        "task": "unit",
        "guest": asdict(unit.guest),
        "backing": unit.backing,
        "replicate": unit.replicate,
        "seed": unit.seed,
        "designs": unit.designs,
        "cells": [{key: cell[key] for key in named} for cell in job.cells],
        "settings": plan.settings,
        "warm_up": False,
        "parent": os.getpid(),
    }


def _peak(order: dict[str, Any]) -> tuple[int, dict[str, int]]:
    command = [sys.executable, "-m", "p2mperf.study.unit"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        at_peak = max(_samples(process), key=lambda parts: sum(parts.values()))
        if process.wait():
            raise RuntimeError(f"the unit failed:\n{process.stderr.read().strip()[-2000:]}")
    return sum(at_peak.values()), at_peak


def _samples(process: Any) -> Iterator[dict[str, int]]:
    while process.poll() is None:
        with suppress(OSError):  # the process may end while it is looked at
            yield dict(zip(_KINDS, _memory(process.pid), strict=True))
        sleep(_POLL_S)


def _memory(pid: int) -> tuple[int, int, int]:
    """Blocks of all memfds, anonymous memory and page tables of a process [bytes]."""
    directory = Path("/proc", str(pid))
    blocks = 0
    for link in (directory / "fd").iterdir():
        if os.readlink(link).startswith("/memfd:"):
            blocks += os.stat(link).st_blocks * 512
    fields = dict(line.split(":", 1) for line in (directory / "status").read_text().splitlines())
    # A process that is just going has no memory any more, but still a status.
    return blocks, *(int(fields.get(key, "0").split()[0]) * 1024 for key in ("RssAnon", "VmPTE"))
