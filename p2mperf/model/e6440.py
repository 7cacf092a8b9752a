"""Computed costs on the laptop of the 2014 kernel build, a Dell Latitude E6440: never measured here.

The commit says "2 cores, HT" and no more: which processor it had is **not published**. Those that were sold
in it are Haswells of two cores, so its cycles are those of Haswell, and the clock is that of an i5-4300M with
both cores busy. What a kernel entry finds in which cache is not published either: each latency is a range,
from what little was driven out to what much was. All low ends together and all high ends together are the
ends of a result, since one and the same thing, how cold an entry is, moves them all.

Both hardware threads of each core were busy (`p2mperf.model.published_build.N_BUSY_THREADS`), so that an
entry finds half of the first- and second-level caches at most. Tree and list stand on 4 KiB pages, and their
walks are one-dimensional: a PV guest's kernel runs on page tables of its own, without large pages (Xen 4.4,
pv_cpuid in arch/x86/traps.c).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from p2mperf.errors import BadInputError, known, shown
from p2mperf.units import MIB, real_number

End = Literal["low", "middle", "high"]
ENDS: tuple[End, ...] = ("low", "middle", "high")
_OPPOSITE: dict[End, End] = {"low": "high", "middle": "middle", "high": "low"}


@dataclass(frozen=True)
class Span:
    """A number with the range that it can have.

    Attributes
    ----------
    low, middle, high : float
        In the unit of what it is of.
    source : str
        Where each end comes from, in words.
    """

    low: float
    middle: float
    high: float
    source: str = ""

    def at(self, end: End) -> float:
        """One of the three."""
        return {"low": self.low, "middle": self.middle, "high": self.high}[end]


@dataclass(frozen=True)
class Laptop:
    """A machine by its latencies.

    Attributes
    ----------
    name : str
        What it stands for.
    clock_ghz : float
        Cycles per nanosecond.
    l3_bytes : int
        Last-level cache [bytes]; it tells machines apart, and no arithmetic takes it.
    page_walk : Span
        Translating one page of the kernel that the TLB does not know, its upper levels known [cycles].
    line : Span
        Loading one line that the first-level cache does not have [cycles].
    exposed : float
        Share of a line's time that nothing else hides.
    call : Span
        A call of get_phys_to_machine, which the list has inlined [cycles].
    area_walk : Span
        The first walk into the list's area, whose upper levels nothing else in the kernel uses [cycles].
    ram_ns : float
        What a line from memory takes beside one from the last-level cache [ns].
    """

    name: str
    clock_ghz: float
    l3_bytes: int
    page_walk: Span
    line: Span
    exposed: float
    call: Span
    area_walk: Span
    ram_ns: float

    def ns(self, cycles: float) -> float:
        """Convert cycles to ns."""
        return cycles / self.clock_ghz


_PAGE_WALK = Span(
    17,
    33,
    50,
    "17: entry of the page table in L1 or L2, from latencies of Haswell at strides of 16 KiB (InstLatx64);"
    " 50: from L3, so 36 - 4 cycles more; middle between",
)
_LINE = Span(12, 24, 36, "L2 12 and L3 36 cycles (7-cpu.com, Haswell; InstLatx64); middle between")
_CALL = Span(3, 4, 5, "call, return and two hot loads; assumed")
_AREA_WALK = Span(
    30, 45, 60, "two or three levels of the page table from L2 or L3, part of them overlapped; assumed"
)
_EXPOSED = 0.8  # assumed: entry after entry waits for its own mid, while others' lines are under way
_RAM_NS = 57.0  # 7-cpu.com, Haswell i7-4770

E6440 = Laptop(
    "the laptop, if an i5-4300M",
    3.3,
    3 * MIB,
    page_walk=_PAGE_WALK,
    line=_LINE,
    exposed=_EXPOSED,
    call=_CALL,
    area_walk=_AREA_WALK,
    ram_ns=_RAM_NS,
)
# The fastest that Dell lists for it.
E6440_FASTEST = Laptop(
    "the laptop, if an i7-4600M",
    3.6,
    4 * MIB,
    page_walk=_PAGE_WALK,
    line=_LINE,
    exposed=_EXPOSED,
    call=_CALL,
    area_walk=_AREA_WALK,
    ram_ns=_RAM_NS,
)


@dataclass(frozen=True)
class Asked:
    """What a kernel entry asks of a p2m, on average: counted, as means over entries.

    Attributes
    ----------
    n_calls : float
        Lookups.
    n_tops : float
        Pages of the tree's top: 1, or less where entries ask for nothing.
    n_mids : float
        Pages of mids: GiB slots that differ.
    n_top_lines, n_mid_lines : float
        Cache lines of these that differ.
    """

    n_calls: float
    n_tops: float
    n_mids: float
    n_top_lines: float
    n_mid_lines: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= real_number(value, name) < float("inf"):
                raise BadInputError(f"{name} must be a number from 0 on, not {shown(value)}")


def _tree(asked: Asked, machine: Laptop, end: End) -> dict[str, float]:
    lines = asked.n_top_lines + asked.n_mid_lines
    return {
        "pages": (asked.n_tops + asked.n_mids) * machine.page_walk.at(end),
        "lines": lines * machine.line.at(end) * machine.exposed,
        "calls": asked.n_calls * machine.call.at(end),
    }


def _list(asked: Asked, machine: Laptop, end: End) -> dict[str, float]:
    return {"area": asked.n_tops * machine.area_walk.at(end)}


# What each design takes beside the pages and lines of entries, of which both have the same.
COUNTED: dict[str, Callable[[Asked, Laptop, End], dict[str, float]]] = {"pv-tree": _tree, "pv-linear": _list}


def parts_clk(design: str, asked: Asked, end: End = "middle", machine: Laptop = E6440) -> dict[str, float]:
    """Compute what an entry takes of a design alone, beside what all designs have, part by part.

    Parameters
    ----------
    design : str
        ``pv-tree``: its top and mid pages to translate and their lines to load, and the calls;
        ``pv-linear``: the first walk into its area.
    asked : Asked
        What the entry asks.
    end : str
        "low", "middle" or "high".
    machine : Laptop
        Latencies.

    Returns
    -------
    dict of str to float
        ``pages``, ``lines``, ``calls``, ``area``, as far as the design has them [cycles].

    Raises
    ------
    BadInputError
        For a design that is not counted, and an end that is none.

    Examples
    --------
    >>> parts_clk("pv-tree", Asked(9, 1, 2.8, 1, 3.75), "low")
    {'pages': 64.6, 'lines': 45.6, 'calls': 27}
    """
    known("end", end, ENDS)
    return {
        name: round(clk, 9)
        for name, clk in COUNTED[known("design", design, COUNTED)](asked, machine, end).items()
    }


def difference_ns(before: str, after: str, asked: Asked, machine: Laptop = E6440) -> Span:
    """Compute by how much an entry takes longer in one design than in another.

    Parameters
    ----------
    before, after : str
        Designs, as `parts_clk`.
    asked : Asked
        What the entry asks.
    machine : Laptop
        Latencies.

    Returns
    -------
    Span
        Cost before less cost after, with its least and its largest [ns].

    Raises
    ------
    BadInputError
        As `parts_clk`.

    Examples
    --------
    >>> found = difference_ns("pv-tree", "pv-linear", Asked(9, 1, 2.8, 1, 3.75))
    >>> [round(each) for each in (found.low, found.middle, found.high)]
    [23, 63, 104]
    """
    low, middle, high = (
        machine.ns(_sum(before, asked, end, machine) - _sum(after, asked, _OPPOSITE[end], machine))
        for end in ENDS
    )
    return Span(low, middle, high, f"{machine.name}, {machine.clock_ghz:g} GHz")


def from_memory(machine: Laptop) -> Laptop:
    """The same machine, its caches driven out: every line of top and mids comes from memory.

    Parameters
    ----------
    machine : Laptop
        What it is otherwise.

    Returns
    -------
    Laptop
        Four busy threads may turn the last-level cache over between two uses of a mid; then its lines are
        read as here, and no estimate but an outer bound stands on it.

    Examples
    --------
    >>> from_memory(E6440).line.low  # 36 cycles, and 57 ns at 3.3 GHz
    224.1
    """
    line = machine.line.high + machine.ram_ns * machine.clock_ghz
    return replace(
        machine,
        name=f"{machine.name}, top and mids from memory",
        line=Span(line, line, line, "7-cpu.com, Haswell: 36 cycles + 57 ns"),
    )


def _sum(design: str, asked: Asked, end: End, machine: Laptop) -> float:
    return sum(parts_clk(design, asked, end, machine).values())
