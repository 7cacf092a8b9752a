"""What a page fault of a build costs more in one design than in the other, entries of all classes with it.

A replay tells the cost of an entry, class by class. How many entries of each class come with a page fault the
recording tells, of the whole build; so neither what was replayed nor what was kept of the build decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from statistics import median

import numpy as np

from p2mperf.analysis.kernel_build.counts import BuildCounts, ClassCount
from p2mperf.analysis.kernel_build.replays import interference
from p2mperf.analysis.statistics import Difference, difference_interval
from p2mperf.errors import BadInputError, known
from p2mperf.model.e6440 import COUNTED, E6440, ENDS, Laptop, Span, difference_ns
from p2mperf.units import PAGE_SIZE
from p2mperf.workload.replays import CONTROL, ClassCost, Replay, ReplayProcess, Replays

_LONGEST_NS = 1e12
# Faults and switches: what they cost goes with their number. Others are as long as what they unmap or copy,
# and go with their lookups, of which those that were replayed may have had more or fewer than all.
_SHORT = frozenset(
    (
        "ANONYMOUS_WRITE",
        "ZERO_READ",
        "PRIVATE_FILE_WRITE",
        "FILE_READ",
        "ZERO_PAGE_WRITE",
        "COPY_ON_WRITE",
        "REUSE",
        "UNCLASSIFIED",
        "SWITCH",
    )
)


@dataclass(frozen=True)
class BuildDelta:
    """One condition, at one guest size.

    Attributes
    ----------
    condition, guest : str
        As the replay has them.
    per_fault_ns : Difference
        Cost before less cost after, a page fault with all entries that come with it, over processes [ns].
    control_ns : Difference or None
        The second build of the first design less its first, by the same sum; None without it [ns].
    per_p2m_ns : float
        The same for each lookup of the p2m [ns].
    left_out : float
        Share of the lookups that are of classes which were not replayed.
    large_pages : bool
        Whether tables stood on larger pages than a PV kernel has.
    """

    condition: str
    guest: str
    per_fault_ns: Difference
    control_ns: Difference | None
    per_p2m_ns: float
    left_out: float
    large_pages: bool


def build_deltas(
    counts: BuildCounts, replays: Replays, before: str = "pv-tree", after: str = "pv-linear"
) -> tuple[BuildDelta, ...]:
    """Weigh each replay's classes as the build has them.

    Parameters
    ----------
    counts : BuildCounts
        The build.
    replays : Replays
        What its entries cost here.
    before, after : str
        Designs.

    Returns
    -------
    tuple of BuildDelta
        One for each replay, in their order.

    Raises
    ------
    BadInputError
        When nothing was replayed, a design was not, or a replay has no class of the build.
    """
    if not replays.replays:
        raise BadInputError("nothing was replayed: give replays of the recording")
    return tuple(_delta(counts, one, before, after) for one in replays.replays)


def _delta(counts: BuildCounts, replay: Replay, before: str, after: str) -> BuildDelta:
    where = f"the {replay.condition} replay of {replay.guest}"
    for design in (before, after):
        known(f"design of {where}", design, replay.designs)
    if not replay.processes:
        raise BadInputError(f"{where} has no process")
    replayed = set().union(*(process.classes for process in replay.processes))
    there = {name: each for name, each in counts.classes.items() if name in replayed}
    n_there = sum(each.n_p2m for each in there.values())
    if not n_there:
        raise BadInputError(f"{where} has no class of entries in common with {counts.name}")
    per_fault = _over_processes(counts, replay.processes, there, before, after)
    return BuildDelta(
        replay.condition,
        replay.guest,
        per_fault,
        _control(counts, replay, there),
        per_fault.estimate / counts.p2m_per_fault,
        left_out=1 - n_there / counts.n_p2m,
        large_pages=any(
            process.pages.get(design, PAGE_SIZE) > PAGE_SIZE
            for process in replay.processes
            for design in (before, after)
        ),
    )


def _control(counts: BuildCounts, replay: Replay, there: dict[str, ClassCount]) -> Difference | None:
    if not all(CONTROL in each.ns_per_entry for one in replay.processes for each in one.classes.values()):
        return None
    return _over_processes(counts, replay.processes, there, CONTROL, replay.designs[0])


def _over_processes(
    counts: BuildCounts,
    processes: Sequence[ReplayProcess],
    there: dict[str, ClassCount],
    before: str,
    after: str,
) -> Difference:
    """Sum over classes in each process, then an interval over processes."""
    sums = np.zeros(len(processes))
    for name, each in there.items():
        costs = [process.classes.get(name) for process in processes]
        found = np.array(
            [
                nan if cost is None else _weight(name, each, cost) * _paired(cost, before, after)
                for cost in costs
            ]
        )
        # Each process replays another part of the build, and not every part has a fork: others' mean stands.
        sums += np.where(np.isnan(found), np.nanmean(found), found)
    return difference_interval(sums / counts.n_faults)


def _weight(name: str, count: ClassCount, cost: ClassCost) -> float:
    """How many of the replay's entries the build's entries of a class are worth."""
    n_items = sum(cost.n_items)
    if name in _SHORT or not n_items:
        return count.n_entries
    return count.n_p2m * sum(cost.n_entries) / n_items


def _paired(cost: ClassCost, before: str, after: str) -> float:
    """Mean over the entries of all phases, which are the same for both designs [ns an entry]."""
    costs = np.array([cost.ns_per_entry[before], cost.ns_per_entry[after]], np.float64)
    if not np.abs(costs).max() < _LONGEST_NS:  # nor anything that is no number
        raise BadInputError(f"no entry into the kernel takes {np.abs(costs).max():g} ns: replay anew")
    differences = costs[0] - costs[1]
    return float(np.average(differences, weights=cost.n_entries))


def modelled_delta(
    counts: BuildCounts, before: str = "pv-tree", after: str = "pv-linear", machine: Laptop = E6440
) -> Span | None:
    """Compute the same by what entries ask and a machine's latencies.

    Parameters
    ----------
    counts : BuildCounts
        The build.
    before, after : str
        Designs.
    machine : Laptop
        Latencies.

    Returns
    -------
    Span or None
        Of a page fault with all entries that come with it [ns]; None for designs that are not counted.
    """
    if not {before, after} <= COUNTED.keys():
        return None
    spans = [
        (each.n_entries, difference_ns(before, after, each.asked, machine))
        for each in counts.classes.values()
    ]
    low, middle, high = (sum(n * span.at(end) for n, span in spans) / counts.n_faults for end in ENDS)
    return Span(low, middle, high, spans[0][1].source if spans else "")


def user_delta(
    counts: BuildCounts, replays: Replays, before: str = "pv-tree", after: str = "pv-linear"
) -> Span | None:
    """Sum up what entries do to the user code that runs after them, as far as that was measured.

    Parameters
    ----------
    counts : BuildCounts
        The build.
    replays : Replays
        With interference, or without.
    before, after : str
        Designs.

    Returns
    -------
    Span or None
        Of a page fault with all entries that come with it [ns]: the median over all victims and sizes of
        work, from the least to the most that any interval of theirs holds; None where nothing was measured.

    Notes
    -----
    Of a victim at one size the shortest counts. Entries drive out the same few lines whatever comes after,
    and over a phase of thousands of them each is read again by some work: longer work adds noise alone.
    """
    signs = {(before, after): 1, (after, before): -1}
    table = interference(replays)
    kinds = ["victim", "guest", "work_bytes", "design", "reference"]
    shortest = table.loc[table.groupby(kinds)["n_touches"].idxmin()]
    rows = [
        sorted(sign * row[name] for name in ("low_ns", "middle_ns", "high_ns"))
        for row in shortest.to_dict("records")
        if (sign := signs.get((row["design"], row["reference"])))
    ]
    if not rows:
        return None
    entries = sum(each.n_entries for each in counts.classes.values()) / counts.n_faults
    low, middle, high = zip(*rows, strict=True)
    if not all(isfinite(end) for row in rows for end in row):  # a single process has no interval
        low, high = (-inf,), (inf,)
    said = f"work after an entry, in {len(rows)} kinds and sizes on this host"
    return Span(entries * min(low), entries * median(middle), entries * max(high), said)
