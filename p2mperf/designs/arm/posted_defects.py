"""The defects of the posted patch as scenarios: each fails as posted and passes as mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from p2mperf.designs.arm.posted_cpus import (
    VMAP_SLOT,
    Cpu,
    Domain,
    HypFault,
    Mended,
    Posted,
    PostedWritable,
    leaf_of,
)
from p2mperf.errors import known
from p2mperf.units import GIB, flag


@dataclass(frozen=True)
class Outcome:
    """What became of one scenario.

    Attributes
    ----------
    name : str
        The scenario.
    holds : bool
        Whether all went as it should.
    found : str
        What happened.
    """

    name: str
    holds: bool
    found: str


def _look(xen: Posted, cpu: Cpu, domain: Domain) -> tuple[bool, str]:
    """Handle a fault of a domain on a CPU, and say whose entry was changed."""
    expected = leaf_of(domain.name, domain.start >> 30)
    try:
        found = xen.unprotect(cpu, domain.start)
    except HypFault as fault:
        return False, str(fault)
    if found == expected:
        return True, f"the entry of {domain.name} was found"
    return False, f"a fault of {domain.name} changed an entry of {chr(found >> 24)}"


def _two_domains(xen: Posted) -> tuple[Domain, Domain]:
    first, second = xen.create("A"), xen.create("B")
    for domain in (first, second):
        xen.prepare(xen.cpus[0], domain)
    return first, second


def shared_table(xen: Posted) -> tuple[bool, str]:
    """Two CPUs run two traced domains, and each should see its own slots."""
    first, second = _two_domains(xen)
    xen.restore(xen.cpus[0], first)
    xen.restore(xen.cpus[1], second)
    return _look(xen, xen.cpus[0], first)


def skip_if_equal(xen: Posted) -> tuple[bool, str]:
    """CPU 1 has cached A's window; CPU 0 switches to B; CPU 1 follows and finds the memory equal."""
    first, second = _two_domains(xen)
    xen.restore(xen.cpus[1], first)
    xen.cpus[1].read(xen.entry_address(first.start))
    xen.restore(xen.cpus[0], second)
    xen.restore(xen.cpus[1], second)
    return _look(xen, xen.cpus[1], second)


def barrier_order(xen: Posted) -> tuple[bool, str]:
    """One CPU switches from A to B, and walks speculatively between the flush and the barrier."""
    first, second = _two_domains(xen)
    cpu = xen.cpus[0]
    xen.restore(cpu, first)
    cpu.speculates_at = xen.entry_address(first.start)
    xen.restore(cpu, second)
    return _look(xen, cpu, second)


def leaks(xen: Posted) -> tuple[bool, str]:
    """Tracing begins twice, as after a migration that was given up, and ends."""
    domain = xen.create("A")
    held = set(xen.memory.held)
    xen.prepare(xen.cpus[0], domain)
    xen.prepare(xen.cpus[0], domain)
    slots = range(domain.start_slot, domain.end_slot)
    xen.cleanup(domain)
    n_leaked = len(xen.memory.held - held)
    n_live = sum(xen.memory.read(xen.table(xen.cpus[0]) + 8 * slot) != 0 for slot in slots)
    set_ = domain.end_slot != 0
    found = f"{n_leaked} pages leaked, {n_live} slots live, start and end {'still set' if set_ else 'reset'}"
    return not (n_leaked or n_live or set_), found


def dangling(xen: Posted) -> tuple[bool, str]:
    """Tracing ends, and the domain dies: its table pages go to somebody else."""
    domain = xen.create("A")
    xen.prepare(xen.cpus[0], domain)
    address = xen.entry_address(domain.start)
    xen.cpus[0].read(address)
    xen.cleanup(domain)
    xen.destroy(domain)
    try:
        xen.cpus[0].read(address)
    except HypFault:
        return True, "the window shows nothing any more"
    return False, "the window still shows a page that was freed"


def one_too_many(xen: Posted) -> tuple[bool, str]:
    """A guest whose RAM ends at 64 GiB, where VMAP begins."""
    return _vmap_survives(xen, 62 * GIB)


def wrong_check(xen: Posted) -> tuple[bool, str]:
    """A guest of 64 GiB from 2 GiB on: small enough for the check, but it ends beyond the window."""
    return _vmap_survives(xen, 64 * GIB)


def _vmap_survives(xen: Posted, n_bytes: int) -> tuple[bool, str]:
    domain = xen.create("A", n_bytes=n_bytes)
    if not xen.judge(domain.start, domain.end).accepted:
        return True, "refused: -ENOMEM"
    xen.prepare(xen.cpus[0], domain)
    entry = xen.memory.read(xen.second + 8 * VMAP_SLOT)
    what = "intact" if entry == xen.vmap else f"overwritten with {entry:#x}"
    return entry == xen.vmap, f"VMAP's first entry is {what}"


def bit_seven(xen: Posted) -> tuple[bool, str]:
    """A store through the window: the write bit of a stage-2 table entry is read-only to stage 1."""
    domain = xen.create("A")
    xen.prepare(xen.cpus[0], domain)
    return _look(xen, xen.cpus[0], domain)


DEFECTS: dict[str, Callable[[Posted], tuple[bool, str]]] = {
    "shared-table": shared_table,
    "skip-if-equal": skip_if_equal,
    "barrier-order": barrier_order,
    "leaks": leaks,
    "dangling": dangling,
    "one-too-many": one_too_many,
    "wrong-check": wrong_check,
    "bit-7": bit_seven,
}


def run_scenario(name: str, as_posted: bool) -> Outcome:
    """Run one scenario, each on a fresh model.

    Parameters
    ----------
    name : str
        One of `DEFECTS`.
    as_posted : bool
        True for the patch as posted; False for the mended one.

    Returns
    -------
    Outcome

    Raises
    ------
    BadInputError
        When there is no such scenario.
    """
    name = known("scenario", name, DEFECTS)
    posted = Posted if name == "bit-7" else PostedWritable
    holds, found = DEFECTS[name](posted() if flag(as_posted, "as_posted") else Mended())
    return Outcome(name, holds, found)
