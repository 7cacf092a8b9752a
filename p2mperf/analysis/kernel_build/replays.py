"""What a design costs more than another in a replay: each entry, by why the kernel was entered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import isnan, nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from p2mperf.analysis.statistics import Difference, Ratio, difference_interval, ratio_interval
from p2mperf.analysis.verdicts import Judgement, judge, marks_of
from p2mperf.workload.replays import CONTROL, ClassCost, Interference, Replay, ReplayProcess, Replays

ALL = "ALL"  # the class that all entries are of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Delta:
    """A design against another, in entries of one class under one condition.

    Attributes
    ----------
    condition, guest : str
        As `p2mperf.workload.replays.Replay`.
    design, reference : str
        The two; the reference is the last of the replay's designs.
    entered : str
        Class of the entries, or `ALL`; its column is called ``class``.
    design_ns, reference_ns : float
        What an entry costs in each: median over processes [ns].
    low_ns, middle_ns, high_ns : float
        Design less reference for one entry: Hodges-Lehmann estimate and exact interval over processes [ns].
    level : float
        Coverage of that interval.
    control_low_ns, control_middle_ns, control_high_ns : float
        The same of the first design's second build less its first [ns].
    n_processes : int
        Processes that the interval stands on.
    n_entries, n_p2m : int
        Entries that were timed for each design, in all processes, and their lookups of the p2m.
    ratio, ratio_low, ratio_high, p_value : float
        Design over reference, with the interval and test that the verdict stands on.
    marks, verdict, reason : str
        As in `p2mperf.analysis.summary.Pair`, among the rows of all entries, or among those of classes.
    alone : bool
        Whether each design had processes to itself.
    """

    condition: str
    guest: str
    design: str
    reference: str
    entered: str
    design_ns: float
    reference_ns: float
    low_ns: float
    middle_ns: float
    high_ns: float
    level: float
    control_low_ns: float
    control_middle_ns: float
    control_high_ns: float
    n_processes: int
    n_entries: int
    n_p2m: int
    ratio: float
    ratio_low: float
    ratio_high: float
    p_value: float
    marks: str
    alone: bool
    verdict: str = ""
    reason: str = ""

    @property
    def as_ratio(self) -> Ratio:
        """What of it a verdict stands on."""
        level = 0.0 if isnan(self.ratio) else self.level
        return Ratio(self.ratio, self.ratio_low, self.ratio_high, level, self.p_value, self.n_processes)


COLUMNS = tuple("class" if one.name == "entered" else one.name for one in fields(Delta))


def deltas(replays: Replays) -> pd.DataFrame:
    """Compare the designs of each replay with its last one.

    Parameters
    ----------
    replays : Replays
        What was replayed.

    Returns
    -------
    pandas.DataFrame
        One row a condition, guest, design other than the reference, and class of entries, the row of `ALL`
        first; columns as in `Delta`, whose ``entered`` is ``class``. A delta for one lookup is
        ``middle_ns * n_entries / n_p2m``.

    Notes
    -----
    A process gives one observation: the mean over its timed entries of the class, the same entries for all
    designs. Where each design had processes to itself, those of one seed are a pair.
    """
    rows = [row for replay in replays.replays for row in _rows(replay)]
    return pd.DataFrame([_row(one) for one in _judged(rows)], columns=list(COLUMNS))


def _row(one: Delta) -> dict[str, object]:
    return {"class" if name == "entered" else name: value for name, value in asdict(one).items()}


def _rows(replay: Replay) -> Iterator[Delta]:
    names = [ALL, *dict.fromkeys(name for process in replay.processes for name in process.classes)]
    reference = replay.designs[-1]
    for design in replay.designs[:-1]:
        for name in names:
            if (row := _delta(replay, design, reference, name)) is not None:
                yield row


def _delta(replay: Replay, design: str, reference: str, name: str) -> Delta | None:
    costs = [cost for process in replay.processes if (cost := _cost(process, name)) is not None]
    if not costs:
        return None
    first, asked, against, control = (
        np.array([_mean(cost, which) for cost in costs])
        for which in (replay.designs[0], design, reference, CONTROL)
    )
    found, noise = difference_interval(asked - against), difference_interval(control - first)
    ratio = _ratio(asked, against)
    return Delta(
        condition=replay.condition,
        guest=replay.guest,
        design=design,
        reference=reference,
        entered=name,
        design_ns=float(np.median(asked)),
        reference_ns=float(np.median(against)),
        low_ns=found.low,
        middle_ns=found.estimate,
        high_ns=found.high,
        level=found.level,
        control_low_ns=noise.low,
        control_middle_ns=noise.estimate,
        control_high_ns=noise.high,
        n_processes=len(costs),
        n_entries=sum(sum(cost.n_entries) for cost in costs),
        n_p2m=sum(sum(cost.n_items) for cost in costs),
        ratio=ratio.estimate,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        p_value=ratio.p_value,
        marks=marks_of(_ratio(control, first), ""),
        alone=replay.alone,
    )


def _cost(process: ReplayProcess, name: str) -> ClassCost | None:
    """What a class cost in a process; of `ALL`, the phases of all classes one after the other."""
    if name != ALL:
        return process.classes.get(name)
    costs = process.classes.values()
    if not costs:
        return None
    designs = next(iter(costs)).ns_per_entry
    return ClassCost(
        tuple(number for cost in costs for number in cost.n_entries),
        tuple(number for cost in costs for number in cost.n_items),
        {one: tuple(ns for cost in costs for ns in cost.ns_per_entry[one]) for one in designs},
    )


def _mean(cost: ClassCost, design: str) -> float:
    return float(np.average(cost.ns_per_entry[design], weights=cost.n_entries))


def _ratio(a: Floats, b: Floats) -> Ratio:
    """Ratio over processes; none where an entry is so short that stamps took as long."""
    if min(a.min(), b.min()) <= 0:
        return Ratio(nan, nan, nan, 0.0, 1.0, a.size)
    return ratio_interval(np.log(a) - np.log(b))


def _judged(rows: Sequence[Delta]) -> Iterator[Delta]:
    """Give each row its verdict among those that are shown beside it: all entries, or classes."""
    said: dict[int, Judgement] = {}
    for whole in (True, False):
        table = [at for at, row in enumerate(rows) if (row.entered == ALL) is whole]
        said |= dict(zip(table, judge([rows[at].as_ratio for at in table]), strict=True))
    for at, row in enumerate(rows):
        doubts = ["biased: the control's interval excludes no difference"] if row.marks else []
        values = {one.name: getattr(row, one.name) for one in fields(Delta)}
        reason = "; ".join([said[at].reason, *doubts])
        yield Delta(**{**values, "verdict": said[at].verdict, "reason": reason})


def interference(replays: Replays) -> pd.DataFrame:
    """Compare what other work costs after the lookups of each design and after those of the last one.

    Parameters
    ----------
    replays : Replays
        What was replayed, with interference.

    Returns
    -------
    pandas.DataFrame
        One row a victim, size of its work and design other than the reference: victim, guest, work_bytes,
        n_touches, design, reference, control_low_ns, control_middle_ns, control_high_ns (the bound: the same
        design, built twice), low_ns, middle_ns, high_ns (what the work takes longer, for one entry), level,
        victim_ns (what it takes after the reference), lines_per_entry and pages_per_entry (design less
        reference), n_processes.
    """
    rows = [row for one in replays.interference for row in _victims(one)]
    return pd.DataFrame(rows, columns=None if rows else list(_VICTIM_COLUMNS))


_VICTIM_COLUMNS = (
    "victim",
    "guest",
    "work_bytes",
    "n_touches",
    "design",
    "reference",
    "control_low_ns",
    "control_middle_ns",
    "control_high_ns",
    "low_ns",
    "middle_ns",
    "high_ns",
    "level",
    "victim_ns",
    "lines_per_entry",
    "pages_per_entry",
    "n_processes",
)


def _victims(one: Interference) -> Iterator[dict[str, object]]:
    reference, first = one.designs[-1], one.designs[0]
    times = [process.ns_per_entry for process in one.processes]
    if not times:
        return
    noise = _difference(times, CONTROL, first)
    for design in one.designs[:-1]:
        found = _difference(times, design, reference)
        values = (
            one.victim,
            one.guest,
            one.work_bytes,
            one.n_touches,
            design,
            reference,
            noise.low,
            noise.estimate,
            noise.high,
            found.low,
            found.estimate,
            found.high,
            found.level,
            float(np.median([np.mean(each[reference]) for each in times])),
            one.lines_per_entry[design] - one.lines_per_entry[reference],
            one.pages_per_entry[design] - one.pages_per_entry[reference],
            len(times),
        )
        yield dict(zip(_VICTIM_COLUMNS, values, strict=True))


def _difference(times: Sequence[Mapping[str, tuple[float, ...]]], a: str, b: str) -> Difference:
    """Median over a process' phases of the paired differences, and its interval over processes."""
    return difference_interval([float(np.median(np.subtract(each[a], each[b]))) for each in times])
