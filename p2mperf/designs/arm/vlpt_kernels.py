"""The access through the window, compiled: one load, or the place where the entry stands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.designs.arm.event_kernels import LoadWord
from p2mperf.designs.arm.walk_kernels import THREE, ZERO, address_of, entry_at
from p2mperf.jit import instance_class, types, walk_overload
from p2mperf.memory.raw import Probe
from p2mperf.tables.walk import State, Walk, locate, walk


class VlptTables(NamedTuple):
    """What an access through the window needs.

    Attributes
    ----------
    window : uint64
        Address of the entry of frame 0 in this process.
    first, n_frames : uint64
        Frames that may be looked up: inside them a permission fault proves that all levels are there.
    """

    window: np.uint64
    first: np.uint64
    n_frames: np.uint64


def _accessor(finish: LoadWord) -> Walk:
    def get_vlpt_3lvl_pte(
        tables: VlptTables, state: State, probe: Probe, pfn: np.uint64
    ) -> tuple[np.uint64, State]:
        # One comparison for both ends: of a frame below the first the difference wraps round, and is large.
        # With two, lookups that overlap took 1.4 times as long. The patch has none at all here
        # (get_vlpt_3lvl_pte, v5 4/6).
        if pfn - tables.first < tables.n_frames:
            # From frame 0 on, and not from the first: the patch indexes the window by the address in the
            # guest, too.
            return finish(probe, tables.window + (pfn << THREE)), state
        return ZERO, state

    return get_vlpt_3lvl_pte


def _implement(stub: Walk, finish: LoadWord) -> None:
    @walk_overload(stub)
    def choose(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
        return _accessor(finish) if instance_class(tables) is VlptTables else None


_implement(walk, entry_at)
_implement(locate, address_of)
