"""How a HAP guest gets its large pages and keeps them: what claims of the proposal say of memory.

By a model of the host's memory, of Xen's builder, and of what was proposed beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from p2mperf.analysis.claims.base import Finding, decided
from p2mperf.analysis.claims.evidence import Evidence
from p2mperf.units import PAGE_SIZE, format_size

if TYPE_CHECKING:
    from p2mperf.populating.populate import Populated

BUILDER, FINDS = "builder-2008", "opportunistic"
_LARGE = 9
_BROKEN = 0.3  # of the host's 2 MiB blocks
# What is given back of a guest's memory, frame by frame.
_GIVEN_BACK = 0.01


def falls_back(evidence: Evidence) -> Finding:
    """Memory of a guest on a broken host: what is not there in large pages comes in small ones."""
    whole, broken = (evidence.populate("256M", BUILDER, fragmentation=share) for share in (0.0, _BROKEN))
    n_failed = broken.failed[_LARGE] + broken.skipped[_LARGE]
    return decided(
        n_failed > 0 and broken.extents.n_frames == whole.extents.n_frames,
        f"On a host with {_BROKEN:.0%} of its 2 MiB blocks broken, {broken.failed[_LARGE]} extents of 256M"
        " fail, and"
        f" {broken.leaves[0]} frames of {broken.extents.n_frames} come one by one.".replace("%", " %"),
        "The guest gets all its memory; in what was merged it is the builder that asks again, not memory.c.",
        "The guest does not get all its memory, or nothing failed.",
    )


def fine_for_now(evidence: Evidence) -> Finding:
    """Large leaves that are left to a guest that balloons a little."""
    from p2mperf.populating.ballooning import course

    given = evidence.populate("4G", BUILDER)
    n_given = round(_GIVEN_BACK * given.extents.n_frames)
    before, after = course(given.extents, [0, n_given]).n_2mb.tolist()
    return decided(
        2 * after >= before > 0,
        f"A guest of 4G that gives {_GIVEN_BACK:.0%} of its memory back, frame by frame, keeps {after} of"
        f" {before}"
        " leaves of 2 MiB.".replace("%", " %"),
        "Most leaves are still large.",
        "A guest that balloons a little loses most of its large leaves, and none is ever large again.",
    )


def _populated(evidence: Evidence, fragmentation: float, *policies: str) -> Iterator[Populated]:
    return (evidence.populate("1G", policy, fragmentation=fragmentation) for policy in policies)


def opportunistic(evidence: Evidence) -> Finding:
    """Large leaves of a guest on a broken host: found in a list, and asked for."""
    found, asked = _populated(evidence, _BROKEN, FINDS, BUILDER)
    return decided(
        found.leaves[_LARGE] >= asked.leaves[_LARGE] > 0,
        f"On a host with {_BROKEN:.0%} of its 2 MiB blocks broken, a guest of 1G has"
        f" {found.leaves[_LARGE]} large leaves"
        f" where memory.c finds them, and {asked.leaves[_LARGE]} where the builder asks.".replace("%", " %"),
        "All whole blocks of the host are found either way; no patch of his is known, and this is our"
        " reconstruction.",
        "What is found in the list is less than what the builder gets.",
    )


def builder_untouched(evidence: Evidence) -> Finding:
    """Leaves of a guest on a whole host: found in a list, and asked for."""
    found, asked = _populated(evidence, 0.0, FINDS, "builder")
    return decided(
        found.leaves == asked.leaves,
        f"On a whole host both ways give a guest of 1G the same leaves: {_said(found)}."
        if found.leaves == asked.leaves
        else f"Found in the list: {_said(found)}; asked for: {_said(asked)}.",
        "All extents that the builder asks for can be found in its list of single frames, by our"
        " reconstruction.",
        "What can be found in the list is not what the builder asks for.",
    )


def _said(given: Populated) -> str:
    sizes = (f"{n} of {format_size(PAGE_SIZE << order)}" for order, n in sorted(given.leaves.items()) if n)
    return ", ".join(sizes)


def hint(evidence: Evidence) -> Finding:
    """Leaves of a guest with and without the hint that single frames are wanted."""
    without, hinted = (
        evidence.populate("256M", FINDS, demand_4k=is_demanded) for is_demanded in (False, True)
    )
    return decided(
        without.leaves[_LARGE] > 0 == hinted.leaves[_LARGE],
        f"From one and the same list come {without.leaves[_LARGE]} large leaves without a hint, and"
        f" {hinted.leaves[_LARGE]} with one.",
        "The list of frames alone does not tell who wants single ones; in what was merged a request has"
        " its order.",
        "The list of frames tells by itself.",
    )
