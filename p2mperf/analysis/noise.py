"""The noise floor: what a design that is timed twice says against itself, where nothing can differ."""

from __future__ import annotations

import numpy as np
import pandas as pd

from p2mperf.analysis.rounds import rounds_of_cells
from p2mperf.analysis.samples import OF_STREAM, stream_label
from p2mperf.analysis.statistics import CONFIDENCE
from p2mperf.analysis.summary import CELL_COLUMNS


def controls(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare each cell's control with the design that it is.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        One row a cell that has a control: `CELL_COLUMNS`, stream_label, ratio, low and high (the ratio of the
        control to its design, paired, with its interval over processes), n_processes, and excludes_one.
    """
    rows = []
    for cell, rounds in rounds_of_cells(frame, CELL_COLUMNS):
        if ratio := rounds.control():
            label = stream_label(*(cell[name] for name in OF_STREAM))
            found = [ratio.estimate, ratio.low, ratio.high, ratio.n_processes, ratio.excludes_one]
            rows.append([*cell.values(), label, *found])
    names = ["stream_label", "ratio", "low", "high", "n_processes", "excludes_one"]
    return pd.DataFrame(rows, columns=[*CELL_COLUMNS, *names])


def noise_floor(table: pd.DataFrame) -> pd.DataFrame:
    """Say how far a design is from itself, by family, operation and preamble.

    Parameters
    ----------
    table : pandas.DataFrame
        From `controls`.

    Returns
    -------
    pandas.DataFrame
        One row a family, operation and preamble: n_controls; median_percent and largest_percent, by how much
        the control differs from its design; interval_percent, half the width of the median interval;
        n_excluding_one, how many controls say that a design differs from itself; and n_by_chance, how many of
        them are to be expected of intervals of 95 % where nothing differs.
    """
    rows = []
    for (family, operation, preamble), part in table.groupby(["family", "operation", "preamble"], sort=False):
        apart = 100 * np.expm1(np.abs(np.log(part["ratio"].to_numpy(float))))
        width = 100 * np.expm1(np.log((part["high"] / part["low"]).to_numpy(float)) / 2)
        known = width[np.isfinite(width)]
        rows.append(
            {
                "family": family,
                "operation": operation,
                "preamble": preamble,
                "n_controls": len(part),
                "median_percent": float(np.median(apart)),
                "largest_percent": float(apart.max()),
                "interval_percent": float(np.median(known)) if known.size else np.nan,
                "n_excluding_one": int(part["excludes_one"].sum()),
                "n_by_chance": (1 - CONFIDENCE) * len(part),
            }
        )
    return pd.DataFrame(rows)
