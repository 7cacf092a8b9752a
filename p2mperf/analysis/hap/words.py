"""What is said of superpages in a few sentences, every number of which stands in a table."""

from __future__ import annotations

import pandas as pd

# After so much of the memory was given back it is told what is left.
_TOLD_PERCENT = 1.0


def superpage_answer(
    leaves: pd.DataFrame,
    supply: pd.DataFrame,
    survival: pd.DataFrame,
    costs: pd.DataFrame,
    outcomes: pd.DataFrame,
) -> str:
    """Say where superpages come from, how long they last, what they save, and whether the window pays.

    Parameters
    ----------
    leaves, supply, survival : pandas.DataFrame
        As `p2mperf.superpage_leaves`, `p2mperf.superpage_supply` and `p2mperf.superpage_survival` give them.
    costs, outcomes : pandas.DataFrame
        As `p2mperf.leaf_costs` and `p2mperf.window_outcomes` give them.

    Returns
    -------
    str
        Markdown, a line a sentence.
    """
    lines = [_where(leaves, supply), _how_long(survival), _what(costs), *_windows(outcomes)]
    return "\n".join(f"* {line}" for line in lines)


def _where(leaves: pd.DataFrame, supply: pd.DataFrame) -> str:
    pages, some = leaves["n_table_pages"], supply.iloc[len(supply) // 2]
    return (
        "**Where they come from:** whole pieces of the host's free memory. On an empty host the guest's table"
        f" takes {pages.iloc[-1]:,} pages, where leaves of 4 KiB alone take {pages.iloc[0]:,}. With"
        f" {some['broken_percent']:.0f} % of the host's 2 MiB blocks broken, {some['in_4kib_percent']:.0f} %"
        " of the guest is in single frames."
    )


def _how_long(survival: pd.DataFrame) -> str:
    near = survival.assign(_off=(survival["released_percent"] - _TOLD_PERCENT).abs())
    told = near.loc[near.groupby("run_frames")["_off"].idxmin()]
    single, runs = told.iloc[0], told.iloc[-1]
    return (
        f"**How long they last:** until memory is given back. After {single['released_percent']:.2g} % of it,"
        f" frame by frame, {single['surviving_percent']:.1f} % of them are whole; in runs of"
        f" {runs['run_frames']:.0f} frames, {runs['surviving_percent']:.0f} %."
    )


def _what(costs: pd.DataFrame) -> str:
    sizes = [name for name in costs if str(name).endswith("iB")]
    dearer = (costs[sizes[-1]] / costs[sizes[0]]).dropna()
    return (
        f"**What they save:** a lookup among leaves of {sizes[-1]} takes {dearer.min():.1f} to"
        f" {dearer.max():.1f} times as long as one among leaves of {sizes[0]}."
    )


def _windows(outcomes: pd.DataFrame) -> list[str]:
    lines = []
    for when, part in outcomes.groupby("when", sort=False):
        n, window, walk = (part[name].sum() for name in ("n_comparisons", "n_window_faster", "n_walk_faster"))
        lines.append(
            f"**Whether the window pays, in {when}:** it is faster than the walk in {window} of {n}"
            f" comparisons, and the walk in {walk}; it takes {part['lowest_ratio'].min():.2f} to"
            f" {part['highest_ratio'].max():.2f} times the walk's time."
        )
    return lines
