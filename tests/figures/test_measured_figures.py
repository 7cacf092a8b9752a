"""The tables behind the figures of what was measured, number by number."""

from __future__ import annotations

from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import record_samples as samples
from figure_frames import (
    LARGE,
    SMALL,
    cell,
    frame as frame,
    frame_of,
    lived as lived,
)

import p2mperf
from p2mperf.analysis.summary import SHOWN_AXES, summary
from p2mperf.cli.sweep import as_text
from p2mperf.errors import BadInputError
from p2mperf.figures import figure, life
from p2mperf.figures.lookups import cost, entry, footprint, ratio
from p2mperf.units import GIB, MIB


def by(data: pd.DataFrame, *columns: str) -> dict[Any, Any]:
    return {tuple(getattr(row, c) for c in columns): row for row in data.itertuples()}


# ---- cost ----


def test_costs_are_medians_of_processes(frame: pd.DataFrame) -> None:
    rows = by(cost.data(frame), "guest", "design")
    # pv-64-256m, list: processes with medians (2.0 + 2.2) / 2 = 2.1 and (2.0 + 2.4) / 2 = 2.2 ns.
    row = rows["pv-64-256m", "pv-linear"]
    assert (row.cost_ns, row.low_ns, row.high_ns) == pytest.approx((2.15, 2.1, 2.2))
    # tree: (3.0 + 3.3) / 2 = 3.15 and (4.0 + 4.8) / 2 = 4.4.
    row = rows["pv-64-256m", "pv-tree"]
    assert (row.cost_ns, row.low_ns, row.high_ns) == pytest.approx((3.775, 3.15, 4.4))
    row = rows["pv-64-1g", "pv-linear"]
    assert (row.cost_ns, row.low_ns, row.high_ns) == pytest.approx((6, 5, 7))


def test_costs_are_of_designs_in_memory_only(frame: pd.DataFrame) -> None:
    data = cost.data(frame)
    # No control, no holes, and nothing of cells that were not measured.
    assert set(data["design"]) == {"pv-linear", "pv-tree"}
    assert len(data) == 4
    assert set(data["guest_bytes"]) == {256 * MIB, 1 * GIB}


def test_a_table_says_where_it_was_measured(frame: pd.DataFrame) -> None:
    # Two processes measured; the cells of two more were skipped or failed.
    note = cost.data(frame).attrs["note"]
    assert note.startswith("measured 2026-11-21 on Example 9000, in a virtual machine, Linux 6.1.0")
    assert [knee.name for knee in cost.data(frame).attrs["knees"]] == ["L2", "L3"]


def test_costs_are_drawn_over_the_guest(frame: pd.DataFrame) -> None:
    fig = figure("cost", frame)
    (ax,) = fig.axes
    assert ax.get_title(loc="left") == "Lookups one after the other, uniform"
    lines = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert set(lines) == {"pv-linear, 64-bit", "pv-tree, 64-bit"}
    assert lines["pv-linear, 64-bit"].get_xdata().tolist() == [256 * MIB, 1 * GIB]
    assert lines["pv-tree, 64-bit"].get_ydata().tolist() == pytest.approx([3.775, 12])
    # The list is as large as the first knee at 512 MiB; the second lies far beyond the axis.
    assert [text.get_text().strip() for text in ax.texts] == ["L2"]
    (knee,) = (line for line in ax.lines if line.get_linestyle() == ":")
    assert set(knee.get_xdata()) == {512 * MIB}


def test_a_preset_beside_a_plain_guest_of_its_size_is_a_point_and_no_part_of_the_line(tmp_path: Path) -> None:
    preset = {**LARGE, "guest": "dom0-64-e820"}
    costs = ((SMALL, 2000), (LARGE, 4000), (preset, 9000))
    cells = [cell(guest, 0, (nanoseconds, nanoseconds)) for guest, nanoseconds in costs]
    (ax,) = figure("cost", frame_of(tmp_path, *cells)).axes
    lines = {tuple(line.get_ydata()): line for line in ax.lines if len(line.get_ydata())}
    assert lines[2.0, 4.0].get_linestyle() == "-"
    assert lines[9.0,].get_linestyle() == "None"
    assert cost.APART in ax.get_legend_handles_labels()[1]


# ---- ratio ----


def test_ratios_are_paired_within_a_process(frame: pd.DataFrame) -> None:
    rows = by(summary(frame), "guest", "hole_fraction")
    # Rounds of the processes: 3000/2000, 3300/2200 and 4000/2000, 4800/2400, that is 1.5 and 2; of the list
    # there are two copies, of which the second took 1.1 and 0.9 of the first in one of the two rounds.
    row = rows["pv-64-256m", 0.0]
    assert row.ratio == pytest.approx(sqrt(1.5 / 1.1 ** (1 / 4) * 2 / 0.9 ** (1 / 4)))
    assert row.low <= row.ratio <= row.high
    assert (row.design, row.reference, row.n_processes) == ("pv-tree", "pv-linear", 2)
    assert (row.cost_ns, row.reference_ns) == pytest.approx((3.775, 2.15))
    # The costs move by 40 % between the processes of pv-64-1g, their ratio does not.
    row = rows["pv-64-1g", 0.0]
    assert (row.ratio, row.low, row.high) == pytest.approx((2, 2, 2))


def test_ratios_of_streams_with_holes_are_rows_of_their_own(frame: pd.DataFrame) -> None:
    row = by(summary(frame), "guest", "hole_fraction")["pv-64-256m", 0.5]
    assert row.ratio == pytest.approx(0.3)
    assert row.stream_label == "uniform, 50 % holes"
    assert row.n_processes == 1


def test_the_control_is_the_reference_against_itself(frame: pd.DataFrame) -> None:
    rows = by(summary(frame), "guest", "hole_fraction")
    # Means of the logs of 2000/2000, 2420/2200 and of 1800/2000, 2400/2400: log(1.1) / 2 and log(0.9) / 2.
    row = rows["pv-64-256m", 0.0]
    middle = (log(1.1) / 2 + log(0.9) / 2) / 2
    assert log(row.control_low) <= middle <= log(row.control_high)
    assert row.control_low < 1 < row.control_high
    row = rows["pv-64-1g", 0.0]
    assert (row.control_low, row.control_high) == pytest.approx((1, 1))


def test_without_a_control_there_is_none(tmp_path: Path) -> None:
    data = summary(frame_of(tmp_path, cell(SMALL, 0, (2000, 3000)), cell(SMALL, 1, (2000, 3000))))
    assert data[["control_low", "control_high"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("tree_ns", "said", "faster"),
    [(3000, "resolved", "pv-linear"), (1500, "resolved", "pv-tree"), (2000, "equivalent", "")],
)
def test_a_verdict_names_the_faster_one(tmp_path: Path, tree_ns: int, said: str, faster: str) -> None:
    # Eight processes that hardly differ.
    cells = [cell(SMALL, n, (2000, tree_ns + n * (-1) ** n)) for n in range(8)]
    (row,) = summary(frame_of(tmp_path, *cells)).itertuples()
    assert (row.verdict, row.faster) == (said, faster)
    assert row.ratio == pytest.approx(tree_ns / 2000, rel=0.01)


def test_processes_that_disagree_resolve_nothing(tmp_path: Path) -> None:
    cells = [cell(SMALL, n, (2000, 3000 if n % 2 else 1500)) for n in range(8)]
    (row,) = summary(frame_of(tmp_path, *cells)).itertuples()
    assert row.low < 1 < row.high
    assert row.faster == ""
    assert "resolved" in row.verdict
    assert row.verdict != "resolved"


def test_a_cell_without_its_reference_has_no_ratio(tmp_path: Path) -> None:
    block = samples.block(3000, order=("pv-tree",))
    data = summary(frame_of(tmp_path, samples.cell(**SMALL, rounds=[block])))
    assert len(data) == 0


# ---- what tells cells apart ----


LIMITED = {**SMALL, "limit_bytes": 4 * GIB}


@pytest.fixture
def limited(tmp_path: Path) -> pd.DataFrame:
    """One guest with and without room for hotplug; the room takes the list two pages more."""
    records = []
    for guest, n_ptes, nanoseconds in ((SMALL, 2, 2000), (LIMITED, 4, 8000)):
        designs = {
            "pv-linear": samples.design(footprint={"leaf": 128, "pte": n_ptes}),
            "pv-tree": samples.design(footprint={"leaf": 128, "mid": 1}),
        }
        records += [samples.unit(designs, **guest), cell(guest, 0, (nanoseconds, nanoseconds))]
        broken = cell(guest, 0, (nanoseconds, nanoseconds), operation="cow", stream="uniform")
        for block in broken["rounds"]:
            block["n_pages_grown"] = block["n_vmas_grown"] = {"pv-linear": 0, "pv-tree": 0}
        records.append(broken)
    return frame_of(tmp_path / "limited", *records)


def test_two_limits_are_two_costs(limited: pd.DataFrame) -> None:
    rows = by(cost.data(limited), "limit_bytes", "design")
    assert [rows[limit, "pv-linear"].cost_ns for limit in (0, 4 * GIB)] == pytest.approx([2, 8])
    titles = [ax.get_title(loc="left") for ax in figure("cost", limited).axes]
    assert titles == [f"Lookups one after the other, uniform, {limit}" for limit in ("no limit", "up to 4G")]


def test_two_limits_are_two_footprints(limited: pd.DataFrame) -> None:
    rows = by(footprint.data(limited), "limit_bytes", "design", "kind")
    assert [rows[limit, "pv-linear", "pte"].n_pages for limit in (0, 4 * GIB)] == [2, 4]
    labels = [label.get_text() for label in figure("footprint", limited).axes[0].get_yticklabels()]
    assert labels[:2] == ["pv-64-256m, list, no limit", "pv-64-256m, list, up to 4G"]


def test_two_limits_are_two_lives_and_two_ratios(limited: pd.DataFrame) -> None:
    life_of = figure("life", limited).axes[0].get_legend_handles_labels()[1]
    assert [label for label in life_of if ": " not in label] == [
        "pv-64-256m, no limit",
        "pv-64-256m, up to 4G",
    ]
    rows = figure("ratio", limited).axes[0].get_yticklabels()
    assert [label.get_text() for label in rows] == ["pv-64-256m, no limit", "pv-64-256m, up to 4G"]


def test_two_geometries_are_two_lines(tmp_path: Path) -> None:
    other = {**SMALL, "geometry": "pv64-other"}
    frame = frame_of(tmp_path, *(cell(guest, 0, (2000, 3000)) for guest in (SMALL, other)))
    assert len(cost.data(frame)) == 4
    labels = [line.get_label() for line in figure("cost", frame).axes[0].lines]
    assert {"pv-linear, pv64", "pv-linear, pv64-other"} <= set(labels)


def test_figures_group_by_all_declared_axes() -> None:
    for keys in (cost.KEYS, life.KEYS):
        assert set(keys) == {*SHOWN_AXES, "design"}


def test_a_footprint_that_only_the_backing_tells_apart_is_drawn_once(tmp_path: Path) -> None:
    designs = dict.fromkeys(("pv-tree", "pv-linear"), samples.design(footprint={"leaf": 128, "mid": 1}))
    units = [samples.unit(designs, **SMALL, backing=backing) for backing in ("4k", "kernel")]
    cells = [cell(SMALL, 0, (2000, 3000), backing=backing) for backing in ("4k", "kernel")]
    frame = frame_of(tmp_path, *units, *cells)
    assert set(footprint.data(frame)["backing"]) == {"4k", "kernel"}
    share = figure("footprint", frame).axes[0]
    assert [label.get_text() for label in share.get_yticklabels()] == ["pv-64-256m, list", "pv-64-256m, tree"]


# ---- footprint ----


def test_footprints_are_counted_once_a_guest_and_design(frame: pd.DataFrame) -> None:
    rows = by(footprint.data(frame), "guest", "design", "kind")
    assert {key: int(row.n_pages) for key, row in rows.items()} == {
        (guest, design, kind): n_pages
        for guest in ("pv-64-256m", "pv-64-1g")
        for design, kind, n_pages in (
            ("pv-linear", "leaf", 128),
            ("pv-linear", "pte", 2),
            ("pv-tree", "leaf", 128),
            ("pv-tree", "mid", 1),
        )
    }


def test_footprints_are_shown_in_proportion_and_without_leaves(frame: pd.DataFrame) -> None:
    (_, share), (_, rest) = footprint.panels(footprint.data(frame))
    rows = by(share, "guest", "design", "kind")
    # 128 pages of 4 KiB for a quarter of a GiB: 2048 KiB a GiB.
    assert rows["pv-64-256m", "pv-linear", "leaf"].value == 2048
    assert rows["pv-64-1g", "pv-linear", "leaf"].value == 512
    assert set(rest["kind"]) == {"pte", "mid"}
    # Each is all of what is no leaf; how many pages that are stands behind the bar.
    assert set(rest["value"]) == {100.0}
    assert sorted(rest.attrs["totals"].values()) == [1, 1, 2, 2]


def test_footprints_are_stacked(frame: pd.DataFrame) -> None:
    share, _ = figure("footprint", frame).axes
    tops: dict[Any, float] = {}
    for bars in share.containers:
        for place, bar in enumerate(bars):
            tops[place] = max(tops.get(place, 0), bar.get_x() + bar.get_width())
    labels = [label.get_text() for label in share.get_yticklabels()]
    # By guest size: (128 + 2) * 4 KiB / 0.25, (128 + 1) * 4 / 0.25, then the same over 1 GiB.
    assert dict(zip(labels, tops.values(), strict=True)) == {
        "pv-64-256m, list": 2080,
        "pv-64-256m, tree": 2064,
        "pv-64-1g, list": 520,
        "pv-64-1g, tree": 516,
    }


def test_kinds_of_pages_without_a_colour_are_stacked_by_name(tmp_path: Path) -> None:
    # A set of names lies in another order in each process; so did these, and the figure's bytes with them.
    footprint_pages = dict.fromkeys(["leaf", *(f"kind_{letter}" for letter in "hgfedcba")], 1)
    unit = samples.unit({"pv-tree": samples.design(footprint=footprint_pages)}, **SMALL)
    cells = samples.cell(**SMALL, rounds=[samples.block(3000, order=("pv-tree",))])
    share, _ = figure("footprint", frame_of(tmp_path, unit, cells)).axes
    labels = [bars.get_label() for bars in share.containers]
    assert labels == ["leaf", *(f"kind {letter}" for letter in "abcdefgh")]


# ---- life ----


def test_the_life_of_a_p2m_has_its_ratios_and_its_growth(lived: pd.DataFrame) -> None:
    rows = by(life.data(lived), "operation")
    assert len(rows) == 2
    # A leaf: processes with 2 and 4 us in the list and 1 us in the tree; 1001 and 1000 pages of 1000 leaves.
    row = rows[("cow",)]
    assert (row.cost_ns, row.reference_ns) == pytest.approx((1000, 3000))
    assert row.ratio == pytest.approx(1 / sqrt(8))
    assert (row.n_pages_grown, row.n_pages_grown_reference) == pytest.approx((1, 1.001))
    assert (row.n_vmas_grown, row.n_vmas_grown_reference) == pytest.approx((0, 2))
    # The list has windows, and took pages: mmap is part of what it costs. Of the rebuild nobody has counted.
    assert row.is_emulated
    row = rows[("rebuild",)]
    assert row.ratio == pytest.approx(1 / 3)
    assert np.isnan(row.n_pages_grown)
    assert row.is_emulated


def test_growth_is_that_of_each_design(lived: pd.DataFrame) -> None:
    rows = by(life.growth(lived), "operation", "design")
    assert len(rows) == 4
    assert (rows["cow", "pv-linear"].n_vmas_grown, rows["cow", "pv-tree"].n_vmas_grown) == (2, 0)
    assert (rows["cow", "pv-linear"].has_windows, rows["cow", "pv-tree"].has_windows) == (True, False)


def test_what_mmap_is_part_of_is_hatched_and_said(lived: pd.DataFrame) -> None:
    fig = figure("life", lived)
    (ax,) = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "shared leaf broken, alone",
        "boot rebuild from the flat list",
    ]
    bars = [bar for bars in ax.containers for bar in bars]
    assert {bar.get_hatch() for bar in bars if round(bar.get_y()) == 0} == {"//////"}
    in_place = lived.assign(operation="set", n_pages_grown=0)[lived["operation"] == "cow"]
    (ax_in_place,) = figure("life", in_place).axes
    assert {bar.get_hatch() for bars in ax_in_place.containers for bar in bars} == {""}
    assert life.EMULATED in ax.get_legend_handles_labels()[1]
    assert fig.get_suptitle().startswith("Where mmap shows new pages")
    assert "1.000 us : 3.000 us" in {text.get_text() for text in ax.texts}


def test_published_times_stand_in_words_and_with_the_rebuild_only(lived: pd.DataFrame) -> None:
    # 247 to 771 ms
    assert (
        "published, boot rebuild from the flat list: 247.0 ms to 771.0 ms" in life.data(lived).attrs["note"]
    )
    others = lived[lived["operation"] != "rebuild"]
    assert "published" not in life.data(others).attrs["note"]


def test_lookups_are_no_part_of_a_life_nor_the_other_way_round(
    frame: pd.DataFrame, lived: pd.DataFrame
) -> None:
    with pytest.raises(BadInputError, match="`sweep --plan life` measures them"):
        figure("life", frame)
    pd.testing.assert_frame_equal(cost.data(lived), cost.data(frame))
    titles = [title for title, _ in ratio.panels(ratio.data(lived))]
    assert titles == [title for title, _ in ratio.panels(ratio.data(frame))]
    # The table that people read has them all.
    assert set(p2mperf.summary(lived)["operation"]) == {"latency", "cow", "rebuild", "entry"}


def test_a_time_is_written_with_a_unit_that_suits_it(lived: pd.DataFrame) -> None:
    text = as_text(p2mperf.summary(lived))
    (line,) = [line for line in text.splitlines() if " rebuild " in line]
    assert "120.0 ms" in line
    assert "40.00 ms" in line


# ---- entry ----


def test_entries_are_compared_beside_the_warm_loops(lived: pd.DataFrame) -> None:
    rows = by(entry.data(lived), "guest", "what")
    assert {what for _, what in rows} == {"latency", "entry, tight", "entry, flush+8M"}
    assert {row.stream_label for row in rows.values()} == {"uniform"}
    row = rows["pv-64-1g", "entry, flush+8M"]
    # 1000 entries a pass: 100 ns of the list, 150.0005 of the tree in the median of two processes.
    assert (row.reference_ns, row.difference_ns) == pytest.approx((100, 50.0005))
    assert row.ratio == pytest.approx(1.5, abs=1e-4)
    fig = figure("entry", lived)
    ratios, differences = fig.axes
    assert ratios.get_ylabel() == "pv-tree / pv-linear"
    assert differences.get_ylabel() == "pv-tree - pv-linear, ns per entry"
    words = ["entry after a flush and 8M of work", "entry at once"]
    assert sorted(differences.get_legend_handles_labels()[1]) == words
    loops = "lookups one after the other"
    assert sorted(ratios.get_legend_handles_labels()[1]) == [*words, loops]


def test_results_without_entries_say_how_to_get_some(frame: pd.DataFrame) -> None:
    with pytest.raises(BadInputError, match="no cell is of entries; `sweep --operation entry` measures"):
        figure("entry", frame)


def test_entries_are_no_part_of_a_life(lived: pd.DataFrame) -> None:
    assert "entry" not in set(life.data(lived)["operation"])
