"""Findings are sentences made of data: other data, other sentences; and none where the data have nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest
from kernel_builds import build

import p2mperf
from p2mperf.analysis.findings import (
    SWEEPS_WITH_FINDINGS,
    findings,
    findings_on,
    in_ram,
    of_build,
    of_limits,
    on_pages,
    outside_ram,
)
from p2mperf.analysis.labels import LIST, TREE
from p2mperf.errors import BadInputError


@pytest.fixture(scope="module")
def sweeps() -> dict[str, pd.DataFrame]:
    return {name: p2mperf.load(name) for name in SWEEPS_WITH_FINDINGS}


def swapped(frame: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """The same with two designs in each other's place."""
    names = {
        one: other,
        other: one,
        f"control:{one}": f"control:{other}",
        f"control:{other}": f"control:{one}",
    }
    made = frame.assign(design=frame["design"].replace(names))
    made.attrs = dict(frame.attrs)
    return made


def said(name: str, frame: pd.DataFrame, about: str) -> str:
    (found,) = (one.said for one in findings({name: frame}) if one.about == about)
    return found


def test_there_are_eight_each_with_its_page_and_notebook() -> None:
    found = p2mperf.findings()
    assert [one.about for one in found] == [
        "Lookups in RAM",
        "A kernel build",
        "Lookups in holes",
        "Page sizes",
        "Life of a table",
        "Size of the list",
        "ARM, live migration",
        "HAP, superpages",
    ]
    assert {one.notebook for one in found} <= {f"{number:02}" for number in range(8)}


def test_lookups_in_ram_are_counted_as_they_are(sweeps: dict[str, pd.DataFrame]) -> None:
    shown = in_ram(sweeps["shipped"])
    # Six guests of 64 bits and three of 32; lookups one after the other, overlapping, and in entries.
    assert len(shown) == (6 + 3) * 3
    text = said("shipped", sweeps["shipped"], "Lookups in RAM")
    (counts,) = re.findall(r"in (\d+) of (\d+) comparisons, the tree in (\d+)", text)
    n_list, n_rows, n_tree = map(int, counts)
    assert (n_list, n_rows, n_tree) == (
        (shown["faster"] == LIST).sum(),
        len(shown),
        (shown["faster"] == TREE).sum(),
    )
    ratios = shown.loc[shown["operation"] == "latency", "ratio"]
    assert f"{ratios.min():.2f} to {ratios.max():.2f} times as long when each waits" in text


def test_holes_are_told_by_how_they_come(sweeps: dict[str, pd.DataFrame]) -> None:
    shown = outside_ram(sweeps["shipped"])
    text = said("shipped", sweeps["shipped"], "Lookups in holes")
    at_random, in_runs = (
        shown[(shown["hole_fraction"] > 0) & (shown["hole_pattern"] == pattern)]["ratio"]
        for pattern in ("random", "runs")
    )
    assert f"{at_random.min():.2f} to {at_random.max():.2f} times as long as the list if holes" in text
    assert f"{in_runs.min():.2f} to {in_runs.max():.2f} if they come in runs" in text


def test_pages_are_those_of_the_largest_guest(sweeps: dict[str, pd.DataFrame]) -> None:
    shown = on_pages(sweeps["shipped-backings"])
    text = said("shipped-backings", sweeps["shipped-backings"], "Page sizes")
    for design, words in ((LIST, "the list"), (TREE, "the tree")):
        rows = shown[(shown["guest"] == "pv-64-400g") & (shown["design"] == f"{design}-4k")]["ratio"]
        assert f"{words} {rows.min():.2f} to {rows.max():.2f}" in text


@pytest.mark.parametrize(
    ("sweep", "about", "one", "other"),
    [
        ("shipped", "Lookups in RAM", LIST, TREE),
        ("shipped", "Lookups in holes", LIST, TREE),
        ("shipped", "ARM, live migration", "arm-walk", "arm-vlpt"),
        ("shipped-backings", "Page sizes", f"{LIST}-4k", f"{LIST}-2m"),
        ("shipped-life", "Life of a table", LIST, TREE),
        ("shipped-hap", "HAP, superpages", "hap-walk-2m", "hap-walk-4k"),
    ],
)
def test_swapped_designs_say_something_else(
    sweeps: dict[str, pd.DataFrame], sweep: str, about: str, one: str, other: str
) -> None:
    made = swapped(sweeps[sweep], one, other)
    assert said(sweep, made, about) != said(sweep, sweeps[sweep], about)


def test_results_without_samples_for_it_have_no_finding(sweeps: dict[str, pd.DataFrame]) -> None:
    frame = sweeps["shipped"]
    arm = frame[frame["family"] == "arm"]
    assert [one.about for one in findings_on(arm)] == ["ARM, live migration"]
    assert findings_on(frame.iloc[:0]) == []


def test_a_sweep_of_another_name_has_no_findings(sweeps: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(BadInputError, match="sweep with findings"):
        findings({"shipped-zen3": sweeps["shipped"]})


def test_a_build_is_told_with_its_range() -> None:
    # Made by hand, for 800 anonymous writes and 10 exits: the words are those of its own numbers.
    found = build()
    assert found.system.here is not None
    text = of_build(found)
    assert f"makes {-found.system.here.middle:.0f} s of system time" in text
    assert f"({-found.system.here.high:.0f} to {-found.system.here.low:.0f})" in text
    assert "Published are 20 s" in text  # 18:07 less 17:47
    assert of_build(replace(found, system=replace(found.system, here=None))) == ""
    assert of_build(build(("pv-linear", "pv-tree"))) != text


def test_limits_are_what_the_arithmetic_says() -> None:
    # 400 GiB are 104857600 pages of 8 bytes: 800 MiB, and the area is rounded up to whole granules.
    wide, narrow = p2mperf.limits("400G", entry_bits=64), p2mperf.limits(entry_bits=32)
    assert wide.area_bytes >= 104857600 * 8
    assert "fits" in of_limits()
    assert all(name in of_limits() for name in narrow.binds)
