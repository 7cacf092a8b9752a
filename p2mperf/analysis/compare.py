"""The same cells in two sets of samples: how the cost of each design changed, and how sure that is."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from math import isnan, nan
from typing import TYPE_CHECKING, cast

from p2mperf.errors import BadInputError
from p2mperf.results.fields import CELL_AXES
from p2mperf.results.samples import as_samples
from p2mperf.units import flag

if TYPE_CHECKING:
    import pandas as pd

    from p2mperf.analysis.statistics import Ratio
    from p2mperf.analysis.verdicts import Judgement

# What is compared: a cell, and one design in it, named beside its family.
_AFTER_FAMILY = CELL_AXES.index("family") + 1
DESIGN_COLUMNS = [*CELL_AXES[:_AFTER_FAMILY], "design", *CELL_AXES[_AFTER_FAMILY:]]
# Costs of different machines are never put side by side, however many a side has.
_KEY = [*DESIGN_COLUMNS, "machine"]
# What makes two timings of one design different things, although they carry the same name.
_FORM = ["code_form", "view_page_bytes"]
_LONGEST_LIST = 5


def compare(
    frame_a: pd.DataFrame,
    frame_b: pd.DataFrame,
    *,
    force: bool = False,
) -> pd.DataFrame:
    """Cost of every design of every cell in two sets of samples, and the ratio B / A.

    Parameters
    ----------
    frame_a, frame_b : pandas.DataFrame
        Samples, as `p2mperf.load` gives them, of one run each or of several.
    force : bool
        Compare different machines, versions of the results' format, or several versions of the code on one
        side all the same.

    Returns
    -------
    pandas.DataFrame
        One row per cell, design and machine that both have: `DESIGN_COLUMNS`, machine, cost_a_ns and
        cost_b_ns (median over processes of the median over rounds), ratio, ratio_low, ratio_high,
        n_processes_a, n_processes_b, level (of the interval, as it really is), verdict, in_words (the
        direction), reason, marks_a and marks_b (``biased`` or ``unsteady``, as `design_marks` has them), and
        differs: what was not the same in both, code_form or view_page_bytes.
        ``attrs["n_only_a"]`` and ``attrs["n_only_b"]`` count what only one has.

    Raises
    ------
    BadInputError
        For what is no samples, or when they are of different machines or versions, or have no cell in common.

    Notes
    -----
    Processes of two runs are no pairs: they share neither pages nor hour, and A may have more of them than
    B. The interval is that of two independent sets, `p2mperf.analysis.shift.shift_interval`, and covers
    processes: not boots, and not machines.
    """
    frame_a, frame_b = as_samples(frame_a), as_samples(frame_b)
    frame_a, frame_b = _alike(frame_a, frame_b, flag(force, "force"))
    costs_a, costs_b = _process_costs(frame_a), _process_costs(frame_b)
    cells_a, cells_b = _over_processes(costs_a), _over_processes(costs_b)
    table = _ratios(costs_a, costs_b)
    table.insert(0, "cost_a_ns", cells_a)
    table.insert(1, "cost_b_ns", cells_b)
    table["marks_a"], table["marks_b"] = (_marks(frame)[table.index] for frame in (frame_a, frame_b))
    table["differs"] = _differences(frame_a, frame_b, table.index)
    n_only_a, n_only_b = (len(cells.index.difference(table.index)) for cells in (cells_a, cells_b))
    table = table.reset_index()
    table.attrs = {"n_only_a": n_only_a, "n_only_b": n_only_b}
    return table


def in_words(ratio: float, low: float = nan, high: float = nan, verdict: str = "resolved") -> str:
    """Say which way a ratio B / A of costs goes, and by how much.

    Parameters
    ----------
    ratio, low, high : float
        Ratio and its interval; nan ends for none.
    verdict : str
        What the interval allows to be said.

    Returns
    -------
    str
        Slower by 4 % is 4 % more time a lookup, faster by 4 % is 4 % less. What is not resolved is only
        perhaps so.

    Examples
    --------
    >>> in_words(1.041, 1.02, 1.063), in_words(0.9, 0.85, 0.95)
    ('B 4.1 % slower [2.0, 6.3]', 'B 10.0 % faster [5.0, 15.0]')
    >>> in_words(1.02, 0.98, 1.05, "not resolved"), in_words(1.5, verdict="not resolved")
    ('B perhaps 2.0 % slower [-2.0, 5.0]', 'B perhaps 50.0 % slower, no interval')
    """
    how = {"resolved": "B", "equivalent": "B as A,"}.get(verdict, "B perhaps")
    sign, word = (1, "slower") if ratio >= 1 else (-1, "faster")
    ends = sorted(100 * sign * (end - 1) for end in (low, high))
    # Adding zero makes 0.0 of what would be written as -0.0.
    interval = (
        ", no interval" if isnan(low) else f" [{', '.join(f'{round(end, 1) + 0.0:.1f}' for end in ends)}]"
    )
    return f"{how} {100 * abs(ratio - 1):.1f} % {word}{interval}"


def worst(table: pd.DataFrame) -> pd.Series:
    """Row with the highest ratio.

    Parameters
    ----------
    table : pandas.DataFrame
        As `compare` gives it.

    Returns
    -------
    pandas.Series
    """
    return table.nlargest(1, "ratio").iloc[0]


def slower_than(table: pd.DataFrame, limit_ratio: float) -> pd.DataFrame:
    """Rows that count as a regression.

    Parameters
    ----------
    table : pandas.DataFrame
        As `compare` gives it.
    limit_ratio : float
        Ratio B / A that is still accepted.

    Returns
    -------
    pandas.DataFrame
        Rows whose ratio is above the limit, unless their interval reaches down to 1: what may be noise is no
        regression. Without an interval the ratio alone decides.
    """
    return table[(table["ratio"] > limit_ratio) & ~(table["ratio_low"] <= 1)]


def _alike(frame_a: pd.DataFrame, frame_b: pd.DataFrame, force: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both sides, if their costs mean the same; forced ones of two machines under one name."""
    from p2mperf.analysis.samples import versions_of

    sides = {"A": frame_a, "B": frame_b}
    if not force:
        for name, frame in sides.items():
            if len(set(frame["code"])) > 1:
                raise BadInputError(
                    f"{name} was measured by several versions of the code, {_listed(frame['code'])}: "
                    "give results of one, or force the comparison"
                )
        schemas = {name: set(map(str, versions_of(frame))) for name, frame in sides.items()}
        if len(set().union(*schemas.values())) > 1:
            told = " and ".join(f"{name} of version {_listed(found)}" for name, found in schemas.items())
            raise BadInputError(
                f"results are of unlike formats, {told}: the same name may mean another measurement; measure "
                "one of them again, or force the comparison"
            )
    machines_a, machines_b = (set(frame["machine"]) for frame in sides.values())
    if machines_a == machines_b:
        return frame_a, frame_b
    told = f"A was measured on machine {_listed(machines_a)} and B on {_listed(machines_b)}"
    if not force:
        raise BadInputError(f"{told}: their costs do not compare; force the comparison if you must")
    if machines_a & machines_b:
        return frame_a, frame_b  # those of both are compared, and the others counted
    if len(machines_a | machines_b) > 2:
        raise BadInputError(f"{told}: which with which? give results of one machine a side")
    both = f"{min(machines_a)} | {min(machines_b)}"
    return frame_a.assign(machine=both), frame_b.assign(machine=both)


def _listed(names: Iterable[str]) -> str:
    """Names in a sentence, and no more of them than one can read."""
    found = sorted(set(names))
    shown = ", ".join(found[:_LONGEST_LIST])
    return shown if len(found) <= _LONGEST_LIST else f"{shown} and {len(found) - _LONGEST_LIST} more"


def _process_costs(frame: pd.DataFrame) -> pd.Series[float]:
    process = ["run", "host", "replicate"]
    return _timed(frame).groupby([*_KEY, *process], sort=False)["cost_ns"].median()


def _over_processes(costs: pd.Series[float]) -> pd.Series[float]:
    return costs.groupby(level=_KEY, sort=False).median()


def _ratios(costs_a: pd.Series[float], costs_b: pd.Series[float]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from p2mperf.analysis.shift import shift_interval
    from p2mperf.analysis.verdicts import judge

    both = (costs.groupby(level=_KEY, sort=False) for costs in (costs_a, costs_b))
    a, b = ({cast(tuple[Hashable, ...], cell): costs for cell, costs in side} for side in both)
    ratios = {cell: shift_interval(np.log(a[cell]), np.log(b[cell])) for cell in a if cell in b}
    if not ratios:
        raise BadInputError(
            "the two have no measured cell in common: give results of the same plan, guests and designs"
        )
    judged = zip(ratios.items(), judge(list(ratios.values())), strict=True)
    rows = [_row(ratio, said, len(a[cell]), len(b[cell])) for (cell, ratio), said in judged]
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(list(ratios), names=_KEY))


def _row(ratio: Ratio, said: Judgement, n_a: int, n_b: int) -> dict[str, object]:
    return {
        "ratio": ratio.estimate,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "n_processes_a": n_a,
        "n_processes_b": n_b,
        "level": ratio.level,
        "verdict": said.verdict,
        "in_words": in_words(ratio.estimate, ratio.low, ratio.high, said.verdict),
        "reason": said.reason,
    }


def _marks(frame: pd.DataFrame) -> pd.Series[str]:
    """For every cell and design, what makes its cost doubtful."""
    from p2mperf.analysis.rounds import design_marks

    return design_marks(frame, _KEY).set_index(_KEY)["marks"]


def _differences(frame_a: pd.DataFrame, frame_b: pd.DataFrame, cells: pd.Index) -> list[str]:
    """For every cell, the names of what was not the same in both."""
    unlike = {name: _forms(frame_a, name)[cells] != _forms(frame_b, name)[cells] for name in _FORM}
    return [" ".join(name for name in _FORM if unlike[name][cell]) for cell in cells]


def _forms(frame: pd.DataFrame, name: str) -> pd.Series[str]:
    grouped = _timed(frame).groupby(_KEY, sort=False)[name]
    return grouped.agg(lambda values: ", ".join(sorted({str(value) for value in values})))


def _timed(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop what has no cost, and the controls: they are designs that stand in the table already."""
    from p2mperf.analysis.samples import measured, of_designs

    return of_designs(measured(frame))
