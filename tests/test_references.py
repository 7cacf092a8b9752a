"""A cell without its family's reference is compared too, and the row says with what."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import record_samples as samples

import p2mperf
from p2mperf.analysis.summary import reference_of
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
    assert "mine-tree/mine-list [no interval]" in as_text(table)


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
    found = {
        (ax.get_ylabel(), *sorted(text.get_text() for text in ax.texts))
        for ax in figure("ratio", frame).axes
        if ax.texts
    }
    usual = ("linear view faster", "software walk faster")
    assert found == {
        ("mine-list / pv-linear", *usual),
        ("pv-tree / pv-linear", *usual),
        ("pv-tree / mine-list", "mine-list faster", "pv-tree faster"),
    }


def test_families_that_are_not_known_here_have_a_reference_too() -> None:
    assert reference_of("somebody's", ["b", "a"]) == "a"
    assert reference_of("pv", ["pv-tree", "pv-linear"]) == "pv-linear"
    assert reference_of("pv", ["pv-tree", "mine"]) == "mine"
