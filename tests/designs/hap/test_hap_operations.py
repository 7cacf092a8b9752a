"""Random operations on HAP p2ms: walk, windows and a naive p2m agree on every frame, leaf and table."""

from __future__ import annotations

import os
from collections import Counter
from random import Random
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from design_names import HAP_DESIGNS
from hypothesis import given, settings
from naive_hap import NaiveP2m
from numpy.typing import NDArray

import p2mperf
from p2mperf.guests.guest import Guest
from p2mperf.guests.hap import Hap

SEED = int(os.environ.get("P2MPERF_SEED", "1"))
MANY = int(os.environ.get("P2MPERF_OPERATIONS", "2000"))
N_BETWEEN = 10
RAM = ("ram_rw", "ram_logdirty", "ram_ro")
# Geometry, memory, and whether a whole superpage of the largest kind fits.
GUESTS = (("hap64", "2050M"), ("hap64", "12M"), ("hap-pae", "12M"), ("hap-nonpae", "20M"))
OPERATIONS = ("add", "add", "add", "remove", "remove", "change", "change all", "split", "limit", "audit")


def around(changed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where something changed, and one before and one behind."""
    at = np.flatnonzero(changed)
    return np.unique(np.clip([at - 1, at, at + 1], 0, changed.size - 1))


class Pair:
    """Both designs of one guest, and the naive p2m of it."""

    def __init__(self, geometry: str, size: str, **options: Any) -> None:
        self.guest = Guest.plain(size, geometry=geometry)
        self.p2ms = [p2mperf.build(design, self.guest, **options) for design in HAP_DESIGNS]
        plan, shape = self.p2ms[0].plan, self.guest.geometry
        assert isinstance(shape, Hap)
        levels = [order // shape.index_bits for order in plan.orders]
        n_machine = self.guest.machine.n_frames
        self.naive = NaiveP2m(shape.index_bits, shape.n_levels, levels, plan.end_gfn, n_machine)
        extents = self.guest.extents
        for gfn, mfn, order in zip(
            *(each.tolist() for each in (extents.gfn, extents.mfn, extents.order)), strict=True
        ):
            assert self.naive.add(gfn, mfn, order)
        self.naive.n_writes = 0
        self.naive.pool_left = self.p2ms[0].allocation[1]
        self.reached = Counter[str]()
        self.seen = self.naive.reads.copy(), self.naive.m2p.copy()

    def close(self) -> None:
        for p2m in self.p2ms:
            p2m.close()

    def agree(self, whole: bool = True) -> None:
        """All frames read as they must; not `whole`: those that changed since, and who stands beside them."""
        naive = self.naive
        reads = np.append(naive.reads, np.zeros(600, np.uint64))
        frames, mfns = np.arange(reads.size), np.arange(naive.m2p.size)
        if not whole:
            frames = around(naive.reads != self.seen[0])
            mfns = around(naive.m2p != self.seen[1])
        self.seen = naive.reads.copy(), naive.m2p.copy()
        for p2m in self.p2ms:
            wrong = frames[p2m.lookup(frames) != reads[frames]]
            assert not wrong.size, (p2m.name, hex(int(wrong[0])))
            assert p2m.leaves == naive.leaves(), p2m.name
            pages = p2m.table.pages
            levels = range(1, len(naive.n_tables) + 1)
            assert [pages[f"l{level}"] for level in levels] == naive.n_tables, p2m.name
            assert p2m.allocation[1] == naive.pool_left
            assert p2m.max_mapped_pfn == naive.max_mapped
            assert p2m.counts["writes"] == naive.n_writes, p2m.name
        linear = self.p2ms[1]
        assert np.array_equal(linear.foreign(frames), reads[frames])
        assert np.array_equal(linear.mfn_to_gfn(mfns), naive.m2p[mfns])

    def do(self, name: str, random: Random) -> None:
        """One random operation, by each; the same came of it everywhere."""
        answers = [
            getattr(self, name.replace(" ", "_"))(p2m, random_again)
            for p2m, random_again in self.alike(random)
        ]
        assert len({repr(answer) for answer in answers}) == 1, (name, answers)
        self.reached[f"{name}: {answers[0]}"] += 1

    def alike(self, random: Random) -> list[tuple[Any, Random]]:
        seed = random.randrange(1 << 60)
        return [(each, Random(seed)) for each in (*self.p2ms, self.naive)]

    def frame(self, random: Random, order: int) -> int:
        """A guest frame with room for a range behind it; mostly as aligned as that, and near others."""
        end = self.naive.reads.size - (1 << order)
        frame = random.choice((random.randint(0, end), random.choice((0, 511, 512, 1023, 1024, end))))
        return min(frame, end) >> order << order if random.random() < 0.8 else min(frame, end)

    def mfn(self, random: Random, order: int, frame: int) -> int:
        """A machine frame, often one that stands somewhere already."""
        end = self.naive.m2p.size - (1 << order)
        behind = self.naive.mfn_behind(random.randrange(self.naive.reads.size))
        mfn = random.choice((random.randint(0, end), max(behind, 0), max(self.naive.mfn_behind(frame), 0)))
        return min(mfn, end) >> order << order if random.random() < 0.8 else min(mfn, end)

    def order(self, random: Random) -> int:
        orders = [order for order in (0, 0, 0, 3, 9, 10, 11) if 1 << order <= self.naive.reads.size]
        return random.choice(orders)

    def add(self, p2m: Any, random: Random) -> bool:
        order = self.order(random)
        frame = self.frame(random, order)
        mfn, kind = self.mfn(random, order, frame), random.choice(RAM)
        return bool(p2m.add(frame, mfn, order, kind))

    def remove(self, p2m: Any, random: Random) -> bool:
        order = self.order(random)
        return bool(p2m.remove(self.frame(random, order), order))

    def change(self, p2m: Any, random: Random) -> bool:
        return bool(p2m.change_type(self.frame(random, 0), random.choice(RAM), random.choice(RAM)))

    def change_all(self, p2m: Any, random: Random) -> int:
        old, new = random.choice(RAM), random.choice(RAM)
        return p2m.change_all(old, new) if p2m is self.naive else p2m.change_type_global(old, new)

    def split(self, p2m: Any, random: Random) -> bool:
        """A frame is set to what it is: its superpage is split, and nothing else happens."""
        frame = self.frame(random, 0)
        entry = int(self.naive.reads[frame])
        if not entry:
            return False
        mfn, kind = entry >> 12, RAM[(entry >> 9 & 7) - 1]
        return bool(p2m.set(frame, mfn, 0, kind) if p2m is self.naive else p2m.set_entry(frame, mfn, 0, kind))

    def limit(self, p2m: Any, random: Random) -> None:
        """From now on there are a few pages, or many."""
        n_left = random.choice((0, 1, 2, 50))
        if p2m is self.naive:
            p2m.pool_left = n_left
        else:
            p2m.set_allocation(p2m.allocation[0] + n_left)

    def audit(self, p2m: Any, random: Random) -> None:
        if p2m is not self.naive:
            p2m.audit()


# The choice of a frame looks at the naive p2m, which must not have changed before the others were asked.
def live(geometry: str, size: str, n_operations: int, life: int, **options: Any) -> Counter[str]:
    random, last = Random(f"{SEED}/{geometry}/{size}/{life}"), list[str]()
    pair = Pair(geometry, size, **options)
    try:
        pair.agree()
        for number in range(n_operations):
            last.append(random.choice(OPERATIONS))
            pair.do(last[-1], random)
            # A million frames are asked for now and then; what an operation did elsewhere is there still.
            pair.agree(whole=number % N_BETWEEN == 0)
        pair.agree()
        pair.do("audit", random)
    except BaseException as error:
        error.add_note(f"{geometry} {size}, seed {SEED}, life {life}; the last ones were {last[-12:]}")
        raise
    finally:
        pair.close()
    return pair.reached


EVENTS = {"add: True", "add: False", "remove: True", "remove: False", "change: True", "change: False"}
EVENTS |= {"split: True", "split: False", "limit: None", "audit: None"}


@pytest.mark.parametrize(("geometry", "size"), GUESTS)
def test_some_random_operations(geometry: str, size: str) -> None:
    n_operations, n_lives = (15, 1) if size == "2050M" else (100, 6)
    reached = sum((live(geometry, size, n_operations, life) for life in range(n_lives)), Counter[str]())
    if size != "2050M" and "P2MPERF_SEED" not in os.environ:
        assert set(reached) >= EVENTS


@pytest.mark.parametrize(
    "options", [{"hap_1gb": False}, {"hap_2mb": False}, {"hap_2mb": False, "hap_1gb": False}]
)
def test_some_random_operations_without_superpages(options: dict[str, bool]) -> None:
    live("hap64", "12M", 40, 0, **options)


# Beside the lives above, which are long: these are short enough to be made shorter where one fails.
@settings(max_examples=12)
@given(
    guest=st.sampled_from([each for each in GUESTS if each[1] != "2050M"]),
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(set(OPERATIONS))), st.integers(0, 2**32)), min_size=1, max_size=12
    ),
)
def test_any_sequence_of_operations_agrees(guest: tuple[str, str], steps: list[tuple[str, int]]) -> None:
    pair = Pair(*guest)
    try:
        for name, seed in steps:
            pair.do(name, Random(seed))
            pair.agree(whole=False)
        pair.agree()
        pair.do("audit", Random(0))
    finally:
        pair.close()


@pytest.mark.slow
@pytest.mark.parametrize(("geometry", "size"), GUESTS)
def test_many_random_operations(geometry: str, size: str, tell: Any) -> None:
    n_lives = 10
    reached = sum((live(geometry, size, MANY // n_lives, life) for life in range(n_lives)), Counter[str]())
    tell(f"{geometry} {size}: {sum(reached.values())} operations, no difference: {dict(reached)}")
