"""Single facts of /proc and /sys, each None where the machine does not tell.

Every probe takes the root of the file tree it reads, so that it can be tried on saved texts of a machine one
does not have.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean
from time import sleep

Root = str | Path
_N_LOOKS, _LOOK_SECONDS = 50, 0.01  # shorter, and a neighbour that pauses is often missed


def read_text(directory: Root, name: str) -> str | None:
    """Read a small file, without the white space around it."""
    try:
        return Path(directory, name).read_text(errors="replace").strip()
    except OSError:
        return None


def read_number(directory: Root, name: str) -> int | None:
    """Read a file that holds one whole number and nothing else."""
    text = read_text(directory, name)
    return int(text) if text and text.isdecimal() else None


def read_choice(directory: Root, name: str) -> str | None:
    """Read which of its choices a file marks, as ``madvise`` in ``always [madvise] never``."""
    match = re.search(r"\[(\w+)\]", read_text(directory, name) or "")
    return match[1] if match else None


def load_average(root: Root = "/") -> list[float] | None:
    """Tasks that ran or waited to run, on average over the last 1, 5 and 15 minutes."""
    words = (read_text(root, "proc/loadavg") or "").split()[:3]
    try:
        return [float(word) for word in words] if len(words) == 3 else None
    except ValueError:
        return None


def running_tasks(root: Root = "/") -> float | None:
    """Tasks beside this one that run or could run just now, on average over half a second.

    Not those that wait for a disk, which a load average counts too.
    """
    counts = []
    for _ in range(_N_LOOKS):
        words = (read_text(root, "proc/loadavg") or "").split()
        running = words[3].partition("/")[0] if len(words) > 3 else ""
        if not running.isdecimal():
            return None
        counts.append(max(0, int(running) - 1))  # who reads runs too
        sleep(_LOOK_SECONDS)
    return fmean(counts)


def steal_ticks(root: Root = "/") -> int | None:
    """Time that the hypervisor gave to others while a CPU of ours wanted to run, since boot.

    Parameters
    ----------
    root : str or Path
        Where /proc is found.

    Returns
    -------
    int or None
        Clock ticks over all CPUs, field 8 of the first line of /proc/stat (proc(5)).
    """
    words = (read_text(root, "proc/stat") or "").split("\n")[0].split()
    return int(words[8]) if len(words) > 8 and words[8].isdecimal() else None
