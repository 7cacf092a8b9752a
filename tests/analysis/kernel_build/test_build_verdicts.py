"""What is said of a predicted kernel build: verdicts, tables and a sentence; and what must change it all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from math import inf

import pytest
from predicted_builds import COSTS, DESIGNS, OFFSETS, counts, found as found, interference, replay, replays

from p2mperf.analysis.kernel_build.budget import Number
from p2mperf.analysis.kernel_build.parts import judge, judge_both
from p2mperf.analysis.kernel_build.prediction import KernelBuild, predict
from p2mperf.analysis.kernel_build.words import (
    budget_rows,
    delta_rows,
    needed_rows,
    sentence,
    swing_rows,
    table_rows,
)
from p2mperf.model.e6440 import Asked
from p2mperf.model.published_build import SYSTEM
from p2mperf.workload.replays import Replays

# Verdicts.


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (-30.0, -3.1, "consistent"),
        (-30.0, -3.0, "consistent"),  # ten times, and no more
        (-30.1, -3.0, "cannot tell"),
        (-20.0, -10.0, "consistent"),  # an end belongs to it
        (-19.9, -10.0, "not consistent"),
        (-90.0, -20.1, "not consistent"),
        (-30.0, 5.0, "cannot tell"),
        (5.0, 20.0, "not consistent"),  # slower with the list
        (-inf, inf, "cannot tell"),
    ],
)
def test_verdicts(low: float, high: float, kind: str) -> None:
    verdict = judge(Number((low + high) / 2, low, high, "s", "measured", ""), SYSTEM)
    assert verdict.kind == kind
    assert verdict.sentence.startswith(kind)
    # 33.1 s is more than the 20 s themselves
    assert "-20 s +- 33 s for one run each" in verdict.sentence
    assert "cannot be told from none" in verdict.sentence


def test_a_verdict_has_to_hold_on_both_roads() -> None:
    holds, misses = (Number(-8, low, high, "s", "measured", "") for low, high in ((-21, -4), (-12, -4)))
    assert judge_both(holds, holds, SYSTEM).kind == judge_both(holds, None, SYSTEM).kind == "consistent"
    assert judge_both(misses, misses, SYSTEM).kind == "not consistent"
    for pair in ((holds, misses), (misses, holds)):
        verdict = judge_both(*pair, SYSTEM)
        assert verdict.kind == "cannot tell"
        assert f"replay {judge(pair[0], SYSTEM).kind}, by counts" in verdict.sentence
        assert "-20 s +- 33 s" in verdict.sentence
    wide = Number(-8, -80, -4, "s", "modelled", "")
    assert judge_both(holds, wide, SYSTEM) == judge(wide, SYSTEM)


def test_a_change_that_one_run_each_shows_is_said_to_be_published() -> None:
    clear = replace(SYSTEM, deviation=0.001)  # 1087 s x 0.001 x 1.96 x sqrt(2) = 3.0 s
    verdict = judge(Number(-20, -25, -15, "s", "measured", ""), clear)
    assert "published are -20 s +- 3 s" in verdict.sentence


def test_few_processes_and_open_signs_cannot_tell() -> None:
    few = replays(replays=(replay("cold", "8G", COSTS["cold", "8G"], offsets=OFFSETS[:5]),))
    assert predict(counts(), few).verdict.kind == "cannot tell"
    open_sign = replays(replays=(replay("cold", "8G", {"ANONYMOUS_WRITE": 1.0}),))  # 1 - 2.5 < 0
    said = predict(counts(), open_sign)
    assert said.verdict.kind == "cannot tell"
    assert "not bounded" in said.verdict.sentence
    assert "not bounded" in table_rows(said)[1][2]
    one = replays(replays=(replay("cold", "8G", COSTS["cold", "8G"], offsets=(0.0,)),))
    assert predict(counts(), one).verdict.kind == "cannot tell"


def test_designs_that_are_not_counted_cannot_tell() -> None:
    others = ("pv-tree", "pv-linear-nested")
    nested = replays(replays=(replay("cold", "8G", COSTS["cold", "8G"], designs=others),))
    found = predict(counts(), nested, after="pv-linear-nested")
    assert found.modelled == ()
    assert found.system.modelled is None
    assert found.verdict.kind == "cannot tell"
    assert found.budget[1].source == "it has no counts"


# What must change everything that is derived.


def _numbers(plain: object, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(plain, dict):
        for name, value in plain.items():
            yield from _numbers(value, f"{path}/{name}")
    elif isinstance(plain, list):
        for place, value in enumerate(plain):
            yield from _numbers(value, f"{path}/{place}")
    elif isinstance(plain, float):
        yield path, plain


# All that a delta is in: seconds, nanoseconds, how far it is from what is needed.
DERIVED: tuple[str, ...] = ("/estimate/", "/deltas/", "/modelled/", "/elapsed/here", "/elapsed/modelled")
DERIVED += ("/system/here", "/system/modelled", "/user/here", "/swings/")
# What tells how sure a number is, or how many lookups there are: true of either order.
UNMOVED = ("/level", "/left_out", "/n")


def derived(found: KernelBuild) -> dict[str, float]:
    return {
        path: value
        for path, value in _numbers(found.to_dict())
        if any(part in path for part in DERIVED) and not path.endswith(UNMOVED) and "/control_ns" not in path
    }


def test_swapped_designs_turn_every_derived_number_round() -> None:
    asked = replays(interference=(interference(3.0),))
    one, turned = (
        derived(predict(counts(), asked, before=before, after=after))
        for before, after in (DESIGNS, DESIGNS[::-1])
    )
    moved = {path: value for path, value in one.items() if not path.startswith("/swings/")}
    assert len(moved) > 40
    for path, value in moved.items():
        there = turned[path.replace("/low", "/LOW").replace("/high", "/low").replace("/LOW", "/high")]
        assert there == pytest.approx(-value), path
    assert all(turned[path] != value for path, value in one.items() if path in turned)


def test_other_counts_change_every_derived_number() -> None:
    before = derived(predict(counts(), replays()))
    classes = dict(counts().classes)
    exits = classes["EXIT"]
    classes["EXIT"] = replace(exits, n_entries=30, n_p2m=12000, asked=Asked(500, 1, 9, 2, 40))
    after = derived(predict(counts(classes=classes, name="another"), replays()))
    assert before.keys() == after.keys()
    assert all(before[path] != value for path, value in after.items())


def test_other_replays_change_every_measured_number() -> None:
    before = derived(predict(counts(), replays()))
    slower = {key: {name: 1.3 * ns for name, ns in costs.items()} for key, costs in COSTS.items()}
    other = replays(replays=tuple(replay(*key, costs) for key, costs in slower.items()))
    after = derived(predict(counts(), other))
    measured = [path for path in before if path.startswith(("/deltas/", "/estimate/", "/system/here"))]
    assert measured
    assert all(before[path] != after[path] for path in measured)


# Words.


def test_the_table_is_in_the_commits_form(found: KernelBuild) -> None:
    elapsed, system, user = table_rows(found)
    # 182.1 million x 60 ns = 10.9 s: 18:07 is 17:56 then
    assert system[:2] == ("System:", "18:07 -> 17:47 (-20 s +- 33)")
    assert system[2].startswith("18:07 -> 17:56 (-10.9 s, -")
    # 10.93 / 3.72 = 2.9 s
    assert elapsed[0] == "Elapsed time:"
    assert elapsed[2].startswith("32:50 -> 32:47 (-2.9 s, ")
    assert user[2:] == ("not measured", "not measured")


def test_the_sentence_has_the_results_numbers(found: KernelBuild) -> None:
    system, computed = found.system.here, found.system.modelled
    assert system is not None
    assert computed is not None
    assert sentence(found) == (
        "A page fault of a recorded build asks the p2m 14.0 times, and replayed cold that costs 60 ns more"
        " with the tree than with the list (58 to 62), where a tight loop has 7.0 ns: by 182 million faults"
        f" (114 to 291) the commit's build would change by -10.9 s of system time, {system.low:.1f} to"
        f" {system.high:.1f}; counts times the laptop's latencies say {computed.middle:.1f} s,"
        f" {computed.low:.1f} to {computed.high:.1f}; published are -20 s +- 33 s: consistent."
    )


def test_other_rows(found: KernelBuild) -> None:
    rows = delta_rows(found)
    assert len(rows) == 4 + 3
    assert rows[2][:3] == ("cold, 8G", "measured, the estimate", "60.0")
    assert rows[0][4] == "0.50"  # 7 / 14
    assert budget_rows(found)[0][:2] == ("page faults of that build", "x/ 1.60")
    assert budget_rows(found)[-1][0] == "together"
    assert needed_rows(found)[1] == ("182 million faults", "110", "7.8", "1.83", "15.7")
    assert [row[0] for row in swing_rows(found)] == [swing.name for swing in found.swings]


def test_plain_data_is_json_and_says_what_each_number_is(found: KernelBuild) -> None:
    plain = found.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    origins = {key: plain[key]["origin"] for key in ("faults", "faults_by_user_time")}  # type: ignore[index]
    assert origins == {"faults": "published", "faults_by_user_time": "measured"}
    assert plain["estimate"]["origin"] == "measured"  # type: ignore[index]
    assert plain["system"]["published"]["origin"] == "published"  # type: ignore[index]
    assert plain["system"]["published"]["noise_s"] == pytest.approx(33.1, abs=0.1)  # type: ignore[index]
    open_sign = replays(replays=(replay("cold", "8G", {"ANONYMOUS_WRITE": 1.0}),))
    unbounded = predict(counts(), open_sign).to_dict()
    json.dumps(unbounded, allow_nan=False)
    assert unbounded["system"]["here"]["low"] is None  # type: ignore[index]


def test_replays_of_a_file_give_the_same(found: KernelBuild) -> None:
    again = Replays.from_json(json.loads(json.dumps(replays().to_json())))
    assert predict(counts(), again) == found
