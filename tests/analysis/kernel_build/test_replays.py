"""Replays as plain data, strictly read; and what they say of two designs."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from design_names import PV_DESIGNS

from p2mperf.analysis.kernel_build.replays import ALL, deltas, interference
from p2mperf.errors import BadInputError
from p2mperf.workload.replays import (
    ClassCost,
    Interference,
    Replay,
    ReplayProcess,
    Replays,
    VictimProcess,
)


def cost(tree: tuple[float, ...], n_entries: tuple[int, ...] = (10, 30)) -> ClassCost:
    """Of a tree, a list that takes 100 ns, and a second tree that takes 1 ns more than the first."""
    both = {"pv-tree": tree, "pv-linear": (100.0,) * len(tree), "control": tuple(ns + 1 for ns in tree)}
    return ClassCost(n_entries, tuple(9 * n for n in n_entries), both)


def process(seed: int, extra: float) -> ReplayProcess:
    classes = {"ANONYMOUS_WRITE": cost((140.0 + extra, 180.0 + extra)), "EXIT": cost((110.0,), (40,))}
    return ReplayProcess(seed, 0, 0, classes, dict.fromkeys((*PV_DESIGNS, "control"), 4096))


def made(n_processes: int = 6) -> Replays:
    processes = tuple(process(seed, float(seed)) for seed in range(n_processes))
    victims = tuple(
        VictimProcess(seed, {"pv-tree": (52.0, 53.0), "pv-linear": (50.0, 50.0), "control": (52.0, 53.0)})
        for seed in range(n_processes)
    )
    counted = {"pv-tree": 9.0, "pv-linear": 4.0}
    return Replays(
        "digest",
        True,
        "0.1",
        (Replay("cold", "pv64-8g", 40, PV_DESIGNS, processes, 4 << 20, 110.5),),
        {"n_cpus": 2},
        (Interference("chase", "pv64-8g", 32768, 200, 40, PV_DESIGNS, counted, counted, victims),),
    )


def test_replays_go_through_json_unchanged() -> None:
    assert Replays.from_json(json.loads(json.dumps(made().to_json()))) == made()


def test_a_delta_is_that_of_the_means_over_entries_and_has_an_interval_over_processes() -> None:
    table = deltas(made()).set_index("class")
    fault = table.loc["ANONYMOUS_WRITE"]
    # (10 * 140 + 30 * 180) / 40 = 170 less 100, and the process' number more: 70 to 75
    assert (fault.low_ns, fault.middle_ns, fault.high_ns) == pytest.approx((70, 72.5, 75))
    assert (fault.control_low_ns, fault.control_high_ns) == pytest.approx((1, 1))
    assert (fault.n_processes, fault.n_entries, fault.n_p2m) == (6, 6 * 40, 6 * 40 * 9)
    # all: half of the entries are faults, half exits of 110 ns: (70 + 10) / 2, and half of what is more
    both = table.loc[ALL]
    assert (both.low_ns, both.high_ns) == pytest.approx((40, 42.5))
    assert both.n_entries == 6 * 80
    assert both.verdict == "resolved"
    assert both.marks == "biased"  # by 1 ns, always
    assert table.index[0] == ALL


def test_five_processes_allow_no_verdict() -> None:
    assert set(deltas(made(5)).verdict) == {"no verdict"}


def test_a_class_that_takes_no_time_has_a_difference_but_no_ratio() -> None:
    data: dict[str, Any] = made().to_json()
    for each in data["replays"][0]["processes"]:
        each["classes"] = {"EXIT": {"n_entries": [1], "n_items": [1], "ns_per_entry": {}}}
        each["classes"]["EXIT"]["ns_per_entry"] = {"pv-tree": [0.0], "pv-linear": [-1.0], "control": [0.0]}
    row = deltas(Replays.from_json(data)).iloc[0]
    assert (row.middle_ns, row.verdict) == (1.0, "no verdict")


def test_interference_tells_its_bound_beside_what_it_found() -> None:
    row = interference(made()).iloc[0]
    # median of 2 and 3 ns; the control differs by nothing; 9 - 4 lines
    assert (row.middle_ns, row.control_middle_ns, row.lines_per_entry) == (2.5, 0.0, 5.0)


def changed(path: str, value: object) -> dict[str, Any]:
    data = json.loads(json.dumps(made().to_json()))
    at: Any = data
    *way, last = path.split(".")
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[int(last) if isinstance(at, list) else last] = value
    return copy.deepcopy(data)


CLASS = "replays.0.processes.0.classes.EXIT"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format", "else", "no replays"),
        ("version", 2, "version 2"),
        ("thp", 1, "replays.thp must be True or False"),
        ("extra", 1, "'extra'"),
        ("replays", {}, "replays.replays must be a list"),
        ("replays.0.phase_entries", 40.0, "must be a whole number"),
        ("replays.0.phase_entries", 0, "phase of no entries"),
        ("replays.0.designs", ["pv-tree", "pv-tree"], "names its designs twice"),
        ("replays.0.designs", ["pv-tree", "pv-tree-2m"], "built other designs"),
        (f"{CLASS}.n_entries", [], "differ in length"),
        (f"{CLASS}.n_entries", [0], "no entries"),
        (f"{CLASS}.ns_per_entry", {"pv-tree": [1.0]}, "of other designs"),
        (f"{CLASS}.ns_per_entry.pv-tree", [float("inf")], "must be a number"),
        ("replays.0.processes.0.pages.pv-tree", "4096", "must be a whole number"),
        ("interference.0.processes.0.ns_per_entry.pv-tree", [1.0], "differ in length"),
        ("interference.0.n_touches", 0, "has no work"),
    ],
)
def test_what_is_not_as_it_was_written_is_one_sentence(path: str, value: object, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        Replays.from_json(changed(path, value))


@pytest.mark.parametrize(
    "path", ["recording", "replays.0.designs", f"{CLASS}.n_items", "interference.0.victim"]
)
def test_what_lacks_a_part_is_refused(path: str) -> None:
    data = changed(path, None)
    with pytest.raises(BadInputError, match="must be"):
        Replays.from_json(data)


@pytest.mark.parametrize("data", [None, 3, [], "{}", {}])
def test_what_are_no_replays_at_all_are_refused(data: object) -> None:
    with pytest.raises(BadInputError, match="no replays"):
        Replays.from_json(data)
