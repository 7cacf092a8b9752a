"""Tree and list do what the kernels' own code did: see `kernel_expectations`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from design_names import PvName
from kernel_expectations import BUG, EXPECTATIONS, Expectation, Map

import p2mperf
from p2mperf.designs import find
from p2mperf.designs.pv.area import area_entries
from p2mperf.designs.pv.quirks import BugError
from p2mperf.guests.geometry import Kind
from p2mperf.guests.guest import Guest


def guest_of(expected: Expectation) -> Guest:
    """The guest that was asked."""
    if isinstance(expected.guest, str):
        return Guest.preset(expected.guest)
    rows, boot, maximum, bits = Map(*expected.guest)
    return Guest.from_e820(rows, boot, maximum, geometry=f"pv{bits}")


def frames(p2m: Any, expected: Expectation) -> dict[int, Any]:
    """Entries of the frames that are expected; "ram" for a machine frame, which is another in each run."""
    pfns = list(expected.answers)
    entries = dict(zip(pfns, p2m.lookup(pfns).tolist(), strict=True))
    return {pfn: "ram" if entry < p2m.guest.machine.n_frames else entry for pfn, entry in entries.items()}


def written(p2m: Any, pfn: int) -> Any:
    """What is said of a write of a machine frame."""
    try:
        return bool(p2m.set([pfn], 7).all())
    except BugError:
        return BUG


def asked_of_p2m(expected: Expectation, design: PvName) -> dict[Any, Any]:
    """Build one, and ask."""
    with p2mperf.build(design, guest_of(expected), quirks=expected.quirks) as p2m:
        if expected.question == "writes":
            return {pfn: written(p2m, pfn) for pfn in expected.answers}
        if expected.question == "identity":
            assert p2m.set_identity(*expected.asked) == expected.asked[1]
        elif expected.asked:
            p2m.set(list(expected.asked), 7)
        return frames(p2m, expected)


def seen_by_tools(expected: Expectation, design: PvName) -> dict[Any, Any]:
    """Frames that tools see."""
    with p2mperf.build(design, guest_of(expected), quirks=expected.quirks) as p2m:
        return {0: p2m.tools.read().size}


def comes_up(expected: Expectation, design: PvName) -> dict[Any, Any]:
    """Whether it can be built."""
    try:
        with p2mperf.build(design, guest_of(expected), quirks=expected.quirks):
            return {0: True}
    except BugError:
        return {0: BUG}


def pages(expected: Expectation, design: PvName) -> dict[Any, Any]:
    """Pages by kind, which building takes: `test_configurations` holds one to the other."""
    found = find(design).predict_footprint(guest_of(expected)).pages
    return {kind: found[kind] for kind in expected.answers}


def n_frames(kind: Kind) -> Callable[[Expectation, PvName], dict[Any, Any]]:
    """Frames of a kind, in the guest's map."""
    return lambda expected, _: {0: int(guest_of(expected).runs.select(kind).n_frames.sum())}


def padding(expected: Expectation, _: str) -> dict[Any, Any]:
    """Entries behind the boot list."""
    guest = guest_of(expected)
    kinds = guest.entry_kinds(np.arange(guest.n_boot_pages, guest.covered_pfn))
    assert (kinds == Kind.MISSING).all()
    return {0: guest.covered_pfn - guest.n_boot_pages}


def area(expected: Expectation, _: str) -> dict[Any, Any]:
    """Bytes of list."""
    guest = guest_of(expected)
    return {0: area_entries(guest) * guest.geometry.entry_bytes}


ASK: dict[str, Callable[[Expectation, PvName], dict[Any, Any]]] = {
    "entries": asked_of_p2m,
    "writes": asked_of_p2m,
    "identity": asked_of_p2m,
    "boot": comes_up,
    "tools": seen_by_tools,
    "pages": pages,
    "ram": n_frames(Kind.RAM),
    "extra": n_frames(Kind.EXTRA),
    "padding": padding,
    "area": area,
}


@pytest.mark.parametrize(
    ("expected", "design"),
    [(expected, design) for expected in EXPECTATIONS for design in expected.designs],
    ids=lambda of: of if isinstance(of, str) else of.name,
)
def test_a_kernel_did_the_same(expected: Expectation, design: PvName) -> None:
    assert ASK[expected.question](expected, design) == expected.answers
