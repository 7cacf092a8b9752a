"""Loads that lookups really make, counted by the compiled walks with a probe that notes every address."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from p2mperf.analysis.samples import OF_STREAM
from p2mperf.designs import find
from p2mperf.guests.geometry import Kind
from p2mperf.guests.guest import Guest
from p2mperf.guests.presets import ALL_PRESETS
from p2mperf.streams import make_stream

EXAMPLE = "dom0-64-e820"
# So many lookups of a stream are walked: their mean is within a few hundredths of a load then.
N_WALKED = 2000
OF_A_CELL = ["guest", *OF_STREAM]


def loads_by_kind(designs: Sequence[str]) -> pd.DataFrame:
    """Count the loads of single lookups in the example map of arch/x86/xen/p2m.c.

    Parameters
    ----------
    designs : sequence of str
        PV designs, each built for it.

    Returns
    -------
    pandas.DataFrame
        A row a kind of frame, a column a design.
    """
    guest = Guest.preset(EXAMPLE)
    kinds, first = guest.runs.kind.tolist(), guest.runs.first_pfn.tolist()
    gap = kinds.index(Kind.IDENTITY)
    frames = {
        "RAM": 0,
        "missing": first[gap] - 1,
        "identity in a leaf of its own": first[gap],
        "identity in the shared leaf": (first[gap] + int(guest.runs.end_pfn[gap])) // 2,
    }
    counts = {}
    for name in designs:
        with find(name)(guest) as design:
            counts[name] = [len(design.lookup_path(frame).steps) for frame in frames.values()]
    return pd.DataFrame(counts, index=list(frames))


def mean_loads(
    design: str, guest: str, stream: str, hole_fraction: float, identity_fraction: float, hole_pattern: str
) -> float:
    """Count the loads of a lookup on average, over the stream that a cell was measured over.

    Parameters
    ----------
    design : str
        Whose tables are built.
    guest, stream, hole_fraction, identity_fraction, hole_pattern
        What the cell is of, by the names of its columns: `OF_A_CELL`.

    Returns
    -------
    float
        NaN where the cell is of a guest that cannot be built by its name.
    """
    if guest not in ALL_PRESETS:  # guests with holes are presets where they are ours
        return float("nan")
    shares = (float(hole_fraction), float(identity_fraction), str(hole_pattern))
    return _mean_loads(design, str(guest), str(stream), shares)


@lru_cache(maxsize=256)
def _mean_loads(design: str, preset: str, stream: str, shares: tuple[float, float, str]) -> float:
    holes, identity, pattern = shares
    with find(design)(Guest.preset(preset)) as p2m:
        frames = make_stream(
            stream, p2m.guest, N_WALKED, hole_fraction=holes, identity_fraction=identity, hole_pattern=pattern
        )
        return sum(len(p2m.lookup_path(frame).steps) for frame in frames.tolist()) / N_WALKED
