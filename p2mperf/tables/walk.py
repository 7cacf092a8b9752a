"""The functions that a design writes: from a pfn to its entry, and to the place where that stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from p2mperf.memory.raw import Counted, Probe

# What a walk remembers between calls: whatever a design likes, of one type throughout.
State = TypeVar("State", bound=tuple[object, ...])
# What a design's overloads of these functions give numba: the like, for the design's own tables.
Walk = Callable[..., tuple[np.uint64, tuple[object, ...]]]


def walk(tables: NamedTuple, state: State, probe: Probe, pfn: Counted) -> tuple[np.uint64, State]:
    """Translate one frame; compiled code only.

    A design implements it as a `p2mperf.jit.walk_overload` that answers for its own type of `tables`.

    Parameters
    ----------
    tables : NamedTuple
        What the design's compiled code needs to know.
    state : tuple
        What a walk remembers between calls; ``()`` for most designs.
    probe : empty tuple or ndarray of uint64
        Passed on to `p2mperf.memory.raw.load64` and `load32`, the only ways a walk reads.
    pfn : uint64
        Frame to translate.

    Returns
    -------
    entry : uint64
        Raw entry, marker bits included.
    state : tuple
        To be passed to the next walk.
    """
    raise NotImplementedError("walk is for compiled code: a design implements it for its tables")


def locate(tables: NamedTuple, state: State, probe: Probe, pfn: Counted) -> tuple[np.uint64, State]:
    """Find where a frame's entry stands, for those who will change it; compiled code only.

    Parameters
    ----------
    tables, state, probe, pfn
        As `walk`.

    Returns
    -------
    address : uint64
        Address of the entry, 0 where the tables have no place for it.
    state : tuple
        To be passed to the next call.
    """
    raise NotImplementedError("locate is for compiled code: a design implements it for its tables")
