"""A command that was really run in two environments, pair by pair: what changed from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2mperf.analysis.statistics import Difference, difference_interval
from p2mperf.errors import BadInputError

SIDES = ("a", "b")


@dataclass(frozen=True)
class RealRun:
    """One run of the command.

    Attributes
    ----------
    pair : int
        Which pair it belongs to, from 0.
    side : str
        ``a`` or ``b``.
    kernel : str
        Release of the kernel that it ran on.
    elapsed_s, user_s, system_s : float
        What it took [s].
    """

    pair: int
    side: str
    kernel: str
    elapsed_s: float
    user_s: float
    system_s: float


@dataclass(frozen=True)
class RealTime:
    """One line of the commit's table, measured.

    Attributes
    ----------
    name : str
        As the commit names it.
    a_s, b_s : float
        Means over runs [s].
    change_s : Difference
        b less a, over pairs [s].
    """

    name: str
    a_s: float
    b_s: float
    change_s: Difference


def order(pair: int) -> tuple[str, str]:
    """Who comes first in a pair: A B, then B A, so that what drifts steadily cancels over two pairs.

    Examples
    --------
    >>> [order(pair) for pair in range(4)]
    [('a', 'b'), ('b', 'a'), ('b', 'a'), ('a', 'b')]
    """
    return ("a", "b") if pair % 4 in (0, 3) else ("b", "a")


def whole_pairs(runs: Sequence[RealRun]) -> list[tuple[RealRun, RealRun]]:
    """Put runs together; of a pair that was run twice, the later run of each side counts.

    Parameters
    ----------
    runs : sequence of RealRun
        In the order that they were run in.

    Returns
    -------
    list of tuple of RealRun
        a and b of each pair that has both.
    """
    last = {(run.pair, run.side): run for run in runs}
    pairs = sorted({run.pair for run in runs})
    return [
        (last[pair, "a"], last[pair, "b"]) for pair in pairs if all((pair, side) in last for side in SIDES)
    ]


def compare_runs(runs: Sequence[RealRun]) -> tuple[RealTime, ...]:
    """Compare both sides, pair by pair.

    Parameters
    ----------
    runs : sequence of RealRun
        Whole pairs are taken.

    Returns
    -------
    tuple of RealTime
        Elapsed, system and user time.

    Raises
    ------
    BadInputError
        Without a whole pair.
    """
    pairs = whole_pairs(runs)
    if not pairs:
        raise BadInputError("no pair of runs is complete: there is nothing to compare")
    columns = {"Elapsed time": "elapsed_s", "System": "system_s", "User": "user_s"}
    return tuple(
        _compare(name, [(getattr(a, column), getattr(b, column)) for a, b in pairs])
        for name, column in columns.items()
    )


def _compare(name: str, pairs: Sequence[tuple[float, float]]) -> RealTime:
    n = len(pairs)
    a_s, b_s = (sum(column) / n for column in zip(*pairs, strict=True))
    return RealTime(name, a_s, b_s, difference_interval([b - a for a, b in pairs]))
