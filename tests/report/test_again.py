"""The command that a report names measures the same grid."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import record_samples as samples

from p2mperf.cli.sweep import command_parser
from p2mperf.report.again import commands, sweep_command
from p2mperf.results.keys import fingerprint
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan

HOLES = ["uniform:hole=0.5,pattern=runs", "uniform:hole=0.25,identity=0.5", "zipf"]
GRIDS: list[tuple[str, dict[str, Any]]] = [
    ("quick", {"sizes": ["64M"], "designs": ["pv-tree", "pv-linear"], "n_replicates": 2}),
    ("default", {"guests": ["dom0-64-e820"], "streams": HOLES, "operations": ["latency"]}),
    ("quick", {"sizes": ["1G"], "designs": ["hap-walk"], "backings": ["huge", "small"], "control": True}),
    ("life", {"sizes": ["8G"], "limit": "16G", "operations": ["set", "cow"]}),
    ("life", {"sizes": ["8G"], "limit": 0, "operations": ["set"]}),
    ("quick", {"sizes": ["8G"], "operations": ["entry"], "preambles": ["8M", "tight"]}),
]


def typed(command: str) -> Any:
    """The grid that a command asks for."""
    program, words = shlex.split(command)[:4], shlex.split(command)[4:]
    assert program == ["python", "-m", "p2mperf", "sweep"]
    asked = command_parser().parse_args(words)
    return narrow(
        make_plan(asked.plan),
        guests=asked.guest,
        sizes=asked.size,
        entry_bits=asked.entry_bits,
        geometries=asked.geometry,
        designs=asked.design,
        streams=asked.stream,
        operations=asked.operation,
        backings=asked.backing,
        n_replicates=asked.replicates,
        control=asked.control,
        limit=asked.limit,
        preambles=asked.preamble,
    )


@pytest.mark.parametrize(("plan", "changes"), GRIDS, ids=[f"{plan} {changes}" for plan, changes in GRIDS])
def test_the_command_measures_the_same_grid(plan: str, changes: dict[str, Any]) -> None:
    grid = json.loads(json.dumps(narrow(make_plan(plan), **changes).as_dict()))
    command = sweep_command(samples.run(plan=grid))
    # Both have one key, which is what a sweep is continued by.
    assert fingerprint(typed(command).as_dict()) == fingerprint(grid)


@pytest.mark.parametrize("plan", ["quick", "default", "life", "hap"])
def test_a_plan_as_it_comes_is_named_alone(plan: str) -> None:
    grid = json.loads(json.dumps(make_plan(plan).as_dict()))
    assert sweep_command(samples.run(plan=grid)) == f"python -m p2mperf sweep --plan {plan}"


def test_a_plan_of_somebody_else_is_said_as_far_as_it_is_known() -> None:
    grid = {"name": "odd; rm -rf", "streams": [{"name": "uniform"}], "guests": [{"name": "pv-64-8g"}]}
    command = "python -m p2mperf sweep --plan quick --guest pv-64-8g --stream uniform"
    assert sweep_command(samples.run(plan=grid)) == command


def test_results_are_named_as_a_shell_takes_them() -> None:
    assert commands([]) == [
        "python -m p2mperf report",
        "python -m p2mperf plot all",
        "python -m p2mperf claims",
    ]
    assert commands(["my results"])[0] == "python -m p2mperf report --results 'my results'"
    # Figures and claims are of one machine.
    assert commands(["a", "b"])[1:] == ["python -m p2mperf plot all", "python -m p2mperf claims"]
