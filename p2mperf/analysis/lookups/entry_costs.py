"""What an entry into a PV kernel costs with the tree and with the list, and against warm loops."""

from __future__ import annotations

import pandas as pd

from p2mperf.analysis.labels import LIST, TREE
from p2mperf.analysis.words import n_of, span


def entry_costs(entries: pd.DataFrame, in_ram: pd.DataFrame, n_asked: int) -> pd.DataFrame:
    """Say what an entry costs more with the tree, and how much dearer its lookups are than those of a loop.

    Parameters
    ----------
    entries, in_ram : pandas.DataFrame
        Comparisons of tree over list, as `p2mperf.summary` gives them: of entries, and of warm loops over
        RAM.
    n_asked : int
        Lookups of an entry.

    Returns
    -------
    pandas.DataFrame
        A row a width and what comes before: entry_bits, before, comparisons, list_faster, tree_faster,
        more_least_ns and more_most_ns (cost of the tree less that of the list, an entry [ns]), and
        times_least and times_most (one of its lookups over one of a throughput loop, list).
    """
    loops = in_ram[in_ram["operation"] == "throughput"].set_index(["guest", "stream"])["reference_ns"]
    cells = entries.join(loops.rename("loop_ns"), on=["guest", "stream"])
    rows = []
    for (bits, preamble), part in cells.groupby(["entry_bits", "preamble"]):
        more, times = part["cost_ns"] - part["reference_ns"], part["reference_ns"] / n_asked / part["loop_ns"]
        rows.append(
            {
                "entry_bits": bits,
                "before": preamble,
                "comparisons": len(part),
                "list_faster": int((part["faster"] == LIST).sum()),
                "tree_faster": int((part["faster"] == TREE).sum()),
                "more_least_ns": more.min(),
                "more_most_ns": more.max(),
                "times_least": times.min(),
                "times_most": times.max(),
            }
        )
    return pd.DataFrame(rows)


def said_of_entries(costs: pd.DataFrame, n_asked: int) -> str:
    """Say the same in Markdown, a line a row.

    Parameters
    ----------
    costs : pandas.DataFrame
        As `entry_costs` gives them.
    n_asked : int
        Lookups of an entry.

    Returns
    -------
    str
    """
    lines = [
        f"* {row['entry_bits']}-bit, {row['before']}: the tree costs "
        f"{span([row['more_least_ns'], row['more_most_ns']], '.0f')} ns an entry more; the list is faster in "
        f"{n_of(row['list_faster'], row['comparisons'])} comparisons and the tree in "
        f"{n_of(row['tree_faster'], row['comparisons'])}. One of the {n_asked} lookups takes the list "
        f"{span([row['times_least'], row['times_most']], '.1f')} times as long as one in a throughput loop."
        for row in costs.to_dict("records")
    ]
    return "\n".join(lines) or "These results have no entries into a kernel: the plan default measures some."
