"""Made by hand: what figures and pages of a kernel build are drawn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p2mperf.analysis.build_counts import BuildCounts, ClassCount
from p2mperf.analysis.kernel_build import KernelBuild, predict
from p2mperf.model.e6440 import Asked
from p2mperf.workload.replays import ClassCost, Replay, ReplayProcess, Replays

DESIGNS = ("pv-tree", "pv-linear")
# What an anonymous write costs more with the tree [ns], and what it costs with the list.
MORE_NS = {"tight": 5.0, "flushed": 45.0, "cold": 100.0}
LIST_NS = {"tight": 40.0, "flushed": 130.0, "cold": 300.0}
# As so many anonymous writes an entry of the class counts.
WORTH = {"ANONYMOUS_WRITE": 1, "FILE_READ": 2, "EXIT": 4, "SWITCH": 1}
CONTROL_NS = 1.0


def process(
    condition: str, seed: int, guest_factor: float, designs: tuple[str, ...] = DESIGNS
) -> ReplayProcess:
    """Of three phases of 40 entries; the delta grows by 1 % with each seed."""
    classes = {}
    for name, worth in WORTH.items():
        tree, plain = designs
        more = MORE_NS[condition] * worth * guest_factor * (1 + seed / 100)
        of_list = LIST_NS[condition] * worth
        costs = {tree: of_list + more, plain: of_list, "control": of_list + more + CONTROL_NS}
        times = {design: (ns,) * 3 for design, ns in costs.items()}
        classes[name] = ClassCost((40,) * 3, (40 * 9 * worth,) * 3, times)
    return ReplayProcess(seed, 0, 0, classes, dict.fromkeys((*designs, "control"), 4096))


def replays(n_processes: int = 6, designs: tuple[str, ...] = DESIGNS, **changes: Any) -> Replays:
    """Tight, flushed and cold, of guests of 8 and 128 GiB; the larger one has twice the delta."""
    found = tuple(
        Replay(
            condition,
            guest,
            5000,
            designs,
            tuple(process(condition, seed, factor, designs) for seed in range(n_processes)),
        )
        for condition in MORE_NS
        for guest, factor in (("8G", 1.0), ("128G", 2.0))
    )
    card = {"cpu_model": "Example 9000", "kernel_release": "6.1.0", "hypervisor": "kvm"}
    return Replays(
        **{"recording": "digest", "thp": True, "code": "0.1", "replays": found, "machine": card, **changes}
    )


def counts(n_faults: int = 73_000) -> BuildCounts:
    """A recorded build whose anonymous writes ask 9 times each, and others for as many as they are worth."""
    numbers = {"ANONYMOUS_WRITE": 60_000, "FILE_READ": 13_000, "EXIT": 150, "SWITCH": 800}
    asked = Asked(n_calls=9, n_tops=1, n_mids=2.8, n_top_lines=1, n_mid_lines=3.75)
    classes = {
        name: ClassCount(n, 9 * WORTH[name] * n, 7 * WORTH[name] * n, 7.5 * WORTH[name] * n, asked)
        for name, n in numbers.items()
    }
    return BuildCounts("made", n_faults, 1.0, 130, classes, 13.5, 13_000, True)


def build(designs: tuple[str, ...] = DESIGNS, n_processes: int = 6) -> KernelBuild:
    """What these counts and replays come to."""
    return predict(counts(), replays(n_processes, designs))


# By the kind of a figure's source.
GIVEN: dict[str, Callable[[], object]] = {"replays": replays, "build": build}
