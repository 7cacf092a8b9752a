"""How near translations are to each other: counted by hand, and against a naive count of any stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from statistics import median_low
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from p2mperf.errors import BadInputError
from p2mperf.workload.locality import N_BINS, N_OCTAVES, UNITS, Sums, count_locality
from p2mperf.workload.translation_stream import M2P_ITEM, Entered, TranslationStream

WRITE, EXIT = Entered.ANONYMOUS_WRITE, Entered.EXIT
Entry = tuple[Entered, list[tuple[bool, int]]]


def m2p(*frames: int) -> list[tuple[bool, int]]:
    return [(True, frame) for frame in frames]


def p2m(*frames: int) -> list[tuple[bool, int]]:
    return [(False, frame) for frame in frames]


def stream_of(*entries: Entry, n_guest_frames: int = 1 << 22) -> TranslationStream:
    asks = [frame + is_m2p * M2P_ITEM for _, asked in entries for is_m2p, frame in asked]
    return TranslationStream(
        items=np.array(asks, np.uint32),
        starts=np.cumsum([0, *(len(asked) for _, asked in entries)], dtype=np.int64),
        entered=np.array([kind for kind, _ in entries], np.uint8),
        gaps_ns=np.zeros(len(entries), np.uint32),
        n_guest_frames=n_guest_frames,
        thp=True,
    )


def test_units_are_those_of_a_table_of_eight_byte_entries() -> None:
    # 64 / 8 entries a line, 4096 / 8 a leaf; a line of a mid points to 8 leaves, and a GiB is 2**18 pages; a
    # line of the top points to 8 mids.
    assert UNITS == {"entry lines": 3, "leaves": 9, "mid lines": 12, "GiB slots": 18, "top lines": 21}


def test_one_anonymous_write_by_hand() -> None:
    # pud, pmd and pte pages and the data: frames 0 and 7 share a line, 8 is in the next line of that leaf,
    # and 5 * 512 in another leaf of the same line of a mid.
    asked = m2p(0, 7, 8) + p2m(5 * 512) + m2p(8) + p2m(8)
    counted = count_locality(stream_of((WRITE, asked)))
    assert {name: counted.mean(name) for name in UNITS} == {
        "entry lines": 3,
        "leaves": 2,
        "mid lines": 1,
        "GiB slots": 1,
        "top lines": 1,
    }
    assert counted.classes == {"ANONYMOUS_WRITE": Sums(1, 6, 3, 2, 1, 1, 1)}
    assert (counted.n_data, counted.n_data_reused, counted.successive.n_pairs) == (1, 0, 0)
    assert np.isnan(counted.median_data_reuse_entries)
    assert np.isnan(counted.mean("leaves", EXIT))


def test_reuse_is_counted_in_entries() -> None:
    # The second entry touches nothing of the first; the third the line of the first, two entries ago, and
    # the one it is itself in just now; the fourth that of the third. Data: 0, 1000, 1, 2: all lines but those
    # of the first two were there before, two entries ago and one: the lower median is 1.
    stream = stream_of((WRITE, p2m(0)), (WRITE, p2m(1000)), (WRITE, p2m(1, 7)), (WRITE, p2m(2)))
    counted = count_locality(stream)
    lines = counted.touched["entry lines"]
    assert lines.n_units == 2
    assert lines.n_touches[WRITE] == 4
    assert lines.share_reused == 2 / 4
    assert lines.reuse[WRITE, :3].tolist() == [1, 1, 0]
    assert lines.median_reuse_entries == 1
    assert (counted.n_data, counted.n_data_reused, counted.median_data_reuse_entries) == (4, 2, 1)
    # Steps +1000, -999, +1: one is next, one within 8, and 0, 1000, 1, 2 change leaves twice.
    steps = counted.successive
    assert (steps.n_pairs, steps.n_next, steps.n_previous, steps.n_near, steps.n_same_leaf) == (3, 1, 0, 1, 1)
    assert steps.shares == {"+1": 1 / 3, "-1": 0, "within 8": 1 / 3, "same leaf": 1 / 3}


def test_an_entry_of_thousands_is_in_the_last_bin_and_counts_whole() -> None:
    # 100 leaves, each a line of its own; 64 lines' worth of leaves make 100 / 8 lines of mids.
    counted = count_locality(stream_of((EXIT, m2p(*range(0, 100 * 512, 512)))))
    assert counted.touched["leaves"].per_entry[EXIT, N_BINS - 1] == 1
    assert counted.mean("leaves", EXIT) == 100
    assert counted.mean("mid lines") == 13


def test_classes_are_summed_apart() -> None:
    # Two writes: lines 0 and 1, then line 0; an exit through two GiB, of one line of the top each: 0 and 8.
    stream = stream_of((WRITE, p2m(0, 8)), (EXIT, m2p(0, 8 << 18)), (WRITE, p2m(1, 1)))
    assert count_locality(stream).classes == {
        "ANONYMOUS_WRITE": Sums(2, 4, 3, 2, 2, 2, 2),
        "EXIT": Sums(1, 2, 2, 2, 2, 2, 2),
    }


def naive(stream: TranslationStream) -> dict[str, Any]:
    """The same from dicts and lists."""
    told: dict[str, Any] = {}
    for name, shift in UNITS.items():
        last: dict[int, int] = {}
        touches: Counter[int] = Counter()
        reuse: Counter[tuple[int, int]] = Counter()
        sizes: Counter[tuple[int, int]] = Counter()
        distances = []
        for number, kind in enumerate(stream.entered.tolist()):
            asked = stream.items[stream.starts[number] : stream.starts[number + 1]].tolist()
            units = {(item & (M2P_ITEM - 1)) >> shift for item in asked}
            for unit in units:
                if unit in last:
                    distances.append(number - last[unit])
                    reuse[kind, distances[-1].bit_length() - 1] += 1
                last[unit] = number
            touches[kind] += len(units)
            sizes[kind, min(len(units), N_BINS - 1)] += 1
        told[name] = (len(last), +touches, reuse, sizes, median_low(distances) if distances else None)
    return told


def as_naive(stream: TranslationStream) -> dict[str, Any]:
    told = {}
    for name, touched in count_locality(stream).touched.items():
        median = touched.median_reuse_entries
        told[name] = (
            touched.n_units,
            +Counter(dict(enumerate(touched.n_touches.tolist()))),
            Counter({place: int(n) for place, n in np.ndenumerate(touched.reuse) if n}),
            Counter({place: int(n) for place, n in np.ndenumerate(touched.per_entry) if n}),
            None if np.isnan(median) else median,
        )
    return told


# Frames that often share a line, a leaf, a line of a mid, or nothing.
FRAMES = st.one_of(
    *(st.integers(0, top).map((1 << shift).__mul__) for shift, top in ((0, 30), (9, 20), (18, 15)))
)
ENTRIES = st.tuples(st.sampled_from(Entered), st.lists(st.tuples(st.booleans(), FRAMES), max_size=40))


@given(st.lists(ENTRIES, max_size=40))
@settings(max_examples=150)
def test_any_stream_is_counted_as_naively(entries: list[Entry]) -> None:
    stream = stream_of(*entries)
    assert as_naive(stream) == naive(stream)


@given(
    st.lists(st.tuples(st.just(WRITE), st.lists(st.tuples(st.booleans(), FRAMES), max_size=8)), max_size=30)
)
def test_data_pages_are_found_as_naively(entries: list[Entry]) -> None:
    counted = count_locality(stream_of(*entries))
    frames: list[int] = []
    seen: dict[int, int] = {}
    again: list[int] = []
    for number, (_, asked) in enumerate(entries):
        read = {frame for is_m2p, frame in asked if is_m2p}
        data = [frame for is_m2p, frame in asked if not is_m2p and frame not in read]
        if data:
            frames.append(data[0])
            if data[0] >> 3 in seen:
                again.append(number - seen[data[0] >> 3])
        seen.update({frame >> 3: number for _, frame in asked})
    steps = [after - before for before, after in pairwise(frames)]
    assert (counted.n_data, counted.n_data_reused) == (len(frames), len(again))
    assert not again or counted.median_data_reuse_entries == median_low(again)
    assert counted.successive.n_near == sum(abs(step) <= 8 for step in steps)
    assert (counted.successive.n_next, counted.successive.n_previous) == (steps.count(1), steps.count(-1))


def test_every_distance_has_a_column() -> None:
    # An entry takes at least its class, a byte: no machine has 2**48 of them in memory.
    assert N_OCTAVES == 48
    # The farthest of 2000 entries: the line of the first is touched again by the last, 1999 entries later.
    middle = [(WRITE, p2m(8))] * 1998
    reuse = count_locality(stream_of((WRITE, p2m(0)), *middle, (WRITE, p2m(0)))).touched["entry lines"].reuse
    assert reuse[WRITE, 10] == 1  # 1024 <= 1999 < 2048
    assert reuse[WRITE, 0] == 1997


GOOD = stream_of((WRITE, p2m(0, 8)), (EXIT, m2p(16)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"items": GOOD.items.astype(np.int64)}, "items of a stream must be an array of uint32"),
        ({"starts": np.array([0, 2])}, "a stream of 2 entries has 2 starts and 2 gaps"),
        ({"starts": np.array([0, 4, 3])}, "do not divide its items"),
        ({"starts": np.array([0, 2, 4])}, "do not divide its items"),
        ({"starts": np.array([-1, 2, 3])}, "do not divide its items"),
        ({"entered": np.array([0, 200], np.uint8)}, "an entry of class 200, and there are 14"),
        ({"n_guest_frames": 16}, "asks for frame 0x10, and the guest has 0x10"),
        ({"n_guest_frames": 0}, "has 1 to 2147483648 frames, not 0"),
        ({"gaps_ns": np.zeros(3, np.uint32)}, "has 3 starts and 3 gaps"),
    ],
)
def test_a_stream_that_contradicts_itself_is_refused(change: dict[str, Any], sentence: str) -> None:
    count_locality(GOOD)
    with pytest.raises(BadInputError, match=sentence):
        count_locality(replace(GOOD, **change))


def test_an_empty_stream_has_no_means() -> None:
    counted = count_locality(stream_of())
    assert counted.n_entries.sum() == counted.touched["leaves"].n_units == 0
    assert np.isnan(counted.mean("leaves"))
    assert np.isnan(counted.share_data_reused)
