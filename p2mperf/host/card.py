"""The machine card: what a timing depends on, read from /proc and /sys, as plain data.

Every probe takes the root of the file tree it reads, so that it can be tried on saved texts of a machine one
does not have, and gives None where the machine does not tell.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from p2mperf.errors import P2mperfError
from p2mperf.units import GIB, parse_size

Card = dict[str, Any]
Root = str | Path

# Timings of two cards that agree in these may be put side by side. Memory is compared in whole GiB: a kernel
# keeps a few pages more or less for itself from boot to boot.
COMPARABLE = (
    "cpu_model",
    "cpu_vendor",
    "cpu_family",
    "cpu_model_number",
    "cpu_stepping",
    "llvm_cpu_name",
    "architecture",
    "n_cpus",
    "caches",
    "hypervisor",
    "kernel_release",
    "thp_enabled",
    "shmem_enabled",
    "versions",
)

# /proc/cpuinfo spells the same facts differently on x86 and on Arm.
_CPU_FIELDS = {
    "cpu_model": ("model name", "Processor", "CPU part"),
    "cpu_vendor": ("vendor_id", "CPU implementer"),
    "cpu_family": ("cpu family", "CPU architecture"),
    "cpu_model_number": ("model", "CPU part"),
    "cpu_stepping": ("stepping", "CPU revision"),
}
_PACKAGES = ("llvmlite", "numba", "numpy")
# Half a task beside ours shows in every interval; waiting for it to end is cheaper.
BUSY_LOAD = 0.5
_THP = "sys/kernel/mm/transparent_hugepage"
_CPU0 = "sys/devices/system/cpu/cpu0"
# Limit, use, and the line of memory.stat that counts cached files nobody uses.
_CGROUP_V2 = ("memory.max", "memory.current", "inactive_file")
_CGROUP_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
# cgroup v1 says "no limit" with the largest multiple of a page that fits a signed word.
_NO_LIMIT_BYTES = 1 << 60


def machine_card(root: Root = "/", llvm_cpu_name: str | None = None) -> Card:
    """Describe this machine in plain data.

    Parameters
    ----------
    root : str or Path
        Where /proc and /sys are found.
    llvm_cpu_name : str, optional
        CPU that numba compiles for; asked from llvmlite when not given.

    Returns
    -------
    dict
        JSON-ready; sizes in bytes, None for what the machine does not tell.

    Examples
    --------
    >>> card = machine_card()
    >>> card["n_cpus"] >= 1, len(card_key(card))
    (True, 12)
    """
    root = Path(root)
    return {
        **_cpu(root),
        "llvm_cpu_name": llvm_cpu_name or _llvm_cpu_name(),
        "architecture": platform.machine(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "caches": caches(root),
        "governor": _text(root, f"{_CPU0}/cpufreq/scaling_governor"),
        "hypervisor": _hypervisor(root),
        "kernel_release": _text(root, "proc/sys/kernel/osrelease"),
        "clocksource": _text(root, "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "thp_enabled": _chosen(root, f"{_THP}/enabled"),
        "shmem_enabled": _chosen(root, f"{_THP}/shmem_enabled"),
        "gather_data_sampling": _text(root, "sys/devices/system/cpu/vulnerabilities/gather_data_sampling"),
        "max_map_count": _number(root, "proc/sys/vm/max_map_count"),
        "overcommit_memory": _number(root, "proc/sys/vm/overcommit_memory"),
        "randomize_va_space": _number(root, "proc/sys/kernel/randomize_va_space"),
        "memory_total_bytes": _meminfo(root).get("MemTotal"),
        "memory_limit_bytes": min((limit for limit, _ in _cgroup_levels(root)), default=None),
        "swap_total_bytes": _meminfo(root).get("SwapTotal"),
        "versions": _versions(),
        "environment": _environment(),
        "load_average": _load_average(root),
        "n_steal_ticks": steal_ticks(root),
    }


def card_key(card: Card) -> str:
    """Hash what makes timings comparable, and nothing that changes from hour to hour.

    Parameters
    ----------
    card : dict
        From `machine_card`.

    Returns
    -------
    str
        12 hexadecimal digits.
    """
    facts = {name: card.get(name) for name in COMPARABLE}
    facts["memory_gib"] = round((card.get("memory_total_bytes") or 0) / GIB)
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


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
    root = Path(root)
    available = _meminfo(root).get("MemAvailable")
    if available is None:
        raise P2mperfError(
            f"no MemAvailable in {root / 'proc/meminfo'}: p2mperf needs /proc of Linux 3.14 or later"
        )
    return max(0, min([available, *(headroom for _, headroom in _cgroup_levels(root))]))


def n_maps_available(root: Root = "/") -> int:
    """Mappings this process may still make: vm.max_map_count less those it has.

    Parameters
    ----------
    root : str or Path
        Where /proc is found.

    Returns
    -------
    int
        Number of mappings, not below 0.

    Raises
    ------
    P2mperfError
        When /proc does not tell.
    """
    root = Path(root)
    limit, maps = _number(root, "proc/sys/vm/max_map_count"), _text(root, "proc/self/maps")
    if limit is None or maps is None:
        raise P2mperfError(f"no vm.max_map_count or no maps of this process below {root / 'proc'}")
    return max(0, limit - len(maps.splitlines()))


def caches(root: Root = "/") -> list[dict[str, Any]]:
    """List the caches of the first CPU.

    Parameters
    ----------
    root : str or Path
        Where /sys is found.

    Returns
    -------
    list of dict
        ``level``, ``type`` (Data, Instruction or Unified), ``size_bytes``, ``line_bytes`` and
        ``shared_cpu_list``, nearest first; empty where the kernel does not describe them.
    """
    root = Path(root)
    found = []
    for index in sorted((root / _CPU0 / "cache").glob("index[0-9]*")):
        level, size = _number(index, "level"), _text(index, "size")
        if level is None or not size:
            continue
        found.append(
            {
                "level": level,
                "type": _text(index, "type"),
                "size_bytes": parse_size(size),
                "line_bytes": _number(index, "coherency_line_size"),
                "shared_cpu_list": _text(index, "shared_cpu_list"),
            }
        )
    return sorted(found, key=lambda cache: (cache["level"], cache["type"] or ""))


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
    words = (_text(Path(root), "proc/stat") or "").split("\n")[0].split()
    return int(words[8]) if len(words) > 8 else None


def caveats(card: Card) -> list[str]:
    """Say what on this machine makes timings worse than they could be, or different from elsewhere.

    Parameters
    ----------
    card : dict
        From `machine_card`.

    Returns
    -------
    list of str
        One sentence each; empty for a machine fit for measuring.
    """
    return [sentence for sentence in _caveats(card) if sentence]


def _caveats(card: Card) -> Iterator[str | None]:
    if card["hypervisor"]:
        yield (
            f"This is a virtual machine ({card['hypervisor']}): caches may be shared with others, and a TLB "
            "miss walks two page tables, of which the host's page size is invisible here."
        )
    if card["governor"] is None:
        yield "The clock frequency is not under control: no cpufreq governor is visible."
    elif card["governor"] != "performance":
        yield f"The clock frequency may change while measuring: the cpufreq governor is {card['governor']}."
    if card["thp_enabled"] in (None, "never"):
        yield "Transparent huge pages are off: anonymous memory stays on 4 KiB pages."
    if card["swap_total_bytes"]:
        yield "Swap is on: a table that is written out and read back would be timed as a slow one."
    if card["randomize_va_space"] == 0:
        yield "Address space randomisation is off: fresh processes differ less than intervals assume."
    if card["architecture"] == "x86_64" and card["clocksource"] not in ("tsc", None):
        yield f"The clock source is {card['clocksource']}, not tsc: reading the time is slow."
    if card["load_average"] and card["load_average"][0] >= BUSY_LOAD:
        yield f"The machine was not idle: {card['load_average'][0]:g} tasks ran on average for a minute."
    if card["environment"].get("NUMBA_BOUNDSCHECK", "0") != "0":
        yield "NUMBA_BOUNDSCHECK is set: compiled loops check every index."


def _cpu(root: Path) -> Card:
    blocks = [
        dict(re.findall(r"^([^\t:]+?)\s*:[ \t]*(.*)$", block, re.MULTILINE))
        for block in re.split(r"\n\s*\n", _text(root, "proc/cpuinfo") or "")
    ]
    first = blocks[0]
    facts: Card = {
        name: next((first[key] for key in keys if first.get(key)), None) for name, keys in _CPU_FIELDS.items()
    }
    facts["n_cpus"] = sum("processor" in block for block in blocks) or os.cpu_count()
    return facts


def _hypervisor(root: Path) -> str | None:
    if kind := _text(root, "sys/hypervisor/type"):
        return kind
    if compatible := _text(root, "proc/device-tree/hypervisor/compatible"):
        return compatible.rstrip("\0")
    if not re.search(r"^flags\s*:.*\bhypervisor\b", _text(root, "proc/cpuinfo") or "", re.MULTILINE):
        return None
    return _text(root, "sys/class/dmi/id/sys_vendor") or "unnamed hypervisor"


def _llvm_cpu_name() -> str | None:
    # By name: like a version, this asks what is installed and must not fail, nor take time at import.
    try:
        return str(importlib.import_module("llvmlite.binding").get_host_cpu_name())
    except (ImportError, RuntimeError):
        return None


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def _environment() -> dict[str, str]:
    # The cache directory says where somebody's home is, and nothing about a timing.
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(("NUMBA_", "MALLOC_")) and name != "NUMBA_CACHE_DIR"
    }


def _load_average(root: Path) -> list[float] | None:
    words = (_text(root, "proc/loadavg") or "").split()
    return [float(word) for word in words[:3]] if len(words) >= 3 else None


def _meminfo(root: Path) -> dict[str, int]:
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", _text(root, "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in lines}


def _cgroup_levels(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and headroom [bytes] of every control group above this process that has a memory limit."""
    for line in (_text(root, "proc/self/cgroup") or "").splitlines():
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
            yield from _cgroup_level(root / base / level, names)


def _cgroup_level(directory: Path, names: tuple[str, str, str]) -> Iterator[tuple[int, int]]:
    limit_name, usage_name, idle_name = names
    limit, usage = _number(directory, limit_name), _number(directory, usage_name)
    if limit is None or usage is None or limit >= _NO_LIMIT_BYTES:
        return
    idle = re.search(rf"^{idle_name} (\d+)$", _text(directory, "memory.stat") or "", re.MULTILINE)
    yield limit, limit - usage + (int(idle[1]) if idle else 0)


def _text(directory: Path, name: str) -> str | None:
    try:
        return (directory / name).read_text(errors="replace").strip()
    except OSError:
        return None


def _number(directory: Path, name: str) -> int | None:
    text = _text(directory, name)
    return int(text) if text and text.isdecimal() else None


def _chosen(root: Path, name: str) -> str | None:
    match = re.search(r"\[(\w+)\]", _text(root, name) or "")
    return match[1] if match else None
