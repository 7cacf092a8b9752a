"""What replaying a stream through designs cost: raw, process by process and round by round, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Card = dict[str, Any]


@dataclass(frozen=True)
class ClassCost:
    """What the entries of one class cost in one process.

    Attributes
    ----------
    n_entries, n_items : int
        Entries and their translations, of a round.
    ns_per_entry : dict of str to tuple of float
        By design, the control among them under its own name: mean over the entries of each round [ns].
    """

    n_entries: int
    n_items: int
    ns_per_entry: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class ReplayProcess:
    """What one fresh process found.

    Attributes
    ----------
    seed : int
        Of its layouts and of where the recorded frames stand in its guest.
    classes : dict of str to ClassCost
        By the name of a `p2mperf.workload.translation_stream.Entered`.
    pages : dict of str to int
        Page size of each design's tables as smaps told it [bytes].
    """

    seed: int
    classes: dict[str, ClassCost]
    pages: dict[str, int]


@dataclass(frozen=True)
class Replay:
    """One stream, replayed under one condition at one guest size.

    Attributes
    ----------
    condition : str
        ``tight``, ``flushed`` or ``cold``; others where somebody asks for them.
    guest : str
        Name of the guest.
    phase_entries : int
        Entries that a design is asked in a row before the next design's turn.
    designs : tuple of str
        Designs; ``control`` is a second build of the first.
    processes : tuple of ReplayProcess
        What each found.
    """

    condition: str
    guest: str
    phase_entries: int
    designs: tuple[str, ...]
    processes: tuple[ReplayProcess, ...]


@dataclass(frozen=True)
class Replays:
    """All that was replayed of one recording.

    Attributes
    ----------
    recording : str
        Digest of the recording's columns.
    thp : bool
        Whether the stream is of a kernel with CONFIG_TRANSPARENT_HUGEPAGE.
    code : str
        Version of the code.
    replays : tuple of Replay
        By condition and guest.
    machine : dict
        Machine card.
    """

    recording: str
    thp: bool
    code: str
    replays: tuple[Replay, ...]
    machine: Card = field(default_factory=dict)
