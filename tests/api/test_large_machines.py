"""Machines far larger than their guest: what is asked of a p2m is bounded by the p2m, or refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import p2mperf
from p2mperf.errors import AuditError, BadInputError, DoesNotFitError
from p2mperf.guests.geometries import COMPAT_M2P_FRAMES
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import MAX_FRAMES, Machine


def on_a_large_machine(geometry: str, n_frames: int = MAX_FRAMES) -> Guest:
    return replace(Guest.plain("16M", geometry=geometry), machine=Machine(n_frames))


@pytest.mark.parametrize(
    ("design", "geometry", "n_frames"),
    [
        ("pv-tree", "pv64", MAX_FRAMES),
        ("pv-linear", "pv64", MAX_FRAMES),
        ("pv-tree", "pv32", COMPAT_M2P_FRAMES),
        ("pv-linear", "pv32", COMPAT_M2P_FRAMES),
        ("arm-walk", "lpae", 2**28),
        ("arm-vlpt", "lpae", 2**28),
    ],
)
def test_an_audit_takes_no_more_than_the_leaves(design: str, geometry: str, n_frames: int) -> None:
    # One bit for each of 2**40 machine frames would be 128 GiB.
    with p2mperf.build(design, on_a_large_machine(geometry, n_frames)) as p2m:
        p2m.audit()


@pytest.mark.parametrize("geometry", ["pv64", "pv32"])
@pytest.mark.parametrize(
    ("pfns", "mfns", "broken"),
    [
        ([5, 9], [123456, 123456], "1 mfns back two frames"),
        ([5, 6, 9], [123456, 123456, 123456], "2 mfns back two frames"),
        ([5, 9], [2**20 - 1, 2**20 - 2], ""),
    ],
)
def test_and_sees_what_it_is_there_to_see(geometry: str, pfns: Any, mfns: Any, broken: str) -> None:
    # 2**20 frames are more than a bit for each of the 4096 entries, in either width.
    with p2mperf.build("pv-tree", on_a_large_machine(geometry, 2**20)) as p2m:
        assert p2m.set(pfns, mfns).all()
        if not broken:
            p2m.audit()
            return
        with pytest.raises(AuditError, match=broken):
            p2m.audit()


def test_an_m2p_of_such_a_machine_is_refused() -> None:
    with p2mperf.build("pv-tree", on_a_large_machine("pv64")) as p2m:
        with pytest.raises(DoesNotFitError, match="the m2p of"):
            p2m.unused_mfns(1)
        p2m.audit()


@pytest.mark.parametrize(("geometry", "most"), [("pv32", COMPAT_M2P_FRAMES), ("lpae", 2**28)])
def test_a_machine_that_entries_cannot_number_is_refused(geometry: str, most: int) -> None:
    # Before, its tools' tree was written with mfns that no 32 bits hold.
    with p2mperf.build("pv-tree" if geometry == "pv32" else "arm-walk", on_a_large_machine(geometry, most)):
        pass
    with pytest.raises(BadInputError, match=f"entries of {geometry} number {most}"):
        on_a_large_machine(geometry, most + 1)


def test_tools_see_a_guest_of_32_bits_on_the_largest_machine() -> None:
    with p2mperf.build("pv-tree", on_a_large_machine("pv32", COMPAT_M2P_FRAMES)) as p2m:
        assert p2m.tools.read()[:4096].tolist() == p2m.lookup(range(4096)).tolist()
        p2m.audit()


def test_a_machine_looks_at_no_more_extents_than_it_hands_out(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []

    def around(start: int, size: int, keep: frozenset[int]) -> list[tuple[int, int]]:
        looked_at.append(start)
        return [(start, size)]

    monkeypatch.setattr("p2mperf.guests.machine._around", around)
    # 2**30 frames come in 4096 extents of 2**18, of which two hold these.
    extents = Machine(2**30).allocate(2**18 + 1)
    assert [n_frames for n_frames, _ in extents] == [2**18, 1]
    assert len(looked_at) == 2
