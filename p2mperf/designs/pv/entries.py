"""What a raw entry of a PV p2m says, and how a whole p2m is written down: debugfs' mmu/p2m.

Markers and helpers: arch/x86/include/asm/xen/page.h (3.18 and 3.19).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.explained import Explained
from p2mperf.guests.geometry import Geometry, Words

KIND_NAMES = ("pfn", "missing", "identity", "foreign")
_DUMP_CHUNK = 1 << 20


def kind_codes(entries: Words, geometry: Geometry) -> NDArray[np.int8]:
    """Index into `KIND_NAMES` of each raw entry; INVALID is excluded first, for it has both markers set."""
    foreign = (entries & np.uint64(geometry.foreign_bit)) != 0
    identity = (entries & np.uint64(geometry.identity_bit)) != 0
    codes = np.where(foreign, 3, np.where(identity, 2, 0))
    return np.where(entries == np.uint64(geometry.invalid), 1, codes).astype(np.int8)


def without_markers(entries: Words, geometry: Geometry) -> Words:
    """Machine frames of entries; INVALID stays as it is."""
    plain = entries & np.uint64(geometry.invalid ^ geometry.identity_bit ^ geometry.foreign_bit)
    return np.where(entries == np.uint64(geometry.invalid), entries, plain)


def explain(entry: int, geometry: Geometry) -> Explained:
    """Read a raw entry: its ``kind``, and its ``mfn`` or None."""
    word = np.array([entry], np.uint64)
    kind = KIND_NAMES[int(kind_codes(word, geometry)[0])]
    return {"kind": kind, "mfn": None if kind == "missing" else int(without_markers(word, geometry)[0])}


def kind_runs(
    lookup: Callable[[Words], Words], end_pfn: int, geometry: Geometry
) -> list[tuple[int, int, str]]:
    """Runs of one kind.

    Parameters
    ----------
    lookup : callable
        Gives the raw entries of frames.
    end_pfn : int
        Where to stop.
    geometry : Geometry
        Says which bits are markers.

    Returns
    -------
    list of tuple of (int, int, str)
        First pfn, end pfn and kind of each, over [0, end_pfn).
    """
    runs: list[tuple[int, int, str]] = []
    for start, stop, kind in _kind_pieces(lookup, end_pfn, geometry):
        if runs and runs[-1][2] == kind:
            runs[-1] = (runs[-1][0], stop, kind)
        else:
            runs.append((start, stop, kind))
    return runs


def _kind_pieces(
    lookup: Callable[[Words], Words], end: int, geometry: Geometry
) -> Iterator[tuple[int, int, str]]:
    for first in range(0, end, _DUMP_CHUNK):
        n_frames = min(_DUMP_CHUNK, end - first)
        codes = kind_codes(lookup(np.arange(first, first + n_frames, dtype=np.uint64)), geometry)
        cuts = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), n_frames]
        for low, high in pairwise(cuts):
            yield first + low, first + high, KIND_NAMES[codes[low]]
