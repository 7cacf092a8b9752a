"""The timed rounds of one cell: paired ratios of its designs, the control's, and costs that do not stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def rounds_of_cells(frame: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[dict[str, Any], CellRounds]]:
    """Go through the cells of a frame, in the order in which they stand there.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them, with those of the controls.
    keys : sequence of str
        Columns that tell cells apart; design is none of them.

    Yields
    ------
    dict
        What a cell has in `keys`, in their order.
    CellRounds
        What was timed of it.
    """
    grouped = measured(frame).groupby(list(keys), sort=False)
    # All cells at once: a pivot of each would take most of the time of a summary.
    wide = grouped.obj.assign(_cell=grouped.ngroup()).pivot_table(
        index=["_cell", *PROCESS, "visit", "round"], columns="design", values="cost_ns", aggfunc="first"
    )
    numbers, visits = (wide.index.get_level_values(level).to_numpy(np.int64) for level in ("_cell", "visit"))
    processes = wide.groupby(level=PROCESS, sort=False).ngroup().to_numpy()
    costs = wide.to_numpy(np.float64, na_value=nan)
    cells = grouped.size().index
    ends = np.searchsorted(numbers, np.arange(len(cells) + 1))
    for cell, rows in zip(cells, map(slice, ends, ends[1:]), strict=True):
        timed = {str(name): costs[rows, place] for place, name in enumerate(wide.columns)}
        yield dict(zip(keys, cell, strict=True)), CellRounds(processes[rows], visits[rows], timed)


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
    for cell, rounds in rounds_of_cells(frame, of_cell):
        control = rounds.control()
        rows += [(*cell.values(), name, marks_of(control, rounds.trend(name))) for name in rounds.designs]
    table = pd.DataFrame(rows, columns=[*of_cell, "design", "marks"])
    return table.astype({name: frame[name].dtype for name in keys})


class CellRounds:
    """Costs of a cell, round by round, and where one process ends.

    Parameters
    ----------
    processes : ndarray of int64, shape (n_rounds,)
        Number of the process that timed a round; a process' rounds stand together.
    visits : ndarray of int64, shape (n_rounds,)
        Number of the visit of each round, rising within a process.
    costs : dict of str to ndarray of float64, shape (n_rounds,)
        Costs of each design and control [ns], NaN in a round without it; one that is in no round is left out.
    """

    def __init__(
        self, processes: NDArray[np.int64], visits: NDArray[np.int64], costs: dict[str, NDArray[np.float64]]
    ) -> None:
        self._ends = np.flatnonzero(np.diff(processes)) + 1
        self._visits = visits
        self._costs = {name: timed for name, timed in costs.items() if not np.isnan(timed).all()}
        self._logs = {name: np.log(timed) for name, timed in self._costs.items()}

    @property
    def designs(self) -> list[str]:
        """Names of its designs; a control is one of them timed twice."""
        return [name for name in self._logs if not name.startswith(CONTROL)]

    def cost(self, name: str) -> float:
        """Median over processes of a design's median in each [ns]."""
        processes = [process[~np.isnan(process)] for process in self._split(self._costs[name])]
        return float(np.median([np.median(process) for process in processes if process.size]))

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
