"""Costs computed for the laptop of the kernel build, against sums made by hand from the latencies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from p2mperf.errors import BadInputError
from p2mperf.model.e6440 import (
    COUNTED,
    E6440,
    E6440_FASTEST,
    Asked,
    Span,
    difference_ns,
    from_memory,
    parts_clk,
)

# An anonymous fault: 9 lookups, the top page, 2.8 GiB slots, a line of the top and 3.75 of mids.
FAULT = Asked(9, 1, 2.8, 1, 3.75)

# Pages 3.8 x (17, 33, 50); lines 4.75 x (12, 24, 36) x 0.8; calls 9 x (3, 4, 5); the list's walk the other
# way round.
TREE = {
    "low": {"pages": 64.6, "lines": 45.6, "calls": 27.0},
    "middle": {"pages": 125.4, "lines": 91.2, "calls": 36.0},
    "high": {"pages": 190.0, "lines": 136.8, "calls": 45.0},
}
# 64.6 + 45.6 + 27 - 60; 125.4 + 91.2 + 36 - 45; 190 + 136.8 + 45 - 30.
CLK = (77.2, 207.6, 341.8)


def test_parts_of_an_entry() -> None:
    for end, parts in TREE.items():
        assert parts_clk("pv-tree", FAULT, end) == pytest.approx(parts)  # type: ignore[arg-type]
    assert parts_clk("pv-linear", FAULT) == {"area": 45.0}


def test_the_difference_is_all_lows_against_all_highs() -> None:
    found = difference_ns("pv-tree", "pv-linear", FAULT)
    assert (found.low, found.middle, found.high) == pytest.approx([clk / 3.3 for clk in CLK])
    faster = difference_ns("pv-tree", "pv-linear", FAULT, E6440_FASTEST)
    assert (faster.low, faster.middle, faster.high) == pytest.approx([clk / 3.6 for clk in CLK])


def test_designs_that_change_places_change_its_sign() -> None:
    found, turned = (
        difference_ns(*pair, FAULT) for pair in (("pv-tree", "pv-linear"), ("pv-linear", "pv-tree"))
    )
    assert (turned.low, turned.middle, turned.high) == pytest.approx((-found.high, -found.middle, -found.low))


def test_memory_costs_more_than_any_cache() -> None:
    # A line: 36 + 57 x 3.3 = 224.1; 4.75 x 224.1 x 0.8 = 851.58 in place of 91.2: 207.6 - 91.2 + 851.58.
    found = difference_ns("pv-tree", "pv-linear", FAULT, from_memory(E6440))
    assert found.middle == pytest.approx(967.98 / 3.3)


@pytest.mark.parametrize("name", list(vars(FAULT)))
def test_every_count_counts(name: str) -> None:
    more = difference_ns("pv-tree", "pv-linear", replace(FAULT, **{name: 2 * getattr(FAULT, name)}))
    assert more.middle != pytest.approx(difference_ns("pv-tree", "pv-linear", FAULT).middle)


@pytest.mark.parametrize("name", ["page_walk", "line", "call", "area_walk", "exposed", "clock_ghz"])
def test_every_latency_counts(name: str) -> None:
    value = getattr(E6440, name)
    twice: Any = (
        Span(2 * value.low, 2 * value.middle, 2 * value.high) if isinstance(value, Span) else 2 * value
    )
    other = difference_ns("pv-tree", "pv-linear", FAULT, replace(E6440, **{name: twice}))
    assert other.middle != pytest.approx(difference_ns("pv-tree", "pv-linear", FAULT).middle)


def test_ranges_are_ranges_and_say_where_they_are_from() -> None:
    for machine in (E6440, E6440_FASTEST):
        for span in (machine.page_walk, machine.line, machine.call, machine.area_walk):
            assert 0 < span.low <= span.middle <= span.high
            assert len(span.source) > 20


def test_an_entry_that_asks_nothing_costs_nothing() -> None:
    found = difference_ns("pv-tree", "pv-linear", Asked(0, 0, 0, 0, 0))
    assert (found.low, found.middle, found.high) == (0, 0, 0)


def test_what_is_no_count_is_refused() -> None:
    for wrong in (-1, float("nan"), float("inf"), "9", True):
        with pytest.raises(BadInputError, match="n_mids must be a number"):
            Asked(9, 1, wrong, 1, 3.75)  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="unknown design 'arm-walk'"):
        parts_clk("arm-walk", FAULT)
    with pytest.raises(BadInputError, match="unknown end"):
        parts_clk("pv-tree", FAULT, "mean")  # type: ignore[arg-type]
    assert set(COUNTED) == {"pv-tree", "pv-linear"}
