"""The same cells in two sets of samples: how the cost of each design changed, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2mperf.errors import BadInputError
from p2mperf.results.fields import CELL_AXES
from p2mperf.results.samples import as_samples
from p2mperf.units import flag

if TYPE_CHECKING:
    import pandas as pd

# What is compared: a cell, and one design in it, named beside its family.
_AFTER_FAMILY = CELL_AXES.index("family") + 1
DESIGN_COLUMNS = [*CELL_AXES[:_AFTER_FAMILY], "design", *CELL_AXES[_AFTER_FAMILY:]]
# What makes two timings of one design different things, although they carry the same name.
_FORM = ["code_form", "view_page_bytes"]


def compare(
    frame_a: pd.DataFrame,
    frame_b: pd.DataFrame,
    *,
    force: bool = False,
) -> pd.DataFrame:
    """Cost of every design of every cell in two runs, and the ratio B / A.

    Parameters
    ----------
    frame_a, frame_b : pandas.DataFrame
        Samples of one run each, as `export.load` gives them.
    force : bool
        Compare samples of different machines all the same.

    Returns
    -------
    pandas.DataFrame
        One row per cell and design that both have: `DESIGN_COLUMNS`, cost_a_ns and cost_b_ns (median over
        processes of the median over rounds), ratio, ratio_low, ratio_high, n_processes, verdict, and differs:
        what was not the same in both, code_form or view_page_bytes. ``attrs["n_only_a"]`` and
        ``attrs["n_only_b"]`` count what only one has.

    Raises
    ------
    BadInputError
        For what is no samples, or when they are of different machines, of several runs, or have no cell in
        common.

    Notes
    -----
    Two runs are no pairs; their processes are matched by machine and replicate number, which is a fixed
    choice that does not look at the costs.
    """
    frame_a, frame_b = as_samples(frame_a), as_samples(frame_b)
    process = _process_columns(frame_a, frame_b, flag(force, "force"))
    costs_a, costs_b = _process_costs(frame_a, process), _process_costs(frame_b, process)
    table = _ratios(costs_a, costs_b)
    cells_a, cells_b = _over_processes(costs_a), _over_processes(costs_b)
    table.insert(0, "cost_a_ns", cells_a)
    table.insert(1, "cost_b_ns", cells_b)
    table["differs"] = _differences(frame_a, frame_b, table.index)
    n_only_a, n_only_b = (len(cells.index.difference(table.index)) for cells in (cells_a, cells_b))
    table = table.reset_index()
    table.attrs = {"n_only_a": n_only_a, "n_only_b": n_only_b}
    return table


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


def _process_columns(frame_a: pd.DataFrame, frame_b: pd.DataFrame, force: bool) -> list[str]:
    for name, frame in (("A", frame_a), ("B", frame_b)):
        runs = frame["run"].unique()
        if len(runs) > 1:
            raise BadInputError(f"{name} holds {len(runs)} runs: choose one of {', '.join(sorted(runs))}")
    machines_a, machines_b = set(frame_a["machine"]), set(frame_b["machine"])
    if machines_a == machines_b:
        return ["machine", "replicate"]
    if not force:
        raise BadInputError(
            f"A was measured on machine {', '.join(sorted(machines_a))} and B on "
            f"{', '.join(sorted(machines_b))}: their costs do not compare; force the comparison if you must"
        )
    return ["replicate"]


def _process_costs(frame: pd.DataFrame, process: list[str]) -> pd.Series[float]:
    return _timed(frame).groupby(DESIGN_COLUMNS + process, sort=False)["cost_ns"].median()


def _over_processes(costs: pd.Series[float]) -> pd.Series[float]:
    return costs.groupby(level=DESIGN_COLUMNS, sort=False).median()


def _ratios(costs_a: pd.Series[float], costs_b: pd.Series[float]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from p2mperf.analysis.statistics import ratio_interval, verdict

    pairs = costs_a.to_frame("a").join(costs_b.to_frame("b"), how="inner")
    if pairs.empty:
        raise BadInputError(
            "the two runs have no measured cell in common: give runs of the same plan, guests and designs"
        )
    pairs["log_ratio"] = np.log(pairs["b"]) - np.log(pairs["a"])
    rows = {}
    for cell, logs in pairs.groupby(level=DESIGN_COLUMNS, sort=False)["log_ratio"]:
        ratio = ratio_interval(logs.to_numpy())
        rows[cell] = (ratio.estimate, ratio.low, ratio.high, len(logs), verdict(ratio))
    index = pd.MultiIndex.from_tuples(rows, names=DESIGN_COLUMNS)
    columns = ["ratio", "ratio_low", "ratio_high", "n_processes", "verdict"]
    return pd.DataFrame(list(rows.values()), index=index, columns=columns)


def _differences(frame_a: pd.DataFrame, frame_b: pd.DataFrame, cells: pd.Index) -> list[str]:
    """For every cell, the names of what was not the same in both."""
    unlike = {name: _forms(frame_a, name)[cells] != _forms(frame_b, name)[cells] for name in _FORM}
    return [" ".join(name for name in _FORM if unlike[name][cell]) for cell in cells]


def _forms(frame: pd.DataFrame, name: str) -> pd.Series[str]:
    grouped = _timed(frame).groupby(DESIGN_COLUMNS, sort=False)[name]
    return grouped.agg(lambda values: ", ".join(sorted({str(value) for value in values})))


def _timed(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop what has no cost, and the controls: they are designs that stand in the table already."""
    from p2mperf.analysis.samples import measured, of_designs

    return of_designs(measured(frame))
