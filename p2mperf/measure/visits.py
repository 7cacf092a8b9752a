"""A visit to one design: it is touched, warmed until its cost stands, and timed several times in a row."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter_ns
from typing import Any

from p2mperf.designs.base import Design
from p2mperf.guests.geometry import Words
from p2mperf.host.card import caches
from p2mperf.host.probes import steal_ticks
from p2mperf.measure.operations.base import Operation, StreamMaker
from p2mperf.measure.rounds import Pass
from p2mperf.measure.touch import LINE_BYTES, n_bytes_of, touch
from p2mperf.units import MIB

# Untimed passes of a visit at most, until caches are filled and until the cost stands; what falls or rises
# for longer than that is told by its rounds.
MOST_FILLING, MOST_STANDING = 10, 8
# A pass whose cost differs from that of the one before by no more than this shows that it stands: passes of
# 1.5 ms and more differ by 3 to 4 % without a reason.
STANDS_WITHIN = 0.03
# Untimed passes of small tables have as many stretches of the stream; then the first comes again.
UNTIMED_STRETCHES = 4
# Of a cache that is shared with others on a large machine, what one of them may hope for.
_CACHE_BYTES = 64 * MIB
_CALLS = 9


@dataclass
class Visitor:
    """Makes the visits of one cell.

    Attributes
    ----------
    work : Operation
        What is timed.
    make : callable
        Goes on with the cell's stream by as many frames as it is asked for.
    n_lookups : int
        Loop count of a pass.
    n_slices : int
        Timed passes of a visit.
    target_ns : int
        How long an untimed pass need not take longer than [ns].
    untimed : list of ndarray of uint64
        Frames of the untimed passes, of all visits to all designs.
    warm_ns : int
        Time of all touches and untimed passes so far [ns].
    timed_ns : int
        Time of all timed passes so far, with what comes before each entry [ns].
    n_sampled : int
        How many frames of each timed pass are kept in `sampled`.
    sampled : list of ndarray of uint64
        What was kept, to be looked at when all is done.
    """

    work: Operation[Any]
    make: StreamMaker
    n_lookups: int
    n_slices: int
    target_ns: int
    untimed: list[Words]
    warm_ns: int = 0
    timed_ns: int = 0
    n_sampled: int = 1
    sampled: list[Words] = field(default_factory=list)

    def visit(self, name: str, design: Design) -> list[Pass]:
        """Touch, warm and time one design.

        Parameters
        ----------
        name : str
            What the passes are called.
        design : Design
            Whose they are.

        Returns
        -------
        list of Pass
            As many as there are slices.

        Notes
        -----
        The frames of the timed passes are made first: making them, up to 8 MiB a slice, drives others out
        of the caches. From the touch on nothing happens but what is said here. Then:

        1. Every page of every view that its lookups can read is touched, of small tables every line
           (`p2mperf.measure.touch`).
        2. Untimed passes follow: as many lookups as the last-level cache, or the table, has lines, for the
           others' visits have filled it with theirs, though `MOST_FILLING` passes at most; and on until one
           costs within `STANDS_WITHIN` of the one before. One is made of what does a fixed amount, as a whole
           table, and none of what cannot be put back.
        3. The timed passes, one behind the other.

        Untimed passes are of what is timed. Lookups that need not wait for each other fill a cache several
        times as fast, and leave it as lookups that do wait never find it: shared with other machines it then
        empties for 20 to 50 ms, and 400 GB guests' latency rose from 250 to 500 ns over as many passes.
        """
        slices = [self.make(self.n_lookups) for _ in range(self.n_slices)]
        self.sampled += [frames[:: -(-frames.size // self.n_sampled)].copy() for frames in slices]
        stretches = design.stretches()
        start = perf_counter_ns()
        touch(stretches)
        if self.work.settles:
            self._wait_until_it_stands(design, lines_to_fill(n_bytes_of(stretches)))
        self.warm_ns += perf_counter_ns() - start
        ticks = steal_ticks() or 0
        passes = []
        for frames in slices:
            passes.append(self._timed_pass(name, design, frames, ticks))
            ticks += passes[-1].n_steal_ticks
        return passes

    def _wait_until_it_stands(self, design: Design, n_fill: int) -> None:
        last_ns, n, n_done, n_standing = 0.0, self.n_lookups, 0, 0
        for number in range(1 if self.work.n_fixed else MOST_FILLING + MOST_STANDING):
            frames = self.untimed[number % len(self.untimed)][:n]
            cost_ns = one_pass(self.work, design, frames) / n
            n_done += n
            if n_done >= n_fill or number + 1 >= MOST_FILLING:
                n_standing += 1
                if abs(cost_ns - last_ns) <= STANDS_WITHIN * last_ns or n_standing == MOST_STANDING:
                    break
            # What is slower than others has longer passes: as many untimed lookups as they do not tell more.
            last_ns, n = cost_ns, min(self.n_lookups, int(self.target_ns / cost_ns) + 1)

    def _timed_pass(self, name: str, design: Design, frames: Words, ticks_before: int) -> Pass:
        timed = self.work.prepare(design, frames)
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = perf_counter_ns()
        result = timed()
        whole_ns = perf_counter_ns() - start
        self.timed_ns += whole_ns
        elapsed_ns = max(1, self.work.timed_ns(result, whole_ns))
        after = resource.getrusage(resource.RUSAGE_SELF)
        n_steal_ticks = max(0, (steal_ticks() or 0) - ticks_before)
        growth = self.work.growth(design, result)
        self.work.finish(design, frames, result)
        n_switches, n_faults = after.ru_nivcsw - before.ru_nivcsw, after.ru_minflt - before.ru_minflt
        return Pass(name, elapsed_ns, n_switches, n_steal_ticks, n_faults, growth)


def lines_to_fill(table_bytes: int) -> int:
    """How many lookups bring a table's lines into the last-level cache, as far as they fit there.

    Parameters
    ----------
    table_bytes : int
        All that lookups can read [bytes].

    Returns
    -------
    int
        As many as the smaller of both has lines.
    """
    return min(table_bytes, _last_cache_bytes(), _CACHE_BYTES) // LINE_BYTES


@cache
def _last_cache_bytes() -> int:
    return max((one["size_bytes"] for one in caches()), default=0)


def one_pass(work: Operation[Any], design: Design, frames: Words) -> int:
    """Do one pass from beginning to end.

    Parameters
    ----------
    work : Operation
        What is done.
    design : Design
        To whom.
    frames : ndarray of uint64
        Over which frames.

    Returns
    -------
    int
        Its time [ns].
    """
    timed = work.prepare(design, frames)
    start = perf_counter_ns()
    result = timed()
    elapsed = work.timed_ns(result, perf_counter_ns() - start)
    work.finish(design, frames, result)
    return elapsed


def call_ns(work: Operation[Any], design: Design, nothing: Words) -> int:
    """Time the call that makes a pass: of what is called over no frame, the median [ns].

    Parameters
    ----------
    work : Operation
        What is timed; 0 for what does not say that a pass over nothing does nothing.
    design : Design
        Whose call it is: the arguments differ.
    nothing : ndarray of uint64, shape (0,)
        No frames.

    Returns
    -------
    int
        It is a part of every elapsed time, and no part of the cost of a lookup.
    """
    if not work.has_empty_pass:
        return 0
    return sorted(one_pass(work, design, nothing) for _ in range(_CALLS))[_CALLS // 2]
