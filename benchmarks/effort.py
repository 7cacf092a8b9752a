"""How much a benchmark does."""

from __future__ import annotations

from enum import IntEnum


class Effort(IntEnum):
    """How much a benchmark does; less than `FULL` counts as true.

    Attributes
    ----------
    FULL
        All that a criterion asks for.
    QUICK
        Fewer rounds; the criteria stay the same.
    SMOKE
        A few seconds on the smallest guests, to see that the benchmark runs at all: its figures say nothing.
    """

    FULL = 0
    QUICK = 1
    SMOKE = 2

    def choose(self, full: int, quick: int, smoke: int) -> int:
        """Pick a number of rounds, runs or processes."""
        return (full, quick, smoke)[self]
