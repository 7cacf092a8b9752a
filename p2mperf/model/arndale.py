"""Computed costs on the Cortex-A15 of the Arndale board: never measured here, never mixed with what is.

Cache and TLB latencies are the published ones of the Exynos 5250 (7-cpu.com, Cortex-A15). For barriers,
invalidations and interrupt masking no figure was found; nor is there one for a trap, or one of the author's
that compares window and walk. Those stand as parameters with a plausible range, and results are ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2mperf.designs.arm.checks import INVALIDATIONS_PER_SLOT
from p2mperf.errors import known
from p2mperf.units import flag


@dataclass(frozen=True)
class Board:
    """Published latencies.

    Attributes
    ----------
    clock_ghz : float
        Cycles per nanosecond.
    l1_cycles, l2_cycles : int
        Load that hits the first- or second-level cache [cycles].
    ram_ns : float
        What a load from memory takes beside `l2_cycles` [ns].
    tlb_miss_cycles : int
        A miss in the second-level TLB, beside the walk's loads [cycles].
    """

    clock_ghz: float = 1.7
    l1_cycles: int = 4
    l2_cycles: int = 21
    ram_ns: float = 110.0
    tlb_miss_cycles: int = 30

    def ns(self, cycles: float) -> float:
        """Convert cycles to ns."""
        return cycles / self.clock_ghz


@dataclass(frozen=True)
class Assumption:
    """What is not published, as named parameters.

    Attributes
    ----------
    dsb_cycles, tlbi_cycles, isb_cycles, irq_cycles : float
        A barrier, an invalidation, an instruction barrier, saving or restoring interrupts [cycles].
    trap_ns : float
        A trap into Xen and back [ns].
    """

    dsb_cycles: float
    tlbi_cycles: float
    isb_cycles: float
    irq_cycles: float
    trap_ns: float


ARNDALE = Board()
ASSUMPTIONS = {
    "low": Assumption(10, 10, 10, 10, 500.0),
    "middle": Assumption(40, 20, 20, 20, 1500.0),
    "high": Assumption(150, 50, 40, 40, 3000.0),
}
# For a switch the extremes are others: invalidations weigh on the window, barriers on the walk.
SWITCH_CASES = {
    "kind to the window (TLBI 10, DSB 150 cycles)": Assumption(150, 10, 40, 40, 1500.0),
    "middle (TLBI 20, DSB 40)": ASSUMPTIONS["middle"],
    "hard on the window (TLBI 50, DSB 10)": Assumption(10, 50, 10, 10, 1500.0),
}
# Where the second- and third-level entry of the guest are; its root entries, at most 64, are always hot.
RESIDENCIES = ("L1", "L2", "RAM")

# One lookup in steady state, by arithmetic on the code; the designs' recording probe must find the same.
# slot_store and slot_load are those of the map slots, mmu_load those of Xen's own page walk.
EVENTS = {
    "arm-walk": {
        "map": 3,
        "unmap": 3,
        "dsb": 6,
        "tlbi": 3,
        "isb": 3,
        "irq_save": 6,
        "lock": 1,
        "slot_load": 6,
        "slot_store": 6,
        "mmu_load": 6,
        "entry_load": 3,
    },
    "arm-walk-direct": {"lock": 1, "entry_load": 3},
    "arm-vlpt, TLB hit": {"entry_load": 1},
    "arm-vlpt, TLB miss": {"mmu_load": 3, "entry_load": 1},
}
# Loads that wait for one another: entries, what the MMU reads for each map, and the slots probed for it.
CHAIN = {"arm-walk": 3 + 6 + 3, "arm-walk-direct": 3, "arm-vlpt, TLB hit": 1, "arm-vlpt, TLB miss": 4}
WAYS = tuple(EVENTS)


def find_ns(way: str, residency: str, assumed: Assumption, board: Board = ARNDALE) -> float:
    """Compute what finding and loading one third-level entry takes.

    Parameters
    ----------
    way : str
        One of `WAYS`; locks are left out.
    residency : str
        One of `RESIDENCIES`.
    assumed : Assumption
        Unpublished parameters.
    board : Board
        Published ones.

    Returns
    -------
    float
        Time [ns].

    Raises
    ------
    BadInputError
        For an unknown way or residency.
    """
    events = EVENTS[known("way", way, EVENTS)]
    cycles = (
        events.get("dsb", 0) * assumed.dsb_cycles
        + events.get("tlbi", 0) * assumed.tlbi_cycles
        + events.get("isb", 0) * assumed.isb_cycles
        + events.get("irq_save", 0) * assumed.irq_cycles
        + (events.get("slot_load", 0) + events.get("slot_store", 0)) * board.l1_cycles
    )
    return board.ns(cycles) + _loads_ns(way, residency, board)


def entry_load_ns(residency: str, board: Board = ARNDALE) -> float:
    """Time of one load of an entry that lies there [ns].

    Raises
    ------
    BadInputError
        For an unknown residency.
    """
    known("residency", residency, RESIDENCIES)
    if residency == "L1":
        return board.ns(board.l1_cycles)
    return board.ns(board.l2_cycles) + (board.ram_ns if residency == "RAM" else 0.0)


def _loads_ns(way: str, residency: str, board: Board) -> float:
    hot, entry = board.ns(board.l1_cycles), entry_load_ns(residency, board)
    if way == "arm-vlpt, TLB hit":
        return entry
    if way == "arm-vlpt, TLB miss":  # Xen's two levels are hot; the guest's second level is the third load
        return board.ns(board.tlb_miss_cycles) + 2 * hot + 2 * entry
    # Page walks of the maps read Xen's tables from the second-level cache unless all is hot.
    walk_load = hot if residency == "L1" else board.ns(board.l2_cycles)
    return EVENTS[way].get("mmu_load", 0) * walk_load + hot + 2 * entry


def fault_ns(way: str, residency: str, assumed: Assumption, board: Board = ARNDALE) -> float:
    """Compute a whole write fault: trap, find, store between barriers, invalidate, mark the bitmap.

    Parameters
    ----------
    way, residency, assumed, board
        As `find_ns`.

    Returns
    -------
    float
        Time [ns].
    """
    change = 2 * assumed.dsb_cycles + assumed.tlbi_cycles + 2 * board.l1_cycles
    return assumed.trap_ns + find_ns(way, residency, assumed, board) + board.ns(change)


def switch_ns(n_slots: int, assumed: Assumption, board: Board = ARNDALE, *, changed: bool = True) -> float:
    """Compute a context switch to a traced domain.

    Parameters
    ----------
    n_slots : int
        Slots of its window: GiB of guest that RAM touches.
    assumed : Assumption
        Unpublished parameters.
    board : Board
        Published ones.
    changed : bool
        Whether the slots show another domain; if not, they are only compared.

    Returns
    -------
    float
        Time [ns].
    """
    a_slot: float = 2 * board.l1_cycles
    if flag(changed, "changed"):
        a_slot += board.l1_cycles + INVALIDATIONS_PER_SLOT * assumed.tlbi_cycles
    return board.ns(2 * assumed.dsb_cycles + assumed.isb_cycles + n_slots * a_slot)


def break_even_faults(
    n_slots: int, assumed: Assumption, residency: str = "L2", board: Board = ARNDALE
) -> float:
    """Compute how many faults a time slice must bring before the window pays for its switch.

    Parameters
    ----------
    n_slots : int
        As `switch_ns`.
    assumed : Assumption
        Unpublished parameters.
    residency : str
        One of `RESIDENCIES`; the window's TLB entries were just flushed, so each find misses.
    board : Board
        Published ones.

    Returns
    -------
    float
        Faults per slice; infinite where the walk is not slower at all.
    """
    saved = find_ns("arm-walk", residency, assumed, board) - find_ns(
        "arm-vlpt, TLB miss", residency, assumed, board
    )
    return switch_ns(n_slots, assumed, board) / saved if saved > 0 else float("inf")
