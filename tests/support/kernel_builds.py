"""Made by hand: what figures and pages of a kernel build are drawn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from made_recordings import Made
from predicted_builds import counts

from p2mperf.analysis.kernel_build.prediction import KernelBuild, predict
from p2mperf.workload.events import Event
from p2mperf.workload.recording import Recording
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
        times: dict[str, tuple[float, ...]] = {design: (ns,) * 3 for design, ns in costs.items()}
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


def build(designs: tuple[str, ...] = DESIGNS, n_processes: int = 6) -> KernelBuild:
    """What these replays come to, for a build of 800 anonymous writes and 10 exits."""
    return predict(counts(), replays(n_processes, designs))


def two_processes() -> Recording:
    """Each of two threads writes to two pages, anonymous ones; the first of each makes three page tables."""
    recorded = Made()
    for pid, frame in ((1, 1000), (2, 5000)):
        recorded.add(Event.EXEC, pid, pid)
        recorded.fault(pid, 0x400).table(pid, frame, frame + 1, frame + 2).data(pid, frame + 10)
        recorded.fault(pid, 0x401).data(pid, frame + 11)
    return recorded.recording()


# By the kind of a figure's source; None is what is shipped, or made for the drawing.
GIVEN: dict[str, Callable[[], object]] = {
    "recordings": two_processes,
    "replays": replays,
    "build": build,
    "way of a frame": lambda: None,
}
