"""How claims of who is faster are decided: by all comparisons that stand beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2mperf.analysis.claims.base import Finding
from p2mperf.analysis.claims.evidence import NotMeasuredError

if TYPE_CHECKING:
    import pandas as pd


def judged(rows: pd.DataFrame, claimed: str, other: str, names: tuple[str, str], what: str) -> Finding:
    """Decide whether one design is faster than another, as was claimed.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of a summary, a comparison of the two each; verdicts are made anew among them.
    claimed, other : str
        The design that is said to be faster, and the one that it is compared with.
    names : tuple of str
        What sentences call the two.
    what : str
        What was compared, as "lookups in RAM".

    Returns
    -------
    Finding
        Reproduced where the first is faster in more than half of all comparisons and the other in none;
        contradicted where it is the other way round; else not resolved.

    Raises
    ------
    NotMeasuredError
        When there is no comparison.
    """
    from p2mperf.analysis.summary import with_verdicts

    if rows.empty:
        raise NotMeasuredError(f"no comparison of {what}")
    rows = with_verdicts(rows)
    n, n_ahead, n_behind = len(rows), *((rows["faster"] == name).sum() for name in (claimed, other))
    ratio = rows["ratio"].where(rows["design"] == other, 1 / rows["ratio"])
    doubtful = int((rows["marks"] != "").sum())
    first, second = names
    marked = f"; {doubtful} of {n} marked unsteady or biased" * bool(doubtful)
    ours = (
        f"{first.capitalize()} is faster in {n_ahead} of {n} comparisons of {what}, {second} in {n_behind}; "
        f"{second} over {first}: {ratio.min():.2f} to {ratio.max():.2f}{marked}."
    )
    clear = "{} is faster in most of these comparisons, and {} in none."
    if n_behind == 0 and 2 * n_ahead > n:
        return Finding(ours, "reproduced", clear.format(first.capitalize(), second))
    if n_ahead == 0 and 2 * n_behind > n:
        return Finding(ours, "contradicted", clear.format(second.capitalize(), first))
    return Finding(ours, "not resolved", "Neither is faster in most of them while the other is in none.")


def in_ram(pairs: pd.DataFrame) -> pd.DataFrame:
    """Lookups one after the other and overlapping, over frames that all are RAM."""
    from p2mperf.analysis.samples import stays_in_ram

    return _lookups(pairs[stays_in_ram(pairs)])


def in_holes(pairs: pd.DataFrame) -> pd.DataFrame:
    """The same where some of the frames are holes."""
    return _lookups(pairs[pairs["hole_fraction"] > 0])


def as_entered(pairs: pd.DataFrame) -> pd.DataFrame:
    """Entries into a kernel, after what comes before them there: not those in a tight loop."""
    return pairs[(pairs["operation"] == "entry") & (pairs["preamble"] != "tight")]


def _lookups(pairs: pd.DataFrame) -> pd.DataFrame:
    from p2mperf.measure.operations.registry import lookups

    return pairs[pairs["operation"].isin(lookups())]
