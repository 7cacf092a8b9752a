"""What a recording is, in counts: for people to read, and for programs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2mperf.errors import BadInputError
from p2mperf.workload.faults import classify
from p2mperf.workload.recording import About, Recording
from p2mperf.workload.recording_file import digest
from p2mperf.workload.sampling import count_events, gaps_ns

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


@dataclass(frozen=True)
class Description:
    """Counts of a recording.

    Attributes
    ----------
    about : About
        How it was taken.
    digest : str
        Of its columns.
    n_events, n_threads : int
        What is in it.
    seconds : float
        From its first event to its last [s].
    events, faults : dict of str to int
        Events by name, and faults by class; no classes where its kernel does not say which allocation is
        what.
    gap_quantiles_ns : dict of str to int
        Time between entries into the kernel that follow each other on one CPU [ns]; empty without any.
    """

    about: About
    digest: str
    n_events: int
    n_threads: int
    seconds: float
    events: dict[str, int]
    faults: dict[str, int]
    gap_quantiles_ns: dict[str, int]

    @property
    def n_lost(self) -> int:
        """Events that the kernel counted as lost."""
        return sum(count.n_overrun + count.n_dropped for count in self.about.cpus.values())

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing of what the kernel recorded, but for what a sample leaves out."""
        return self.about.complete_until_ns < 0 and not self.n_lost


def _classes(recording: Recording) -> dict[str, int]:
    try:
        return dict(classify(recording).counts)
    except BadInputError:
        return {}


def describe(recording: Recording) -> Description:
    """Count what is in a recording.

    Parameters
    ----------
    recording : Recording
        Any.

    Returns
    -------
    Description
    """
    gaps = gaps_ns(recording)
    quantiles = np.quantile(gaps, QUANTILES, method="lower").tolist() if gaps.size else []
    return Description(
        about=recording.about,
        digest=digest(recording),
        n_events=recording.n_events,
        n_threads=int(np.unique(recording.pid[recording.pid > 0]).size),
        seconds=int(recording.time_ns[-1] - recording.time_ns[0]) / 1e9,
        events=count_events(recording),
        faults=_classes(recording),
        gap_quantiles_ns={f"p{round(100 * at)}": n for at, n in zip(QUANTILES, quantiles, strict=False)},
    )
