"""Made by hand: counts of a build and replays of its entries, so small that each result is a sum on paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from p2mperf.analysis.kernel_build.counts import BuildCounts, ClassCount
from p2mperf.analysis.kernel_build.prediction import KernelBuild, predict
from p2mperf.model.e6440 import Asked
from p2mperf.workload.replays import (
    ClassCost,
    Interference,
    Replay,
    ReplayProcess,
    Replays,
    VictimProcess,
)

DESIGNS = ("pv-tree", "pv-linear")
# What a process adds to each difference: their median, and the mean of all, is 0.
OFFSETS = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)
# What an anonymous write, and an exit of 200 lookups, cost more with the tree [ns].
COSTS: dict[tuple[str, str], dict[str, float]] = {
    ("tight", "8G"): {"ANONYMOUS_WRITE": 5.0, "EXIT": 80.0},
    ("flushed", "8G"): {"ANONYMOUS_WRITE": 40.0, "EXIT": 200.0},
    ("cold", "8G"): {"ANONYMOUS_WRITE": 50.0, "EXIT": 400.0},
    ("cold", "128G"): {"ANONYMOUS_WRITE": 70.0, "EXIT": 600.0},
}


def counts(**changes: Any) -> BuildCounts:
    """800 faults, each with 9 lookups; 10 exits of 400."""
    classes = {
        "ANONYMOUS_WRITE": ClassCount(800, 7200, 5600, 5600, Asked(9, 1, 2.8, 1, 3.75)),
        "EXIT": ClassCount(10, 4000, 4000, 4000, Asked(400, 1, 8, 2, 30)),
    }
    return BuildCounts(
        **{
            "name": "a build made by hand",
            "n_faults": 800,
            "user_s": 0.01,
            "n_execs": 5,
            "classes": classes,
            "n_windows": 80.0,
            "window_pages": 14.0,
            "events_factor": 1.15,
            "thp": True,
            "of_whole": False,
            **changes,
        }
    )


def replay(
    condition: str,
    guest: str,
    costs: Mapping[str, float],
    *,
    designs: tuple[str, ...] = DESIGNS,
    offsets: tuple[float, ...] = OFFSETS,
    page_bytes: int = 4096,
) -> Replay:
    """Two phases in each process, 1 ns below and above; the control costs 1 ns more than the tree."""
    tree, plain = designs
    processes = []
    for seed, offset in enumerate(offsets):
        classes = {}
        for name, more in costs.items():
            n_items = 200 if name == "EXIT" else 9
            moved = more + offset * (name == "ANONYMOUS_WRITE")
            of_list = 1000.0
            times: dict[str, tuple[float, ...]] = {
                tree: (of_list + moved - 1, of_list + moved + 1),
                plain: (of_list, of_list),
                "control": (of_list + moved, of_list + moved + 2),
            }
            classes[name] = ClassCost((50, 50), (50 * n_items, 50 * n_items), times)
        pages = dict.fromkeys((*designs, "control"), page_bytes)
        processes.append(ReplayProcess(seed, 0, 0, classes, pages))
    return Replay(condition, guest, 5000, designs, tuple(processes))


def replays(**changes: Any) -> Replays:
    """All of `COSTS`."""
    found = tuple(replay(*key, costs) for key, costs in COSTS.items())
    return Replays(**{"recording": "digest", "thp": True, "code": "0.1", "replays": found, **changes})


def interference(
    more_ns: float,
    offsets: tuple[float, ...] = OFFSETS,
    *,
    work_bytes: int = 1 << 20,
    n_touches: int = 100,
) -> Interference:
    """Work that takes so much longer after the tree's entries."""
    processes = tuple(
        VictimProcess(
            seed,
            {
                "pv-tree": (2000.0 + more_ns + offset,) * 2,
                "pv-linear": (2000.0,) * 2,
                "control": (2000.0 + more_ns + offset,) * 2,
            },
        )
        for seed, offset in enumerate(offsets)
    )
    touched = dict.fromkeys(DESIGNS, 5.0)
    return Interference("chase", "8G", work_bytes, n_touches, 1000, DESIGNS, touched, touched, processes)


@pytest.fixture(scope="module")
def found() -> KernelBuild:
    """What both of them come to."""
    return predict(counts(), replays())
