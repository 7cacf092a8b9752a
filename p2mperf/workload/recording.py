"""A recording: the events of one command, as columns, and what is known about how they were taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Card = dict[str, Any]


@dataclass(frozen=True)
class CpuCount:
    """What the kernel counted on one CPU's ring buffer.

    Attributes
    ----------
    n_read : int
        Events that were read.
    n_overrun, n_dropped : int
        Events that were lost, written over or never written.
    """

    n_read: int
    n_overrun: int
    n_dropped: int


@dataclass(frozen=True)
class Usage:
    """What the command took, as wait4 tells.

    Attributes
    ----------
    elapsed_s, user_s, system_s : float
        Times [s]. Recording is in them.
    n_minor_faults, n_major_faults : int
        Page faults.
    exit_code : int
        Its exit code, negative for a signal.
    """

    elapsed_s: float
    user_s: float
    system_s: float
    n_minor_faults: int
    n_major_faults: int
    exit_code: int


@dataclass(frozen=True)
class Whole:
    """What a whole recording had that only a sample of is kept: integers, counted before it was cut.

    Attributes
    ----------
    every : int
        Each so-many-th process was kept with all its address spaces, by the number of their events.
    first : int
        The first that was kept, from 0 for the one with most events.
    n_spaces, n_kept_spaces : int
        Address spaces that began, of all and of the sample.
    n_events : dict of str to int
        Events by name.
    n_faults : dict of str to int
        Faults by class.
    gaps_ns : tuple of tuple of int
        Histogram of the time between entries into the kernel that follow each other on one CPU: (lower
        bound [ns], number).
    """

    every: int
    first: int
    n_spaces: int
    n_kept_spaces: int
    n_events: dict[str, int]
    n_faults: dict[str, int]
    gaps_ns: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class About:
    """How a recording was taken.

    Attributes
    ----------
    tool : str
        Name of the program that was run, without its path and arguments.
    kernel_release, architecture : str
        Of the machine that it ran on.
    page_bytes, subbuffer_bytes : int
        Of that machine's memory, and of its ring buffer [bytes].
    clock : str
        Clock of the stamps.
    formats : dict of str to str
        Digest of each event's format file, by event name.
    gfp : dict of str to int
        Value of each gfp flag's name in that kernel, ``GFP_`` prefixes kept as it writes them.
    cpus : dict of int to CpuCount
        What each CPU counted.
    usage : Usage
        What the command took.
    complete_until_ns : int
        Up to where nothing is missing; -1 for all of it [ns].
    machine : dict
        Machine card.
    whole : Whole or None
        Of a sample: what it was cut from.
    made : str
        ``""`` for a recording of a kernel; else how it was made, as for tests.
    """

    tool: str
    kernel_release: str
    architecture: str
    page_bytes: int
    subbuffer_bytes: int
    clock: str
    formats: dict[str, str]
    gfp: dict[str, int]
    cpus: dict[int, CpuCount]
    usage: Usage
    complete_until_ns: int = -1
    machine: Card = field(default_factory=dict)
    whole: Whole | None = None
    made: str = ""


@dataclass(frozen=True)
class Recording:
    """Events in the order of their times, all columns of one length.

    Attributes
    ----------
    time_ns : ndarray of int64
        Time since the first event [ns].
    cpu : ndarray of int8
        CPU that it happened on.
    pid : ndarray of int32
        Thread that it happened to, numbered from 1 in the order of their first events.
    event : ndarray of int8
        A `p2mperf.workload.events.Event`.
    value, aux : ndarray of int64
        As `p2mperf.workload.events.EVENTS` says of each event.
    about : About
        How they were taken.
    """

    time_ns: NDArray[np.int64]
    cpu: NDArray[np.int8]
    pid: NDArray[np.int32]
    event: NDArray[np.int8]
    value: NDArray[np.int64]
    aux: NDArray[np.int64]
    about: About

    @property
    def n_events(self) -> int:
        """Number of events."""
        return int(self.event.size)
