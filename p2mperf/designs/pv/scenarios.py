"""What happens to a running domU, step by step: the configurations of 2014 that are not memory maps.

Linux' commit 054954eb051f was tested with ballooning up and down, with save and restore and with PCI
passthrough, in 32- and in 64-bit domUs. The order of the steps is that of drivers/xen/balloon.c,
drivers/xen/manage.c and arch/x86/xen/setup.c (3.19); what each step writes, `changing` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np

from p2mperf.designs import able
from p2mperf.designs.base import Design
from p2mperf.designs.capabilities import missing
from p2mperf.designs.pv.linear import PvLinear
from p2mperf.designs.pv.saving import Saved
from p2mperf.designs.pv.tree import PvTree
from p2mperf.errors import BadInputError, known
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.units import GIB, PAGE_SHIFT, PAGE_SIZE, format_size, round_up

# What scenarios ask of a design; who lacks it is refused before anything is built.
NEEDS = ("Writable", "Ballooned", "HasTools", "Hotplugged", "Savable", "PassesThrough")
_SAID = ("end_pfn", "n_breaks", "tools")

P2m = PvTree | PvLinear
_PCI_HOLE = range(3 * GIB >> PAGE_SHIFT, 4 * GIB >> PAGE_SHIFT)
_NO_HOLE = "passthrough needs memory from 3 to 4 GiB, which {} has not"


class Step(NamedTuple):
    """One step of a scenario, and what it took.

    Attributes
    ----------
    what : str
        What was done.
    n_frames : int
        Frames that it was about.
    done : bool
        Whether all of it was done.
    wanted : bool
        Whether all of it had to be done; where False it had to be refused.
    pages_before, pages_after : int
        Pages of the p2m.
    mappings_before, mappings_after : int
        Mappings of the list's window; 0 without one.
    n_leaves_broken, n_mids_broken : int
        Shared leaves and mids that were made private.
    elapsed_ns : int
        Time of the step alone, without the audit after it; a single run [ns].
    """

    what: str
    n_frames: int
    done: bool
    wanted: bool
    pages_before: int
    pages_after: int
    mappings_before: int
    mappings_after: int
    n_leaves_broken: int
    n_mids_broken: int
    elapsed_ns: int


def check(name: str, design: Design | type[Design]) -> None:
    """See that a scenario exists and can happen to a design.

    Parameters
    ----------
    name : str
        A scenario.
    design : Design or type
        A design, or its class.

    Raises
    ------
    BadInputError
        For an unknown name, or a design that has not what it takes: `NEEDS`, and the option ``limit``.
    """
    known("scenario", name, SCENARIOS)
    kind = design if isinstance(design, type) else type(design)
    lacks = missing(kind, NEEDS)
    if "Writable" in lacks:
        why = "cannot be written as a PV p2m is"
    elif lacks:
        why = f"cannot live through a scenario: it is not {' and '.join(lacks)}"
    elif "limit" not in kind.options:
        why = "cannot live through a scenario: it has no option limit"
    elif without := [name for name in _SAID if not hasattr(kind, name)]:
        why = f"cannot live through a scenario: it does not say its {' and '.join(without)}"
    else:
        return
    raise BadInputError(f"{kind.name} {why}: take {' or '.join(able(NEEDS, ['limit']))}")


def run_scenario(name: str, p2m: P2m) -> Iterator[Step]:
    """Let a scenario happen to a p2m, and audit it after each step.

    Parameters
    ----------
    name : str
        One of `SCENARIOS`.
    p2m : PvTree or PvLinear
        Built with a `limit` that leaves room above its guest's map.

    Returns
    -------
    iterator of Step
        Each is there as soon as it has happened.

    Raises
    ------
    BadInputError
        As `check`; from the iterator, when the guest or the limit is too small for the scenario.
    AuditError
        From the iterator, when a step breaks an invariant.

    Examples
    --------
    >>> from p2mperf.designs.pv.tree import PvTree
    >>> with PvTree(Guest.plain("16M"), limit="1G") as tree:
    ...     [step.n_leaves_broken for step in run_scenario("balloon", tree)]
    [0, 0, 0, 0, 1, 0, 0]
    """
    check(name, p2m)
    _rehearse(type(p2m), p2m.guest.geometry.name)
    return SCENARIOS[name](p2m)


@cache
def _rehearse(design: type[P2m], geometry: str) -> None:
    """Compile, or load, all that scenarios run, so that no step's time has it in it."""
    for steps in (_balloon, _save_restore):
        with design(Guest.plain("16M", geometry=geometry), limit="1G") as p2m:
            list(steps(p2m))


def _step(
    p2m: P2m,
    what: str,
    n_frames: int,
    act: Callable[[], Any],
    is_done: Callable[[Any], Any] = np.all,
    wanted: bool = True,
) -> Step:
    before, n_breaks = p2m.footprint(), dict(p2m.n_breaks)
    start = perf_counter_ns()
    answer = act()
    elapsed_ns = perf_counter_ns() - start
    after = p2m.footprint()
    done = bool(is_done(answer))
    p2m.audit()
    return Step(
        what,
        n_frames,
        done,
        wanted,
        before.n_pages,
        after.n_pages,
        before.n_vmas,
        after.n_vmas,
        p2m.n_breaks["leaf"] - n_breaks["leaf"],
        p2m.n_breaks["mid"] - n_breaks["mid"],
        elapsed_ns,
    )


def _balloon(p2m: P2m) -> Iterator[Step]:
    """Half of the memory down and up, twice; then an eighth more than there was, and no further."""
    step, n_more = partial(_step, p2m), round_up(p2m.guest.n_boot_pages, 8) // 8
    first, across = _room_above(p2m, n_more), p2m.end_pfn - n_more // 2
    frames = np.flatnonzero(p2m.has_memory(p2m.lookup(np.arange(first))))
    half = frames[frames.size // 2 :]
    own = p2m.lookup(half)
    is_own = partial(np.array_equal, own)
    yield step("balloon half down", half.size, lambda: p2m.balloon_down(half), is_own)
    yield step("balloon it up, the same mfns", half.size, lambda: p2m.balloon_up(half, own))
    yield step("balloon it down again", half.size, lambda: p2m.balloon_down(half), is_own)
    free = p2m.unused_mfns(half.size)
    yield step("balloon it up, the lowest free mfns", half.size, lambda: p2m.balloon_up(half, free))
    size = format_size(n_more * PAGE_SIZE)
    yield step(f"hotplug {size} above the map", n_more, lambda: p2m.hotplug(first, n_more))
    more, spare = np.arange(first, first + n_more), p2m.unused_mfns(n_more)
    yield step("balloon that up", n_more, lambda: p2m.balloon_up(more, spare))
    yield step("hotplug across the limit", n_more, lambda: p2m.hotplug(across, n_more), wanted=False)


def _save_restore(p2m: P2m) -> Iterator[Step]:
    """Read by the tools, saved, restored on other machine frames, read again."""
    step, pfns = partial(_step, p2m), np.arange(p2m.end_pfn)
    before = p2m.lookup(pfns)
    memory = p2m.has_memory(before)
    n_frames = int(np.count_nonzero(memory))
    save = cache(p2m.save)  # asked once more, it is what was saved

    def is_all_kept(saved: Saved) -> bool:
        return np.array_equal(np.flatnonzero(saved.has_memory), np.flatnonzero(memory))

    def is_every_mfn_another(_: None) -> bool:
        after = p2m.lookup(pfns)
        return np.array_equal(after != before, memory) and np.array_equal(p2m.has_memory(after), memory)

    yield step("tools read it", n_frames, lambda: p2m.tools.read(), partial(_is_as_it_is, p2m))
    yield step("save", n_frames, save, is_all_kept)
    yield step("write while it is saved", 1, lambda: _is_written(p2m), wanted=False)
    yield step("restore on other mfns", n_frames, lambda: p2m.restore(save()), is_every_mfn_another)
    yield step("tools read it again", n_frames, lambda: p2m.tools.read(), partial(_is_as_it_is, p2m))


def _passthrough(p2m: P2m) -> Iterator[Step]:
    """As with e820_host: the hole is identity, its memory stands behind the map, the rest is identity."""
    step, first, n_hole = partial(_step, p2m), _PCI_HOLE.start, len(_PCI_HOLE)
    if not p2m.has_memory(p2m.lookup(_PCI_HOLE)).all():
        raise BadInputError(_NO_HOLE.format(p2m.guest.name))
    to = _room_above(p2m, n_hole)
    rest, n_rest = to + n_hole, p2m.end_pfn - to - n_hole
    yield step("hotplug 1G above the map", n_hole, lambda: p2m.hotplug(to, n_hole))
    yield step("pass 3 to 4 GiB through", n_hole, lambda: p2m.pass_through(first, n_hole, to))
    # For 64-bit BARs, which may lie there.
    yield step("identity up to the limit", n_rest, lambda: p2m.set_identity(rest, n_rest), n_rest.__eq__)


def unfit(scenario: str, guest: Guest) -> str:
    """Why a scenario cannot happen to a guest, whatever its limit; "" where it can."""
    ram = guest.ram
    has_memory = ((ram.first_pfn <= _PCI_HOLE.start) & (ram.end_pfn >= _PCI_HOLE.stop)).any()
    return "" if scenario != "passthrough" or has_memory else _NO_HOLE.format(guest.name)


def _room_above(p2m: P2m, n_frames: int) -> int:
    """First frame above the map, where so many must fit below the limit."""
    first = p2m.guest.covered_pfn
    if first + n_frames > p2m.end_pfn:
        limit = format_size((first + n_frames) * PAGE_SIZE)
        raise BadInputError(f"{p2m.guest.name} has no room above its map: set a limit of {limit} or more")
    return first


def _is_as_it_is(p2m: P2m, seen: Words) -> bool:
    """Whether tools find the memory that there is; identity they need not tell from INVALID."""
    entries = p2m.lookup(np.arange(seen.size))
    memory = p2m.has_memory(entries)
    return np.array_equal(seen[memory], entries[memory]) and not p2m.has_memory(seen[~memory]).any()


def _is_written(p2m: P2m) -> bool:
    try:
        return bool(p2m.set([0], [p2m.guest.geometry.invalid]).all())
    except BadInputError:
        return False


SCENARIOS: dict[str, Callable[[P2m], Iterator[Step]]] = {
    "balloon": _balloon,
    "save-restore": _save_restore,
    "passthrough": _passthrough,
}
