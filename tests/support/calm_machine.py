"""A machine that is busy with nothing else, as it is seen."""

from __future__ import annotations

from p2mperf.host.watch import Snapshot

CALM = Snapshot(
    load_average=(0.1, 0.2, 0.3),
    damon=False,
    n_khugepaged_collapsed=40,
    n_khugepaged_scans=9,
    numa_balancing=0,
    n_numa_hint_faults=0,
    n_numa_pages_migrated=0,
    n_steal_ticks=2,
    n_busy_ticks=1000,
    governor="performance",
    boost=False,
)
