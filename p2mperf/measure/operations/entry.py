"""Entries: a few lookups after what comes before them in a kernel, each timed for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import Design
from p2mperf.errors import P2mperfError
from p2mperf.families import find_family
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.measure.disturb import FLUSHED_BYTES, filled
from p2mperf.measure.operations.entry_kernels import Before, Entered, enter
from p2mperf.measure.operations.lookups import Reading
from p2mperf.preambles import KernelEntry, Preamble

_ZERO = np.uint64(0)
# Frames of a pass. A visit has as many of them as slices, and an untimed one before: with three slices more
# than a thousand entries. In short phases each design's lines would still be in the caches when its turn
# comes again. A flush and other work take 10 to 40 us an entry; without a preamble entries are as short as
# the time stamps around them.
_N_FRAMES, _N_TIGHT_FRAMES = 5 << 8, 3 << 13
# Where an entry asks for one frame alone, so many would take a pass four times as long.
_MOST_ENTRIES = 1 << 9

# An interrupt takes 40 to 100 us, as long as the lookups of a hundred entries: met in one of 320 it would
# make the mean of their pass up to twice as long. This share of entries is left out at either end.
_LEFT_OUT = 0.02


class Entry(Reading[Entered]):
    """The lookups of one kernel entry after another, each after the TLB was flushed and other work done.

    Only the lookups are timed, between two time stamps whose own cost is measured beside them and taken off.

    Parameters
    ----------
    preamble : Preamble, optional
        What comes before; without it the entries follow each other at once.

    Attributes
    ----------
    before : Before
        The same as the loop takes it, once the cell has begun.
    """

    repeats: ClassVar[bool] = True

    def __init__(self, preamble: Preamble | None = None) -> None:
        self._preamble = preamble or Preamble("tight", False, 0, 0, "")
        self._is_tight = not (self._preamble.flush or self._preamble.work_touches)
        self.n_fixed = _N_TIGHT_FRAMES if self._is_tight else _N_FRAMES

    @classmethod
    def why_not(cls, kind: type[Design], guest: Guest) -> str:
        if find_family(kind.family).entry is None:
            return f"family {kind.family} does not say what an entry asks for"
        return ""

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        if not self._preamble.is_possible:
            raise P2mperfError(
                f"{self._preamble.name} flushes the TLB, which is known for x86 alone: take another preamble"
            )
        asked = find_family(next(iter(designs.values())).family).entry
        assert asked is not None
        self._asked: KernelEntry = asked
        if not self._is_tight:
            self.n_fixed = min(_N_FRAMES, _MOST_ENTRIES * asked.n_frames)
        flushed = filled(FLUSHED_BYTES if self._preamble.flush else 0)
        self.before = Before(
            np.array(asked.asks, np.uint64),
            np.uint64(asked.n_frames),
            flushed,
            np.uint64(flushed.ctypes.data),
            filled(self._preamble.work_bytes),
            np.uint64(self._preamble.work_touches),
        )

    def n_done(self, n_frames: int) -> int:
        return n_frames // self._asked.n_frames

    def prepare(self, design: Design, frames: Words) -> Callable[[], Entered]:
        return partial(enter, design.tables, design.state, frames, _ZERO, self.before)

    def timed_ns(self, result: Entered, elapsed_ns: int) -> int:
        """Time of the lookups alone, by the mean of most entries; a tick is as long as the pass tells."""
        ticks = trimmed_mean(result.took) * result.took.size
        return max(1, round(ticks * elapsed_ns / max(1, int(result.whole))))

    def finish(self, design: Design, frames: Words, result: Entered) -> None:
        n_entries = self.n_done(frames.size)
        n_asked = np.bincount(self.before.asks.astype(np.int64)).astype(np.uint64)
        frames = frames[: n_entries * self._asked.n_frames]
        entries = design.guest.entries(frames).reshape(n_entries, -1)
        if result.total != np.sum(entries * n_asked, dtype=np.uint64):
            raise P2mperfError(f"{design.name} of {design.guest.name} sums entries that are not its map's")
        if result.n_flushes != n_entries * self._preamble.flush:
            raise P2mperfError(f"the TLB was flushed before {result.n_flushes} entries of {n_entries}")
        if result.work != n_entries * self._preamble.work_touches:
            raise P2mperfError(f"other work was done {result.work} times before {n_entries} entries")


def trimmed_mean(took: NDArray[np.int64]) -> float:
    """Mean of a pass's entries without the longest and the shortest.

    Parameters
    ----------
    took : ndarray of int64, shape (n_entries,)
        Time of each [ticks].

    Returns
    -------
    float
        Of those between, a share of `_LEFT_OUT` at either end apart [ticks].

    Examples
    --------
    >>> float(trimmed_mean(np.array([3] * 48 + [5] * 48 + [0, 0, 99_000, 99_000])))
    4.0
    """
    n_left_out = int(took.size * _LEFT_OUT)
    return float(np.sort(took)[n_left_out : took.size - n_left_out].mean())
