"""Pieces of a stream: what a process replays of it, and how what that took is put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace as changed

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError
from p2mperf.workload.replays import ClassCost
from p2mperf.workload.translation_stream import Entered, TranslationStream

Floats = NDArray[np.float64]

# Untimed entries before each phase, as a share of it: the design's own lines come back as they would be.
_LEAD_SHARE = 8
# An entry is left out, the same one of all designs, where one of them took so much longer than another, and
# more than twice as long: an interrupt takes 40 to 100 us on a virtual machine, a turn of another process
# milliseconds, where a fault's lookups take 0.1 to 2 [ns].
_INTERRUPTED_NS = 5_000


def stretch(stream: TranslationStream, first: int, end: int) -> TranslationStream:
    """Cut some entries out of a stream.

    Parameters
    ----------
    stream : TranslationStream
        The whole.
    first, end : int
        Entries, the end exclusive.

    Returns
    -------
    TranslationStream
        Of arrays of its own.
    """
    begins, ends = int(stream.starts[first]), int(stream.starts[end])
    return changed(
        stream,
        items=stream.items[begins:ends].copy(),
        starts=stream.starts[first : end + 1] - begins,
        entered=stream.entered[first:end].copy(),
        gaps_ns=stream.gaps_ns[first:end].copy(),
    )


@dataclass(frozen=True)
class Phases:
    """How a stretch of a stream is cut: untimed entries, then phases.

    Attributes
    ----------
    lead_entries : int
        Untimed entries before each phase; those before the first begin the stretch.
    phase_entries : int
        Entries of a phase.
    n_phases : int
        Phases, one after the other.
    """

    lead_entries: int
    phase_entries: int
    n_phases: int

    @classmethod
    def of(cls, n_entries: int, phase_entries: int, n_phases: int) -> Phases:
        """Cut phases as they are wished for, or as long as so many entries allow.

        Parameters
        ----------
        n_entries : int
            Entries that there are.
        phase_entries, n_phases : int
            What is wished for.

        Raises
        ------
        BadInputError
            When there are fewer entries than phases.
        """
        most = _LEAD_SHARE * n_entries // (_LEAD_SHARE * n_phases + 1)
        if most < 1:
            raise BadInputError(
                f"a stream of {n_entries} entries does not make {n_phases} phases: record a longer command"
            )
        phase_entries = min(phase_entries, most)
        return cls(phase_entries // _LEAD_SHARE, phase_entries, n_phases)

    @property
    def n_entries(self) -> int:
        """Entries of the stretch."""
        return self.lead_entries + self.n_timed

    @property
    def n_timed(self) -> int:
        """Entries that are timed."""
        return self.n_phases * self.phase_entries

    def starts(self) -> list[int]:
        """Where in the stretch each phase begins."""
        return [self.lead_entries + number * self.phase_entries for number in range(self.n_phases)]


def summarise(
    took: Mapping[str, Floats], stream: TranslationStream, phases: Phases
) -> tuple[dict[str, ClassCost], int]:
    """Put the times of entries together, by class and phase.

    Parameters
    ----------
    took : mapping of str to ndarray of float64, shape (phases.n_timed,)
        As `Replayer.run` gives it, of all designs [ns].
    stream : TranslationStream
        The stretch.
    phases : Phases
        How it was cut.

    Returns
    -------
    classes : dict of str to ClassCost
        By name of the class.
    n_left_out : int
        Entries that are in no mean: those in which a design was interrupted, or another process had a turn.
    """
    times = np.stack(list(took.values()))
    lengths = np.diff(stream.starts)[phases.lead_entries :]
    entered = stream.entered[phases.lead_entries :]
    phase = np.repeat(np.arange(phases.n_phases), phases.phase_entries)
    shortest = times.min(axis=0)
    kept = times.max(axis=0) - shortest <= np.maximum(shortest, _INTERRUPTED_NS)
    classes = {}
    for number in np.unique(entered[kept]):
        chosen = kept & (entered == number)
        n_entries = np.bincount(phase[chosen], minlength=phases.n_phases)
        there = n_entries > 0
        n_items = np.bincount(phase[chosen], lengths[chosen], phases.n_phases)
        sums = {name: np.bincount(phase[chosen], ns[chosen], phases.n_phases) for name, ns in took.items()}
        classes[Entered(number).name] = ClassCost(
            tuple(n_entries[there].tolist()),
            tuple(n_items[there].astype(np.int64).tolist()),
            {name: tuple((ns[there] / n_entries[there]).tolist()) for name, ns in sums.items()},
        )
    return classes, int(np.count_nonzero(~kept))
