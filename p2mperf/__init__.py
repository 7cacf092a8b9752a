"""p2mperf: Xen's guest-frame translation tables, built for real and measured honestly.

>>> import p2mperf
>>> with p2mperf.build("pv-linear", p2mperf.Guest.preset("domu-64-2049m")) as p2m:
...     len(p2m.lookup([0, 524543, 524544]))
3
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2mperf.analysis.agreement import agreement as agreement
    from p2mperf.analysis.arm.findings import arm_vlpt as arm_vlpt
    from p2mperf.analysis.card import (
        card as card,
        origin as origin,
    )
    from p2mperf.analysis.claims.decided import claims as claims
    from p2mperf.analysis.compare import compare as compare
    from p2mperf.analysis.hap.findings import hap_superpages as hap_superpages
    from p2mperf.analysis.hap.nested import nested_references as nested_references
    from p2mperf.analysis.kernel_build.inputs import build_inputs as build_inputs
    from p2mperf.analysis.life.findings import life_of_a_p2m as life_of_a_p2m
    from p2mperf.analysis.limits.findings import vmalloc_limits as vmalloc_limits
    from p2mperf.analysis.lookups.tree_and_list import tree_and_list as tree_and_list
    from p2mperf.analysis.paths import lookup_paths as lookup_paths, map_of as map_of
    from p2mperf.analysis.showing import shown as shown
    from p2mperf.api import (
        figure as figure,
        life as life,
        limits as limits,
        load as load,
        populate as populate,
        summary as summary,
        sweep as sweep,
        table as table,
    )
    from p2mperf.building import build as build
    from p2mperf.designs import _Room
    from p2mperf.given import (
        findings as findings,
        samples as samples,
    )
    from p2mperf.guests.guest import Guest as Guest
    from p2mperf.guests.machine import Machine as Machine
    from p2mperf.study.kernel_builds import kernel_build as kernel_build
    from p2mperf.study.recording import record as record
    from p2mperf.study.replay import replay as replay
    from p2mperf.workload.recording_file import read_recording as read_recording

    designs: _Room

__version__ = "0.1.0"
"""Version of the package, as every result and ``--version`` says it."""

# Names resolve on first use, so that `import p2mperf` costs neither numba nor pandas nor matplotlib.
_HOMES = {
    "Guest": "p2mperf.guests.guest",
    "Machine": "p2mperf.guests.machine",
    "agreement": "p2mperf.analysis.agreement",
    "arm_vlpt": "p2mperf.analysis.arm.findings",
    "build": "p2mperf.building",
    "build_inputs": "p2mperf.analysis.kernel_build.inputs",
    "card": "p2mperf.analysis.card",
    "claims": "p2mperf.analysis.claims.decided",
    "compare": "p2mperf.analysis.compare",
    "figure": "p2mperf.api",
    "findings": "p2mperf.given",
    "hap_superpages": "p2mperf.analysis.hap.findings",
    "kernel_build": "p2mperf.study.kernel_builds",
    "life": "p2mperf.api",
    "life_of_a_p2m": "p2mperf.analysis.life.findings",
    "limits": "p2mperf.api",
    "load": "p2mperf.api",
    "lookup_paths": "p2mperf.analysis.paths",
    "map_of": "p2mperf.analysis.paths",
    "nested_references": "p2mperf.analysis.hap.nested",
    "origin": "p2mperf.analysis.card",
    "populate": "p2mperf.api",
    "read_recording": "p2mperf.workload.recording_file",
    "record": "p2mperf.study.recording",
    "replay": "p2mperf.study.replay",
    "samples": "p2mperf.given",
    "shown": "p2mperf.analysis.showing",
    "summary": "p2mperf.api",
    "sweep": "p2mperf.api",
    "table": "p2mperf.api",
    "tree_and_list": "p2mperf.analysis.lookups.tree_and_list",
    "vmalloc_limits": "p2mperf.analysis.limits.findings",
}

__all__ = ["__version__", "designs", *_HOMES]


if not TYPE_CHECKING:  # to which a name that is not declared above is a mistake

    def __getattr__(name: str) -> object:
        if name == "designs":  # a package that can be called: its import makes it an attribute of this one
            return import_module("p2mperf.designs")
        if name not in _HOMES:
            raise AttributeError(f"module 'p2mperf' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
