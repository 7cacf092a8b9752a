"""The one budget of memory: what can be had without swapping or being killed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from p2mperf.errors import DoesNotFitError, P2mperfError
from p2mperf.host.probes import Root, read_number, read_text
from p2mperf.units import format_size

# Limit, use, and the line of memory.stat that counts cached files nobody uses.
_CGROUP_V2 = ("memory.max", "memory.current", "inactive_file")
_CGROUP_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
# cgroup v1 says "no limit" with the largest multiple of a page that fits a signed word.
_NO_LIMIT_BYTES = 1 << 60


def available_memory_bytes(root: Root = "/") -> int:
    """Memory that can be taken without swapping or being killed.

    Parameters
    ----------
    root : str or Path
        Where /proc and /sys are found.

    Returns
    -------
    int
        The smaller of MemAvailable and what the control groups of this process leave, of which cached
        files that are not in use count as free [bytes].

    Raises
    ------
    P2mperfError
        When /proc/meminfo does not tell, which no Linux since 3.14 does.
    """
    available = memory_info(root).get("MemAvailable")
    if available is None:
        raise P2mperfError(
            f"no MemAvailable in {Path(root, 'proc/meminfo')}: p2mperf needs /proc of Linux 3.14 or later"
        )
    return max(0, min([available, *(headroom for _, headroom in _cgroup_levels(root))]))


def require_memory(n_bytes: int, what: str, advice: str = "take a smaller guest or limit") -> None:
    """Refuse what memory does not hold, before any of it is taken.

    Parameters
    ----------
    n_bytes : int
        Memory that is needed [bytes].
    what : str
        Who needs it, as the sentence begins.
    advice : str
        What to do where it does not suffice.

    Raises
    ------
    DoesNotFitError
        When less is available.
    """
    if n_bytes > (available := available_memory_bytes()):
        raise DoesNotFitError(
            f"{what} needs {format_size(n_bytes)} and {format_size(available)} are available: {advice}"
        )


def memory_info(root: Root = "/") -> dict[str, int]:
    """Read /proc/meminfo [bytes]."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", read_text(root, "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in lines}


def memory_limit_bytes(root: Root = "/") -> int | None:
    """Tightest limit of the control groups that this process is in [bytes]; None without one."""
    return min((limit for limit, _ in _cgroup_levels(root)), default=None)


def _cgroup_levels(root: Root) -> Iterator[tuple[int, int]]:
    """Limit and headroom [bytes] of every control group above this process that has a memory limit."""
    for line in (read_text(root, "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = "sys/fs/cgroup", _CGROUP_V2
        elif "memory" in controllers.split(","):
            base, names = "sys/fs/cgroup/memory", _CGROUP_V1
        else:
            continue
        # Inside a container the path may be the host's and missing here; the limit then stands at the top.
        group = Path(path.lstrip("/"))
        for level in (group, *group.parents):
            yield from _cgroup_level(Path(root, base, level), names)


def _cgroup_level(directory: Path, names: tuple[str, str, str]) -> Iterator[tuple[int, int]]:
    limit_name, usage_name, idle_name = names
    limit, usage = read_number(directory, limit_name), read_number(directory, usage_name)
    if limit is None or usage is None or limit >= _NO_LIMIT_BYTES:
        return
    idle = re.search(rf"^{idle_name} (\d+)$", read_text(directory, "memory.stat") or "", re.MULTILINE)
    yield limit, limit - usage + (int(idle[1]) if idle else 0)
