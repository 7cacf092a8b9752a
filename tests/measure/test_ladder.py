"""Chases are one random cycle; steps are found where they were put, and nowhere else."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import numba
import numpy as np
import pytest

from p2mperf.host.card import machine_card
from p2mperf.measure.ladder import (
    RUNGS_PER_OCTAVE,
    Knee,
    Ladder,
    find_steps,
    knees,
    measure_ladder,
    rung_sizes,
)
from p2mperf.measure.ladder_kernels import chase, grow_cycle, slot_word
from p2mperf.units import GIB, KIB, MIB, PAGE_SIZE

U = np.uint64
LINES = (U(8), U(0))
PAGES = (U(512), U(63))
CARD = {
    "caches": [
        {"level": 1, "type": "Data", "size_bytes": 32 * KIB},
        {"level": 1, "type": "Instruction", "size_bytes": 64 * KIB},
        {"level": 2, "type": "Unified", "size_bytes": 1 * MIB},
        {"level": 3, "type": "Unified", "size_bytes": 32 * MIB},
    ]
}


def random_state(seed: int) -> np.uint64:
    (word,) = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return U(word) | U(1)


def grown(geometry: tuple[np.uint64, np.uint64], *counts: int, seed: int = 1) -> np.ndarray:
    words = np.zeros(counts[-1] * int(geometry[0]), np.uint64)
    state = random_state(seed)
    for n_old, n_new in zip((0, *counts), counts, strict=False):
        state = U(grow_cycle(words, *geometry, U(n_old), U(n_new), state))
    return words


def visited(words: np.ndarray, n_steps: int) -> list[int]:
    order, word = [], 0
    for _ in range(n_steps):
        order.append(word)
        word = int(words[word])
    return [*order, word]


# The chain.


@pytest.mark.parametrize("geometry", [LINES, PAGES])
@pytest.mark.parametrize("counts", [(1,), (2,), (1000,), (3, 4, 64, 65, 777)])
def test_the_chain_is_one_cycle_over_all_slots(
    geometry: tuple[np.uint64, np.uint64], counts: tuple[int, ...]
) -> None:
    n = counts[-1]
    order = visited(grown(geometry, *counts), n)
    slots = [int(slot_word(U(slot), *geometry)) for slot in range(n)]
    # n steps visit n different words, which are the slots', and end where they began.
    assert sorted(order[:-1]) == slots
    assert order[-1] == order[0] == 0


def test_growing_in_stages_gives_the_same_chain_as_at_once() -> None:
    assert np.array_equal(grown(LINES, 10, 300, 1000), grown(LINES, 1000))


def test_the_chain_is_seeded() -> None:
    assert np.array_equal(grown(LINES, 500, seed=3), grown(LINES, 500, seed=3))
    assert not np.array_equal(grown(LINES, 500, seed=3), grown(LINES, 500, seed=4))


def test_all_cyclic_orders_are_equally_likely() -> None:
    n_seeds = 3000
    orders = Counter(tuple(visited(grown(LINES, 4, seed=seed), 3)) for seed in range(n_seeds))
    # Four slots in a circle: 3! = 6 orders, 500 of each; chi square with 5 degrees of freedom stays below
    # 20.5 in 99.9 % of all cases.
    assert len(orders) == 6
    assert sum((n - 500) ** 2 / 500 for n in orders.values()) < 20.5


def test_no_stride_that_a_prefetcher_could_follow() -> None:
    n = 20_000
    order = np.array(visited(grown(LINES, n), n)) // 8
    jumps = np.diff(order)
    # Independent draws correlate by less than 4 / sqrt(n) = 0.028 from one line to the next.
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.028
    # Two uniform lines lie n / 3 apart on average (standard error n / sqrt(18 n), 0.5 % of that).
    assert np.abs(jumps).mean() == pytest.approx(n / 3, rel=0.02)
    # A given jump has a probability of at most 1 / n, so the commonest of them comes a handful of times.
    assert Counter(jumps.tolist()).most_common(1)[0][1] < 10


def test_chase_ends_where_the_chain_says() -> None:
    words = grown(PAGES, 100)
    assert [int(chase(words, U(0), n)) for n in (0, 1, 57, 100)] == [
        visited(words, 100)[n] for n in (0, 1, 57, 100)
    ]


def test_lines_of_pages_share_all_cache_sets_evenly() -> None:
    words = np.array([int(slot_word(U(page), *PAGES)) for page in range(4096)])
    assert (words // 512 == np.arange(4096)).all()
    lines = words // 8
    # 64 neighbouring pages use 64 different lines, so each set of a 4 KiB way once.
    for first in range(0, 4096, 64):
        assert len(set((lines[first : first + 64] % 64).tolist())) == 64
    # 4096 lines over the 2048 sets of a larger cache: two for each.
    assert set(Counter((lines % 2048).tolist()).values()) == {2}


def test_kernels_stay_inside_the_buffer() -> None:
    words = np.zeros(100 * 512, np.uint64)
    checked = numba.njit(boundscheck=True)(grow_cycle.py_func)
    checked(words, *PAGES, U(0), U(100), random_state(1))
    assert np.array_equal(words, grown(PAGES, 100))


@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        (slot_word, (U(3), *PAGES)),
        (grow_cycle, (np.zeros(64, np.uint64), *LINES, U(0), U(8), U(1))),
        (chase, (np.zeros(8, np.uint64), U(0), 5)),
    ],
)
def test_kernels_use_no_floats(kernel: Any, arguments: tuple[Any, ...]) -> None:
    # Compiled anew: code that comes out of the cache cannot be inspected.
    fresh = numba.njit(kernel.py_func)
    fresh(*arguments)
    text = "".join(fresh.inspect_llvm().values())
    assert "define" in text
    assert not re.search(r"\b(fadd|fmul|uitofp|sitofp|fptoui|fcmp)\b", text)


# Steps.


def sizes_up_to(n_bytes: int) -> np.ndarray:
    return np.array(rung_sizes(n_bytes), np.float64)


def stepped(sizes: np.ndarray, *steps: tuple[int, float]) -> np.ndarray:
    """A cost [ns] that grows by `height` over a third of an octave above each `reach`."""
    cost = np.zeros(sizes.size)
    for reach, height in steps:
        cost += height * np.clip(3 * np.log2(sizes / reach), 0, 1)
    return cost


def test_rungs_are_whole_pages_a_quarter_octave_apart() -> None:
    sizes = rung_sizes(64 * MIB)
    assert sizes[0] == 16 * KIB
    # 16 KiB to 64 MiB are 12 octaves; at 4 to 6 pages rounding makes no two rungs equal.
    assert (len(sizes), sizes[-1]) == (12 * RUNGS_PER_OCTAVE + 1, 64 * MIB)
    assert all(size % PAGE_SIZE == 0 for size in sizes)
    assert rung_sizes(1) == [16 * KIB]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "steps",
    [
        [(64 * PAGE_SIZE, 1.5)],
        [(96 * PAGE_SIZE, 1.8), (2048 * PAGE_SIZE, 9.0)],
        [(64 * PAGE_SIZE, 2.0), (1536 * PAGE_SIZE, 7.0)],
        [(48 * PAGE_SIZE, 1.0), (1024 * PAGE_SIZE, 20.0)],
        [(32 * PAGE_SIZE, 1.0), (256 * PAGE_SIZE, 3.0), (4096 * PAGE_SIZE, 8.0)],
    ],
)
def test_steps_are_found_where_they_are(steps: list[Any], seed: int) -> None:
    sizes = sizes_up_to(64 * MIB)
    rng = np.random.default_rng(seed)
    cost = (1.3 + stepped(sizes, *steps)) * rng.normal(1, 0.02, sizes.size) - 1.3
    # Somebody else ran during two rungs, one of them the last.
    cost[[5, -1]] += 30
    found = find_steps(sizes, cost, floor_ns=1.3)
    assert len(found) == len(steps)
    for place, (reach, _) in zip(found, steps, strict=True):
        assert reach / 2 <= place <= reach * 2


@pytest.mark.parametrize("seed", range(20))
def test_a_flat_ladder_has_no_steps(seed: int) -> None:
    sizes = sizes_up_to(64 * MIB)
    cost = 1.3 * np.random.default_rng(seed).normal(1, 0.03, sizes.size) - 1.3
    assert find_steps(sizes, cost, floor_ns=1.3) == []


def test_a_slow_slope_is_no_step() -> None:
    sizes = sizes_up_to(64 * MIB)
    # 15 % of the floor per octave: below the quarter that a step takes.
    assert find_steps(sizes, 0.15 * np.log2(sizes / sizes[0]), floor_ns=1.0) == []


def test_a_single_slow_rung_is_no_step() -> None:
    sizes = sizes_up_to(64 * MIB)
    for rung in range(sizes.size):
        cost = np.zeros(sizes.size)
        cost[rung] = 50.0
        assert find_steps(sizes, cost, floor_ns=1.0) == []


@pytest.mark.parametrize("n_rungs", [0, 1, RUNGS_PER_OCTAVE])
def test_less_than_an_octave_shows_no_steps(n_rungs: int) -> None:
    assert find_steps(np.arange(1.0, n_rungs + 1), np.arange(0.0, 10.0 * n_rungs, 10.0), floor_ns=1.0) == []


# Knees.


def ladder_of(
    page_steps: list[Any], huge_steps: list[Any], line_steps: list[Any], max_bytes: int = 256 * MIB
) -> Ladder:
    sizes = sizes_up_to(max_bytes)
    line = 1.3 + stepped(sizes, *line_steps)
    # n pages touch as many lines as a buffer of n * 64 bytes holds.
    same_lines = 1.3 + stepped(sizes / 64, *line_steps)
    return Ladder(
        tuple(sizes.astype(int).tolist()),
        tuple(line.tolist()),
        tuple((same_lines + stepped(sizes, *page_steps)).tolist()),
        tuple((same_lines + stepped(sizes, *huge_steps)).tolist()),
        2 * MIB,
    )


def test_knees_of_caches_come_from_the_card_and_those_of_translation_from_the_ladder() -> None:
    ladder = ladder_of(
        page_steps=[(64 * PAGE_SIZE, 2.0), (1536 * PAGE_SIZE, 8.0)],
        huge_steps=[],
        line_steps=[(32 * KIB, 3.0), (1 * MIB, 20.0), (32 * MIB, 80.0)],
    )
    found = {knee.name: knee for knee in knees(ladder, CARD)}
    assert list(found) == ["L1d", "DTLB", "L2", "STLB", "L3"]
    assert found["L2"] == Knee("L2", 1 * MIB, "system")
    assert found["DTLB"].source == found["STLB"].source == "measured"
    # 64 and 1536 pages of 4 KiB, within a factor of two. The first cache level ends at 512 lines, so at 512
    # pages of one line each: a step of `page_ns` that must not be taken for one of translation.
    assert 128 * KIB <= found["DTLB"].bytes <= 512 * KIB
    assert 3 * MIB <= found["STLB"].bytes <= 12 * MIB


def test_what_happens_beyond_the_second_cache_level_is_not_translation() -> None:
    # 1 MiB of L2 counts to 512 KiB of lines, so to 8192 pages, 32 MiB; the last step lies behind.
    steps = [(64 * PAGE_SIZE, 2.0), (12_000 * PAGE_SIZE, 50.0)]
    assert [k.name for k in knees(ladder_of(steps, [], []), CARD) if k.source == "measured"] == ["TLB"]
    bare: dict[str, list[Any]] = {"caches": []}
    assert [k.name for k in knees(ladder_of(steps, [], []), bare)] == ["DTLB", "STLB"]


def test_knees_of_huge_pages_carry_their_size() -> None:
    ladder = ladder_of([], [(32 * 512 * PAGE_SIZE, 3.0)], [], max_bytes=1 * GIB)
    measured = [knee for knee in knees(ladder, {"caches": []}) if knee.source == "measured"]
    assert [knee.name for knee in measured] == ["TLB 2M"]
    assert 32 * MIB <= measured[0].bytes <= 128 * MIB


def test_split_huge_pages_give_no_knees_of_their_own() -> None:
    steps = [(96 * PAGE_SIZE, 1.8), (2048 * PAGE_SIZE, 9.0)]
    ladder = ladder_of(steps, steps, [])
    assert [knee.name for knee in knees(ladder, {"caches": []})] == ["DTLB", "STLB"]


def test_an_unmeasured_ladder_has_only_the_knees_of_the_card() -> None:
    nothing = (None,) * 3
    ladder = Ladder((16 * KIB, 20 * KIB, 24 * KIB), nothing, nothing, nothing, 0)
    assert [knee.name for knee in knees(ladder, CARD)] == ["L1d", "L2", "L3"]


# This machine.


def test_a_small_ladder_of_this_machine() -> None:
    ladder = measure_ladder(1 * MIB, seconds=0.3, seed=2)
    assert ladder.sizes_bytes == tuple(rung_sizes(1 * MIB))
    for series in (ladder.line_ns, ladder.page_ns, ladder.huge_ns):
        assert len(series) == len(ladder.sizes_bytes)
    assert None not in ladder.page_ns[:1] + ladder.line_ns[:1]
    # A dependent load takes between one tick of a 10 GHz clock and a millisecond.
    assert all(0.1 < cost < 1e6 for cost in ladder.line_ns + ladder.page_ns if cost is not None)
    assert all(
        Knee(**json.loads(json.dumps(knee.to_dict()))) == knee for knee in knees(ladder, machine_card())
    )
    plain = json.loads(json.dumps(ladder.to_dict()))
    again: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}
    assert Ladder(**again) == ladder


def test_no_time_measures_nothing() -> None:
    ladder = measure_ladder(64 * KIB, seconds=0.0)
    assert set(ladder.page_ns + ladder.line_ns) == {None}
