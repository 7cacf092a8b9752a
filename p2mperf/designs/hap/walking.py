"""What a walk of a p2m takes, for each format."""

from __future__ import annotations

import numpy as np

from p2mperf.designs.hap.table import HapTable
from p2mperf.designs.hap.walk_kernels import WalkTables64, WalkTablesNonPae, WalkTablesPae

WalkTables = WalkTables64 | WalkTablesPae | WalkTablesNonPae
_BY_LEVELS: dict[int, type[WalkTables64] | type[WalkTablesPae] | type[WalkTablesNonPae]] = {
    4: WalkTables64,
    3: WalkTablesPae,
    2: WalkTablesNonPae,
}


def walk_tables(table: HapTable) -> WalkTables:
    """Make what a walk of a table takes."""
    store, kind = table.store, _BY_LEVELS[table.plan.shape.n_levels]
    return kind(store.root, store.base, np.uint64(table.max_mapped))
