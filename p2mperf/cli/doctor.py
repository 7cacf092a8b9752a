"""`doctor`: what this machine needs for good measurements, tried out rather than assumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from p2mperf.cli import show
from p2mperf.cli.installing import install_line
from p2mperf.cli.options import Parser, make_parser
from p2mperf.errors import P2mperfError
from p2mperf.host.card import Card, machine_card
from p2mperf.host.maps import n_maps_available
from p2mperf.host.memory import available_memory_bytes
from p2mperf.host.probes import Root
from p2mperf.host.watch import BOOT, BUSY_LOAD, Snapshot, running_beside, steal_share, unrest
from p2mperf.memory.pool import PagePool
from p2mperf.units import GIB, HUGE_SIZE, MIB, format_size

Status = Literal["ok", "warn", "fail"]

_EPILOG = """\
Exit code 1 when something must be repaired before p2mperf can measure here. Nothing is changed on the
machine: what to do about a warning is said, and yours to do.

examples:
  python -m p2mperf doctor
  python -m p2mperf doctor --json
"""

# pv-64-400g: 100 Mi entries of 8 bytes are 800 MiB for the list and as much for the tree's leaves, and the
# rest is for mid pages, page tables, streams and Python.
LARGEST_UNIT_BYTES = 2 * GIB
SMALLEST_BYTES = 256 * MIB
# What the kernel's default of 65 530 leaves to a Python process, generously.
USUAL_N_MAPS = 60_000
_PACKAGES = ("matplotlib", "numba", "numpy", "pandas", "pyarrow", "scipy")
_SYSFS_THP = "/sys/kernel/mm/transparent_hugepage"


@dataclass(frozen=True)
class Check:
    """What one look at the machine found.

    Attributes
    ----------
    name : str
        What was looked at.
    status : str
        ``ok``, ``warn`` (measures, but not everything or not as well) or ``fail`` (does not measure).
    finding : str
        What was found.
    advice : str
        What to do about it; empty when all is well.
    """

    name: str
    status: Status
    finding: str
    advice: str = ""


def main(argv: list[str]) -> int:
    """Run all checks and print one line for each, and what to do, on stdout.

    Parameters
    ----------
    argv : list of str
        Arguments after the name of the command.

    Returns
    -------
    int
        0, or 1 when a check failed; warnings do not count.
    """
    arguments = command_parser().parse_args(argv)
    checks = diagnose()
    if arguments.json:
        show.data([asdict(check) for check in checks])
        return _code(checks)
    for check in checks:
        show.write(f"{check.status:4}  {check.name}: {check.finding}")
        if check.advice:
            show.write(f"      -> {check.advice}")
    return _code(checks)


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser(
        "doctor",
        "Check what this machine needs for good measurements, and say what to do about the rest.",
        _EPILOG,
    )
    parser.add_argument("--json", action="store_true", help="the checks as JSON, one object each")
    return parser


def diagnose(root: Root = "/") -> list[Check]:
    """Look at everything.

    Parameters
    ----------
    root : str or Path
        Where /proc and /sys are found.

    Returns
    -------
    list of Check
        In the order in which to repair.
    """
    card = machine_card(root)
    card["n_running"] = running_beside(card, root)
    return [
        check_packages(),
        check_pool(card),
        check_anonymous(card),
        check_mappings(root),
        check_memory(root),
        check_idle(card),
        *check_quiet(Snapshot.from_json(card)),
    ]


def check_packages() -> Check:
    """Look for the packages that a sweep and its figures need."""
    missing = [name for name in _PACKAGES if not _is_installed(name)]
    if missing:
        return Check("packages", "fail", f"{', '.join(missing)} not installed", install_line())
    return Check("packages", "ok", ", ".join(f"{name} {version(name)}" for name in _PACKAGES))


def check_pool(card: Card) -> Check:
    """Try to have memory that several views can show, on 2 MiB pages."""
    try:
        page_bytes = pool_page_bytes()
    except (AttributeError, OSError, P2mperfError) as error:
        advice = "use Linux 3.17 or later, and give this process some memory"
        return Check("memfd", "fail", f"cannot be made or mapped ({error})", advice)
    if page_bytes == HUGE_SIZE:
        return Check(
            "memfd", "ok", f"on 2 MiB pages by MADV_COLLAPSE (shmem_enabled: {card['shmem_enabled']})"
        )
    advice = f"use Linux 6.1 or later, or as root: echo advise > {_SYSFS_THP}/shmem_enabled"
    return Check("memfd", "warn", "on 4 KiB pages: no view can be had on 2 MiB pages", advice)


def check_anonymous(card: Card) -> Check:
    """See whether anonymous memory gets 2 MiB pages where it asks for them."""
    finding = f"transparent_hugepage/enabled is {card['thp_enabled'] or 'not known'}"
    if card["thp_enabled"] in ("always", "madvise"):
        return Check("huge pages", "ok", finding)
    return Check("huge pages", "warn", finding, f"as root: echo madvise > {_SYSFS_THP}/enabled")


def check_mappings(root: Root) -> Check:
    """Count the mappings left for the windows of guests with many holes."""
    try:
        n_maps = n_maps_available(root)
    except P2mperfError as error:
        return Check("mappings", "warn", str(error))
    finding = f"{n_maps} left to windows of this process (vm.max_map_count)"
    if n_maps >= USUAL_N_MAPS:
        return Check("mappings", "ok", finding)
    advice = "as root: sysctl vm.max_map_count=262144"
    return Check("mappings", "warn" if n_maps else "fail", finding, advice)


def check_memory(root: Root) -> Check:
    """Compare free memory with what the largest guest of the default plan takes."""
    try:
        n_bytes = available_memory_bytes(root)
    except P2mperfError as error:
        return Check("memory", "fail", str(error), "mount /proc")
    finding = f"{n_bytes / GIB:.1f} GiB free"
    if n_bytes >= LARGEST_UNIT_BYTES:
        return Check("memory", "ok", finding)
    need = format_size(LARGEST_UNIT_BYTES)
    advice = f"free some: the 400G guest takes about {need}; what does not fit will be skipped"
    return Check("memory", "warn" if n_bytes >= SMALLEST_BYTES else "fail", finding, advice)


def check_idle(card: Card) -> Check:
    """See whether anybody else is at work here."""
    load = Snapshot.from_json(card).load
    if load is None:
        return Check("idle", "warn", "the load is not known", "make sure that nothing else runs")
    if load < BUSY_LOAD:
        return Check("idle", "ok", f"load {load:g}")
    return Check(
        "idle", "warn", f"load {load:g}", "wait until other work has ended: it widens every interval"
    )


def check_quiet(look: Snapshot) -> list[Check]:
    """See what else than work of others disturbs timings: daemons, the hypervisor, the clock."""
    share = steal_share(look)
    n_collapsed, n_scans = look.n_khugepaged_collapsed, look.n_khugepaged_scans
    clock = [f"the cpufreq governor is {look.governor}"] * bool(look.governor)
    clock += [f"boost is {_on_or_off(look.boost)}"] * (look.boost is not None)
    known = {
        "DAMON": look.damon is not None and "does not run",
        "khugepaged": n_collapsed is not None
        and f"made {n_collapsed} pages of 2 MiB in {n_scans or 0} passes since boot",
        "NUMA balancing": look.numa_balancing is not None and _on_or_off(look.numa_balancing),
        "steal": share is not None and f"{share:.1%} of the CPU time wanted since boot",
        "clock": ", ".join(clock),
    }
    spoils = {one.name: one for one in unrest(look)}
    # How much is stolen just now would take a while to see.
    spoils |= {
        one.name: replace(one, seen=f"{one.seen} since boot")
        for one in unrest(BOOT, look)
        if one.name == "steal"
    }
    return [
        Check(name, "warn", f"{spoils[name].seen}: {spoils[name].matters}", spoils[name].advice)
        if name in spoils
        else Check(name, "ok", finding or "not known: this machine does not tell")
        for name, finding in known.items()
    ]


def pool_page_bytes() -> int:
    """Make a pool of one huge page as a sweep would, and read its page size back from /proc/self/smaps."""
    with PagePool(1) as pool:
        return pool.direct_page_bytes


def _on_or_off(value: object) -> str:
    return "on" if value else "off"


def _code(checks: list[Check]) -> int:
    return int(any(check.status == "fail" for check in checks))


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
