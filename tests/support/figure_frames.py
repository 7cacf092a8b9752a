"""Results whose costs can be worked out by hand: what figures are drawn from in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import record_samples as samples
from matplotlib.axes import Axes

from p2mperf.results.export import load
from p2mperf.results.journal import Journal
from p2mperf.units import GIB, MIB

CONTROL = "control:pv-linear"
CARD = {
    "cpu_model": "Example 9000",
    "kernel_release": "6.1.0",
    "hypervisor": "kvm",
    "ladder": {},
    # 1 MiB and 1 GiB of 64-bit list: 512 MiB and 512 GiB of guest.
    "knees": [
        {"name": "L2", "bytes": 1 * MIB, "source": "measured"},
        {"name": "L3", "bytes": 1 * GIB, "source": "measured"},
    ],
}
SMALL = {"guest": "pv-64-256m", "geometry": "pv64", "entry_bits": 64, "guest_pages": 65536}
LARGE = {"guest": "pv-64-1g", "geometry": "pv64", "entry_bits": 64, "guest_pages": 262144}


def cell(guest: dict[str, Any], replicate: int, *times: tuple[int, ...], **changes: Any) -> dict[str, Any]:
    """1000 lookups a pass; one tuple a round: list, tree, and the list once more where there is a control."""
    order = ("pv-linear", "pv-tree", CONTROL)[: len(times[0])]
    blocks = [samples.block(*round_times, order=order) for round_times in times]
    return samples.cell(**guest, replicate=replicate, rounds=blocks, **changes)


def frame_of(directory: Path, *records: dict[str, Any]) -> pd.DataFrame:
    with Journal.create(directory, samples.run(machine=CARD, n_cells=len(records))) as journal:
        for record in samples.with_units(*records):
            journal.append(record)
    return load(directory)


def changes() -> list[dict[str, Any]]:
    whole = {"stream": "whole-table", "n_lookups": 1}
    rebuilt = [
        cell(SMALL, number, (120_000_000 + number, 40_000_000), operation="rebuild", **whole)
        for number in (0, 1)
    ]
    broken = [
        cell(SMALL, number, (2_000_000, 1_000_000), (4_000_000, 1_000_000), operation="cow", stream="uniform")
        for number in (0, 1)
    ]
    for record in broken:
        for block, n_pages in zip(record["rounds"], (1000, 1002), strict=True):
            block["n_pages_grown"] = {"pv-linear": n_pages, "pv-tree": 1000}
            block["n_vmas_grown"] = {"pv-linear": 2000, "pv-tree": 0}
    return [*rebuilt, *broken]


def entered() -> list[dict[str, Any]]:
    """Entries of both guests and both processes, after nothing and after a flush."""
    return [
        cell(guest, replicate, times, times, operation="entry", preamble=preamble)
        for guest in (SMALL, LARGE)
        for replicate in (0, 1)
        for preamble, times in (("tight", (10_000, 12_000)), ("flush+8M", (100_000, 150_000 + replicate)))
    ]


def lookups() -> list[dict[str, Any]]:
    designs = {
        "pv-linear": samples.design(footprint={"leaf": 128, "pte": 2}),
        "pv-tree": samples.design(footprint={"leaf": 128, "mid": 1}, n_vmas=0),
    }
    return [
        samples.unit(designs, **SMALL, replicate=0),
        cell(SMALL, 0, (2000, 3000, 2000), (2200, 3300, 2420)),
        cell(SMALL, 0, (10000, 3000, 10000), (11000, 3300, 11000), hole_fraction=0.5),
        samples.unit(designs, **SMALL, replicate=1),
        cell(SMALL, 1, (2000, 4000, 1800), (2400, 4800, 2400)),
        samples.unit(designs, **LARGE, replicate=0),
        cell(LARGE, 0, (5000, 10000, 5000), (5000, 10000, 5000)),
        samples.unit(designs, **LARGE, replicate=1),
        cell(LARGE, 1, (7000, 14000, 7000), (7000, 14000, 7000)),
        samples.skipped(**LARGE, replicate=2),
        samples.failed(**LARGE, replicate=3),
    ]


def points_of(ax: Axes) -> dict[str, float]:
    """Ratios by row, of a forest with one point a row."""
    rows = [label.get_text() for label in ax.get_yticklabels()]
    points = [line for line in ax.lines if line.get_marker() == "o" and line.get_markersize() < 6]
    places = [np.asarray(line.get_xydata(), float) for line in points]
    return {rows[round(y)]: float(x) for x, y in np.concatenate(places)}


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """Two guests, two processes; holes, a control, and cells that were not measured."""
    return frame_of(tmp_path / "results", *lookups())


@pytest.fixture
def lived(tmp_path: Path) -> pd.DataFrame:
    """The same, and what happened to a p2m: broken leaves (one takes a mid), a rebuild, entries."""
    return frame_of(tmp_path / "lived", *lookups(), *changes(), *entered())
