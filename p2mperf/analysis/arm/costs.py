"""The ARM walk against the window as a sweep measured them, and what is said of the two in words."""

from __future__ import annotations

import pandas as pd

from p2mperf.analysis.samples import operation_labels
from p2mperf.analysis.summary import between, costs_of_two, summary, with_verdicts
from p2mperf.errors import BadInputError
from p2mperf.results.samples import as_samples

WALK, WINDOW = "arm-walk", "arm-vlpt"
_HIT, _MISS = "arm-vlpt, TLB hit", "arm-vlpt, TLB miss"
# What Xen executes beside loads and that no loop of software has.
_UNTIMED = ("dsb", "tlbi", "isb")


def arm_costs(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare the software walk with the window, wherever both were measured.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        A row a cell, judged among each other: ``operation``, with what comes before it, ``stream``,
        ``guest``, ``backing``, ``walk_ns`` and ``window_ns`` [ns], ``ratio`` of walk over window with its
        interval ``low`` to ``high``, ``verdict``, ``faster`` ("walk", "window" or ""), and ``marks``. The
        walk's barriers and invalidations are not in it.

    Raises
    ------
    BadInputError
        For what is no samples, and for samples that have no cell of both.
    """
    samples = as_samples(frame)
    found = summary(samples[samples["family"] == "arm"])
    both = between(found, WALK, WINDOW)
    if both.empty:
        raise BadInputError(f"no cell of these samples has {WALK} and {WINDOW}: `sweep` measures them")
    both = with_verdicts(both).sort_values(["guest_bytes", "operation", "stream_label"], ignore_index=True)
    table = costs_of_two(both, {WALK: "walk", WINDOW: "window"})
    table.insert(0, "operation", operation_labels(both))
    table.insert(1, "stream", both["stream_label"])
    table.attrs["note"] = found.attrs["note"]
    return table


def vlpt_answer(
    events: pd.DataFrame,
    computed: pd.DataFrame,
    measured: pd.DataFrame,
    accepted: pd.DataFrame,
    defects: pd.DataFrame,
) -> str:
    """Say what the window saves, whom it serves, and what is wrong with it as posted.

    Parameters
    ----------
    events, accepted, defects : pandas.DataFrame
        As `p2mperf.vlpt_events`, `p2mperf.vlpt_acceptance` and `p2mperf.vlpt_defects` give them.
    computed : pandas.DataFrame
        As ``p2mperf.table("arm-find")`` gives it: what finding an entry takes on the board.
    measured : pandas.DataFrame
        As `arm_costs` gives it.

    Returns
    -------
    str
        Markdown, a line a sentence.
    """
    counts = dict(zip(zip(events["way"], events["event"], strict=True), events["n_counted"], strict=True))
    around = sum(int(counts.get((WALK, name), 0)) for name in _UNTIMED)
    low, high = (_by_place(computed, *ends) for ends in ((WALK, "low_ns"), (_MISS, "high_ns")))
    apart = low / high
    faster = measured["faster"].value_counts()
    wrong = accepted[(accepted["posted"] == "accepted") & (accepted["correct"] != "accepted")]
    spoilt = accepted["overwritten"].str.contains("VMAP").sum()
    lines = [
        f"**Counted:** the window finds an entry with {counts[_HIT, 'entry_load']} load. The walk of"
        f" 32-bit Xen reads {counts[WALK, 'entry_load']} entries, and executes {around} barriers and TLB"
        " invalidations around them.",
        "**Computed for the board:** even where barriers are cheapest, that walk takes"
        f" {apart.min():.1f} to {apart.max():.1f} times as long as the window whose translation is not"
        " cached.",
        f"**Measured, without barriers:** of {len(measured)} comparisons the window is faster in"
        f" {faster.get('window', 0)} and the walk in {faster.get('walk', 0)}; the walk takes"
        f" {measured['ratio'].min():.1f} to {measured['ratio'].max():.1f} times as long.",
        f"**Whom it serves:** of {len(accepted)} guests the posted checks accept {len(wrong)} that do not"
        f" fit, and {spoilt} for which Xen's own tables are overwritten.",
        f"**What is wrong with it:** {(~defects['holds_as_posted']).sum()} of {len(defects)} scenarios fail"
        f" as posted, and {(~defects['holds_mended']).sum()} of the mended patch.",
    ]
    return "\n".join(f"* {line}" for line in lines)


def _by_place(computed: pd.DataFrame, way: str, column: str) -> pd.Series:
    """Costs of one way on the board, by where the entries are [ns]."""
    of_way = computed[computed["way"] == way]
    return pd.Series(of_way[column].to_numpy(float), index=of_way["place"])
