"""What tables are built with: taken exactly, or refused before anything is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from own_process import n_memfds
from refusals import Mute, case, refused

import p2mperf
from p2mperf.designs.backing import Backing
from p2mperf.errors import P2mperfError, shown
from p2mperf.guests.guest import Guest
from p2mperf.units import HUGE_SIZE, PAGE_SIZE

PV, ARM = Guest.plain("8M"), Guest.plain("8M", geometry="lpae")
NO_NUMBERS = [-1, "x", 2.5, float("nan"), [], [1, 2], np.arange(3), True, Mute(), 1e300]


@pytest.mark.parametrize("guest", [5, None, b"domu-64-2049m", [], Mute(), 10**5000], ids=case)
@pytest.mark.parametrize("design", ["pv-tree", "pv-linear", "arm-walk"])
def test_a_guest_that_is_none(design: str, guest: Any) -> None:
    with refused():
        p2mperf.build(design, guest)
    with refused():
        p2mperf.designs.find(design)(guest)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=case)
@pytest.mark.parametrize(
    ("design", "option"),
    [
        *((design, "run_frames") for design in ("pv-tree", "pv-linear", "arm-walk", "arm-vlpt")),
        ("pv-tree", "n_spare"),
        ("pv-tree", "max_domain_pages"),
        ("pv-tree", "limit"),
        ("arm-walk", "domid"),
        ("arm-walk", "n_regions"),
        ("arm-vlpt", "n_regions"),
        ("arm-walk", "like"),
        ("arm-vlpt", "window"),
        ("arm-vlpt", "checks"),
        ("pv-tree", "quirks"),
        ("pv-tree", "above"),
        ("pv-linear", "above"),
        ("pv-tree", "backing"),
    ],
)
def test_an_option_that_is_none(design: str, option: str, value: Any) -> None:
    if option == "quirks" and shown(value) == "[]":
        pytest.skip("no quirks at all")
    n_before = n_memfds()
    with refused(P2mperfError):
        p2mperf.build(design, PV if design.startswith("pv") else ARM, **{option: value})
    assert n_memfds() == n_before


@pytest.mark.parametrize("boot_list", ["x", 5, [[1], [2, 3]], [1, 2], np.zeros(7, np.uint64)], ids=case)
@pytest.mark.parametrize("design", ["pv-tree", "pv-linear", "pv-linear-nested"])
def test_a_boot_list_that_is_none(design: str, boot_list: Any) -> None:
    with refused():
        p2mperf.build(design, PV, boot_list=boot_list)


@pytest.mark.parametrize("design", ["pv-tree", "pv-linear", "pv-linear-nested", "arm-walk", "arm-vlpt"])
def test_predictions_for_what_is_none(design: str) -> None:
    kind = p2mperf.designs.find(design)
    for guest in (5, None, "x", Mute()):
        with refused():
            kind.predict_footprint(guest)
    for n_regions in NO_NUMBERS if design.startswith("arm") else ():
        with refused():
            kind.predict_footprint(ARM, n_regions=n_regions)
    for backing in (5, None, "x", Mute()):
        with refused():
            kind.predict_footprint(PV if design.startswith("pv") else ARM, backing=backing)


@pytest.mark.parametrize("part", ["designs", "sizes", "guests", "streams", "operations", "backings"])
@pytest.mark.parametrize("names", [5, "abc", [5], [[]], [Mute()]], ids=case)
def test_a_part_of_a_plan_that_is_none(part: str, names: Any) -> None:
    with refused():
        p2mperf.sweep(**{part: names})


@pytest.mark.parametrize("n_replicates", ["x", 0, -1, 2**70, 1.5, []], ids=case)
def test_replicates_that_are_none(n_replicates: Any) -> None:
    with refused():
        p2mperf.sweep(n_replicates=n_replicates)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 33, 64.0], ids=case)
def test_a_width_that_is_none(value: Any) -> None:
    with refused():
        p2mperf.limits("1G", entry_bits=value)
    with refused():
        p2mperf.sweep(entry_bits=value)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=case)
def test_a_limit_that_is_none(value: Any) -> None:
    with refused():
        p2mperf.sweep(limit=value)
    with refused():
        p2mperf.life("domu-64-2049m", "balloon", "pv-tree", value)


@pytest.mark.parametrize("design", ["pv-tree", "arm-walk"])
@pytest.mark.parametrize("run_frames", [2**40, 2**70, np.int8(3), np.uint64(2)])
def test_runs_of_any_length(design: str, run_frames: Any) -> None:
    guest = PV if design.startswith("pv") else ARM
    with p2mperf.build(design, guest, run_frames=run_frames) as p2m:
        p2m.audit()


@pytest.mark.parametrize("option", ["domid", "n_regions"])
@pytest.mark.parametrize("number", [np.array(2), np.uint8(2)], ids=repr)
def test_numbers_of_any_type(option: str, number: Any) -> None:
    with p2mperf.build("arm-vlpt", ARM, **{option: number}) as p2m:
        p2m.audit()


def test_pages_that_there_are_not() -> None:
    for sizes in (
        (1, 0),
        (PAGE_SIZE, 0),
        (HUGE_SIZE, "4K"),
        (HUGE_SIZE, np.zeros(2)),
        (-PAGE_SIZE, PAGE_SIZE),
    ):
        with refused():
            p2mperf.build("pv-tree", PV, Backing("x", *sizes))
    with p2mperf.build("pv-tree", PV, Backing("mine", PAGE_SIZE, HUGE_SIZE)) as p2m:
        assert p2m.backing.name == "mine"
