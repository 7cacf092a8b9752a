"""How the domain builder was told to populate, what it used, and the leaves of a guest as rows."""

from __future__ import annotations

from typing import Any

from p2mperf.guests.extents import Extents
from p2mperf.populating.populate import Populated

MODES: dict[str, dict[str, Any]] = {
    "4K": {"hap_2mb": False, "hap_1gb": False},
    "2M": {"hap_1gb": False},
    "1G": {},
}


def counts(found: Populated) -> tuple[int, ...]:
    return tuple(found.leaves[order] for order in (0, 9, 18))


def rows_of(extents: Extents) -> list[tuple[int, int, int]]:
    return list(zip(extents.gfn.tolist(), extents.mfn.tolist(), extents.order.tolist(), strict=True))
