"""A recording beside perf's counts of the same run: ``python tools/beside_perf.py OUT.parquet COMMAND ...``.

Prints a markdown table and fails when a count differs by more than it may. perf counts what COMMAND and its
children do, until a task has given up its memory: what exit_mmap and the freeing of pages would count is
missing there, so neither is compared. The recording has perf's own start besides, about a thousand faults: a
build of minutes hides that. For root.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from p2mperf.study.recording import place, record_to_file
from p2mperf.workload.events import EVENTS, Event
from p2mperf.workload.sampling import count_events

# By how much a count may differ. Allocations are also made for tasks as they end, which perf does not see.
MOST = {
    Event.FAULT_USER: 0.005,
    Event.FAULT_KERNEL: 0.005,
    Event.MAP_PAGES: 0.005,
    Event.NEW_TASK: 0.005,
    Event.EXEC: 0.005,
    Event.EXIT: 0.005,
    Event.MMAP: 0.005,
    Event.MUNMAP: 0.005,
    Event.MPROTECT: 0.005,
    Event.BRK: 0.005,
    Event.ALLOC: 0.01,
}


def perf_counts(text: str) -> dict[Event, int]:
    r"""Read what ``perf stat -x,`` wrote.

    Parameters
    ----------
    text : str
        Lines of number, unit, event and more.

    Returns
    -------
    dict of Event to int

    Examples
    --------
    >>> perf_counts("# started\n\n17,,sched:sched_process_exec,1,100.00,,\n")
    {<Event.EXEC: 6>: 17}
    """
    names = {EVENTS[event].tracepoint.replace("/", ":"): event for event in MOST}
    rows = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
    return {names[row[2]]: int(row[0]) for row in rows if len(row) > 2 and row[2] in names}


def table(recorded: dict[str, int], counted: dict[Event, int]) -> tuple[str, bool]:
    """Put both beside each other.

    Parameters
    ----------
    recorded : dict of str to int
        By name of the event.
    counted : dict of Event to int
        By perf.

    Returns
    -------
    text : str
        Rows of a markdown table.
    is_alike : bool
        Whether all are there and no count differs by more than it may.
    """
    rows, is_alike = [], set(counted) == set(MOST)
    for event, n_counted in counted.items():
        n_recorded = recorded.get(event.name, 0)
        apart = n_recorded / n_counted - 1 if n_counted else float(n_recorded > 0)
        is_alike &= abs(n_recorded - n_counted) <= MOST[event] * n_counted
        name = EVENTS[event].tracepoint
        rows.append(f"| {name} | {n_recorded} | {n_counted} | {apart:+.3%} | {MOST[event]:.1%} |")
    heads = ["| event | recorded | perf | apart | may be |", "|---|---:|---:|---:|---:|"]
    return "\n".join([*heads, *rows]), is_alike


def main(arguments: list[str]) -> int:
    """Record, compare, and fail when they are not alike."""
    if len(arguments) < 2:
        sys.exit(__doc__)
    out, *command = arguments
    with tempfile.TemporaryDirectory() as directory:
        counts = Path(directory, "counts")
        events = ",".join(EVENTS[event].tracepoint.replace("/", ":") for event in MOST)
        perf = ["perf", "stat", "-x,", "-o", str(counts), "-e", events, "--", *command]
        found = record_to_file(perf, place(out, "16M"))
        text, is_alike = table(count_events(found.recording), perf_counts(counts.read_text()))
    version = subprocess.run(
        ["perf", "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    n_read = found.run.raw.n_read
    sys.stdout.write(
        f"{text}\n\n{version}; {found.recording.n_events} events decoded, {n_read} read as the kernel counts,"
        f" {found.run.raw.n_lost} lost\n"
    )
    return int(not is_alike or n_read != found.recording.n_events)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
