"""What sweeps, streams, limits and migrations are given: taken as it is meant, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from refusals import Mute, case, refused

import p2mperf
from p2mperf import sizing
from p2mperf.analysis.compare import compare
from p2mperf.guests.guest import Guest
from p2mperf.migration.precopy import Sender, check_traceable, recurrence, stop_rule
from p2mperf.migration.tracing import Tracer
from p2mperf.migration.writers import HotSet, Sequential, Uniform, make_writer
from p2mperf.streams import make_stream, replay
from p2mperf.units import flag, real_number

ARM = Guest.plain("16M", geometry="lpae")
PV = Guest.plain("16M")
NOTHING: list[Any] = [5, None, 1.5, "x", b"x", (), [1, 2], {1: 2}, np.arange(3), np.array(5), pd.NA, Mute()]
each_nothing = pytest.mark.parametrize("value", NOTHING, ids=case)


@each_nothing
def test_what_is_no_guest(value: Any) -> None:
    for kind in (Sequential, Uniform, HotSet):
        with refused():
            kind(value)
    with refused():
        make_writer("uniform", value)
    with refused():
        make_stream("uniform", value, 5)
    with refused():
        replay([5], value)
    with refused():
        p2mperf.life(value, "balloon", "pv-tree")


@each_nothing
def test_what_moves_no_guest(value: Any) -> None:
    writer, rule = Uniform(ARM), stop_rule("later")
    with refused():
        Tracer(value)
    with refused():
        recurrence(value, 100, 1e8, rule)
    with refused():
        recurrence(writer, 100, 1e8, value)
    with p2mperf.build("arm-walk", ARM) as p2m, p2mperf.build("pv-tree", PV) as other:
        tracer = Tracer(p2m)
        for moved, writing in ((value, writer), (tracer, value)):
            with refused():
                Sender(moved, writing, 100, 1e8)
        with refused():
            Sender(tracer, writer, 100, 1e8).run(value)
        with refused():
            Tracer(cast(Any, other))
        p2m.audit()


NO_NUMBERS: list[Any] = [None, "x", "5", b"5", 1j, [], [1.0, 2.0], np.arange(3.0), True, pd.NA, Mute()]
TAKE_NUMBERS: dict[str, Callable[[Any], object]] = {
    "dirty rate": lambda rate: recurrence(Uniform(ARM), rate, 1e8, stop_rule("later")),
    "bandwidth": lambda speed: recurrence(Uniform(ARM), 100, speed, stop_rule("later")),
    "traceable": lambda rate: check_traceable(rate, 1e8, 4096),
    "hot fraction": lambda share: HotSet(ARM, hot_fraction=share),
    "hot pages": lambda n_pages: HotSet(ARM, hot_pages=n_pages),
    "holes": lambda share: make_stream("uniform", PV, 5, hole_fraction=share),
    "identity": lambda share: make_stream("uniform", PV, 5, identity_fraction=share),
}


@pytest.mark.parametrize("take", TAKE_NUMBERS.values(), ids=TAKE_NUMBERS)
def test_what_is_no_number(take: Callable[[Any], object]) -> None:
    for value in (value for value in NO_NUMBERS if not (value is None and "hot" in str(take))):
        if value is None and take is TAKE_NUMBERS["hot pages"]:
            continue  # as many as by default
        with refused():
            take(value)
    for value in (float("nan"), float("inf"), -1, 10**400, -(10**400)):
        with refused():
            take(value)


@pytest.mark.parametrize("rate", [2**64, np.int8(3), np.float32(2.5), 0])
def test_rates_of_any_type(rate: Any) -> None:
    assert recurrence(Uniform(ARM), rate, np.float64(1e8), stop_rule("later")).rounds


def test_numbers_are_taken_as_they_are() -> None:
    assert real_number(np.float32(0.5), "x") == 0.5
    assert real_number(-(10**400), "x") == -float("inf")
    assert flag(np.bool_(True), "x") is True
    with refused():  # text is neither, though it is false
        flag("", "x")


@pytest.mark.parametrize("n_writes", [-1, 1.5, "x", None, 2**32, 2**63, 10**400], ids=case)
def test_writes_that_cannot_all_be_made(n_writes: Any) -> None:
    # 2**32 of them would be 32 GiB.
    for writer in (Sequential(ARM), Uniform(ARM), HotSet(ARM)):
        with refused():
            writer.write(n_writes)
        assert writer.write(3).size == 3


@pytest.mark.parametrize("value", [np.arange(3), [np.arange(3)][0] > 1, pd.NA], ids=case)
def test_what_is_neither_true_nor_false(value: Any) -> None:
    frame = p2mperf.load("shipped").head(50)
    with refused():
        compare(frame, frame, force=value)
    for option in ("fresh", "quiet", "control"):
        with refused():
            p2mperf.sweep("quick", out="/dev/null/x", **{option: value})
    with refused():
        p2mperf.build("pv-linear", PV, invalidated=value)
    for design in ("pv-tree", "pv-linear"):
        with refused():
            p2mperf.build(design, PV, m2p_override=value)
    with p2mperf.build("arm-walk", ARM) as p2m, refused():
        Sender(Tracer(p2m), Uniform(ARM), 100, 1e8, peek=value)


@pytest.mark.parametrize("value", [value for value in NOTHING if value is not None], ids=case)
def test_where_no_unit_runs(value: Any) -> None:
    with refused():
        p2mperf.sweep("quick", out="/dev/null/x", executor=value)


@pytest.mark.parametrize("value", [5, 1.5, None, "64G", [5], [None], [[]], np.array(5), Mute()], ids=case)
def test_what_is_no_row(value: Any) -> None:
    with refused():
        sizing.limits("64G", without=value)
    with refused():
        sizing.table(["1G"], widths=value)
    if not isinstance(value, list) or value != [5]:
        with refused():
            sizing.table(value)
    assert sizing.limits("64G", without=["tree-top", "tree-top"]).parameters.without == ("tree-top",)


@each_nothing
def test_a_limit_is_asked_for_by_name(value: Any) -> None:
    with refused():
        sizing.limits("64G").on(value)


def test_writes_of_any_shape_are_traced_one_after_the_other() -> None:
    with p2mperf.build("arm-walk", ARM) as p2m:
        tracer = Tracer(p2m)
        tracer.start()
        first = tracer.first
        assert tracer.write(first) == 1
        assert tracer.write([[first, first + 1], [first + 2, first + 2]]) == 2
        with refused():
            tracer.write(2**63 - 1)
