"""A cell without its family's reference is compared too, and the row says with what."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import record_samples as samples

import p2mperf
from p2mperf.analysis.summary import references_of
from p2mperf.cli.sweep import as_text
from p2mperf.figures import figure
from p2mperf.results.export import load
from p2mperf.results.journal import Journal

SMALL = {"guest": "pv-64-256m", "geometry": "pv64", "entry_bits": 64, "guest_pages": 65536}
LARGE = {"guest": "pv-64-1g", "geometry": "pv64", "entry_bits": 64, "guest_pages": 262144}


def frame_of(directory: Path, *cells: tuple[dict[str, object], tuple[str, ...]]) -> pd.DataFrame:
    """One process; 1000 lookups a pass, which take the designs of a cell 6, 3 and 1.5 ns each."""
    records = [
        samples.cell(**guest, rounds=[samples.block(*(6000, 3000, 1500)[: len(order)], order=order)])
        for guest, order in cells
    ]
    with Journal.create(directory, samples.run(n_cells=len(records))) as journal:
        for record in samples.with_units(*records):
            journal.append(record)
    return load(directory)


def test_the_first_by_name_takes_the_place_of_a_reference_that_was_not_measured(tmp_path: Path) -> None:
    table = p2mperf.summary(frame_of(tmp_path, (SMALL, ("pv-tree", "mine-tree", "mine-list"))))
    pairs = table[["design", "reference", "ratio"]].itertuples(index=False, name=None)
    # mine-list takes 1.5 ns, mine-tree 3 and pv-tree 6.
    assert list(pairs) == [
        ("mine-tree", "mine-list", pytest.approx(2.0)),
        ("pv-tree", "mine-list", pytest.approx(4.0)),
    ]
    assert "mine-tree / mine-list [no interval]" in as_text(table)


def test_a_reference_that_was_measured_stays_it(tmp_path: Path) -> None:
    order = ("pv-tree", "pv-linear", "mine-list")
    table = p2mperf.summary(frame_of(tmp_path, (SMALL, order), (LARGE, order[:1] + order[2:])))
    assert list(table[["guest", "design", "reference"]].itertuples(index=False, name=None)) == [
        ("pv-64-256m", "mine-list", "pv-linear"),
        ("pv-64-256m", "pv-tree", "pv-linear"),
        ("pv-64-1g", "pv-tree", "mine-list"),
    ]


def test_a_figure_says_which_of_the_two_is_faster(tmp_path: Path) -> None:
    order = ("pv-tree", "pv-linear", "mine-list")
    frame = frame_of(tmp_path, (SMALL, order), (LARGE, order[:1] + order[2:]))
    found = {label.get_text() for ax in figure("ratio", frame).axes for label in ax.get_yticklabels()}
    assert found == {
        "pv-64-256m\nmine-list / list",
        "pv-64-256m\ntree / list",
        "pv-64-1g\ntree / mine-list",
    }
    # One process has no verdict.
    title = figure("ratio", frame).get_suptitle().replace("\n", " ")
    assert title.count("is seen to be faster in 1 comparison; ") == 2
    assert title.endswith("1 more pair")


def test_families_that_are_not_known_here_have_a_reference_too() -> None:
    assert references_of("somebody's", ["b", "a"]) == {"b": "a"}
    assert references_of("pv", ["pv-tree", "pv-linear"]) == {"pv-tree": "pv-linear"}
    assert references_of("pv", ["pv-tree", "mine"]) == {"pv-tree": "mine"}


def test_walk_and_window_are_compared_where_leaves_are_of_one_size() -> None:
    pairs = {"hap-linear": "hap-walk", "hap-linear-2m": "hap-walk-2m", "hap-linear-4k": "hap-walk-4k"}
    every = references_of("hap", [name for pair in pairs.items() for name in pair])
    # Walks of smaller leaves beside the builder's, which tells what superpages alone are worth.
    assert every == {**pairs, "hap-walk-2m": "hap-walk", "hap-walk-4k": "hap-walk"}
    for window, walk in pairs.items():
        assert references_of("hap", [window, walk]) == {window: walk}
    assert references_of("hap", ["hap-linear-4k", "hap-walk-2m", "hap-walk-4k"]) == {
        "hap-linear-4k": "hap-walk-4k",
        "hap-walk-4k": "hap-walk-2m",
    }
    # One without its own reference is divided by what the cell has.
    assert references_of("hap", ["hap-linear-4k", "hap-walk"]) == {"hap-linear-4k": "hap-walk"}
