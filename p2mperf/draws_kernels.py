"""Compiled: random words, and numbers drawn from them.

Words are those of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"),
bounded without bias (Lemire 2019, "Fast random integer generation in an interval").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.jit import njit

HALF, _LOW_HALF = np.uint64(32), np.uint64(0xFFFF_FFFF)
# Variant 13 of David Stafford's mixers, which Java's SplittableRandom has as well.
_MIX_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_MIX_FACTORS = np.uint64(0xBF58_476D_1CE4_E5B9), np.uint64(0x94D0_49BB_1331_11EB)
# What is added to a word that was unfair, to draw again: 2 ** 64 over the golden ratio, which is odd.
NEXT_TRY = np.uint64(0x9E37_79B9_7F4A_7C15)


class Draws(NamedTuple):
    """A sequence of random words: the i-th is mixed from start + i * gamma.

    Attributes
    ----------
    start, gamma : uint64
        Gamma is odd, and drawn too: with one for all, a sequence could be the continuation of another.
    """

    start: np.uint64
    gamma: np.uint64


@njit(inline="always")
def mixed(word: np.uint64) -> np.uint64:
    """A random word for each word."""
    word = (word ^ (word >> _MIX_SHIFTS[0])) * _MIX_FACTORS[0]
    word = (word ^ (word >> _MIX_SHIFTS[1])) * _MIX_FACTORS[1]
    return word ^ (word >> _MIX_SHIFTS[2])


@njit(inline="always")
def below(n: np.uint64, spill: np.uint64, word: np.uint64) -> np.uint64:
    """A number below n: the high half of word * n, in two products, as n < 2 ** 32.

    Parameters
    ----------
    n, spill : uint64
        As in `Ram`.
    word : uint64
        What is drawn.

    Returns
    -------
    uint64
        Each number equally likely.
    """
    # Lemire finds the spill, which takes a division, when a word looks unfair at first; here it is known, as
    # one n serves a whole stream. Fewer than one word in 2 ** 32 is drawn again.
    while word * n < spill:
        word = mixed(word + NEXT_TRY)
    return high(n, word)


@njit(inline="always")
def high(n: np.uint64, word: np.uint64) -> np.uint64:
    """The high half of word * n, in two products: `below` for whoever looks for unfair words by himself."""
    # A product in numba is its low half. Of these two neither overflows, nor does their sum: all factors are
    # below 2 ** 32. A remainder would be a division for each word, which LLVM makes no vectors of, and favour
    # small numbers.
    return ((word >> HALF) * n + (((word & _LOW_HALF) * n) >> HALF)) >> HALF
