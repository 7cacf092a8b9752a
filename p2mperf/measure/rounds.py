"""The rounds of a cell: the order in which designs are timed, and outliers with their cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

OUTLIER_SCORE = 3.5
# 1 / Phi^-1(0.75): the MAD of a normal sample times this is its standard deviation.
MAD_TO_SIGMA = 1.482602218505602
# sqrt(pi / 2): the same for the mean absolute deviation.
MEAN_DEVIATION_TO_SIGMA = 1.2533141373155001


@dataclass(frozen=True)
class Pass:
    """One timed pass of one design.

    Attributes
    ----------
    design : str
        Its name, or that of a control.
    elapsed_ns : int
        Time [ns].
    n_involuntary_switches : int
        Preemptions meanwhile.
    n_steal_ticks : int
        Time the hypervisor took away meanwhile [ticks].
    n_minor_faults : int
        Pages that were faulted in meanwhile.
    growth : mapping of str to int
        What it took, as n_pages_grown and n_vmas_grown; empty for what can take nothing.
    flagged : str
        Cause of an outlier; empty for all others.
    """

    design: str
    elapsed_ns: int
    n_involuntary_switches: int
    n_steal_ticks: int
    n_minor_faults: int = 0
    growth: Mapping[str, int] = field(default_factory=dict)
    flagged: str = ""


@dataclass(frozen=True)
class Round:
    """A pass of each design of a cell, in the order timed.

    Attributes
    ----------
    passes : tuple of Pass
        Of each design one.
    visit : int
        Which of the visits to each design they were made in; several rounds may be of one.
    """

    passes: tuple[Pass, ...]
    visit: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data as a journal has it: a table by design for each thing noted."""
        names = ("elapsed_ns", "n_involuntary_switches", "n_steal_ticks", "n_minor_faults")
        plain: dict[str, Any] = {"order": [one.design for one in self.passes], "visit": self.visit}
        plain |= {name: {one.design: getattr(one, name) for one in self.passes} for name in names}
        for one in self.passes:
            for name, change in one.growth.items():
                plain.setdefault(name, {})[one.design] = change
        return plain | {"flagged": {one.design: one.flagged for one in self.passes if one.flagged}}


@dataclass(frozen=True)
class Measured:
    """What timing a cell gave.

    Attributes
    ----------
    n_lookups : int
        Loop count of one pass.
    checksum : int
        Sum of the entries that all designs agree on, modulo 2**64.
    rounds : tuple of Round
        In the order timed.
    call_ns : mapping of str to int
        Of each elapsed time, what the call costs that makes the pass, by design [ns].
    warm_ns, timed_ns, cell_ns : int
        Time of all touches and untimed passes, of all timed passes with what comes before each entry, and of
        the whole cell [ns].
    """

    n_lookups: int
    checksum: int
    rounds: tuple[Round, ...]
    call_ns: Mapping[str, int] = field(default_factory=dict)
    warm_ns: int = 0
    timed_ns: int = 0
    cell_ns: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data, as a cell that was measured has it in a journal."""
        rounds = [round_.to_json() for round_ in self.rounds]
        told = {"n_lookups": self.n_lookups, "checksum": self.checksum, "rounds": rounds}
        spent = {"warm_ns": self.warm_ns, "timed_ns": self.timed_ns, "cell_ns": self.cell_ns}
        return {**told, "call_ns": dict(self.call_ns), **spent}


def latin_orders(n_designs: int, n_rounds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Order the designs within each round so that drift favours none of them.

    Parameters
    ----------
    n_designs, n_rounds : int
        Size of the table to fill.
    rng : numpy.random.Generator
        Draws the labelling and the row order of each block.

    Returns
    -------
    ndarray of intp, shape (n_rounds, n_designs)
        Entry (r, p) is the design that runs at position p of round r.

    Raises
    ------
    ValueError
        When there is nothing to order.

    Notes
    -----
    Each block of `n_designs` rounds is a cyclic Latin square, as in nanobench 4.6 ``compare()``: every
    design stands once in every position.  Every other block mirrors the one before it, so that not
    only the mean but also the median distance between two designs is zero over both (with three
    designs one square has distances +1, +1 and -2).  Two designs give ABBA BAAB.

    Examples
    --------
    >>> orders = latin_orders(3, 6, np.random.default_rng(1))
    >>> [int(np.flatnonzero(orders == design).size) for design in range(3)]
    [6, 6, 6]
    """
    if n_designs < 1 or n_rounds < 1:
        raise ValueError(f"cannot order {n_designs} designs in {n_rounds} rounds: both must be positive")
    positions = np.arange(n_designs)
    blocks: list[NDArray[np.intp]] = []
    while len(blocks) * n_designs < n_rounds:
        labels = rng.permutation(n_designs)
        square = labels[(positions[:, None] + positions) % n_designs]
        block = square[rng.permutation(n_designs)]
        blocks += [block, block[:, ::-1]]
    return np.concatenate(blocks)[:n_rounds]


def whole_squares(n_rounds: int, n_designs: int) -> int:
    """Round up to whole Latin squares: every design stands equally often in each place.

    Examples
    --------
    >>> whole_squares(6, 4), whole_squares(6, 3)
    (8, 6)
    """
    return -(-n_rounds // n_designs) * n_designs


def flag_outliers(
    elapsed_ns: ArrayLike,
    steal_ticks: ArrayLike | None = None,
    n_involuntary_switches: ArrayLike | None = None,
) -> NDArray[np.str_]:
    """Name the likely cause of every outlying sample of one series; nothing is removed.

    Parameters
    ----------
    elapsed_ns : array_like of float, shape (n_samples,)
        Times of one design in one process [ns].
    steal_ticks, n_involuntary_switches : array_like of int, shape (n_samples,), optional
        What the hypervisor took and how often the scheduler interrupted while the sample ran.

    Returns
    -------
    ndarray of str, shape (n_samples,)
        Empty for samples that are no outliers, else ``steal``, ``involuntary switch`` or
        ``unexplained``.

    Raises
    ------
    ValueError
        When a time is not finite and positive, or the lengths differ.

    Notes
    -----
    A sample is an outlier when the modified z-score of its log exceeds 3.5 in magnitude (Iglewicz and
    Hoaglin, How to Detect and Handle Outliers, 1993).
    """
    logs = np.log(times(elapsed_ns))
    outlying = np.abs(_modified_scores(logs)) > OUTLIER_SCORE
    stolen = _positive_counts(steal_ticks, logs.size)
    switched = _positive_counts(n_involuntary_switches, logs.size)
    cause = np.where(stolen, "steal", np.where(switched, "involuntary switch", "unexplained"))
    return np.where(outlying, cause, "")


def flagged(rounds: Sequence[Round]) -> tuple[Round, ...]:
    """Add its cause to every outlying pass; each design is judged for itself, and nothing is dropped."""
    causes: dict[str, list[str]] = {}
    for name in (one.design for one in rounds[0].passes):
        series = [one for round_ in rounds for one in round_.passes if one.design == name]
        noted = ("elapsed_ns", "n_steal_ticks", "n_involuntary_switches")
        columns = [[getattr(one, what) for one in series] for what in noted]
        causes[name] = list(map(str, flag_outliers(*columns)))
    return tuple(
        replace(
            round_,
            passes=tuple(replace(one, flagged=causes[one.design][number]) for one in round_.passes),
        )
        for number, round_ in enumerate(rounds)
    )


def _modified_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviations = values - np.median(values)
    magnitudes = np.abs(deviations)
    # A clock that ticks coarsely can make more than half of the values equal, and the MAD zero.
    sigma = MAD_TO_SIGMA * np.median(magnitudes) or MEAN_DEVIATION_TO_SIGMA * magnitudes.mean()
    return deviations / sigma if sigma else np.zeros_like(values)


def _positive_counts(counts: ArrayLike | None, n_samples: int) -> NDArray[np.bool_]:
    if counts is None:
        return np.zeros(n_samples, dtype=bool)
    values = vector(counts)
    if values.size != n_samples:
        raise ValueError(f"{values.size} counts do not belong to {n_samples} samples")
    return values > 0


def times(elapsed_ns: ArrayLike) -> NDArray[np.float64]:
    """Take elapsed times for what they must be: one series of finite, positive numbers [ns].

    Raises
    ------
    ValueError
        When they are not.
    """
    values = vector(elapsed_ns)
    if values.min() <= 0:
        raise ValueError(f"an elapsed time of {values.min():g} ns cannot be: times are positive")
    return values


def vector(values: ArrayLike) -> NDArray[np.float64]:
    """Take numbers for one non-empty series of finite ones.

    Raises
    ------
    ValueError
        When they are none.
    """
    vector: NDArray[Any] = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"one non-empty series of numbers is needed, not shape {vector.shape}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{int((~np.isfinite(vector)).sum())} of {vector.size} values are not finite")
    return vector
