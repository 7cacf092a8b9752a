"""What intervals allow to be said of a whole table, and why; and what makes a row doubtful.

A verdict belongs to a table and not to a row: of many comparisons of equal designs a few exclude 1 by chance,
so that what excludes 1 has to hold among all that stand beside it (Benjamini and Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.analysis.statistics import CONFIDENCE, N_FOR_VERDICT, Ratio, ratio_interval

Verdict = Literal["resolved", "equivalent", "not resolved", "no verdict"]
# Of the rows that are called resolved, at most this part is expected to be so by chance.
FALSE_DISCOVERIES = 0.05
# Ratios from 1 / 1.03 to 1.03 count as no difference.
EQUIVALENCE = 0.03
# Costs that change by less from the first rounds to the last do no harm to a ratio of paired rounds.
STEADY = 0.05
_WORDS = {
    "no verdict": f"that takes {N_FOR_VERDICT} processes",
    "biased": "a design that was timed twice differs from itself there, and so may the two that are compared",
    "unsteady": f"a cost there rises or falls by more than {100 * STEADY:g} % within its processes",
}
_RULES = {
    "resolved": "who is faster: the interval excludes 1, and stays so among all rows (Benjamini-Hochberg at "
    f"{100 * FALSE_DISCOVERIES:g} %)",
    "equivalent": f"equivalent: the interval lies within {100 * EQUIVALENCE:g} % of 1",
    "not resolved": f"not resolved: the interval holds 1 and reaches beyond {100 * EQUIVALENCE:g} %, or it "
    "excludes 1, but not among all rows",
}
COVERS = "intervals cover processes, not boots or machines"


@dataclass(frozen=True)
class Judgement:
    """What is said of one row.

    Attributes
    ----------
    verdict : str
        ``resolved``, ``equivalent``, ``not resolved``, or ``no verdict`` where there are too few processes.
    reason : str
        Why, in words.
    """

    verdict: Verdict
    reason: str


def judge(ratios: Sequence[Ratio]) -> list[Judgement]:
    """Say what each ratio of a table shows.

    Parameters
    ----------
    ratios : sequence of Ratio
        All rows that are shown together.

    Returns
    -------
    list of Judgement
        In the same order. *resolved*: the interval excludes 1, and stays so under Benjamini and Hochberg's
        procedure at 5 % over all ratios that have enough processes; *equivalent*: otherwise, if it lies
        within 3 % of 1; *no verdict*: fewer than six processes; else *not resolved*.

    Examples
    --------
    >>> clear, open = Ratio(1.05, 1.02, 1.08, 0.961, 0.004, 9), Ratio(1.02, 0.97, 1.06, 0.961, 0.2, 9)
    >>> for one in judge([clear, open]):
    ...     print(f"{one.verdict}: {one.reason}")
    resolved: interval 1.020 to 1.080 excludes 1, p = 0.004, stays under Benjamini-Hochberg at 5 % over 2 rows
    not resolved: interval 0.970 to 1.060 holds 1 and reaches beyond 3 %
    """
    tested = [ratio.p_value for ratio in ratios if ratio.allows_verdict]
    limit = benjamini_hochberg(tested)
    return [_judge(ratio, limit, len(tested)) for ratio in ratios]


def marks_of(control: Ratio | None, trend: str) -> str:
    """Name what makes a cost, or the comparison of two, doubtful.

    Parameters
    ----------
    control : Ratio or None
        One of the cell's designs against itself, where that was timed.
    trend : str
        How the cost, or one of the two, rises or falls within its processes; "" where it does not.

    Returns
    -------
    str
        ``biased``, ``unsteady``, both with a comma between, or "".
    """
    marks = {"biased": control is not None and control.excludes_one, "unsteady": trend != ""}
    return ", ".join(mark for mark, holds in marks.items() if holds)


def notes_on(verdicts: Iterable[str], marks: Iterable[str]) -> list[str]:
    """What to know of a table of verdicts: what its intervals cover, and each word that needs to be told.

    Parameters
    ----------
    verdicts, marks : iterable of str
        Those of its rows.

    Returns
    -------
    list of str
        A sentence each.
    """
    used = {word for mark in {*verdicts, *marks} for word in mark.split(", ")}
    return [COVERS, *(f"{word}: {what}" for word, what in _WORDS.items() if word in used)]


def rules_of(verdicts: Iterable[str]) -> list[str]:
    """Why a row has the verdict that it has: a sentence for each verdict that there is."""
    used = set(verdicts)
    return [rule for verdict, rule in _RULES.items() if verdict in used]


def benjamini_hochberg(p_values: ArrayLike, rate: float = FALSE_DISCOVERIES) -> float:
    """Largest p value that stays under the procedure, and with it all smaller ones; -1 where none does.

    Parameters
    ----------
    p_values : array_like of float
        One a comparison.
    rate : float
        Part of the discoveries that may be false.

    Returns
    -------
    float

    Examples
    --------
    >>> benjamini_hochberg([0.03, 0.9, 0.001, 0.02])  # 0.001 <= 1/80, 0.02 <= 2/80, 0.03 <= 3/80
    0.03
    >>> benjamini_hochberg([0.03, 0.9])
    -1.0
    """
    ordered = np.sort(np.asarray(p_values, np.float64))
    passed = ordered[ordered <= rate * np.arange(1, ordered.size + 1) / max(ordered.size, 1)]
    return float(passed[-1]) if passed.size else -1.0


def _judge(ratio: Ratio, limit: float, n_rows: int) -> Judgement:
    if not ratio.allows_verdict:
        few = f"{ratio.n_processes} process{'es' * (ratio.n_processes != 1)}"
        return Judgement(
            "no verdict", f"{few}: an interval of {CONFIDENCE:.0%} takes {N_FOR_VERDICT}".replace("%", " %")
        )
    interval = f"interval {ratio.low:.3f} to {ratio.high:.3f}"
    is_same = ratio.low >= 1 / (1 + EQUIVALENCE) and ratio.high <= 1 + EQUIVALENCE
    near = f"within {100 * EQUIVALENCE:g} % of 1"
    if ratio.excludes_one:
        rows = f"{n_rows} row{'s' * (n_rows != 1)}"
        over = f"under Benjamini-Hochberg at {100 * FALSE_DISCOVERIES:g} % over {rows}"
        excludes = f"{interval} excludes 1, p = {ratio.p_value:.2g}"
        if ratio.p_value <= limit:
            return Judgement("resolved", f"{excludes}, stays {over}" + f"; it lies {near}" * is_same)
        if is_same:
            return Judgement("equivalent", f"{excludes}, but not {over}; it lies {near}")
        return Judgement("not resolved", f"{excludes}, but not {over}")
    if is_same:
        return Judgement("equivalent", f"{interval} lies {near}")
    return Judgement("not resolved", f"{interval} holds 1 and reaches beyond {100 * EQUIVALENCE:g} %")


def change_within(processes: Sequence[ArrayLike]) -> Ratio:
    """By how much a cost changes from the first third of a process' rounds to the last.

    Parameters
    ----------
    processes : sequence of array_like of float, shape (n_rounds,)
        For every process the logs of a design's costs, in the order timed.

    Returns
    -------
    Ratio
        Cost in the last third over the cost in the first, with its interval over processes.
    """
    return ratio_interval([_last_over_first(np.asarray(logs, np.float64)) for logs in processes])


def is_unsteady(change: Ratio) -> bool:
    """Whether a cost rises or falls steadily: the same way in so many processes, and by more than 5 %."""
    return change.excludes_one and not 1 / (1 + STEADY) <= change.estimate <= 1 + STEADY


def _last_over_first(logs: NDArray[np.float64]) -> float:
    n = max(1, logs.size // 3)
    return float(logs[-n:].mean() - logs[:n].mean())
