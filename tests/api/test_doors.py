"""What users hand over: whatever it is, the answer is one short sentence, and no tables are touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from refusals import LONGEST, Mute, refused

import p2mperf
from p2mperf import cli
from p2mperf.designs import family_of, find
from p2mperf.designs.backing import backing
from p2mperf.errors import cut, shown
from p2mperf.families import find_family
from p2mperf.guests.guest import Guest
from p2mperf.migration.precopy import stop_rule
from p2mperf.streams import make_stream

NO_NAMES = [
    5,
    None,
    b"pv-tree",
    [],
    {},
    {"a"},
    1.5,
    object(),
    Mute(),
    np.zeros(3),
    "x" * 10**6,
    "two\nlines",
    "\udcff",
    10**5000,
]
FINDERS: dict[str, Callable[[Any], object]] = {
    "design": find,
    "family of a design": family_of,
    "preset": Guest.preset,
    "geometry": lambda name: Guest.plain("1M", geometry=name),
    "policy": lambda name: Guest.plain("1M").entries(np.zeros(1, np.uint64), above=name),
    "backing": lambda name: backing(name, "pv"),
    "family": find_family,
    "stop rule": stop_rule,
    "stream": lambda name: make_stream(name, Guest.plain("1M"), 1, seed=1),
    "figure": p2mperf.figure,
    "build's backing": lambda name: p2mperf.build("pv-tree", "domu-64-2049m", name),
    "plan": lambda name: p2mperf.sweep(name),
    "scenario": lambda name: p2mperf.life("domu-64-2049m", name, "pv-tree"),
    "limits' design": lambda name: p2mperf.limits(design=name),
}


@pytest.mark.parametrize("what", FINDERS)
def test_a_name_that_is_none(what: str) -> None:
    for name in NO_NAMES:
        with refused():
            FINDERS[what](name)


SIZES = [
    "1" * 10**5,
    "1G" * 10**5,
    10**400,
    10**5000,
    b"1M" * 10**5,
    [0] * 10**6,
    Mute(),
    "1\n2",
    float("nan"),
    2**127,
]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: shown(size)[:20])
def test_a_size_that_is_none(size: Any) -> None:
    with refused():
        Guest.plain(size)
    with refused():
        Guest.plain("1M", base=size)


@pytest.mark.parametrize(
    "arguments",
    [
        ["x" * 10**5],
        ["dump", "--design", "pv-tree", "--guest", "x" * 10**5],
        ["dump", "--design", "y" * 10**5, "--size", "1M"],
        ["dump", "--design", "pv-tree", "--size", "z" * 10**5],
        ["dump", "--design", "pv-tree", "--size", "1M", "--seed", "1" * 10**5],
        ["dump", "--design", "pv-tree", "--size", "1M", "--above", "a b " * 10**5],
        ["dump", "--" + "o" * 10**5],
        ["dump", "--design", "pv-tree", "--above", "identity", "a\nb"],
        ["lookup", "--design", "pv-tree", "--size", "1M", "7" * 4400],
        ["migrate", "--memory", "1M", "--dirty-rate", "r" * 10**5, "--bandwidth", "1M"],
        ["compare", "a", "b", "--fail-above", "q" * 10**5],
    ],
    ids=lambda arguments: " ".join(arguments)[:40].replace("\n", " "),
)
def test_a_long_argument_is_not_repeated(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert len(said) <= LONGEST
    assert said.count("\n") == 1


def test_shown_is_one_short_line() -> None:
    values = [*NO_NAMES, *SIZES, np.arange(10**6), np.rec.array([(1, 2)]), [[[[[[1]]]]]], range(10**9)]
    for value in values:
        assert len(shown(value)) <= 100
        assert "\n" not in shown(value)
    assert (shown("512M"), shown(5), shown([1, 2])) == ("'512M'", "5", "[1, 2]")
    assert cut("as it is") == "as it is"
