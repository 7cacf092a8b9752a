"""Guests and machines, however they are made: what tables rely on holds, or there is no guest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from refusals import Mute, case, refused

from p2mperf.guests.geometries import find_geometry
from p2mperf.guests.geometry import Kind
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import Machine
from p2mperf.guests.presets import PRESETS
from p2mperf.guests.runs import Runs
from p2mperf.migration.writers import make_writer
from p2mperf.streams import make_stream, replay

GUEST = Guest.plain("64M")
N = GUEST.n_boot_pages
RAM, MISSING = int(Kind.RAM), int(Kind.MISSING)


@pytest.mark.parametrize(
    "rows",
    [
        [(0, N, RAM, 2**40)],
        [(0, N, RAM, -1)],
        [(0, N, RAM, GUEST.machine.n_frames - N + 1)],
        [(0, N - 8, RAM, 0), (N - 8, 8, RAM, N - 9)],
        [(0, N - 8, RAM, 0), (N - 8, 8, RAM, 0)],
        [(0, N, RAM, 0), (2**40, 8, MISSING, 0)],
        [(0, 2**40, RAM, 0)],
        [(0, 2**62, RAM, 0)],
        [(0, N, RAM, 0), (N - 4, 4, MISSING, 0)],
        [(-100, N + 100, RAM, 0)],
        [(8, N - 8, RAM, 0)],
        [(0, N, 9, 0)],
        [(0, N, MISSING, 0)],
        [(0, N - 8, RAM, 0), (N - 8, 8, MISSING, 0)],
        [],
    ],
)
def test_runs_that_are_no_map(rows: list[tuple[int, int, int, int]]) -> None:
    with refused():
        replace(GUEST, runs=Runs.of(rows))


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": Machine(100)},
        {"machine": "a machine"},
        {"runs": None},
        {"runs": Runs(*(cast(Any, np.zeros((1, 1))) for _ in range(4)))},
        {"runs": Runs(*(cast(Any, np.array([value])) for value in (0.0, 5.0, 0.0, 0.0)))},
        {"geometry": find_geometry("pv32"), "n_boot_pages": 512},
        {"geometry": "pv64"},
        {"n_boot_pages": 2**40},
        {"n_boot_pages": 0},
        {"n_boot_pages": N - 1},
        {"n_boot_pages": "x"},
        {"max_pages": N - 1},
        {"max_pages": 2**50},
        {"end_pfn": 0},
        {"end_pfn": N + 512},
        {"coincident_pfn": N},
        {"seed": "x"},
        {"seed": -1},
        {"seed": None},
        {"name": np.arange(3)},
        {"name": ""},
        {"name": "two\nlines"},
        {"name": "x" * 10**6},
    ],
    ids=str,
)
def test_a_guest_that_cannot_be(changes: dict[str, Any]) -> None:
    with refused():
        replace(GUEST, **changes)


def test_a_machine_that_just_holds_it() -> None:
    top = int((GUEST.runs.first_mfn + GUEST.runs.n_frames).max())
    assert replace(GUEST, machine=Machine(top)).machine.n_frames == top
    with refused():
        replace(GUEST, machine=Machine(top - 1))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold_it_all(name: str) -> None:
    assert Guest.preset(name) == replace(Guest.preset(name))


NO_SEEDS = [
    [],
    np.array([1, 2]),
    object(),
    "1\udcff",
    "x",
    None,
    1.5,
    float("nan"),
    -1,
    2**64,
    10**5000,
    True,
]


@pytest.mark.parametrize("seed", NO_SEEDS, ids=case)
def test_a_seed_that_is_none(seed: Any) -> None:
    for make in (
        lambda: Guest.plain("64M", seed=seed),
        lambda: Guest.preset("domu-64-2049m", seed=seed),
        lambda: Machine(100, seed),
        lambda: make_stream("uniform", GUEST, 4, seed=seed),
        lambda: make_writer("uniform", GUEST, 4, seed),
        lambda: Guest.from_e820([(0, "1M", "ram")], "1M", seed=seed, machine=Machine(10**4)),
    ):
        with refused():
            make()


def test_seeds_of_numpy_are_seeds() -> None:
    assert Guest.plain("8M", seed=cast(int, np.uint8(3))) == Guest.plain("8M", seed=3)


@pytest.mark.parametrize(
    "n_frames", ["4K", None, 1.5, float("nan"), True, 0, -1, 2**60, 10**400, Mute()], ids=case
)
def test_a_machine_that_cannot_be(n_frames: Any) -> None:
    with refused():
        Machine(n_frames)


@pytest.mark.parametrize("n", [*NO_SEEDS, 0.5], ids=case)
def test_streams_and_working_sets_of_no_length(n: Any) -> None:
    with refused():
        make_stream("uniform", GUEST, n)
    if n is not None:
        with refused():
            make_writer("uniform", GUEST, n)


@pytest.mark.parametrize(
    "pfns", [[[1], [2, 3]], np.ma.array([1, 2], mask=[False, True]), [None], object()], ids=case
)
def test_recordings_that_are_none(pfns: Any) -> None:
    with refused():
        replay(pfns, GUEST)


@pytest.mark.parametrize("n_frames", ["x", -1, 10**400, None, 1.5], ids=case)
def test_frames_that_no_machine_hands_out(n_frames: Any) -> None:
    with refused():
        Machine(10).allocate(n_frames)


@pytest.mark.parametrize(
    "rows",
    [
        5,
        "x",
        [5],
        [[]],
        None,
        ["abc"],
        [(0, "1M")],
        [(0, "1M", 5)],
        [(0, "1M", "ram"), None],
        [([], "1M", "ram")],
    ],
    ids=repr,
)
def test_rows_that_are_none(rows: Any) -> None:
    with refused():
        Guest.from_e820(rows, "1M")


def test_a_row_of_a_long_type_and_another_machine() -> None:
    with refused():
        Guest.from_e820([(0, "1M", "ram"), (0, "1M", "x" * 10**6)], "1M")
    with refused():
        Guest.from_e820([(0, "1M", "ram")], "1M", machine=cast(Machine, "x"))
