"""Maps of frames as runs: consecutive stretches of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.geometry import Kind


@dataclass(frozen=True)
class Runs:
    """Consecutive stretches of frames of one kind; values of a RAM run count up from `first_mfn`.

    Attributes
    ----------
    first_pfn, n_frames, first_mfn : ndarray of int64, shape (n_runs,)
        Where a run starts, its length, and the mfn of its first frame (0 unless RAM).
    kind : ndarray of int8, shape (n_runs,)
        `Kind` of the run.
    """

    first_pfn: NDArray[np.int64]
    n_frames: NDArray[np.int64]
    kind: NDArray[np.int8]
    first_mfn: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, int, int]]) -> Runs:
        """Build from rows (first pfn, frames, kind, first mfn), dropping empty ones."""
        table = np.array([row for row in rows if row[1] > 0], np.int64).reshape(-1, 4)
        return cls(table[:, 0], table[:, 1], table[:, 2].astype(np.int8), table[:, 3])

    @property
    def end_pfn(self) -> NDArray[np.int64]:
        return self.first_pfn + self.n_frames

    def select(self, *kinds: Kind) -> Runs:
        """Only the runs of these kinds."""
        return self.take(np.isin(self.kind, kinds))

    def take(self, index: Any) -> Runs:
        """Only the runs that `index` selects."""
        return Runs(self.first_pfn[index], self.n_frames[index], self.kind[index], self.first_mfn[index])

    def at(self, pfns: NDArray[np.int64]) -> NDArray[np.intp]:
        """Run that each pfn lies in, for runs without gaps between them."""
        return np.searchsorted(self.first_pfn, pfns, side="right") - 1

    def cut(self, points: NDArray[np.int64]) -> Runs:
        """Split so that no run crosses any of `points`."""
        inside = points[(points > self.first_pfn[0]) & (points < self.end_pfn[-1])]
        first = np.union1d(self.first_pfn, inside)
        run = self.at(first)
        n_frames = np.diff(np.append(first, self.end_pfn[-1]))
        shift = np.where(self.kind[run] == Kind.RAM, first - self.first_pfn[run], 0)
        return Runs(first, n_frames, self.kind[run], self.first_mfn[run] + shift)
