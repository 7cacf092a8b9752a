"""Numbers that say where they come from, and what is left open when several uncertain ones are multiplied.

What is multiplied has errors that multiply: each is a factor, by which the number may be larger or smaller at
95 %, and together they are combined in quadrature, in logs. A number of which not even the sign is known has
no such factor; what stands on it is not bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import exp, hypot, inf, isfinite, log
from typing import Literal

Origin = Literal["published", "measured", "modelled", "counted", "given"]


@dataclass(frozen=True)
class Number:
    """A number with its range, and where it comes from.

    Attributes
    ----------
    middle : float
        The number.
    low, high : float
        Its range, at 95 % where it is an interval; infinite where it is not bounded.
    unit : str
        As ``s``, ``ns a fault``.
    origin : str
        ``published``; ``measured``, on this or another host, with what was multiplied by it; ``modelled``, by
        arithmetic on latencies and counts; ``counted``, in a recording; ``given``, by who asks.
    source : str
        How, or by whom.
    """

    middle: float
    low: float
    high: float
    unit: str
    origin: Origin
    source: str

    @property
    def width(self) -> float:
        """How many times as large the far end is as the near one; infinite across 0."""
        return factor_between(self.low, self.high)

    @property
    def is_bounded(self) -> bool:
        """Whether its range has two ends."""
        return isfinite(self.low) and isfinite(self.high)

    def scaled(self, by: float, unit: str, source: str) -> Number:
        """Multiply it, and its range, by what is known.

        Parameters
        ----------
        by : float
            Not 0.
        unit, source : str
            Of the product.
        """
        low, high = sorted((self.low * by, self.high * by))
        return replace(self, middle=self.middle * by, low=low, high=high, unit=unit, source=source)


@dataclass(frozen=True)
class Factor:
    """One part of an error budget.

    Attributes
    ----------
    name : str
        What is uncertain.
    factor : float
        By how many times it may be larger or smaller, at 95 %; infinite where its sign is open.
    source : str
        Where the factor comes from.
    """

    name: str
    factor: float
    source: str


def combined(factors: Iterable[Factor]) -> float:
    """Combine factors in quadrature, in logs.

    Parameters
    ----------
    factors : iterable of Factor
        Parts that know nothing of each other.

    Returns
    -------
    float
        The factor of their product.

    Examples
    --------
    >>> parts = [Factor("faults", 1.6, ""), Factor("delta", 1.9, ""), Factor("translations", 1.15, "")]
    >>> round(combined(parts), 2)  # exp(sqrt(0.470**2 + 0.642**2 + 0.140**2))
    2.24
    """
    return exp(hypot(*(log(part.factor) for part in factors)))


def factor_between(one: float, other: float) -> float:
    """Say how many times as large one number is as another, whichever is larger.

    Parameters
    ----------
    one, other : float
        Numbers of any sign.

    Returns
    -------
    float
        From 1 on; infinite where one of them is 0, they differ in sign, or one is no number.

    Examples
    --------
    >>> factor_between(-30, -10), factor_between(-1, 2)
    (3.0, inf)
    """
    if not (one * other > 0 and isfinite(one) and isfinite(other)):
        return inf
    small, large = sorted((abs(one), abs(other)))
    return large / small


def spread(middle: float, smaller: float, larger: float | None = None) -> tuple[float, float]:
    """Range of a number that may be so many times smaller or larger.

    Parameters
    ----------
    middle : float
        The number, of either sign.
    smaller : float
        By how many times its size may be smaller, from 1 on.
    larger : float, optional
        And larger; default: as many.

    Returns
    -------
    low, high : float
        In rising order; infinite where a factor is.

    Examples
    --------
    >>> spread(-10.0, 2.0)
    (-20.0, -5.0)
    """
    larger = smaller if larger is None else larger
    if not (isfinite(smaller) and isfinite(larger)):
        return -inf, inf
    low, high = sorted((middle / smaller, middle * larger))
    return low, high


@dataclass(frozen=True)
class Swing:
    """What one assumption moves, all others left as they are.

    Attributes
    ----------
    name : str
        The assumption.
    ends : tuple of str
        What it is at either end, in words.
    seconds : tuple of float
        Change of system time there [s].
    origins : tuple of str
        Where each comes from, as `Number` has it.
    """

    name: str
    ends: tuple[str, str]
    seconds: tuple[float, float]
    origins: tuple[Origin, Origin] = ("measured", "measured")

    @property
    def width_s(self) -> float:
        """How far apart the ends are [s]."""
        return abs(self.seconds[1] - self.seconds[0])


def widest_first(swings: Iterable[Swing]) -> tuple[Swing, ...]:
    """Order them as a tornado has them."""
    return tuple(sorted(swings, key=lambda swing: -swing.width_s))
