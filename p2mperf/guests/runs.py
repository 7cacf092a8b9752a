"""Maps of frames as runs: consecutive stretches of one kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.extents import MAX_ORDER, Extents
from p2mperf.guests.geometry import Kind

_MAX_PFN = 1 << 52


@dataclass(frozen=True, eq=False)
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

    def fault(self, n_machine_frames: int) -> str:
        """Say what is wrong with runs as the map of a guest; "" for nothing.

        Parameters
        ----------
        n_machine_frames : int
            Machine frames that there are to back it.
        """
        columns = self._columns
        if not all(map(_is_column, columns)):
            return "its columns are no arrays of one dimension"
        if [column.dtype for column in columns] != [np.int64, np.int64, np.int8, np.int64]:
            return "its columns are of other types"
        if len({column.size for column in columns}) != 1 or not self.kind.size:
            return "its columns are empty or of several lengths"
        if not ((self.n_frames > 0) & (self.n_frames <= _MAX_PFN) & (self.first_pfn <= _MAX_PFN)).all():
            return "a run has no frames, or more than there can be"
        if self.first_pfn[0] != 0 or (self.first_pfn[1:] != self.end_pfn[:-1]).any():
            return "it does not begin at 0, or runs overlap or leave gaps"
        if not np.isin(self.kind, list(Kind)).all():
            return "a run is of no kind"
        return self._memory_fault(n_machine_frames)

    def _memory_fault(self, n_machine_frames: int) -> str:
        ram = self.select(Kind.RAM)
        order = np.argsort(ram.first_mfn)
        first, n_frames = ram.first_mfn[order], ram.n_frames[order]
        if not ram.kind.size:
            return "it has no RAM"
        if first[0] < 0 or (first > n_machine_frames - n_frames).any():
            return f"RAM lies beyond the machine's {n_machine_frames} frames"
        return "one machine frame backs two" if (first[1:] < (first + n_frames)[:-1]).any() else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and all(
            np.array_equal(ours, its) for ours, its in zip(self._columns, other._columns, strict=True)
        )

    def __hash__(self) -> int:
        return hash(tuple(np.ascontiguousarray(column).tobytes() for column in self._columns))

    @property
    def _columns(self) -> tuple[NDArray[Any], ...]:
        return self.first_pfn, self.n_frames, self.kind, self.first_mfn

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, int, int]]) -> Runs:
        """Build from rows (first pfn, frames, kind, first mfn), dropping empty ones."""
        table = np.array([row for row in rows if row[1] > 0], np.int64).reshape(-1, 4)
        return cls(table[:, 0], table[:, 1], table[:, 2].astype(np.int8), table[:, 3])

    @classmethod
    def of_extents(cls, extents: Extents, end_pfn: int) -> Runs:
        """Say as runs what extents say, neighbours in guest and machine joined, missing frames between.

        Parameters
        ----------
        extents : Extents
            All RAM there is.
        end_pfn : int
            Where the runs end.
        """
        gfn, mfn = extents.gfn.astype(np.int64), extents.mfn.astype(np.int64)
        end = gfn + extents.sizes.astype(np.int64)
        joined = (gfn[1:] == end[:-1]) & (mfn[1:] - mfn[:-1] == gfn[1:] - gfn[:-1])
        starts = np.flatnonzero(np.append(True, ~joined))
        first, end = gfn[starts], end[np.append(starts[1:] - 1, gfn.size - 1)]
        # A hole before each stretch, and behind the last; those of no frames are left out.
        edges = np.empty(2 * first.size + 2, np.int64)
        edges[0], edges[1:-1:2], edges[2:-1:2], edges[-1] = 0, first, end, end_pfn
        kind = np.full(edges.size - 1, Kind.MISSING, np.int8)
        first_mfn = np.zeros(kind.size, np.int64)
        kind[1::2], first_mfn[1::2] = Kind.RAM, mfn[starts]
        return cls(edges[:-1], np.diff(edges), kind, first_mfn).take(np.diff(edges) > 0)

    def as_extents(self) -> Extents:
        """Cut RAM into extents, each as large as its place in guest and machine allows."""
        ram = self.select(Kind.RAM)
        rows = zip(ram.first_pfn.tolist(), ram.first_mfn.tolist(), ram.n_frames.tolist(), strict=True)
        return Extents.of(piece for row in rows for piece in _pieces(*row))

    def consist_of(self, extents: Extents) -> bool:
        """Whether extents say of every frame what the RAM among these runs says."""
        ram = self.select(Kind.RAM)
        if not len(extents) or int(ram.n_frames.sum()) != extents.n_frames:
            return False
        gfn, mfn = extents.gfn.astype(np.int64), extents.mfn.astype(np.int64)
        at = np.maximum(ram.at(gfn), 0)
        inside = (gfn >= ram.first_pfn[at]) & (gfn + extents.sizes.astype(np.int64) <= ram.end_pfn[at])
        return bool((inside & (mfn - ram.first_mfn[at] == gfn - ram.first_pfn[at])).all())

    @property
    def end_pfn(self) -> NDArray[np.int64]:
        return self.first_pfn + self.n_frames

    def select(self, *kinds: Kind) -> Runs:
        """Only the runs of these kinds."""
        return self.take(np.isin(self.kind, kinds))

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Runs:
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


def _is_column(column: object) -> bool:
    return isinstance(column, np.ndarray) and column.ndim == 1


def _pieces(gfn: int, mfn: int, n_frames: int) -> Iterator[tuple[int, int, int]]:
    while n_frames:
        placed = gfn | mfn | 1 << MAX_ORDER
        order = min((placed & -placed).bit_length(), n_frames.bit_length()) - 1
        yield gfn, mfn, order
        gfn, mfn, n_frames = gfn + (1 << order), mfn + (1 << order), n_frames - (1 << order)
