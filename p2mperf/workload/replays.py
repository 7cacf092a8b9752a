"""What replaying a stream through designs cost: raw, process by process and phase by phase, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from p2mperf.errors import BadInputError, shown
from p2mperf.workload.plain import from_plain

Card = dict[str, Any]

FORMAT, VERSION = "p2mperf-replays", 1
CONTROL = "control"  # what the second build of the first design is called


@dataclass(frozen=True)
class ClassCost:
    """What the entries of one class cost in one process, phase by phase.

    A phase in which no entry of the class was timed has no place here.

    Attributes
    ----------
    n_entries, n_items : tuple of int
        Entries of each phase that were timed, and their lookups of the p2m.
    ns_per_entry : dict of str to tuple of float
        By design, `CONTROL` among them: mean over these entries, the same for all designs [ns].
    """

    n_entries: tuple[int, ...]
    n_items: tuple[int, ...]
    ns_per_entry: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class ReplayProcess:
    """What one fresh process found, or, where each design had one, one of each.

    Attributes
    ----------
    seed : int
        Of its layouts and of where the recorded frames stand in its guest.
    first_entry : int
        Entry of the stream that its first phase begins with.
    n_left_out : int
        Entries that were timed but are in no mean.
    classes : dict of str to ClassCost
        By the name of a `p2mperf.workload.translation_stream.Entered`.
    pages : dict of str to int
        Page size of each design's tables as smaps told it, 0 for mixed ones [bytes].
    """

    seed: int
    first_entry: int
    n_left_out: int
    classes: dict[str, ClassCost]
    pages: dict[str, int]


@dataclass(frozen=True)
class Replay:
    """One stream, replayed under one condition at one guest size.

    Attributes
    ----------
    condition : str
        ``tight``, ``flushed`` or ``cold``.
    guest : str
        Name of the guest.
    phase_entries : int
        Entries that a design is asked in a row before the next design's turn.
    designs : tuple of str
        Designs; the others are compared with the last. `CONTROL` is a second build of the first.
    processes : tuple of ReplayProcess
        What each found.
    work_bytes : int
        Memory that other work between entries reads from; 0 without any [bytes].
    touches_per_us : float
        Lines of it that are read for each microsecond of the time since the entry before [1/us].
    alone : bool
        Whether each design had processes to itself.
    """

    condition: str
    guest: str
    phase_entries: int
    designs: tuple[str, ...]
    processes: tuple[ReplayProcess, ...]
    work_bytes: int = 0
    touches_per_us: float = 0.0
    alone: bool = False


@dataclass(frozen=True)
class VictimProcess:
    """What other work took in one fresh process.

    Attributes
    ----------
    seed : int
        As `ReplayProcess`.
    ns_per_entry : dict of str to tuple of float
        By design, `CONTROL` among them: mean time of the work after an entry, phase by phase [ns].
    """

    seed: int
    ns_per_entry: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Interference:
    """What lookups do to the work that comes after them: that is timed, and not they.

    Attributes
    ----------
    victim : str
        ``chase``: each load names the next one; ``stream``: line after line.
    guest : str
        Name of the guest.
    work_bytes : int
        Memory that the work goes round in [bytes].
    n_touches : int
        Lines that it reads after each entry.
    phase_entries : int
        As `Replay`.
    designs : tuple of str
        As `Replay`.
    lines_per_entry, pages_per_entry : dict of str to float
        By design: cache lines and 4 KiB pages of its tables that an entry reads, each once; counted.
    processes : tuple of VictimProcess
        What each found.
    """

    victim: str
    guest: str
    work_bytes: int
    n_touches: int
    phase_entries: int
    designs: tuple[str, ...]
    lines_per_entry: dict[str, float]
    pages_per_entry: dict[str, float]
    processes: tuple[VictimProcess, ...]


@dataclass(frozen=True)
class Replays:
    """All that was replayed of one recording.

    Attributes
    ----------
    recording : str
        Digest of the recording's columns; "" for a stream that came without one.
    thp : bool
        Whether the stream is of a kernel with CONFIG_TRANSPARENT_HUGEPAGE.
    code : str
        Version of the code.
    replays : tuple of Replay
        By condition and guest.
    machine : dict
        Machine card.
    interference : tuple of Interference
        What the lookups do to other work, where that was asked for.
    """

    recording: str
    thp: bool
    code: str
    replays: tuple[Replay, ...]
    machine: Card = field(default_factory=dict)
    interference: tuple[Interference, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Give plain, JSON-ready data."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read what `to_json` made, and check it.

        Parameters
        ----------
        data : object
            Plain data.

        Raises
        ------
        BadInputError
            Naming the place that is not as `to_json` writes it, or that contradicts itself.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise BadInputError("these are no replays: `python -m p2mperf replay FILE --out` writes some")
        if (version := data.get("version")) != VERSION:
            raise BadInputError(f"replays of version {shown(version)} cannot be read: {VERSION} can")
        rest = {name: value for name, value in data.items() if name not in ("format", "version")}
        found = from_plain(cls, rest, "replays")
        if fault := _fault(found):
            raise BadInputError(f"these replays contradict themselves: {fault}")
        return found


def _fault(found: Replays) -> str:
    """What in replays cannot be, or ""."""
    for replay in found.replays:
        what = f"{shown(replay.condition)} at {shown(replay.guest)}"
        if fault := _fault_of_designs(replay.designs) or _fault_of_replay(replay):
            return f"{what} {fault}"
    for one in found.interference:
        what = f"interference with {shown(one.victim)} at {shown(one.guest)}"
        if fault := _fault_of_designs(one.designs) or _fault_of_interference(one):
            return f"{what} {fault}"
    return ""


def _fault_of_designs(designs: tuple[str, ...]) -> str:
    if not designs or CONTROL in designs or len(set(designs)) < len(designs):
        return "names its designs twice, or none"
    return ""


def _fault_of_replay(replay: Replay) -> str:
    if replay.phase_entries < 1 or replay.work_bytes < 0 or replay.touches_per_us < 0:
        return "has a phase of no entries, or less work than none"
    for process in replay.processes:
        if set(process.pages) != {*replay.designs, CONTROL}:
            return "has processes that built other designs"
        for name, cost in process.classes.items():
            if fault := _fault_of_class(cost, {*replay.designs, CONTROL}):
                return f"has a class {shown(name)} {fault}"
    return ""


def _fault_of_class(cost: ClassCost, designs: set[str]) -> str:
    if set(cost.ns_per_entry) != designs:
        return "of other designs"
    n_phases = len(cost.n_entries)
    if not n_phases or {n_phases} != {len(cost.n_items), *map(len, cost.ns_per_entry.values())}:
        return "whose columns differ in length, or are empty"
    if min(cost.n_entries) < 1 or min(cost.n_items) < 0:
        return "with a phase of no entries"
    return ""  # an entry can seem to take less than no time: what stamps take is measured too, and taken off


def _fault_of_interference(one: Interference) -> str:
    if min(one.work_bytes, one.n_touches, one.phase_entries) < 1:
        return "has no work, or phases of no entries"
    if {*one.lines_per_entry} != {*one.pages_per_entry} or not {*one.designs} <= {*one.lines_per_entry}:
        return "counts lines of other designs"
    for process in one.processes:
        lengths = set(map(len, process.ns_per_entry.values()))
        if set(process.ns_per_entry) != {*one.designs, CONTROL} or len(lengths) != 1 or 0 in lengths:
            return "has processes of other designs, or whose columns differ in length"
    return ""
