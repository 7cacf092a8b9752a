"""Any sequence of writes, balloons, restores: tree, list and oracle never differ, in entries nor in pages."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from naive_life import Life
from small_guests import DESIGNS, oracle_of, small_guest

import p2mperf

# Always the same few sequences in the suite, which reach every event; others with P2MPERF_SEQUENCES=10000.
ASKED = os.environ.get("P2MPERF_SEQUENCES")
N_SEQUENCES = int(ASKED or 50)
N_STEPS = 12
REACHED: Counter[str] = Counter()
ENTRY_KINDS = ("mfn", "mfn", "invalid", "identity", "other identity", "foreign")


@cache
def parts(entry_bits: int, above: str) -> Any:
    """A guest and its oracle at boot, which no sequence changes."""
    guest = small_guest(entry_bits)
    oracle = oracle_of(guest, above)
    return guest, [Life(oracle, design, 3 * guest.geometry.mid_frames, 0) for design in DESIGNS]


def frames(leaf: int) -> st.SearchStrategy[int]:
    """Frames where something is: the edges of leaves of each kind and of mids, the end, far beyond."""
    mid = leaf * leaf
    leaves = st.sampled_from(
        [0, 2, 3, 4, 7, 8, 12, 19, 20, 21, leaf - 1, leaf, leaf + 1, 2 * leaf, 3 * leaf - 1]
    )
    index = st.sampled_from([0, 1, 2, leaf // 2, leaf // 2 + 3, leaf - 1])
    inside = st.builds(lambda number, at: number * leaf + at, leaves, index)
    ends = st.sampled_from(
        [3 * mid - 1, 3 * mid, 3 * mid + 1, leaf**3 - 1, leaf**3, 2**32 - 1, 2**62 + 5, 2**64 - 1]
    )
    return st.one_of(inside, inside, inside, inside, ends)


def words(numbers: Iterable[int]) -> Any:
    """As numpy cannot hold small and huge numbers of one list in integers by itself."""
    return np.array(list(numbers), np.uint64)


class Lives(RuleBasedStateMachine):
    """Both designs and their judges go through the same."""

    bits = 64

    @initialize(
        above=st.sampled_from(["identity", "identity", "invalid"]),
        n_spare=st.sampled_from([None, None, 0, 1, 2, 3, 5, 8, 12]),
        with_m2p=st.booleans(),
        scattered=st.booleans(),
    )
    def boot(self, above: str, n_spare: int | None, with_m2p: bool, scattered: bool) -> None:
        guest, judges = parts(self.bits, above)
        options = {"above": above, "n_spare": n_spare, "run_frames": 4 if scattered else 0}
        self.p2ms = [p2mperf.build(design, guest, **options) for design in DESIGNS]
        self.judges = [life.fresh(p2m.n_spare_left) for p2m, life in zip(self.p2ms, judges, strict=True)]
        self.invalid, self.leaf = guest.geometry.invalid, guest.geometry.leaf_frames
        self.touched: set[int] = {0, self.leaf, 20 * self.leaf}
        self.alike = n_spare is None
        self.saved: list[Any] = []
        if with_m2p:
            REACHED["m2p kept in step"] += 1
            for p2m in self.p2ms:
                p2m.m2p  # noqa: B018

    def pairs(self) -> Any:
        return zip(self.p2ms, self.judges, strict=True)

    def unused(self, n: int, life: Life) -> list[int]:
        taken = set(life.present().values())
        free = (mfn for mfn in range(7, self.p2ms[0].guest.machine.n_frames) if mfn not in taken)
        return [next(free) for _ in range(n)]

    def note(self, pfns: list[int], *what: str) -> None:
        self.touched |= {q for pfn in pfns for q in (pfn - 1, pfn, pfn + 1) if 0 <= q < 2**64}
        REACHED.update(what)

    def writable(self) -> bool:
        return not self.saved

    @precondition(writable)
    @rule(data=st.data())
    def set(self, data: st.DataObject) -> None:
        wanted = data.draw(
            st.lists(st.tuples(frames(self.leaf), st.sampled_from(ENTRY_KINDS)), min_size=1, max_size=8)
        )
        pfns = [pfn for pfn, _ in wanted]
        if self.alike:
            # The same mfns on both: what is unused on one is on the other.
            assert self.judges[0].present() == self.judges[1].present()
        for p2m, life in self.pairs():
            mfns = self.unused(len(wanted), life)
            entries = [
                self.entry_of(kind, pfn, mfn, life) for (pfn, kind), mfn in zip(wanted, mfns, strict=True)
            ]
            expected = [life.set(pfn, entry) for pfn, entry in zip(pfns, entries, strict=True)]
            assert p2m.set(words(pfns), words(entries)).tolist() == expected, p2m.name
            REACHED.update("refused" for done in expected if not done)
        self.note(pfns, *(f"set {kind}" for _, kind in wanted))

    def entry_of(self, kind: str, pfn: int, mfn: int, life: Life) -> int:
        mask = life.identity_bit - 1
        entries = {
            "mfn": mfn,
            "invalid": life.invalid,
            "identity": life.identity(pfn & mask),
            "other identity": life.identity((pfn ^ 1) & mask),
            "foreign": mfn | life.foreign_bit,
        }
        return entries[kind]

    @precondition(writable)
    @rule(data=st.data(), n=st.integers(1, 700))
    def balloon_down(self, data: st.DataObject, n: int) -> None:
        first = data.draw(frames(self.leaf))
        pfns = [*range(first, min(first + n, 2**64)), *data.draw(st.lists(frames(self.leaf), max_size=3))]
        for p2m, life in self.pairs():
            expected = [life.balloon_down(pfn) for pfn in pfns]
            assert p2m.balloon_down(words(pfns)).tolist() == expected, p2m.name
        self.note([pfns[0], pfns[-1]], "balloon down")

    @precondition(writable)
    @rule(data=st.data(), n=st.integers(1, 700))
    def balloon_up(self, data: st.DataObject, n: int) -> None:
        first = data.draw(frames(self.leaf))
        pfns = [*range(first, min(first + n, 2**64)), *data.draw(st.lists(frames(self.leaf), max_size=3))]
        for p2m, life in self.pairs():
            mfns = self.unused(len(pfns), life)
            expected = [life.set(pfn, mfn, only_holes=True) for pfn, mfn in zip(pfns, mfns, strict=True)]
            assert p2m.balloon_up(words(pfns), mfns).tolist() == expected, p2m.name
            REACHED.update(["ballooned up"] if any(expected) else [])
        self.note([pfns[0], pfns[-1]], "balloon up")

    @precondition(writable)
    @rule(
        data=st.data(),
        n=st.sampled_from([1, 3, 511, 512, 513, 1024, 1500, 4000]),
        whole_mid=st.sampled_from([False] * 15 + [True]),
    )
    def set_identity(self, data: st.DataObject, n: int, whole_mid: bool) -> None:
        first = data.draw(frames(self.leaf)) % (4 * self.leaf**2)
        if whole_mid and self.bits == 64:
            n = self.leaf**2
        for p2m, life in self.pairs():
            assert p2m.set_identity(first, n) == life.set_identity(first, n), p2m.name
        self.note([first, first + n - 1], "identity range")

    @precondition(writable)
    @rule(data=st.data(), n=st.integers(1, 1100))
    def hotplug(self, data: st.DataObject, n: int) -> None:
        first = data.draw(frames(self.leaf)) % (4 * self.leaf**2)
        for p2m, life in self.pairs():
            done = life.hotplug(first, n)
            assert p2m.hotplug(first, n) is done, p2m.name
            REACHED.update(["hotplug"] if done else [])
        self.note([first, first + n - 1])

    @precondition(writable)
    @rule(data=st.data())
    def foreign(self, data: st.DataObject) -> None:
        pfns = data.draw(st.lists(frames(self.leaf), min_size=1, max_size=6))
        clear = data.draw(st.lists(st.sampled_from(pfns), max_size=4))
        for p2m, life in self.pairs():
            mfns = self.unused(len(pfns), life)
            expected = [
                life.set(p, m | life.foreign_bit, only_holes=True) for p, m in zip(pfns, mfns, strict=True)
            ]
            assert p2m.set_foreign(words(pfns), mfns).tolist() == expected, p2m.name
            # All are looked at before the first is cleared, so that a repeat is cleared once and told twice.
            cleared = [life.has_foreign(pfn) for pfn in clear]
            for pfn in clear:
                life.clear_foreign(pfn)
            assert p2m.clear_foreign(words(clear)).tolist() == cleared, p2m.name
            REACHED.update(["foreign set"] * any(expected) + ["foreign cleared"] * any(cleared))
        self.note(pfns)

    @precondition(writable)
    @rule(data=st.data(), n=st.integers(1, 600))
    def pass_through(self, data: st.DataObject, n: int) -> None:
        first, to = data.draw(st.tuples(frames(self.leaf), frames(self.leaf)))
        first, to = first % (4 * self.leaf**2), to % (4 * self.leaf**2)
        for p2m, life in self.pairs():
            done = life.pass_through(first, n, to)
            assert p2m.pass_through(first, n, to) is done, p2m.name
            REACHED.update(["passed through"] if done else [])
        self.note([first, first + n - 1, to, to + n - 1])

    @rule()
    def tools(self) -> None:
        for p2m, life in self.pairs():
            if life.build_tools():
                seen = p2m.tools.read()
                for pfn in sorted(self.touched):
                    if pfn < seen.size:
                        assert int(seen[pfn]) == life.seen_by_tools(pfn), (p2m.name, pfn)
                REACHED["tools"] += 1
            else:
                with pytest.raises(MemoryError, match="n_spare"):
                    p2m.tools  # noqa: B018

    @precondition(writable)
    @rule()
    def save(self) -> None:
        self.tools()
        if any(life.tools_mids is None for life in self.judges):
            return
        if any(life.is_foreign(entry) for life in self.judges for entry in life.written.values()):
            for p2m, life in self.pairs():
                foreign = sorted(pfn for pfn, entry in life.written.items() if life.is_foreign(entry))
                if foreign:
                    p2m.clear_foreign(foreign)
                    for pfn in foreign:
                        life.clear_foreign(pfn)
        self.saved = [p2m.save() for p2m in self.p2ms]

    @precondition(lambda self: bool(self.saved))
    @rule(seed=st.integers(0, 5))
    def restore(self, seed: int) -> None:
        for (p2m, life), saved in zip(self.pairs(), self.saved, strict=True):
            before = life.present()
            assert np.flatnonzero(saved.has_memory).tolist() == sorted(before), p2m.name
            p2m.restore(saved, seed)
            after = dict(zip(before, p2m.lookup(words(before)).tolist(), strict=True))
            assert all(after[pfn] != mfn for pfn, mfn in before.items()), p2m.name
            assert len(set(after.values())) == len(after)
            life.written |= after
        self.saved = []
        REACHED["restored"] += 1

    @precondition(writable)
    @rule(seed=st.integers(0, 5))
    def save_and_restore(self, seed: int) -> None:
        self.save()
        if self.saved:
            self.restore(seed)

    @rule(data=st.data())
    def back(self, data: st.DataObject) -> None:
        for p2m, life in self.pairs():
            present = life.present()
            some = st.sampled_from(sorted(present.values()) or [0])
            mfns = [
                mfn & self.invalid
                for mfn in data.draw(st.lists(st.one_of(some, frames(self.leaf)), max_size=5))
            ]
            found = p2m.mfn_to_pfn(words(mfns)).tolist()
            assert found == [life.mfn_to_pfn(mfn, present) for mfn in mfns], p2m.name
        REACHED["m2p"] += 1

    @invariant()
    def agree(self) -> None:
        pfns = sorted(self.touched)
        for p2m, life in self.pairs():
            answers = p2m.lookup(words(pfns)).tolist()
            wrong = [(p, a) for p, a in zip(pfns, answers, strict=True) if (a ^ life.entry(p)) & life.invalid]
            assert not wrong, p2m.name
            assert (p2m.n_spare_left, p2m.n_breaks) == (life.n_spare - life.n_taken, life.n_broken), p2m.name

    def teardown(self) -> None:
        for p2m, life in self.pairs() if hasattr(self, "p2ms") else ():
            p2m.audit()
            pfns = [*range(24 * self.leaf), *sorted(life.written)]
            assert p2m.lookup(words(pfns)).tolist() == [life.entry(pfn) for pfn in pfns], p2m.name
            REACHED.update({f"{p2m.name} broke a {what}": n for what, n in life.n_broken.items()})
            p2m.close()


class Lives32(Lives):
    """The same at 32 bits."""

    bits = 32


@pytest.mark.parametrize("machine", [Lives, Lives32], ids=["64", "32"])
def test_no_sequence_tells_the_designs_from_the_oracle(machine: type[Lives]) -> None:
    REACHED.clear()
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=N_SEQUENCES, stateful_step_count=N_STEPS, deadline=None, derandomize=not ASKED
        ),
    )
    wanted = {
        *(f"set {kind}" for kind in ENTRY_KINDS),
        "refused",
        "balloon down",
        "ballooned up",
        "identity range",
        "hotplug",
        "foreign set",
        "foreign cleared",
        "passed through",
        "tools",
        "restored",
        "m2p",
        "m2p kept in step",
        *(f"{design} broke a {what}" for design in DESIGNS for what in ("leaf", "mid")),
    }
    assert wanted <= {what for what, n in REACHED.items() if n}, wanted - set(+REACHED)
