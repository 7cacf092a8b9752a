"""Two processors break the same leaf or mid, two more read meanwhile: in a process that may die of it."""

from __future__ import annotations

import pytest
from design_names import PV_DESIGNS, PvName
from started import run_started

_CHILD = """
from threading import Barrier, Thread

import numpy as np
from small_guests import small_guest, unused

import p2mperf

design, bits, n_rounds = {design!r}, {bits}, {n_rounds}
guest = small_guest(bits, n_mids=4)
leaf = guest.geometry.leaf_frames
n_reads = {{"leaves": 0, "wrong": 0}}


def writer(barrier, p2m, pfns, mfns, done):
    barrier.wait()
    done.append(all(p2m.set([pfn], [mfn]).all() for pfn, mfn in zip(pfns, mfns)))


def reader(p2m, pfns, before, after, stop):
    # An entry may be as it was or as it will be, once new never old again, and nothing else.
    was_new = np.zeros(pfns.size, bool)
    while True:
        last = bool(stop)
        now = p2m.lookup(pfns)
        new = (now == after) & (before != after)
        n_reads["wrong"] += int(((now != before) & ~new).sum() + (was_new & ~new).sum())
        was_new |= new
        n_reads["leaves"] += 1
        if last:
            return


# Leaves that both break: one in an identity mid, one in a missing mid, one of each kind in mid 0.
bases = [leaf**2 + 3 * leaf, 2 * leaf**2 + 3 * leaf, 12 * leaf, 30 * leaf]
for number in range(n_rounds):
    with p2mperf.build(design, guest) as p2m:
        mfns = unused(p2m, 4 * len(bases))
        if number % 2:
            p2m.tools.read()
        pfns = np.concatenate([np.arange(base, base + 2 * leaf) for base in bases]).astype(np.uint64)
        before = p2m.lookup(pfns)
        mine = [base + at for base in bases for at in (0, leaf - 1)]
        theirs = [base + at for base in bases for at in (1, leaf)]
        after = before.copy()
        written = dict(zip([*mine, *theirs], mfns))
        for pfn, mfn in written.items():
            after[np.flatnonzero(pfns == pfn)] = mfn
        stop, done, barrier = [], [], Barrier(2)
        readers = [Thread(target=reader, args=(p2m, pfns, before, after, stop)) for _ in range(2)]
        writers = [
            Thread(target=writer, args=(barrier, p2m, own, [written[pfn] for pfn in own], done))
            for own in (mine, theirs)
        ]
        for thread in [*readers, *writers]:
            thread.start()
        for thread in writers:
            thread.join()
        stop.append(True)
        for thread in readers:
            thread.join()
        assert done == [True, True], done
        assert (p2m.lookup(pfns) == after).all()
        # Two leaves a base, and both shared mids once each: no page was taken twice.
        assert p2m.n_breaks == {{"leaf": 8, "mid": 2}}, p2m.n_breaks
        p2m.audit()
assert n_reads["wrong"] == 0, n_reads
print(n_reads["leaves"])
"""


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("bits", [64, 32])
def test_readers_see_the_old_or_the_new_while_two_break_the_same(design: PvName, bits: int) -> None:
    # Checklist 12.
    code = _CHILD.format(design=design, bits=bits, n_rounds=25)
    child = run_started(code)
    assert child.returncode == 0, child.stderr[-2000:]
    # The readers did read while the writers wrote: at least once before and once after in each round.
    assert int(child.stdout) >= 2 * 25
