"""The machine card: what a timing depends on, read from /proc and /sys, as plain data.

What the machine does not tell is None.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from p2mperf.host.memory import memory_info, memory_limit_bytes
from p2mperf.host.probes import Root, read_choice, read_number, read_text
from p2mperf.host.watch import Snapshot, snapshot, unrest
from p2mperf.units import GIB, parse_size

Card = dict[str, Any]


class Cache(TypedDict):
    """One cache of a CPU.

    Attributes
    ----------
    level : int
        1 is nearest.
    type : str or None
        Data, Instruction or Unified.
    size_bytes, line_bytes : int
        Its size, and that of a line [bytes].
    shared_cpu_list : str or None
        CPUs that share it, as the kernel writes them.
    """

    level: int
    type: str | None
    size_bytes: int
    line_bytes: int | None
    shared_cpu_list: str | None


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
_THP = "sys/kernel/mm/transparent_hugepage"
_CPU0 = "sys/devices/system/cpu/cpu0"


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
    look = snapshot(root)
    return {
        **_cpu(root),
        "llvm_cpu_name": llvm_cpu_name or _llvm_cpu_name(),
        "architecture": platform.machine(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "caches": caches(root),
        "governor": look.governor,
        "hypervisor": _hypervisor(root),
        "kernel_release": read_text(root, "proc/sys/kernel/osrelease"),
        "clocksource": read_text(root, "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "thp_enabled": read_choice(root, f"{_THP}/enabled"),
        "shmem_enabled": read_choice(root, f"{_THP}/shmem_enabled"),
        "gather_data_sampling": read_text(
            root, "sys/devices/system/cpu/vulnerabilities/gather_data_sampling"
        ),
        "max_map_count": read_number(root, "proc/sys/vm/max_map_count"),
        "overcommit_memory": read_number(root, "proc/sys/vm/overcommit_memory"),
        "randomize_va_space": read_number(root, "proc/sys/kernel/randomize_va_space"),
        "memory_total_bytes": memory_info(root).get("MemTotal"),
        "memory_limit_bytes": memory_limit_bytes(root),
        "swap_total_bytes": memory_info(root).get("SwapTotal"),
        "versions": _versions(),
        "environment": _environment(),
        **{field.name: None for field in fields(look)},
        **look.to_json(),
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


def boot_key(root: Root = "/") -> str:
    """Tell one boot of a machine from the others, and from boots of machines that have the same card.

    Parameters
    ----------
    root : str or Path
        Where /proc is found.

    Returns
    -------
    str
        12 hexadecimal digits, or "" where the kernel does not number its boots. Machines that were started
        from one image of a running machine share it.
    """
    boot_id = read_text(root, "proc/sys/kernel/random/boot_id")
    return hashlib.sha256(boot_id.encode()).hexdigest()[:12] if boot_id else ""


def caches(root: Root = "/") -> list[Cache]:
    """List the caches of the first CPU.

    Parameters
    ----------
    root : str or Path
        Where /sys is found.

    Returns
    -------
    list of Cache
        Nearest first; empty where the kernel does not describe them.
    """
    root = Path(root)
    found: list[Cache] = []
    for index in sorted((root / _CPU0 / "cache").glob("index[0-9]*")):
        level, size = read_number(index, "level"), read_text(index, "size")
        if level is None or not size:
            continue
        found.append(
            {
                "level": level,
                "type": read_text(index, "type"),
                "size_bytes": parse_size(size),
                "line_bytes": read_number(index, "coherency_line_size"),
                "shared_cpu_list": read_text(index, "shared_cpu_list"),
            }
        )
    return sorted(found, key=lambda cache: (cache["level"], cache["type"] or ""))


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
    if card["thp_enabled"] in (None, "never"):
        yield "Transparent huge pages are off: anonymous memory stays on 4 KiB pages."
    if card["swap_total_bytes"]:
        yield "Swap is on: a table that is written out and read back would be timed as a slow one."
    if card["randomize_va_space"] == 0:
        yield "Address space randomisation is off: fresh processes differ less than intervals assume."
    if card["architecture"] == "x86_64" and card["clocksource"] not in ("tsc", None):
        yield f"The clock source is {card['clocksource']}, not tsc: reading the time is slow."
    yield from map(str, unrest(Snapshot.from_json(card)))
    if card["environment"].get("NUMBA_BOUNDSCHECK", "0") != "0":
        yield "NUMBA_BOUNDSCHECK is set: compiled loops check every index."


def _cpu(root: Path) -> Card:
    blocks = [
        dict(re.findall(r"^([^\t:]+?)\s*:[ \t]*(.*)$", block, re.MULTILINE))
        for block in re.split(r"\n\s*\n", read_text(root, "proc/cpuinfo") or "")
    ]
    first = blocks[0]
    facts: Card = {
        name: next((first[key] for key in keys if first.get(key)), None) for name, keys in _CPU_FIELDS.items()
    }
    facts["n_cpus"] = sum("processor" in block for block in blocks) or os.cpu_count()
    return facts


def _hypervisor(root: Path) -> str | None:
    if kind := read_text(root, "sys/hypervisor/type"):
        return kind
    if compatible := read_text(root, "proc/device-tree/hypervisor/compatible"):
        return compatible.rstrip("\0")
    if not re.search(r"^flags\s*:.*\bhypervisor\b", read_text(root, "proc/cpuinfo") or "", re.MULTILINE):
        return None
    return read_text(root, "sys/class/dmi/id/sys_vendor") or "unnamed hypervisor"


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
