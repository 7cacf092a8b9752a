"""For every claim that can be decided: data that are not so, and what has to become of the claim then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pandas as pd

from p2mperf.analysis.claims.evidence import Evidence
from p2mperf.analysis.kernel_build.prediction import KernelBuild
from p2mperf.control import CONTROL
from p2mperf.designs.arm.posted_defects import Outcome
from p2mperf.designs.arm.vlpt import ArmVlpt
from p2mperf.designs.arm.walk import ArmWalk
from p2mperf.designs.hap.linear import HapLinear
from p2mperf.designs.hap.walk import HapWalk
from p2mperf.designs.pv.linear import PvLinear
from p2mperf.designs.pv.scenarios import Step
from p2mperf.designs.pv.tree import PvTree
from p2mperf.guests.geometries import find_geometry
from p2mperf.guests.guest import Guest
from p2mperf.guests.presets import PRESETS
from p2mperf.populating.populate import populate
from p2mperf.sizing import Answer, limits
from p2mperf.units import PAGE_SIZE

YES, NO, OPEN = "reproduced", "contradicted", "not resolved"
Made = Callable[..., Any]


def evidence_with(**replaced: object) -> Evidence:
    """Evidence of which some parts are not what they should be."""
    evidence = Evidence()
    for name, part in replaced.items():
        setattr(evidence, name, part)
    return evidence


@cache
def swapped(family: str, one: str, other: str) -> Evidence:
    """The shipped sweep, with two designs' names put in each other's place."""
    frame = Evidence().samples(family)
    names = {one: other, other: one}
    names |= {CONTROL + name: CONTROL + its for name, its in names.items()}
    designs = frame["design"].map(lambda name: names.get(name, name)).astype(frame["design"].dtype)
    changed: pd.DataFrame = frame.assign(design=designs)
    return evidence_with(samples=lambda family: changed)


def other_guest(made: Made, size: str, **options: Any) -> Made:
    """Build another guest of the same format than the one that is asked for."""
    return lambda guest, **asked: made(Guest.plain(size, geometry=guest.geometry.name), **options)


def limits_with(**changed: Any) -> Made:
    """Answer for other parameters than those that are asked for."""
    return lambda guest_memory=None, **asked: limits(guest_memory, **{**asked, **changed})


def all_with_largest(n_bytes: int) -> Made:
    """Answer as is asked, but with one size for the largest guest of every limit."""

    def answer(guest_memory: str | None = None, **asked: Any) -> Answer:
        found = limits(guest_memory, **asked)
        return replace(
            found, verdicts=tuple(replace(one, largest_guest_bytes=n_bytes) for one in found.verdicts)
        )

    return answer


@cache
def kernel_build() -> KernelBuild:
    """As it comes with p2mperf, decided once."""
    return Evidence().kernel_build


def published(**after: float) -> Evidence:
    """The kernel build, if the commit had published another time for one of its lines [s]."""
    build = kernel_build()
    changed: dict[str, Any] = {}
    for name, more_s in after.items():
        line = getattr(build, name)
        time = replace(line.published, after_s=line.published.before_s + more_s)
        changed[name] = replace(line, published=time)
    return evidence_with(kernel_build=replace(build, **changed))


def without_noise(name: str) -> Evidence:
    """The kernel build, if two runs of one kernel had taken the same time for one of its lines."""
    build = kernel_build()
    line = getattr(build, name)
    time = replace(line.published, deviation=1e-6)
    return evidence_with(kernel_build=replace(build, **{name: replace(line, published=time)}))


def without_lookups() -> Evidence:
    build = kernel_build()
    classes = {name: replace(one, n_p2m=0.0) for name, one in build.counts.classes.items()}
    return evidence_with(kernel_build=replace(build, counts=replace(build.counts, classes=classes)))


def far_cheaper() -> Evidence:
    """The kernel build, if the tree had cost a thousandth of its system time, give or take little."""
    build = kernel_build()
    assert build.system.here is not None
    before_s = build.system.published.before_s
    here = replace(build.system.here, middle=-1e-3 * before_s, low=-2e-3 * before_s, high=-5e-4 * before_s)
    return evidence_with(kernel_build=replace(build, system=replace(build.system, here=here)))


def went_wrong() -> Evidence:
    """Scenarios in which one step was refused that had to be done."""
    step = Step("balloon down", 1, False, True, 0, 0, 0, 0, 0, 0, 0)
    return evidence_with(scenario=lambda name, p2m: iter([step]))


def one_frame_further(guest: Guest) -> PvTree:
    """The example, with an identity range that ends a page later."""
    *before, (first, end, kind), (start, last, ram) = PRESETS["dom0-64-e820"].rows
    rows = [*before, (first, end + PAGE_SIZE, kind), (start + PAGE_SIZE, last, ram)]
    return PvTree(Guest.from_e820(rows, "1G", "3G"))


def emptied(guest: Guest) -> ArmVlpt:
    """A window whose slots hold nothing."""
    p2m = ArmVlpt(guest)
    p2m.window.second[:] = 0
    return p2m


def populate_with(**changed: Any) -> Made:
    """Populate otherwise than is asked."""
    return lambda size, policy, **asked: populate(size, policy, **{**asked, **changed})


def single_frames(size: str, policy: str, **asked: Any) -> Any:
    return populate(size, policy, demand_4k=policy == "opportunistic", **asked)


SMALL_LEAVES = {"walk": lambda guest, **asked: HapWalk(guest, hap_2mb=False)}
WRONG_PV = {"tree": other_guest(PvTree, "16M"), "linear": other_guest(PvLinear, "16M")}
ALL_GOOD = partial(evidence_with, posted=lambda name, as_posted: Outcome(name, True, "all well"))
EXCHANGED = partial(
    evidence_with, geometry=lambda name: find_geometry({"pv64": "pv32", "pv32": "pv64"}.get(name, name))
)
PV, ARM = partial(swapped, "pv", "pv-linear", "pv-tree"), partial(swapped, "arm", "arm-vlpt", "arm-walk")

# By claim: evidence that is not so, and the verdict that it has to lead to.
TAMPERED: dict[str, tuple[Callable[[], Evidence], str]] = {
    # a list has one level
    "three-levels": (partial(evidence_with, tree=PvLinear), NO),
    # a guest that has memory where the example has none
    "one-page-for-holes": (partial(evidence_with, linear=other_guest(PvLinear, "3G")), NO),
    # a guest that ends below the frames that are asked for
    "one-index": (partial(evidence_with, linear=other_guest(PvLinear, "4M")), NO),
    "one-index-in-holes": (partial(evidence_with, linear=other_guest(PvLinear, "4G")), YES),
    "hot-path": (PV, NO),
    "hot-path-in-holes": (PV, YES),
    "elapsed": (partial(published, elapsed=900.0), NO),
    "system": (partial(published, system=900.0), NO),
    "user": (partial(published, user=900.0), NO),
    "improvements": (
        lambda: evidence_with(
            published_times=[replace(one, deviation=1e-6) for one in Evidence().published_times]
        ),
        YES,
    ),
    **dict.fromkeys(("dom0-8g", "dom0-128g", "domu-32", "domu-64"), (partial(evidence_with, **WRONG_PV), NO)),
    "43g": (partial(evidence_with, limits=limits_with(max_domain_memory="43G")), YES),
    **dict.fromkeys(
        (f"{name}-{bits}" for name in ("balloon", "save-restore", "passthrough") for bits in (32, 64)),
        (went_wrong, NO),
    ),
    "page-table-entries": (without_lookups, NO),
    "critical": (far_cheaper, NO),
    "sped-up": (PV, NO),
    "128m-array": (partial(evidence_with, limits=limits_with(entry_bits=64)), YES),
    "64m-array": (partial(evidence_with, limits=limits_with(entry_bits=64)), NO),
    # 64 MiB of list for 32 MiB of area
    "too-large": (partial(evidence_with, limits=limits_with(vmalloc="32M")), YES),
    "m2p-16m-native": (partial(evidence_with, limits=limits_with(hypervisor="compat")), NO),
    "m2p-16m-compat": (partial(evidence_with, limits=limits_with(hypervisor="native")), YES),
    # 16 MiB of hole are an m2p for 16 GiB
    "m2p-168m": (partial(evidence_with, limits=limits_with(hole="16M")), NO),
    # twice the mem_map: 727 MiB suffice for less than 64 GiB
    "low-memory": (partial(evidence_with, limits=limits_with(struct_page="64")), YES),
    "m2p-cut": (partial(evidence_with, limits=all_with_largest(PAGE_SIZE)), NO),
    "low-memory-limits": (partial(evidence_with, limits=limits_with(vmalloc="16M")), NO),
    "split-helps": (partial(evidence_with, limits=all_with_largest(PAGE_SIZE)), NO),
    "64g-works": (partial(evidence_with, limits=limits_with(max_domain_memory="32G")), NO),
    "past-512g": (partial(evidence_with, limits=limits_with(without=())), NO),
    # frames behind the map are identity, and not padding
    "padding": (partial(evidence_with, linear=other_guest(PvLinear, "1G")), NO),
    "vmalloc-64": (partial(evidence_with, limits=limits_with(entry_bits=32)), YES),
    "vmalloc-32": (partial(evidence_with, limits=limits_with(entry_bits=64)), NO),
    "top-page": (EXCHANGED, NO),
    "leaf-reach": (EXCHANGED, NO),
    "beyond-reads-invalid": (
        partial(
            evidence_with, tree=partial(PvTree, above="invalid"), linear=partial(PvLinear, above="invalid")
        ),
        YES,
    ),
    "boundary-leaves": (partial(evidence_with, tree=lambda guest: PvTree(Guest.preset("dom0-32-e820"))), NO),
    "three-pages": (partial(evidence_with, tree=other_guest(PvTree, "1G")), YES),
    "identity-to-256": (partial(evidence_with, tree=one_frame_further), YES),
    "formats-worked": (partial(evidence_with, windows=other_guest(HapLinear, "64M")), NO),
    "falls-back": (partial(evidence_with, populate=populate_with(fragmentation=0.0)), NO),
    **dict.fromkeys(
        ("sets-pse", "splits", "no-merge", "foreign-walks", "m2p-per-4k", "4mb-pages"),
        (partial(evidence_with, **SMALL_LEAVES), NO),
    ),
    "current-falls-back": (
        partial(evidence_with, windows=lambda guest, **asked: HapLinear(guest, hap_2mb=False)),
        NO,
    ),
    "opportunistic": (partial(evidence_with, populate=single_frames), NO),
    "builder-untouched": (partial(evidence_with, populate=single_frames), NO),
    "hint": (partial(evidence_with, populate=populate_with(demand_4k=False)), NO),
    "fast-here": (ARM, NO),
    "fast-on-board": (partial(evidence_with, board_ns=lambda way: [1.0]), OPEN),
    **dict.fromkeys(("just-copy", "without-barriers", "end-index", "context-switch"), (ALL_GOOD, YES)),
    "same-entries": (partial(evidence_with, vlpt=emptied), NO),
    "at-once": (partial(evidence_with, vlpt=ArmWalk), NO),
    "size-check": (partial(evidence_with, acceptance=list), YES),
    "second-check": (partial(evidence_with, acceptance=list), YES),
    "frametable": (partial(evidence_with, limits=all_with_largest(PAGE_SIZE)), NO),
    # 16 MiB of window show 8 GiB, of which 2 lie below RAM
    "window": (partial(evidence_with, limits=limits_with(window="16M")), NO),
    "one-shift": (
        partial(evidence_with, vlpt=lambda guest: ArmVlpt(Guest.plain("1G", geometry="lpae", seed=2))),
        NO,
    ),
}
