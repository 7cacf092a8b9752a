"""The kernel build's tables: each against the object that it lays out, or a sum on paper."""

from __future__ import annotations

import pytest
from predicted_builds import counts, found as found, replays

from p2mperf.analysis.kernel_build.prediction import KernelBuild, predict
from p2mperf.analysis.kernel_build.tables import TABLES
from p2mperf.errors import BadInputError
from p2mperf.model.published_build import PUBLISHED_TIMES


def test_the_commits_own_lines(found: KernelBuild) -> None:
    table = found.table("published")
    assert table["time"].tolist() == ["Elapsed time", "System", "User"]
    assert (table["with_tree"].iloc[1], table["with_list"].iloc[1]) == ("18:07", "17:47")
    assert table["change_s"].tolist() == [-15.0, -20.0, -30.0]
    assert table["equal_runs_differ_by_s"].tolist() == [time.noise_s for time in PUBLISHED_TIMES]


def test_what_entries_ask(found: KernelBuild) -> None:
    table = found.table("asked").set_index("entered_by")
    # 800 writes ask 7200 times and 10 exits 4000 times: 9 and 400 each, of 11 200.
    assert table["asks_p2m"].to_dict() == {"anonymous write": 9.0, "exit": 400.0}
    assert table["asks_m2p"].to_dict() == {"anonymous write": 7.0, "exit": 400.0}
    assert table["lookups_percent"].tolist() == pytest.approx([100 * 72 / 112, 100 * 40 / 112])
    assert table["is_fault"].to_dict() == {"anonymous write": True, "exit": False}
    assert table.loc["anonymous write", "gib_slots"] == 2.8


def test_what_a_fault_costs(found: KernelBuild) -> None:
    table = found.table("costs")
    measured, modelled = (table[table["origin"] == origin] for origin in ("measured", "modelled"))
    # As in test_predicted_builds: 5 + 2, 40 + 5, 50 + 10 and 70 + 15 ns; 14 lookups each.
    assert measured["per_fault_ns"].tolist() == pytest.approx([7, 45, 60, 85])
    assert measured["per_p2m_ns"].tolist() == pytest.approx([7 / 14, 45 / 14, 60 / 14, 85 / 14])
    assert measured.loc[measured["is_estimate"], ["condition", "guest"]].to_numpy().tolist() == [
        ["cold", "8G"]
    ]
    assert modelled["per_fault_ns"].tolist() == [number.middle for number in found.modelled]
    assert modelled[["control_low_ns", "control_high_ns"]].isna().all(axis=None)


def test_seconds_go_with_the_faults(found: KernelBuild) -> None:
    table = found.table("by-faults")
    ends = (found.faults.low / 1e6, found.faults.high / 1e6)
    assert (table["million_faults"].iloc[0], table["million_faults"].iloc[-1]) == pytest.approx(ends)
    # 60 ns a fault, and less time with the list
    assert table["measured_s"].tolist() == pytest.approx((-60e-3 * table["million_faults"]).tolist())
    assert set(table["published_s"]) == {-20.0}


def test_what_would_have_to_be_true(found: KernelBuild) -> None:
    table = found.table("needed")
    seconds = table["million_faults"] * table["a_fault_ns"] * 1e-3
    assert seconds.tolist() == pytest.approx([20.0] * len(table))


def test_the_widest_swing_is_first(found: KernelBuild) -> None:
    table = found.table("swings")
    assert table["width_s"].is_monotonic_decreasing
    assert (table["width_s"] == (table["to_s"] - table["from_s"]).abs()).all()


def test_its_words_are_its_own(found: KernelBuild) -> None:
    assert f"{found.estimate.per_fault_ns.estimate:.0f} ns more with the tree" in found.sentence
    assert found.table("predicted")["time"].tolist() == [f"{time.name}:" for time in PUBLISHED_TIMES]


def test_the_answer_names_its_numbers(found: KernelBuild) -> None:
    published, asked, cost, seconds, verdict = found.answer.splitlines()
    assert "from 18:07 to 17:47" in published
    assert "the p2m 14.0 times and the m2p 12.0 times" in asked
    # 60 ns, of six processes that are 2.5 ns around
    assert "60 ns more with the tree than with the list (58 to 62)" in cost
    assert "it would be 7.0 ns" in cost
    # 31.49 million x 6240 s / 1079 s, x 60 ns
    assert "by 182 million page faults (114 to 291 million)" in seconds
    assert "-10.9 s" in seconds
    assert found.verdict.sentence in verdict
    swapped = predict(counts(), replays(), before="pv-linear", after="pv-tree")
    assert "-60 ns more with the list than with the tree" in swapped.answer


def test_another_table_is_none(found: KernelBuild) -> None:
    with pytest.raises(BadInputError, match="unknown table of a kernel build 'secnods'"):
        found.table("secnods")
    assert set(TABLES) == {"published", "asked", "costs", "predicted", "by-faults", "swings", "needed"}
