"""What a predicted kernel build hangs on: one assumption moved at a time."""

from __future__ import annotations

from collections.abc import Sequence

from p2mperf.analysis.kernel_build.budget import Number, Origin, Swing, widest_first
from p2mperf.analysis.kernel_build.counts import BuildCounts
from p2mperf.analysis.kernel_build.deltas import BuildDelta
from p2mperf.analysis.kernel_build.parts import change_s, tight_of
from p2mperf.workload.steps import Step
from p2mperf.workload.translations import STEPS

_FROM_MEMORY = "all from memory"
_BOTH_MODELLED: tuple[Origin, Origin] = ("modelled", "modelled")
# Share of its pages that a fault around maps at the least: the others are not in the page cache.
_LEAST_OF_WINDOW = STEPS[Step.FILE_PAGE].low


def swings_of(
    counts: BuildCounts,
    faults: Number,
    deltas: Sequence[BuildDelta],
    estimate: BuildDelta,
    modelled: Sequence[Number],
) -> tuple[Swing, ...]:
    """Move one assumption at a time, all others left as they are.

    Parameters
    ----------
    counts : BuildCounts
        The recorded build.
    faults : Number
        Of the commit's build.
    deltas : sequence of BuildDelta
        All that was replayed.
    estimate : BuildDelta
        The cold replay among them.
    modelled : sequence of Number
        As `modelled_deltas`.

    Returns
    -------
    tuple of Swing
        Widest first.
    """
    cold = estimate.per_fault_ns.estimate
    found = [_coldness(faults, deltas, estimate, modelled)]
    if faults.low < faults.high:
        ends = f"{faults.low / 1e6:.0f} million", f"{faults.high / 1e6:.0f} million"
        found.append(Swing("page faults", ends, (change_s(faults.low, cold), change_s(faults.high, cold))))
    if modelled:
        laptop, fastest, _ = modelled
        ends = "L2, little to walk", "L3, much to walk"
        found.append(_swing("caches of the laptop", ends, faults, laptop.low, laptop.high, _BOTH_MODELLED))
        ends = "3.6 GHz", "3.3 GHz"
        both = fastest.middle, laptop.middle
        found.append(_swing("clock of the laptop", ends, faults, *both, _BOTH_MODELLED))
    for other in deltas:
        if other.condition == estimate.condition and other is not estimate:
            name = "page size of the tables" if other.large_pages else "size of the guest"
            ends = other.guest + " on 2 MiB" * other.large_pages, estimate.guest
            found.append(_swing(name, ends, faults, other.per_fault_ns.estimate, cold))
    return widest_first([*found, *_hot(counts, faults, deltas, estimate)])


def _coldness(
    faults: Number, deltas: Sequence[BuildDelta], estimate: BuildDelta, modelled: Sequence[Number]
) -> Swing:
    there = {
        one.condition: one.per_fault_ns.estimate
        for one in deltas
        if one.guest == estimate.guest and one.large_pages == estimate.large_pages
    }
    if modelled:
        there[_FROM_MEMORY] = modelled[-1].middle
    ends = min(there, key=lambda name: there[name]), max(there, key=lambda name: there[name])
    origins: dict[str, Origin] = {_FROM_MEMORY: "modelled"}
    one, other = (origins.get(end, "measured") for end in ends)
    return _swing("how cold an entry is", ends, faults, there[ends[0]], there[ends[1]], (one, other))


def _hot(
    counts: BuildCounts, faults: Number, deltas: Sequence[BuildDelta], estimate: BuildDelta
) -> list[Swing]:
    """Lookups that more or fewer of would be hot: they cost what one costs in a tight loop."""
    tight = tight_of(deltas, estimate)
    if tight is None:
        return []
    cold = estimate.per_fault_ns.estimate
    per_p2m = tight.per_p2m_ns
    other = cold - (counts.p2m_per_fault - counts.p2m_per_fault_other_thp) * per_p2m
    thp = ("n", "y") if counts.thp else ("y", "n")
    # two lookups a page that is mapped
    fewer = 2 * counts.window_pages * (1 - _LEAST_OF_WINDOW) * counts.n_windows / counts.n_faults
    least = counts.window_pages * _LEAST_OF_WINDOW
    windows = f"{least:.1f} pages", f"{counts.window_pages:.1f} pages"
    return [
        _swing("CONFIG_TRANSPARENT_HUGEPAGE", thp, faults, other, cold),
        _swing("pages that a fault around maps", windows, faults, cold - fewer * per_p2m, cold),
    ]


def _swing(
    name: str,
    ends: tuple[str, str],
    faults: Number,
    one_ns: float,
    other_ns: float,
    origins: tuple[Origin, Origin] = ("measured", "measured"),
) -> Swing:
    seconds = change_s(faults.middle, one_ns), change_s(faults.middle, other_ns)
    return Swing(name, ends, seconds, origins)
