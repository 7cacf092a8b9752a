"""What lookups of HAP tables cost by the size of leaves, and windows over walks of the same leaves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from p2mperf.analysis.hap.leaves import WALK, WINDOW, Leaves, leaves_of
from p2mperf.analysis.rounds import design_marks
from p2mperf.analysis.samples import host_note, measured, of_designs, operation_labels, stays_in_ram
from p2mperf.analysis.statistics import ratio_interval
from p2mperf.analysis.summary import SHOWN_AXES, intervals_of, summary, with_verdicts
from p2mperf.measure.operations.registry import entries, lookups

_KEYS = [*SHOWN_AXES, "design"]


def costs_by_leaves(frame: pd.DataFrame) -> pd.DataFrame:
    """Cost of lookups and entries of HAP tables over uniform frames in RAM, with intervals.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        One row a design and cell: ``way``, ``leaves`` and ``walk_loads``, as `leaves_of` has them;
        ``cost_ns`` with the ends ``low_ns`` and ``high_ns`` of its interval over processes, which covers
        ``level`` (per lookup, of which an entry has one) [ns]; ``marks``, as `design_marks` has them.
    """
    is_asked = stays_in_ram(frame) & (frame["stream"] == "uniform")
    shown = frame[is_asked & frame["operation"].isin((*lookups(), *entries()))]
    table = _costs(of_designs(shown)).merge(design_marks(shown, _KEYS), on=_KEYS)
    names = table[["design", "guest", "geometry", "guest_bytes"]].itertuples(index=False, name=None)
    found = [leaves_of(*row) for row in names]
    table = table[np.array([leaves is not None for leaves in found], bool)]
    told = pd.DataFrame(filter(None, found), columns=list(Leaves._fields), index=table.index)
    table = table.join(told.rename(columns={"label": "leaves"}))
    table = table.sort_values(["walk_loads", "guest_bytes"], kind="stable", ignore_index=True)
    table.attrs["note"] = f"{host_note(frame)}; bars: {intervals_of(table)} over processes"
    return table


def _costs(samples: pd.DataFrame) -> pd.DataFrame:
    """Cost of each design in each cell, by its processes' medians."""
    rows = []
    for key, cell in measured(samples).groupby(_KEYS, sort=False):
        processes = cell.groupby(["run", "replicate"], sort=False)["cost_ns"].median()
        found = ratio_interval(np.log(processes.to_numpy(np.float64)))
        rows.append((*key, found.estimate, found.low, found.high, found.level))
    table = pd.DataFrame(rows, columns=[*_KEYS, "cost_ns", "low_ns", "high_ns", "level"])
    return table.astype({name: samples[name].dtype for name in _KEYS})


def windows_over_walks(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare windows with the walk wherever both have the same leaves.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        Rows of `p2mperf.analysis.summary.summary`, lookups and entries of windows over walks, judged among
        each other, with ``leaves`` and ``walk_loads``, as `leaves_of` has them, and ``what``, the operation
        with what comes before it.
    """
    table = summary(frame[frame["operation"].isin((*lookups(), *entries()))])
    note = table.attrs["note"]
    where = table[["guest", "geometry", "guest_bytes"]].itertuples(index=False, name=None)
    both = [
        (leaves_of(design, *guest), leaves_of(reference, *guest))
        for design, reference, guest in zip(table["design"], table["reference"], where, strict=True)
    ]
    alike = [
        window is not None
        and walk is not None
        and (window.way, walk.way, window.label) == (WINDOW, WALK, walk.label)
        for window, walk in both
    ]
    found = [window for (window, _), is_alike in zip(both, alike, strict=True) if window and is_alike]
    table = with_verdicts(table[np.array(alike, bool)])
    table = table.assign(
        leaves=[each.label for each in found],
        walk_loads=[each.walk_loads for each in found],
        what=operation_labels(table),
    )
    table = table.sort_values(["walk_loads", "guest_bytes"], kind="stable", ignore_index=True)
    table.attrs["note"] = f"{note}; bars: {intervals_of(table)}"
    return table
