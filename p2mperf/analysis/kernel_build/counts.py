"""What a recorded build asked of a p2m, by class of entry: of the whole build, where a sample is kept too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from p2mperf.errors import BadInputError
from p2mperf.model.e6440 import Asked


@dataclass(frozen=True)
class ClassCount:
    """Entries of one class.

    Attributes
    ----------
    n_entries : float
        Of the whole build.
    n_p2m, n_m2p : float
        Their lookups of the p2m, those that verify an answer of the m2p included, and of the m2p.
    n_p2m_other_thp : float
        Lookups of the p2m by a kernel whose CONFIG_TRANSPARENT_HUGEPAGE is the other.
    asked : Asked
        What one of them asks, on average.
    """

    n_entries: float
    n_p2m: float
    n_m2p: float
    n_p2m_other_thp: float
    asked: Asked


@dataclass(frozen=True)
class BuildCounts:
    """A recorded build, in numbers.

    Attributes
    ----------
    name : str
        What it is called.
    n_faults : int
        Its page faults.
    user_s : float
        Its user time [s].
    n_execs : int
        Programs that it started.
    classes : mapping of str to ClassCount
        By the name of a `p2mperf.workload.translation_stream.Entered`.
    n_windows : float
        Faults of files, that map what is around in the page cache.
    window_pages : float
        Pages that one of them maps, on average.
    events_factor : float
        By how many times the lookups of all events may be more or fewer, by the range of each step.
    thp : bool
        Whether they are of a kernel with CONFIG_TRANSPARENT_HUGEPAGE.
    of_whole : bool
        Whether these are numbers of a whole build of which only a sample is at hand.
    """

    name: str
    n_faults: int
    user_s: float
    n_execs: int
    classes: Mapping[str, ClassCount]
    n_windows: float
    window_pages: float
    events_factor: float
    thp: bool
    of_whole: bool

    def __post_init__(self) -> None:
        if self.n_faults <= 0 or not self.user_s > 0:
            raise BadInputError(
                f"{self.name} has no page faults or no user time: nothing can be scaled by it"
            )

    @property
    def n_p2m(self) -> float:
        """Lookups of the p2m."""
        return sum(each.n_p2m for each in self.classes.values())

    @property
    def p2m_per_fault(self) -> float:
        """Lookups of the p2m for each page fault, those of other entries among them."""
        return self.n_p2m / self.n_faults

    @property
    def m2p_per_fault(self) -> float:
        """The same of the m2p."""
        return sum(each.n_m2p for each in self.classes.values()) / self.n_faults

    @property
    def p2m_per_fault_other_thp(self) -> float:
        """Lookups of the p2m for each fault by a kernel whose CONFIG_TRANSPARENT_HUGEPAGE is the other."""
        return sum(each.n_p2m_other_thp for each in self.classes.values()) / self.n_faults

    @property
    def faults_per_user_s(self) -> float:
        """Page faults a second of user time, on the machine that recorded it."""
        return self.n_faults / self.user_s
