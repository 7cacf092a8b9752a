"""Figures that compare designs, map and forest: where each number stands, and what tells it in grey."""

from __future__ import annotations

from itertools import combinations
from math import log, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_frames import (
    LARGE,
    SMALL,
    cell,
    frame as frame,
    frame_of,
    lived as lived,
    points_of,
)
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from p2mperf.figures import figure, forest, style
from p2mperf.figures.lookups import footprint

# ---- ratio ----


def test_ratios_are_drawn_with_their_intervals(frame: pd.DataFrame) -> None:
    fig = figure("ratio", frame)
    ram, mixed = fig.axes
    assert ram.get_title(loc="left") == "Stream: uniform"
    assert mixed.get_title(loc="left") == "Stream: uniform, 50 % holes"
    found = points_of(ram)
    assert found == {"pv-64-256m": pytest.approx(sqrt(3) / 0.99 ** (1 / 8)), "pv-64-1g": pytest.approx(2)}
    assert points_of(mixed) == {"pv-64-256m": pytest.approx(0.3)}
    # What leaves RAM has an axis of its own: 0.3 is far from all others. 0.93 * 0.3 and 1.08.
    assert mixed.get_xlim() == pytest.approx((0.279, 1.08))
    below, ratio, above = ram.get_xlabel().split("      ")
    assert (below[2:], ratio, above[:-2]) == ("tree faster", "tree / list", "list faster")


def test_an_interval_that_leaves_the_axis_ends_in_an_arrow() -> None:
    # Three ratios; of the second the interval reaches a hundred times further than any estimate.
    table = pd.DataFrame(
        {
            "row": ["a", "b", "c"],
            "series": "lookups",
            "ratio": [1.5, 1.2, 0.9],
            "low": [1.4, 0.01, np.nan],
            "high": [1.6, 100.0, np.nan],
            "verdict": ["resolved", "not resolved", "no verdict"],
            "marks": ["", "unsteady", ""],
        }
    )
    limits = forest.limits_of(table)
    # All estimates, and 1.6 times as far: 0.93 * 0.9 / 1.6 and 1.07 * 1.5 * 1.6.
    assert limits == pytest.approx((0.523125, 2.568))
    ax = Figure().subplots()
    forest.draw_forest(
        table, ax, ["a", "b", "c"], ["lookups"], limits, forest.Words("slower", "a / b", "faster")
    )
    arrows = {line.get_marker(): line.get_xdata().tolist() for line in ax.lines if line.get_marker() in "<>"}
    assert arrows["<"] == [limits.low]
    labels = ax.get_legend_handles_labels()[1]
    assert labels == ["ringed: biased or unsteady", "lookups", forest.HOLLOW, forest.CLIPPED]
    # Filled where it is resolved who is faster, hollow where not.
    faces = {
        tuple(line.get_ydata()): line.get_markerfacecolor()
        for line in ax.lines
        if line.get_marker() == "o" and line.get_label().startswith("_") and len(line.get_ydata())
    }
    assert faces == {(0.0,): forest.SERIES_LOOKS[0].colour, (1.0, 2.0): "white"}


def test_where_frames_leave_ram_to_has_a_panel_of_its_own(tmp_path: Path) -> None:
    cells = [
        cell(guest, 0, (2000, 3000), hole_fraction=0.5, hole_pattern=pattern)
        for guest in (SMALL, LARGE)
        for pattern in ("random", "runs")
    ]
    titles = [ax.get_title(loc="left") for ax in figure("ratio", frame_of(tmp_path, *cells)).axes]
    assert titles == ["Stream: uniform, 50 % holes", "Stream: uniform, 50 % holes in runs"]


# ---- map ----


def test_the_map_has_a_ratio_and_a_mark_in_each_cell(lived: pd.DataFrame) -> None:
    ram, mixed, key = figure("map", lived).axes
    assert ram.get_title(loc="left") == "Frames in RAM"
    assert mixed.get_title(loc="left") == "Frames partly in holes or identity ranges"
    assert [label.get_text() for label in ram.get_yticklabels()] == ["pv-64-256m", "pv-64-1g"]
    assert [label.get_text() for label in ram.get_xticklabels()] == [
        "uniform",
        "uniform\nat once",
        "uniform\nafter a flush\nand 8M of work",
    ]
    # Two processes are too few for a verdict: each has its question mark; the control of the first is biased
    # by none. Tree over list is 3 / 1.5 at 1 GiB; entries 12 / 10 and 150 / 100.
    texts = {
        (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in ram.texts
    }
    assert [texts[1, column] for column in range(3)] == ["2.00 ?", "1.20 ?", "1.50 ?"]
    assert [text.get_text() for text in mixed.texts] == ["0.30 ?"]
    assert [text.get_text() for text in key.texts][-2:] == ["tree faster", "list faster"]


def test_what_was_not_measured_is_a_blank_in_the_map(tmp_path: Path) -> None:
    cells = [cell(SMALL, 0, (2000, 3000)), cell(LARGE, 0, (2000, 1000), stream="zipf")]
    ram, _ = figure("map", frame_of(tmp_path, *cells)).axes
    (mesh,) = ram.collections
    assert mesh.get_array().reshape(2, 2).mask.tolist() == [[False, True], [True, False]]
    # log2 of 3 / 2 and of 1 / 2
    assert mesh.get_array().compressed().tolist() == pytest.approx([log(1.5, 2), -1])


def test_the_kernels_layout_is_first_in_the_map_and_alone_in_its_title(tmp_path: Path) -> None:
    # Eight processes, so that there is a verdict; other pages turn it.
    cells = [
        cell(SMALL, number, times, backing=backing)
        for backing, times in (("huge", (3000, 2000)), ("kernel", (2000, 3000)))
        for number in range(8)
    ]
    frame = frame_of(tmp_path, *cells)
    titles = [ax.get_title(loc="left") for ax in figure("map", frame).axes]
    assert titles == ["Frames in RAM, kernel pages", "Frames in RAM, huge pages", ""]
    title = "In RAM the list is faster than the tree in 1 of 1 comparison"
    assert title_of(frame) == title
    turned = title.replace("list", "leaf").replace("tree", "list").replace("leaf", "tree")
    assert title_of(frame[frame["backing"] == "huge"]) == turned


def title_of(frame: pd.DataFrame) -> str:
    return figure("map", frame).get_suptitle().replace("\n", " ")


def test_colours_of_ratios_become_darker_all_the_way() -> None:
    """Without colour either side of 1 can be told from the other, and near from far."""
    shades = style.ratio_colours()(np.linspace(0, 1, 101))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(shades) <= 0.002).all()
    assert shades[0] - shades[50] > 0.09
    assert shades[50] - shades[100] > 0.4


def test_kinds_of_pages_are_told_apart_without_colour() -> None:
    """By how light they are, or by a hatch."""
    fills = list(footprint._FILLS.values())
    shades = [np.array(to_rgb(fill.colour)) @ [0.299, 0.587, 0.114] for fill in fills]
    for (one, shade), (other, other_shade) in combinations(zip(fills, shades, strict=True), 2):
        assert one.hatch != other.hatch or abs(shade - other_shade) > 0.08, (one, other)
