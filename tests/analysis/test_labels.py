"""Sentences that titles are made of: who is faster how often, counted and never typed."""

from __future__ import annotations

import pandas as pd
import pytest

from p2mperf.analysis.labels import design_word, preamble_words, who_is_faster
from p2mperf.designs import registry


def judged(faster: list[str], design: str = "pv-tree", reference: str = "pv-linear") -> pd.DataFrame:
    return pd.DataFrame({"family": "pv", "design": design, "reference": reference, "faster": faster})


@pytest.mark.parametrize(
    ("faster", "said"),
    [
        (["pv-linear"] * 3, "the list is faster than the tree in all 3 comparisons"),
        (
            ["pv-linear", "pv-tree", "pv-tree", ""],
            "the tree is faster than the list in 2 of 4 comparisons, slower in 1, neither in 1",
        ),
        (
            ["pv-linear", "", ""],
            "the list is faster than the tree in 1 of 3 comparisons, neither in 2",
        ),
        (["", ""], "neither list nor tree is seen to be faster in 2 comparisons"),
    ],
)
def test_who_is_faster_is_counted(faster: list[str], said: str) -> None:
    assert who_is_faster(judged(faster)) == said


def test_each_pair_is_counted_for_itself_and_two_at_most() -> None:
    tables = [judged(["pv-linear"] * n, f"mine-{n}", "pv-linear") for n in (1, 2, 3, 4)]
    assert who_is_faster(pd.concat(tables)) == "; ".join(
        [*(f"the list is faster than the mine-{n} in all {n} comparisons" for n in (4, 3)), "2 more pairs"]
    )


def test_each_design_of_ours_has_a_word() -> None:
    families = {name: name.partition("-")[0] for name in registry()}
    words = {(family, design_word(name, family)) for name, family in families.items()}
    assert len(words) == len(families)


def test_what_comes_before_in_results_of_others_is_named() -> None:
    assert preamble_words("a storm", "pv") == "after a storm"
    assert preamble_words("flush", "nobody's") == "after flush"
