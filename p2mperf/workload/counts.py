"""What a command took where its events cannot be recorded: counts, from which nothing can be replayed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2mperf.host.card import machine_card
from p2mperf.host.probes import Root, read_text
from p2mperf.workload.recording import Card, Usage
from p2mperf.workload.running import Running

FORMAT = "p2mperf-counts"
VERSION = 1
NOTE = "counts only: no event was recorded, and nothing can be replayed from this"
# Of /proc/vmstat and /proc/stat: what the whole machine did meanwhile.
_VMSTAT = r"^(pgfault|pgmajfault|pgfree|pgalloc_\w+|thp_fault_alloc) (\d+)$"
_STAT = r"^(ctxt|processes) (\d+)$"


@dataclass(frozen=True)
class Counts:
    """What one run of a command took.

    Attributes
    ----------
    tool : str
        Name of the program, without its path and arguments.
    why : str
        Why there are no events.
    usage : Usage
        What the command took, by wait4.
    of_machine : dict of str to int
        What the kernel counted meanwhile of the whole machine, whoever it did it for.
    machine : dict
        Machine card.
    is_interrupted : bool
        Whether Ctrl-C ended it.
    """

    tool: str
    why: str
    usage: Usage
    of_machine: dict[str, int]
    machine: Card
    is_interrupted: bool


def count(command: Sequence[str], why: str, stdout: int = 1, root: Root = "/") -> Counts:
    """Run a command and count what can be counted without tracefs.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    why : str
        Why its events are not recorded.
    stdout : int
        Descriptor that it has as its standard output.
    root : str or Path
        Where /proc is found.

    Returns
    -------
    Counts

    Raises
    ------
    BadInputError
        When there is no such program.
    """
    running = Running(command, stdout)
    try:
        before = _machine_counts(root)
        running.go()
        usage = running.wait()
        after = _machine_counts(root)
    finally:
        running.give_up()
    grown = {name: number - before[name] for name, number in after.items() if name in before}
    tool = os.path.basename(command[0])
    return Counts(tool, why, usage, grown, machine_card(), running.is_interrupted)


def _machine_counts(root: Root) -> dict[str, int]:
    return {
        name: int(number)
        for file, wanted in (("proc/vmstat", _VMSTAT), ("proc/stat", _STAT))
        for name, number in re.findall(wanted, read_text(Path(root), file) or "", re.MULTILINE)
    }
