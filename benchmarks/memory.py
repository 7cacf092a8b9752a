"""Memory that a real 400 GB unit of a sweep takes against what was predicted for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any

from benchmarks.effort import Effort
from benchmarks.report import Criterion, Report, mebibytes
from p2mperf.study.executors.base import Knees
from p2mperf.study.jobs import PROCESS_BYTES, jobs
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import Plan, make_plan
from p2mperf.study.sweep import sweep

BOUND_RATIO = 1.15
GUEST = "pv-64-400g"
_POLL_S = 0.01
_KINDS = ("memfd", "anonymous", "page tables")
_NO_KNEES = Knees({}, ())  # what a ladder would tell is no question here


def run(effort: Effort) -> Report:
    """Sweep one unit of the default plan for a 400 GB guest and watch the memory of its process.

    Parameters
    ----------
    effort : Effort
        Unless full, one stream only; smoke: a small guest.

    Returns
    -------
    Report

    Raises
    ------
    P2mperfError
        When the unit does not fit, or fails.
    """
    plan = _plan(effort)
    job = next(jobs(plan))
    with tempfile.TemporaryDirectory() as out:
        at_peak = _at_peak(lambda: sweep(plan, out, knees=_NO_KNEES))
    peak = sum(at_peak.values())
    ratio = peak / job.need_bytes
    rows = [[kind, mebibytes(n_bytes)] for kind, n_bytes in at_peak.items()]
    rows += [["together, at the peak", mebibytes(peak)], ["predicted", mebibytes(job.need_bytes)]]
    guest, designs = job.unit.guest.name, " and ".join(job.unit.designs)
    return Report(
        f"memory: a unit of {guest}, {len(job.cells)} cells of {designs}",
        ("part", "MiB"),
        rows,
        [
            f"sampled every {_POLL_S * 1000:.0f} ms from outside; the resident size would count every view",
            f"predicted: the footprints of all designs and {mebibytes(PROCESS_BYTES)} MiB for interpreter, "
            "compiler and streams",
        ],
        [Criterion(f"peak <= {BOUND_RATIO} of predicted", f"{ratio:.3f}", ratio <= BOUND_RATIO)],
    )


def _plan(effort: Effort) -> Plan:
    if effort is Effort.SMOKE:
        lookups = ["latency", "throughput"]
        small = narrow(make_plan("default"), sizes=["64M"], entry_bits=64, operations=lookups, n_replicates=1)
        return narrow(small, streams=["uniform"])
    streams = ["uniform"] if effort else []
    return narrow(make_plan("default"), guests=[GUEST], streams=streams, n_replicates=1)


def _at_peak(step: Callable[[], Any]) -> dict[str, int]:
    """Do something, and say what all processes that it started took when that was most [bytes]."""
    most = dict.fromkeys(_KINDS, 0)
    with ThreadPoolExecutor(1) as others:
        done = others.submit(step)
        while not done.done():
            for pid in _descendants("self"):
                with suppress(OSError):  # the process may end while it is looked at
                    parts = dict(zip(_KINDS, _memory(pid), strict=True))
                    most = max(most, parts, key=lambda parts: sum(parts.values()))
            sleep(_POLL_S)
        done.result()
    return most


def _descendants(pid: int | str) -> Iterator[int]:
    """Processes that one has started, or that those have, and that still run a program of their own.

    A child that has been forked and not yet begun its program still has all the memory of its parent.
    """
    own = Path("/proc/self/cmdline").read_bytes()
    for children in Path("/proc", str(pid), "task").glob("*/children"):
        with suppress(OSError):  # the thread, or the child, may end
            for child in map(int, children.read_text().split()):
                if Path("/proc", str(child), "cmdline").read_bytes() != own:
                    yield child
                    yield from _descendants(child)


def _memory(pid: int) -> tuple[int, int, int]:
    """Blocks of all memfds, anonymous memory and page tables of a process [bytes]."""
    directory = Path("/proc", str(pid))
    blocks = 0
    for link in (directory / "fd").iterdir():
        if os.readlink(link).startswith("/memfd:"):
            blocks += os.stat(link).st_blocks * 512
    fields = dict(line.split(":", 1) for line in (directory / "status").read_text().splitlines())
    # A process that is just going has no memory any more, but still a status.
    anonymous, tables = (int(fields.get(key, "0").split()[0]) * 1024 for key in ("RssAnon", "VmPTE"))
    return blocks, anonymous, tables
