"""Names of designs that tests are given, of which a type checker knows what `p2mperf.build` makes."""

from __future__ import annotations

from typing import Literal

PvName = Literal["pv-tree", "pv-linear"]
PagedName = Literal["pv-tree-4k", "pv-tree-2m", "pv-linear-4k", "pv-linear-2m"]
ArmName = Literal["arm-walk", "arm-walk-thrashing", "arm-walk-direct", "arm-vlpt"]
HapName = Literal["hap-walk", "hap-linear"]
AnyHapName = Literal["hap-walk", "hap-linear", "hap-walk-2m", "hap-linear-2m", "hap-walk-4k", "hap-linear-4k"]

PV_DESIGNS: tuple[PvName, ...] = ("pv-tree", "pv-linear")
HAP_DESIGNS: tuple[HapName, ...] = ("hap-walk", "hap-linear")
