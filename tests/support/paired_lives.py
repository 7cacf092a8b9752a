"""Both PV designs of one small guest, and the judge of each: made to go through the same, and compared.

Who draws what is done, and in which order, is another matter: hypothesis in test_state_machine, a seeded
source of numbers in test_random_operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from design_names import PV_DESIGNS
from naive_life import Life
from small_guests import oracle_of, small_guest

import p2mperf

ENTRY_KINDS = ("mfn", "mfn", "invalid", "identity", "other identity", "foreign")


@cache
def parts(entry_bits: int, above: str) -> Any:
    """A guest and its oracle at boot, which no life changes."""
    guest = small_guest(entry_bits)
    oracle = oracle_of(guest, above)
    return guest, [Life(oracle, design, 3 * guest.geometry.mid_frames, 0) for design in PV_DESIGNS]


def words(numbers: Iterable[int]) -> Any:
    """As numpy cannot hold small and huge numbers of one list in integers by itself."""
    return np.array(list(numbers), np.uint64)


class Pairs:
    """Tree and list of a small guest, each beside its judge.

    Parameters
    ----------
    entry_bits : int
        Width.
    reached : Counter
        Told what came about, by name.
    above, n_spare, run_frames
        As the designs take them.
    """

    def __init__(
        self,
        entry_bits: int,
        reached: Counter[str],
        above: str = "identity",
        n_spare: int | None = None,
        run_frames: int = 0,
    ) -> None:
        guest, judges = parts(entry_bits, above)
        options: dict[str, Any] = {"above": above, "n_spare": n_spare, "run_frames": run_frames}
        self.p2ms = [p2mperf.build(design, guest, **options) for design in PV_DESIGNS]
        self.judges = [life.fresh(p2m.n_spare_left) for p2m, life in zip(self.p2ms, judges, strict=True)]
        self.invalid, self.leaf = guest.geometry.invalid, guest.geometry.leaf_frames
        self.touched: set[int] = {0, self.leaf, 20 * self.leaf}
        self.alike = n_spare is None
        self.saved: list[Any] = []
        self.reached = reached

    def each(self) -> Iterator[tuple[Any, Life]]:
        return zip(self.p2ms, self.judges, strict=True)

    def keep_m2p(self) -> None:
        self.reached["m2p kept in step"] += 1
        for p2m in self.p2ms:
            p2m.m2p  # noqa: B018

    def unused(self, n: int, life: Life) -> list[int]:
        taken = set(life.present().values())
        free = (mfn for mfn in range(7, self.p2ms[0].guest.machine.n_frames) if mfn not in taken)
        return [next(free) for _ in range(n)]

    def note(self, pfns: Sequence[int], *what: str) -> None:
        self.touched |= {q for pfn in pfns for q in (pfn - 1, pfn, pfn + 1) if 0 <= q < 2**64}
        self.reached.update(what)

    def set(self, wanted: list[tuple[int, str]]) -> None:
        """Write an entry of each kind at each frame."""
        pfns = [pfn for pfn, _ in wanted]
        if self.alike:
            # The same mfns on both: what is unused on one is on the other.
            assert self.judges[0].present() == self.judges[1].present()
        for p2m, life in self.each():
            mfns = self.unused(len(wanted), life)
            entries = [
                self.entry_of(kind, pfn, mfn, life) for (pfn, kind), mfn in zip(wanted, mfns, strict=True)
            ]
            expected = [life.set(pfn, entry) for pfn, entry in zip(pfns, entries, strict=True)]
            assert p2m.set(words(pfns), words(entries)).tolist() == expected, p2m.name
            self.reached.update("refused" for done in expected if not done)
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

    def balloon_down(self, pfns: list[int]) -> None:
        for p2m, life in self.each():
            expected = [life.balloon_down(pfn) for pfn in pfns]
            assert p2m.balloon_down(words(pfns)).tolist() == expected, p2m.name
        self.note([pfns[0], pfns[-1]], "balloon down")

    def balloon_up(self, pfns: list[int]) -> None:
        for p2m, life in self.each():
            mfns = self.unused(len(pfns), life)
            expected = [life.set(pfn, mfn, only_holes=True) for pfn, mfn in zip(pfns, mfns, strict=True)]
            assert p2m.balloon_up(words(pfns), mfns).tolist() == expected, p2m.name
            self.reached.update(["ballooned up"] if any(expected) else [])
        self.note([pfns[0], pfns[-1]], "balloon up")

    def set_identity(self, first: int, n: int) -> None:
        for p2m, life in self.each():
            assert p2m.set_identity(first, n) == life.set_identity(first, n), p2m.name
        self.note([first, first + n - 1], "identity range")

    def hotplug(self, first: int, n: int) -> None:
        for p2m, life in self.each():
            done = life.hotplug(first, n)
            assert p2m.hotplug(first, n) is done, p2m.name
            self.reached.update(["hotplug"] if done else [])
        self.note([first, first + n - 1])

    def foreign(self, pfns: list[int], clear: list[int]) -> None:
        """Map frames of others, and clear some of these."""
        for p2m, life in self.each():
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
            self.reached.update(["foreign set"] * any(expected) + ["foreign cleared"] * any(cleared))
        self.note(pfns)

    def pass_through(self, first: int, n: int, to: int) -> None:
        for p2m, life in self.each():
            done = life.pass_through(first, n, to)
            assert p2m.pass_through(first, n, to) is done, p2m.name
            self.reached.update(["passed through"] if done else [])
        self.note([first, first + n - 1, to, to + n - 1])

    def break_leaves(self, leaves: list[int]) -> None:
        for p2m, life in self.each():
            before = life.n_broken["leaf"]
            private = [life.break_leaf(leaf) for leaf in leaves]
            assert p2m.break_leaves(np.array(leaves, np.int64)) == sum(private), p2m.name
            self.reached.update(["leaves asked to break"] * (life.n_broken["leaf"] > before))
            self.reached.update(["breaking refused"] * (not all(private)))
        self.note([leaf * self.leaf for leaf in leaves])

    def invalidate_extra_memory(self) -> None:
        for p2m, life in self.each():
            runs = (range(*run) for run in pairwise(life.boot.changes()) if life.boot.is_extra(run[0]))
            done = [life.set(pfn, life.invalid) for run in runs for pfn in run]
            assert p2m.invalidate_extra_memory() is all(done), p2m.name
        self.note([], "extra memory invalidated")

    def tools(self) -> None:
        for p2m, life in self.each():
            if life.build_tools():
                self._compare_tools(p2m.name, p2m.tools.read(), life)
                self.reached["tools"] += 1
            else:
                with pytest.raises(MemoryError, match="n_spare"):
                    p2m.tools  # noqa: B018

    def rebuild_tools(self) -> None:
        self.tools()
        for p2m, life in self.each():
            if life.tools_mids is not None:
                p2m.rebuild_tools()
                self._compare_tools(p2m.name, p2m.tools.read(), life)
                self.reached["tools rebuilt"] += 1

    def _compare_tools(self, name: str, seen: Any, life: Life) -> None:
        for pfn in sorted(self.touched):
            if pfn < seen.size:
                assert int(seen[pfn]) == life.seen_by_tools(pfn), (name, pfn)

    def save(self) -> None:
        """Nothing, where there is no room for the tools; what is foreign is cleared first."""
        self.tools()
        if any(life.tools_mids is None for life in self.judges):
            return
        if any(life.is_foreign(entry) for life in self.judges for entry in life.written.values()):
            for p2m, life in self.each():
                foreign = sorted(pfn for pfn, entry in life.written.items() if life.is_foreign(entry))
                if foreign:
                    p2m.clear_foreign(foreign)
                    for pfn in foreign:
                        life.clear_foreign(pfn)
        self.saved = [p2m.save() for p2m in self.p2ms]

    def restore(self, seed: int) -> None:
        for (p2m, life), saved in zip(self.each(), self.saved, strict=True):
            before = life.present()
            assert np.flatnonzero(saved.has_memory).tolist() == sorted(before), p2m.name
            p2m.restore(saved, seed)
            after = dict(zip(before, p2m.lookup(words(before)).tolist(), strict=True))
            assert all(after[pfn] != mfn for pfn, mfn in before.items()), p2m.name
            assert len(set(after.values())) == len(after)
            life.written |= after
        self.saved = []
        self.reached["restored"] += 1

    def back(self, choose: Callable[[list[int]], list[int]]) -> None:
        """Ask for the frames of mfns, which are chosen with those in sight that the guest has."""
        for p2m, life in self.each():
            present = life.present()
            mfns = [mfn & self.invalid for mfn in choose(sorted(present.values()))]
            found = p2m.mfn_to_pfn(words(mfns)).tolist()
            assert found == [life.mfn_to_pfn(mfn, present) for mfn in mfns], p2m.name
        self.reached["m2p"] += 1

    def read(self, pfns: list[int]) -> None:
        """Look frames up in each of the ways there are."""
        for p2m, life in self.each():
            # A frame too wide for a 32-bit guest reads as much of identity as its entries hold.
            entries = [life.entry(pfn) & life.invalid for pfn in pfns]
            assert p2m.lookup(words(pfns)).tolist() == entries, p2m.name
            assert p2m.lookup_path(pfns[0]).entry == entries[0], p2m.name
            markers = life.identity_bit | life.foreign_bit
            mfns = [entry if entry == life.invalid else entry & ~markers for entry in entries]
            assert p2m.pfn_to_mfn(words(pfns)).tolist() == mfns, p2m.name
        self.reached["lookup"] += 1

    def agree(self) -> None:
        """All that was touched so far, what is left of the spare pages, and what was broken."""
        pfns = sorted(self.touched)
        for p2m, life in self.each():
            answers = p2m.lookup(words(pfns)).tolist()
            wrong = [(p, a) for p, a in zip(pfns, answers, strict=True) if (a ^ life.entry(p)) & life.invalid]
            assert not wrong, p2m.name
            assert (p2m.n_spare_left, p2m.n_breaks) == (life.n_spare - life.n_taken, life.n_broken), p2m.name

    def check_all(self) -> None:
        """The tables' own invariants, and every entry that anything was ever written to."""
        for p2m, life in self.each():
            p2m.audit()
            pfns = [*range(24 * self.leaf), *sorted(life.written)]
            assert p2m.lookup(words(pfns)).tolist() == [life.entry(pfn) for pfn in pfns], p2m.name

    def close(self) -> None:
        for p2m, life in self.each():
            self.reached.update({f"{p2m.name} broke a {what}": n for what, n in life.n_broken.items()})
            p2m.close()
