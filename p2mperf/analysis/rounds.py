"""The timed rounds of one cell: paired ratios of its designs, the control's, and costs that do not stand."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from p2mperf.analysis.samples import measured
from p2mperf.analysis.statistics import Ratio, ratio_interval, trimmed_mean
from p2mperf.analysis.verdicts import change_within, is_unsteady, marks_of
from p2mperf.control import CONTROL

PROCESS = ["run", "replicate"]


def by_round(cell: pd.DataFrame) -> pd.DataFrame:
    """Lay the costs of one cell out as `CellRounds` takes them."""
    index = [*PROCESS, "visit", "round"]
    return cell.pivot_table(index=index, columns="design", values="cost_ns", aggfunc="first")


def design_marks(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Name what makes the cost of each design in each cell doubtful.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them, with those of the controls.
    keys : sequence of str
        Columns that tell costs apart, design among them.

    Returns
    -------
    pandas.DataFrame
        `keys` and marks: of a cell whose control excludes 1 each design is ``biased``, and ``unsteady`` is
        one whose own cost rises or falls within its processes.
    """
    of_cell = [name for name in keys if name != "design"]
    rows = []
    for key, cell in measured(frame).groupby(of_cell, sort=False):
        rounds = CellRounds(by_round(cell))
        control = rounds.control()
        rows += [(*key, name, marks_of(control, rounds.trend(name))) for name in rounds.designs]
    table = pd.DataFrame(rows, columns=[*of_cell, "design", "marks"])
    return table.astype({name: frame[name].dtype for name in keys})


class CellRounds:
    """Logs of the costs of a cell, round by round, and where one process ends.

    Parameters
    ----------
    wide : pandas.DataFrame
        Costs of the cell: a column a design or control, a row a round, in the order of `PROCESS`,
        visit and round.
    """

    def __init__(self, wide: pd.DataFrame) -> None:
        processes = pd.MultiIndex.from_arrays([wide.index.get_level_values(level) for level in PROCESS])
        self._ends = np.flatnonzero(np.diff(processes.factorize()[0])) + 1
        self._visits = wide.index.get_level_values("visit").to_numpy(np.int64)
        self._logs = {str(name): np.log(wide[name].to_numpy(np.float64, na_value=nan)) for name in wide}

    @property
    def designs(self) -> list[str]:
        """Names of its designs; a control is one of them timed twice."""
        return [name for name in self._logs if not name.startswith(CONTROL)]

    def ratio(self, above: str, below: str) -> Ratio | None:
        """Ratio of two designs, paired within rounds; None where no round has both."""
        return self._interval(self._pooled(above) - self._pooled(below))

    def control(self) -> Ratio | None:
        """Ratio of a design to itself; None where no round has a control."""
        for name in self._logs:
            if CONTROL + name in self._logs:
                return self._interval(self._logs[CONTROL + name] - self._logs[name])
        return None

    def trend(self, name: str) -> str:
        """Say how a design's cost rises or falls within processes; "" where it does not."""
        logs = self._pooled(name)
        has = np.isfinite(logs)
        processes = [
            (visits[there], costs[there])
            for visits, costs, there in zip(*map(self._split, (self._visits, logs, has)), strict=True)
            if there.any()
        ]
        by_visit = [_means(costs, visits) for visits, costs in processes]
        by_slice = [_means(costs, _places(visits)) for visits, costs in processes]
        has_visits = any(costs.size > 1 for costs in by_visit)
        ways = {"visits": by_visit, "slices of a visit" if has_visits else "rounds": by_slice}
        for what, changes in ways.items():
            change = change_within(changes)
            if is_unsteady(change):
                way = "rises" if change.estimate > 1 else "falls"
                percent = 100 * abs(change.estimate - 1)
                return f"{name} {way} by {percent:.0f} % over its {what}, p = {change.p_value:.2g}"
        return ""

    def _pooled(self, name: str) -> NDArray[np.float64]:
        """Logs of a design; where a round has its control too, which is the same thing, the mean of both."""
        one = self._logs[name]
        other = self._logs.get(CONTROL + name, one)
        return np.asarray(
            (np.fmin(one, other) + np.fmax(one, other)) / 2
        )  # of one alone where the other lacks

    def _split(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        return np.split(values, self._ends)

    def _interval(self, logs: NDArray[np.float64]) -> Ratio | None:
        processes = [process[np.isfinite(process)] for process in self._split(logs)]
        observed = [trimmed_mean(process) for process in processes if process.size]
        return ratio_interval(observed) if observed else None


def _means(costs: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of each group, the groups in rising order."""
    _, places = np.unique(groups, return_inverse=True)
    return np.bincount(places, costs) / np.bincount(places)


def _places(visits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of each round in its visit; visits stand in rising order."""
    _, starts = np.unique(visits, return_index=True)
    return np.arange(visits.size) - starts[np.searchsorted(visits[starts], visits)]
