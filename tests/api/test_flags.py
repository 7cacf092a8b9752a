"""Yes and no are True and False: text, numbers and lists are true in ways that nobody means."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

import p2mperf
from p2mperf.analysis.agreement import agreement
from p2mperf.analysis.claims.base import decided
from p2mperf.analysis.claims.evidence import Evidence
from p2mperf.analysis.compare import compare
from p2mperf.analysis.kernel_build.counting import count_build
from p2mperf.designs.arm.posted_defects import run_scenario
from p2mperf.designs.hap.walk import HapWalk
from p2mperf.designs.pv.linear import PvLinear
from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest
from p2mperf.migration.precopy import Sender
from p2mperf.migration.tracing import Tracer
from p2mperf.migration.writers import make_writer
from p2mperf.model.arndale import ASSUMPTIONS, switch_ns
from p2mperf.progress import Progress
from p2mperf.study.kernel_builds import kernel_build, kernel_build_of, require_options
from p2mperf.study.knees import measured_knees
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan
from p2mperf.study.recording import place, record
from p2mperf.study.replay import replay
from p2mperf.study.replay_plan import plan_replay
from p2mperf.study.sweep import sweep
from p2mperf.units import flag
from p2mperf.workload.recording import Recording
from p2mperf.workload.recording_file import refuse_existing, write_recording
from p2mperf.workload.stream import count_translations, make_stream

PACKAGE = Path(p2mperf.__file__).parent
NO_FLAGS: tuple[object, ...] = (
    "no",
    "",
    0,
    1,
    0.0,
    [],
    [True],
    np.array([True, False]),
    np.int8(1),
    b"",
    object(),
)
SMALL = Guest.plain("16M")
NO_RECORDING = cast(Recording, None)


def send(peek: Any) -> None:
    guest = Guest.plain("16M", geometry="lpae")
    with p2mperf.build("arm-walk", guest) as p2m:
        Sender(Tracer(p2m), make_writer("uniform", guest), 1.0, 1e6, peek=peek)


def giving(name: str, function: Callable[..., object], *arguments: object) -> Callable[[Any], object]:
    """Calls a function with a flag of that name."""
    return lambda value: function(*arguments, **{name: value})


# Who takes a flag of a user's, by module, callable and flag.
TAKERS: dict[tuple[str, str, str], Callable[[Any], object]] = {
    **{
        ("api", "sweep", name): giving(name, p2mperf.sweep, "quick") for name in ("control", "fresh", "quiet")
    },
    ("analysis.agreement", "agreement", "force"): lambda value: agreement(
        p2mperf.load("shipped-backings"), force=value
    ),
    ("analysis.kernel_build.counting", "count_build", "thp"): lambda value: count_build(
        NO_RECORDING, thp=value
    ),
    ("analysis.claims.base", "decided", "holds"): lambda value: decided(value, "", "", ""),
    ("analysis.claims.evidence", "populate", "demand_4k"): lambda value: Evidence().populate(
        "16M", "builder", demand_4k=value
    ),
    ("analysis.claims.evidence", "posted", "as_posted"): lambda value: Evidence().posted("leaks", value),
    ("analysis.compare", "compare", "force"): lambda value: compare(
        p2mperf.load("shipped-backings"), p2mperf.load("shipped-backings"), force=value
    ),
    ("designs.arm.posted_defects", "run_scenario", "as_posted"): lambda value: run_scenario("leaks", value),
    # What builds a list or a tree for every design of them.
    ("designs.pv.linear", "grow_list", "invalidated"): lambda value: p2mperf.build(
        "pv-linear", SMALL, invalidated=value
    ),
    ("designs.pv.linear", "grow_list", "m2p_override"): lambda value: p2mperf.build(
        "pv-linear-2m", SMALL, m2p_override=value
    ),
    ("designs.pv.tree", "grow_tree", "m2p_override"): lambda value: p2mperf.build(
        "pv-tree", SMALL, m2p_override=value
    ),
    ("designs.pv.linear", "predict_footprint", "invalidated"): lambda value: PvLinear.predict_footprint(
        SMALL, invalidated=value
    ),
    ("designs.pv.linear_nested", "PvLinearNested", "invalidated"): lambda value: p2mperf.build(
        "pv-linear-nested", SMALL, invalidated=value
    ),
    ("designs.pv.linear_nested", "predict_footprint", "invalidated"): lambda value: p2mperf.build(
        "pv-linear-nested", SMALL, invalidated=value
    ),
    **{
        ("populating.populate", "populate", name): giving(name, p2mperf.populate, "16M")
        for name in ("demand_4k", "device_model", "hap_1gb", "hap_2mb")
    },
    ("migration.precopy", "Sender", "peek"): send,
    ("model.arndale", "switch_ns", "changed"): lambda value: switch_ns(
        2, next(iter(ASSUMPTIONS.values())), changed=value
    ),
    **{
        ("study.kernel_builds", "kernel_build", name): giving(name, kernel_build)
        for name in ("interference", "quiet", "thp")
    },
    ("study.kernel_builds", "kernel_build_of", "interference"): lambda value: kernel_build_of(
        "none", None, require_options(None, None, None), Progress(), interference=value
    ),
    ("study.kernel_builds", "require_options", "thp"): lambda value: require_options(None, value, None),
    ("study.knees", "measured_knees", "will_write"): lambda value: measured_knees("none", will_write=value),
    ("study.narrow", "narrow", "control"): lambda value: narrow(make_plan("quick"), control=value),
    ("study.recording", "place", "force"): lambda value: place("none", "16M", force=value),
    ("study.recording", "record", "force"): lambda value: record(["true"], "none", force=value),
    **{
        ("study.replay", "replay", name): giving(name, replay, "none")
        for name in ("alone", "interference", "quiet", "thp")
    },
    **{
        ("study.replay_plan", "plan_replay", name): giving(name, plan_replay)
        for name in ("alone", "interference", "thp")
    },
    ("study.sweep", "sweep", "fresh"): lambda value: sweep(make_plan("quick"), "none", fresh=value),
    ("study.sweep", "sweep", "will_export"): lambda value: sweep(
        make_plan("quick"), "none", will_export=value
    ),
    ("workload.recording_file", "refuse_existing", "force"): lambda value: refuse_existing(
        Path("none"), force=value
    ),
    ("workload.recording_file", "write_recording", "force"): lambda value: write_recording(
        NO_RECORDING, "none", force=value
    ),
    ("workload.stream", "count_translations", "thp"): lambda value: count_translations(NO_RECORDING, value),
    ("workload.stream", "make_stream", "thp"): lambda value: make_stream(NO_RECORDING, SMALL, thp=value),
}
# Rooms, and parts of rooms, of which only the package itself asks anything.
INNER = (
    *("cli", "figures", "host", "jit", "measure", "memory", "plugins", "progress", "results", "tables"),
    *("designs.passing", "designs.pv.list_tables", "designs.pv.quirks", "designs.pv.breaking", "families"),
    *("designs.pv.writer", "designs.pv.list_plan", "designs.pv.reading", "designs.arm.window", "study.jobs"),
    *("populating.layout", "designs.hap.door", "workload.translations", "workload.trace_instance"),
    *("designs.pv.covering", "designs.pv.scenarios", "streams", "sizing.parameters"),
)


def flags() -> Iterator[tuple[str, str, str]]:
    """Every public callable of the other rooms that says it takes a bool."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        is_inner = any(f"{module}.".startswith(f"{inner}.") for inner in INNER)
        if is_inner or module.endswith("_kernels"):  # compiled code checks nothing
            continue
        tree = ast.parse(path.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
        owners: list[tuple[ast.Module | ast.ClassDef, str]] = [
            (tree, ""),
            *((node, node.name) for node in classes),
        ]
        for owner, kind in owners:
            for node in owner.body:
                if isinstance(node, ast.FunctionDef) and (node.name == "__init__" or node.name[0] != "_"):
                    for given in (*node.args.args, *node.args.kwonlyargs):
                        if "bool" in ast.unparse(given.annotation or ast.Constant("")).split(" | "):
                            yield module, kind if node.name == "__init__" else node.name, given.arg


def test_every_flag_of_the_public_rooms_is_tried_here() -> None:
    assert sorted(flags()) == sorted(TAKERS)


@pytest.mark.parametrize("taker", sorted(TAKERS), ids=".".join)
def test_a_flag_is_true_or_false(taker: tuple[str, str, str]) -> None:
    for value in NO_FLAGS:
        with pytest.raises(BadInputError, match=f"^{taker[-1]} must be True or False, not "):
            TAKERS[taker](value)


def test_numpys_flags_are_flags() -> None:
    for value in (True, False, np.True_, np.False_):
        assert flag(value, "fresh") is bool(value)
    with pytest.raises(BadInputError, match="fresh must be True or False, not <NA>"):
        flag(pd.NA, "fresh")


@pytest.mark.parametrize("name", ["hap_1gb", "hap_2mb"])
def test_a_switch_of_superpages_is_true_or_false_or_the_designs_own(name: str) -> None:
    guest = Guest.plain("16M", geometry="hap64")
    for value in NO_FLAGS:
        if value is not None:
            wrong: dict[str, Any] = {name: value}
            with pytest.raises(BadInputError, match=f"^{name} must be True or False, not "):
                p2mperf.build("hap-walk", guest, **wrong)
            with pytest.raises(BadInputError, match=f"^{name} must be True or False, not "):
                HapWalk.predict_footprint(guest, **wrong)
