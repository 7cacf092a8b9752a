"""How a recording is to be replayed: all that a user can choose, checked before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2mperf.errors import BadInputError, known, shown
from p2mperf.measure.interference import Victim
from p2mperf.measure.replay import CONDITIONS
from p2mperf.study.specs import GuestSpec
from p2mperf.units import GIB, KIB, flag, parse_size, whole_number

if TYPE_CHECKING:
    from p2mperf.designs.base import Design

GUESTS = ("8G", "128G")
DESIGNS = ("pv-tree", "pv-linear")
# Six processes are the fewest that an interval of 95 % can stand on.
N_PROCESSES = 6
# Half of the lines that an entry reads were read before, and half of those some 7 000 entries ago or more:
# phases are longer, so that another design's turn costs few of them.
PHASE_ENTRIES = 8192
_GEOMETRY, _FAMILY = "pv64", "pv"
_MOST_PROCESSES, _MOST_ENTRIES = 1000, 10**8


@dataclass(frozen=True)
class ReplayPlan:
    """How to replay.

    Attributes
    ----------
    guests : tuple of GuestSpec
        Guests; 64-bit PV ones with nothing but RAM.
    designs : tuple of str
        Designs of the family pv; the others are compared with the last.
    conditions : tuple of str
        What comes before entries.
    n_processes : int
        Fresh processes for each guest.
    phase_entries : int
        Entries in a row before the next design's turn; fewer where the stream has no more.
    n_phases : int
        Phases of a process; 0: one Latin square.
    work_bytes : int
        Memory of other work; 0: by this machine's caches [bytes].
    thp : bool
        Whether the kernel was built with CONFIG_TRANSPARENT_HUGEPAGE; of streams it is known.
    alone : bool
        Whether each design has processes to itself.
    backing : str
        Page sizes of the designs.
    interference : bool
        Whether other work is timed too.
    victims : tuple of Victim
        Which; empty: by this machine's caches.
    seed : int
        Of the first process.
    """

    guests: tuple[GuestSpec, ...]
    designs: tuple[str, ...] = DESIGNS
    conditions: tuple[str, ...] = tuple(CONDITIONS)
    n_processes: int = N_PROCESSES
    phase_entries: int = PHASE_ENTRIES
    n_phases: int = 0
    work_bytes: int = 0
    thp: bool = True
    alone: bool = False
    backing: str = "kernel"
    interference: bool = False
    victims: tuple[Victim, ...] = ()
    seed: int = 1

    def kinds(self) -> list[type[Design]]:
        """Classes of the designs."""
        from p2mperf.designs import find

        return [find(name) for name in self.designs]


def plan_replay(
    guests: Sequence[str] = (),
    designs: Sequence[str] = (),
    conditions: Sequence[str] = (),
    *,
    n_processes: int = N_PROCESSES,
    phase_entries: int = PHASE_ENTRIES,
    n_phases: int = 0,
    work: str | int = 0,
    thp: bool = True,
    alone: bool = False,
    backing: str = "kernel",
    interference: bool = False,
    seed: int = 1,
) -> ReplayPlan:
    """Check what a user wishes for.

    Parameters
    ----------
    guests : sequence of str
        Sizes, as ``8G``; none: `GUESTS`.
    designs : sequence of str
        Names; none: `DESIGNS`.
    conditions : sequence of str
        Names of `p2mperf.measure.replay.CONDITIONS`; none: all.
    n_processes, phase_entries, n_phases, thp, alone, backing, interference, seed
        As in `ReplayPlan`.
    work : str or int
        Memory of other work, as ``8M``; 0: by this machine's caches.

    Returns
    -------
    ReplayPlan

    Raises
    ------
    BadInputError
        Naming what cannot be.
    """
    from p2mperf.designs import family_of
    from p2mperf.designs.backing import backing as find_backing

    chosen = _unlike(designs, "design") or DESIGNS
    for name in chosen:
        if family_of(name) != _FAMILY:
            raise BadInputError(f"a kernel build asks a PV p2m, and {name} is of family {family_of(name)}")
    if len(chosen) < 2:
        raise BadInputError("name two designs at least: each is compared with the last")
    find_backing(backing, _FAMILY)
    sizes = _unlike(guests, "guest") or GUESTS
    wanted = tuple(known("condition", name, CONDITIONS) for name in _unlike(conditions, "condition"))
    work_bytes = parse_size(work) if work != 0 else 0
    if work_bytes and not 32 * KIB <= work_bytes <= GIB:
        raise BadInputError(f"other work goes round in 32K to 1G of memory, not in {shown(work)}")
    return ReplayPlan(
        tuple(GuestSpec.plain(size, _GEOMETRY) for size in sizes),
        chosen,
        wanted or tuple(CONDITIONS),
        whole_number(n_processes, "the number of processes", 1, _MOST_PROCESSES),
        whole_number(phase_entries, "the entries of a phase", 1, _MOST_ENTRIES),
        whole_number(n_phases, "the number of phases", 0, _MOST_PROCESSES),
        work_bytes,
        flag(thp, "thp"),
        flag(alone, "alone"),
        backing,
        flag(interference, "interference"),
        (),
        whole_number(seed, "seed", 0, 2**63 - 1),
    )


def _unlike(names: Sequence[str], what: str) -> tuple[str, ...]:
    """Names as a tuple; each may be there once."""
    if isinstance(names, str) or not isinstance(names, list | tuple):
        raise BadInputError(f"{what}s are a list of names, not {shown(names)}")
    if odd := [name for name in names if not isinstance(name, str)]:
        raise BadInputError(f"{what}s are a list of names, and {shown(odd[0])} is none")
    if twice := [name for at, name in enumerate(names) if name in names[:at]]:
        raise BadInputError(f"{what} {shown(twice[0])} is named twice")
    return tuple(names)
