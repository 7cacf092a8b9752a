"""How many lookups it takes to save the system time that the 2014 commit published: a budget, no estimate.

None of the published numbers enters a figure of ours, and none of ours is compared with them.
"""

from __future__ import annotations

import pandas as pd

from p2mperf.analysis.samples import operation_labels
from p2mperf.analysis.words import n_of, span
from p2mperf.model.published_build import PUBLISHED_TIMES, SYSTEM, as_clock

SAVED_S = SYSTEM.before_s - SYSTEM.after_s
SAVED_SHARE = SAVED_S / SYSTEM.before_s


def published_times() -> pd.DataFrame:
    """The commit's table, with what it comes to.

    Returns
    -------
    pandas.DataFrame
        A row a kind of time: time, tree and list (minutes and seconds, as published), saved_s and
        saved_percent; one run each.
    """
    return pd.DataFrame(
        {
            "time": time.name.lower(),
            "tree": as_clock(time.before_s),
            "list": as_clock(time.after_s),
            "saved_s": time.before_s - time.after_s,
            "saved_percent": 100 * (1 - time.after_s / time.before_s),
        }
        for time in PUBLISHED_TIMES
    )


def budget(loops: pd.DataFrame, entries: pd.DataFrame, n_asked: int) -> pd.DataFrame:
    """Compute for each comparison how many of its lookups save the published system time.

    Parameters
    ----------
    loops, entries : pandas.DataFrame
        Comparisons of tree over list, as `p2mperf.summary` gives them: a lookup each, and an entry each.
    n_asked : int
        Lookups of an entry.

    Returns
    -------
    pandas.DataFrame
        All of them, whoever is faster and whether that is resolved or not, for what is left out would choose
        the answer; with operation in words, saving_ns (of the list, a lookup), and, where that is above 0,
        billions (lookups that save as much as was published) and percent_of_system_time (that these would
        fill with the tree: above 100 the layout alone cannot have been the cause at that ratio).
    """
    cells = pd.concat([loops.assign(n_lookups=1), entries.assign(n_lookups=n_asked)])
    saving_ns = cells["reference_ns"] * (cells["ratio"] - 1) / cells["n_lookups"]
    saves = saving_ns > 0
    return cells.assign(
        operation=operation_labels(cells),
        saving_ns=saving_ns,
        billions=(SAVED_S / saving_ns).where(saves),
        percent_of_system_time=(100 * SAVED_SHARE * cells["ratio"] / (cells["ratio"] - 1)).where(saves),
    )


def budget_by_operation(found: pd.DataFrame) -> pd.DataFrame:
    """The same in short: a row an operation, spans as text.

    Parameters
    ----------
    found : pandas.DataFrame
        As `budget` gives it.

    Returns
    -------
    pandas.DataFrame
        operation, comparisons, saving_ns, billions, percent_of_system_time, and impossible: of how many the
        lookups would fill more than all of the system time.
    """
    return pd.DataFrame(
        {
            "operation": operation,
            "comparisons": len(part),
            "the list saves a lookup [ns]": span(part["saving_ns"]),
            "billions of lookups": span(part["billions"], ".1f"),
            "system time they fill [%]": span(part["percent_of_system_time"], ".0f"),
            "more than all of it in": n_of(int((part["percent_of_system_time"] > 100).sum()), len(part)),
        }
        for operation, part in found.groupby("operation", sort=False)
    )
