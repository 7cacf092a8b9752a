"""How near to each other the translations of a build are: what entries share of a p2m, and with whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2mperf.units import HUGE_SHIFT, PAGE_SHIFT
from p2mperf.workload.locality_kernels import NO_FRAME, Counted, count_touches, data_frames
from p2mperf.workload.translation_stream import Entered, TranslationStream, check_stream

Counts = NDArray[np.int64]

N_BINS = 33
N_OCTAVES = 48
NEAR_FRAMES = 8
_LEAF_SHIFT = HUGE_SHIFT - PAGE_SHIFT

# Frames that share each unit of a 64-bit p2m [log2]: entries are 8 bytes, 8 to a line and 512 to a page. A
# line of a mid has the pointers of 8 leaves; a mid, of which each GiB of the guest has one, those of 512; and
# a line of the top has those of 8 mids.
UNITS: dict[str, int] = {
    "entry lines": 3,
    "leaves": _LEAF_SHIFT,
    "mid lines": _LEAF_SHIFT + 3,
    "GiB slots": 2 * _LEAF_SHIFT,
    "top lines": 2 * _LEAF_SHIFT + 3,
}


@dataclass(frozen=True)
class Sums:
    """What the entries of one class ask for, summed over them; within an entry a unit counts once.

    Attributes
    ----------
    n_entries, n_items : int
        Entries, and their translations.
    n_entry_lines, n_leaves, n_mid_lines, n_gib_slots, n_top_lines : int
        Units, as in `UNITS`.
    """

    n_entries: int
    n_items: int
    n_entry_lines: int
    n_leaves: int
    n_mid_lines: int
    n_gib_slots: int
    n_top_lines: int


@dataclass(frozen=True)
class Touched:
    """How entries touch units of one kind; within an entry a unit counts once.

    Attributes
    ----------
    n_units : int
        Units that the whole stream touches: its working set.
    n_touches : ndarray of int64, shape (n_classes,)
        Units that entries touch, by class.
    per_entry : ndarray of int64, shape (n_classes, N_BINS)
        Entries by class and by the units that each touches; the last bin is of those that touch more, too.
    reuse : ndarray of int64, shape (n_classes, N_OCTAVES)
        Touches of a unit that was touched before, by class and by how many entries ago that was: column i is
        of those from 2**i on and before 2**(i + 1).
    median_reuse_entries : float
        Median of how many entries ago; not a number where nothing is touched again [entries].
    """

    n_units: int
    n_touches: Counts
    per_entry: Counts
    reuse: Counts
    median_reuse_entries: float

    @property
    def share_reused(self) -> float:
        """Share of touches whose unit was touched by an entry before."""
        return _share(self.reuse.sum(), self.n_touches.sum())


@dataclass(frozen=True)
class Successive:
    """How far the data page of an anonymous write is from that of the one before it on the same CPU.

    Attributes
    ----------
    n_pairs : int
        Writes with one before them.
    n_next, n_previous : int
        Frames one above, and one below.
    n_near : int
        Frames at most `NEAR_FRAMES` away; those one away are among them.
    n_same_leaf : int
        Frames whose entries share a leaf.
    """

    n_pairs: int
    n_next: int
    n_previous: int
    n_near: int
    n_same_leaf: int

    @property
    def shares(self) -> dict[str, float]:
        """Shares of all pairs, by name."""
        return {
            "+1": _share(self.n_next, self.n_pairs),
            "-1": _share(self.n_previous, self.n_pairs),
            f"within {NEAR_FRAMES}": _share(self.n_near, self.n_pairs),
            "same leaf": _share(self.n_same_leaf, self.n_pairs),
        }


@dataclass(frozen=True)
class Locality:
    """How near to each other the translations of a stream are.

    Attributes
    ----------
    n_entries : ndarray of int64, shape (n_classes,)
        Entries by class.
    n_items : ndarray of int64, shape (n_classes,)
        Translations by the class of their entry.
    touched : dict of str to Touched
        By the name of a unit, of `UNITS`.
    successive : Successive
        Of the data pages of anonymous writes.
    n_data : int
        Anonymous writes with a data page.
    n_data_reused : int
        Those that find its entry's line touched before, by whichever entry.
    median_data_reuse_entries : float
        Median of how many entries ago; not a number where there is none [entries].
    """

    n_entries: Counts
    n_items: Counts
    touched: dict[str, Touched]
    successive: Successive
    n_data: int
    n_data_reused: int
    median_data_reuse_entries: float

    def mean(self, unit: str, entered: Entered | None = None) -> float:
        """Mean number of units that an entry touches; not a number where there is no entry.

        Parameters
        ----------
        unit : str
            One of `UNITS`.
        entered : Entered, optional
            Class of the entries; all of them without it.
        """
        where = slice(None) if entered is None else slice(int(entered), int(entered) + 1)
        return _share(self.touched[unit].n_touches[where].sum(), self.n_entries[where].sum())

    @property
    def classes(self) -> dict[str, Sums]:
        """Sums of each class that occurs, by the name of its `Entered`."""
        columns = [self.n_entries, self.n_items, *(one.n_touches for one in self.touched.values())]
        sums = {kind: [int(column[kind]) for column in columns] for kind in Entered}
        return {kind.name: Sums(*numbers) for kind, numbers in sums.items() if numbers[0]}

    @property
    def share_data_reused(self) -> float:
        """Share of data pages whose entry's line was touched before."""
        return _share(self.n_data_reused, self.n_data)


def count_locality(stream: TranslationStream) -> Locality:
    """Count how entries into the kernel share lines, leaves and mids of a 64-bit p2m.

    Parameters
    ----------
    stream : TranslationStream
        Of one CPU.

    Returns
    -------
    Locality

    Raises
    ------
    BadInputError
        For a stream whose columns contradict each other.

    Notes
    -----
    One pass for each unit, over an array of what touched it last: one byte a frame of the guest, and some
    30 for each entry.
    """
    check_stream(stream, stream.n_guest_frames)
    items, starts = np.ascontiguousarray(stream.items), np.ascontiguousarray(stream.starts)
    entered = np.ascontiguousarray(stream.entered)
    n_entries = np.bincount(entered, minlength=len(Entered)).astype(np.int64)
    frames = np.empty(entered.size, np.int64)
    data_frames(items, starts, entered, int(Entered.ANONYMOUS_WRITE), frames)
    touched, of_data = {}, np.zeros(1, np.int64)
    for name, shift in UNITS.items():
        counted = Counted(
            last=np.zeros(((stream.n_guest_frames - 1) >> shift) + 1, np.int64),
            n_touches=np.zeros(len(Entered), np.int64),
            per_entry=np.zeros((len(Entered), N_BINS), np.int64),
            reuse=np.zeros((len(Entered), N_OCTAVES), np.int64),
            distances=np.zeros(entered.size + 1, np.int64),
            watched=np.zeros(entered.size + 1, np.int64),
        )
        n_units = count_touches(items, starts, entered, shift, frames, counted)
        median = _median(counted.distances)
        touched[name] = Touched(n_units, counted.n_touches, counted.per_entry, counted.reuse, median)
        if name == "entry lines":
            of_data = counted.watched
    return Locality(
        n_entries,
        np.bincount(entered, np.diff(starts), len(Entered)).astype(np.int64),
        touched,
        _successive(frames[frames != NO_FRAME]),
        n_data=int(of_data.sum()),
        n_data_reused=int(of_data[1:].sum()),
        median_data_reuse_entries=_median(of_data),
    )


def _successive(frames: Counts) -> Successive:
    step = np.diff(frames)
    return Successive(
        n_pairs=int(step.size),
        n_next=int(np.count_nonzero(step == 1)),
        n_previous=int(np.count_nonzero(step == -1)),
        n_near=int(np.count_nonzero(np.abs(step) <= NEAR_FRAMES)),
        n_same_leaf=int(np.count_nonzero(frames[1:] >> _LEAF_SHIFT == frames[:-1] >> _LEAF_SHIFT)),
    )


def _median(distances: Counts) -> float:
    """Median distance of those that are more than 0; the lower one of two."""
    before = np.cumsum(distances[1:])
    return float(1 + np.searchsorted(before, (before[-1] + 1) // 2)) if before.size and before[-1] else np.nan


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else np.nan
