"""What lookups through HAP windows and walks come to: by how cold they are, and by the walk's loads."""

from __future__ import annotations

import pandas as pd

from p2mperf.measure.operations.registry import entries

WARM, COLD = "warm loops", "entries after other work"
# Leaves of one size, the largest first: mixtures are told by their shares.
_SIZES = ("1 GiB", "2 MiB", "4 KiB")


def window_outcomes(windows: pd.DataFrame) -> pd.DataFrame:
    """Count who is faster, window or walk, over uniform frames.

    Parameters
    ----------
    windows : pandas.DataFrame
        Comparisons, as ``p2mperf.table("hap-window", samples)`` gives them.

    Returns
    -------
    pandas.DataFrame
        A row for warm loops and for entries after other work, and for each number of loads that the walk
        takes: ``when``, ``walk_loads``, ``n_comparisons``, ``n_window_faster`` and ``n_walk_faster`` of them,
        and the ``lowest_ratio`` and ``highest_ratio`` of window over walk.
    """
    uniform = windows[windows["stream_label"] == "uniform"]
    when = uniform["operation"].isin(entries()).map({False: WARM, True: COLD})
    rows = [
        {
            "when": name,
            "walk_loads": loads,
            "n_comparisons": len(part),
            "n_window_faster": int((part["faster"] == part["design"]).sum()),
            "n_walk_faster": int((part["faster"] == part["reference"]).sum()),
            "lowest_ratio": part["ratio"].min(),
            "highest_ratio": part["ratio"].max(),
        }
        for (name, loads), part in uniform.groupby([when.rename("when"), "walk_loads"], sort=False)
    ]
    table = pd.DataFrame(rows)
    order = table["when"].map([WARM, COLD].index)
    return (
        table.assign(_order=order)
        .sort_values(["_order", "walk_loads"], ignore_index=True)
        .drop(columns="_order")
    )


def leaf_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """Put the costs of lookups side by side, the largest leaves first.

    Parameters
    ----------
    costs : pandas.DataFrame
        Costs by leaves, as ``p2mperf.table("hap-orders", samples)`` gives them.

    Returns
    -------
    pandas.DataFrame
        A row an operation, guest and way: ``operation``, ``preamble``, ``guest``, ``way``, and the cost of
        one lookup in columns ``1 GiB``, ``2 MiB`` and ``4 KiB`` by the size of leaves, as far as they were
        measured [ns].
    """
    pure = costs[costs["leaves"].isin(_SIZES)]
    keys = ["operation", "preamble", "guest", "way"]
    wide = pure.pivot_table("cost_ns", keys, "leaves", sort=False)
    there = [size for size in _SIZES if size in wide]
    return wide[there].reset_index().rename_axis(columns=None)
