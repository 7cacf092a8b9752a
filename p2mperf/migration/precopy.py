"""Precopy: send everything, then again and again what was written meanwhile, until a rule says stop.

Rules: xc_domain_save of the legacy loop (2013) and the policy of migration v2 (Xen 4.6 and later). Time here
is the sender's, computed from page counts and bandwidth; what tracing costs on this host is measured beside
it and never added to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, known, shown
from p2mperf.guests.geometry import Words
from p2mperf.migration.tracing import Tracer, frames_of, marked
from p2mperf.migration.writers import MOST_WRITES_AT_ONCE, PageWriter, all_frames
from p2mperf.units import PAGE_SIZE, flag, real_number

BATCH_PAGES = 1024  # MAX_BATCH_SIZE of the legacy loop
# Writes of one round that are traced at all: about a minute's.
_MOST_WRITES = 1 << 32


@dataclass(frozen=True)
class StopRule:
    """When to stop sending a running guest.

    Attributes
    ----------
    name : str
        As the command line calls it.
    max_rounds : int
        After so many rounds, whatever is left.
    few_pages : int
        When fewer than this are left, or were sent (see `few_of`) [pages].
    max_sent_ratio : float
        When more than this multiple of the memory was sent; 0 for no such rule.
    few_of : str
        "left": pages dirty after the round; "sent": pages the round itself sent or skipped.
    """

    name: str
    max_rounds: int
    few_pages: int
    max_sent_ratio: float = 0.0
    few_of: str = "left"

    def verdict(self, n_rounds: int, n_sent: float, n_left: float, sent_ratio: float) -> str:
        """Say why to stop; empty to go on.

        Parameters
        ----------
        n_rounds : int
            Rounds so far.
        n_sent, n_left : float
            Pages the last round sent or skipped, and dirty after it.
        sent_ratio : float
            All pages sent so far, as a multiple of the memory.
        """
        if (n_left if self.few_of == "left" else n_sent) < self.few_pages:
            return f"fewer than {self.few_pages} pages {self.few_of}"
        if self.max_sent_ratio and sent_ratio > self.max_sent_ratio:
            return f"more than {self.max_sent_ratio:g} times the memory sent"
        return f"{self.max_rounds} rounds" if n_rounds >= self.max_rounds else ""


RULES = {
    rule.name: rule
    for rule in (
        StopRule("legacy", 29, 50, 3.0),
        # What the code of 2013 literally tests: a round that is small itself, not what it leaves.
        StopRule("legacy-sent", 29, 50, 3.0, few_of="sent"),
        StopRule("later", 5, 50),
    )
}


def stop_rule(name: str) -> StopRule:
    """Find a stop rule by name.

    Raises
    ------
    BadInputError
        When there is none of that name.
    """
    return RULES[known("stop rule", name, RULES)]


@dataclass(frozen=True)
class PrecopyRound:
    """One round over a running guest.

    Attributes
    ----------
    number : int
        From 1, the round that sends everything.
    n_sent, n_skipped : float
        Pages sent, and pages not sent because they were dirty again [pages].
    seconds : float
        How long the sending took, computed [s].
    n_left : float
        Pages dirty at its end [pages].
    n_writes, n_faults : int
        Writes during it, and how many of them faulted; 0 from the recurrence.
    fault_ns, protect_ns : int
        Time that the writes, and protecting all memory at its end, took on this host [ns].
    """

    number: int
    n_sent: float
    n_skipped: float
    seconds: float
    n_left: float
    n_writes: int = 0
    n_faults: int = 0
    fault_ns: int = 0
    protect_ns: int = 0


@dataclass(frozen=True)
class Migration:
    """Course and outcome of one migration.

    Attributes
    ----------
    source : str
        "recurrence", or the name of the design that traced.
    rule : StopRule
        When to stop.
    n_pages : int
        Memory of the guest [pages].
    bytes_per_second : float
        Bandwidth.
    rounds : tuple of PrecopyRound
        Rounds while the guest ran.
    stopped_by : str
        What ended them.
    """

    source: str
    rule: StopRule
    n_pages: int
    bytes_per_second: float
    rounds: tuple[PrecopyRound, ...]
    stopped_by: str

    @property
    def n_left(self) -> int:
        """Pages sent while the guest stands still."""
        return int(self.rounds[-1].n_left)

    @property
    def downtime_seconds(self) -> float:
        return self.rounds[-1].n_left * PAGE_SIZE / self.bytes_per_second

    @property
    def total_sent_pages(self) -> int:
        return int(sum(r.n_sent for r in self.rounds) + self.rounds[-1].n_left)

    @property
    def total_seconds(self) -> float:
        return sum(r.seconds for r in self.rounds) + self.downtime_seconds

    @property
    def diverges(self) -> bool:
        """Whether the last round left as much as it sent, or more: further rounds would not help."""
        last = self.rounds[-1]
        return not self.stopped_by.startswith("fewer") and last.n_left >= last.n_sent + last.n_skipped


def _check(writes_per_second: float, bytes_per_second: float, n_pages: int) -> float:
    """Refuse rates that are none; give the writes of the first round, which sends all memory."""
    writes_per_second = real_number(writes_per_second, "a dirty rate")
    bytes_per_second = real_number(bytes_per_second, "a bandwidth")
    if not (writes_per_second >= 0 and np.isfinite(writes_per_second)):
        raise BadInputError(f"a dirty rate of {writes_per_second} pages/s is none: it must be 0 or more")
    if not (bytes_per_second > 0 and np.isfinite(bytes_per_second)):
        raise BadInputError(f"a bandwidth of {bytes_per_second} bytes/s is none: it must be positive")
    seconds = n_pages * PAGE_SIZE / bytes_per_second
    if not np.isfinite(seconds * max(1.0, writes_per_second)):
        raise BadInputError(
            f"{writes_per_second:g} pages/s over {bytes_per_second:g} bytes/s are more writes than can be "
            "counted"
        )
    return seconds * writes_per_second


def check_traceable(writes_per_second: float, bytes_per_second: float, n_pages: int) -> None:
    """Refuse a migration whose writes would never all be made.

    Parameters
    ----------
    writes_per_second : float
        Dirty rate [pages/s].
    bytes_per_second : float
        Bandwidth.
    n_pages : int
        Memory of the guest [pages].

    Raises
    ------
    BadInputError
        For rates that are none, and for too many writes.
    """
    n_writes = _check(writes_per_second, bytes_per_second, n_pages)
    if n_writes > _MOST_WRITES:
        raise BadInputError(
            f"while all memory is sent {n_writes:.3g} pages are written, of which {_MOST_WRITES:.3g} can be "
            "traced: take a lower dirty rate, more bandwidth or less memory"
        )


def _require(part: object, kind: type) -> None:
    if not isinstance(part, kind):
        raise BadInputError(f"a migration takes a {kind.__name__}, not {shown(part)}")


def recurrence(
    writer: PageWriter, writes_per_second: float, bytes_per_second: float, rule: StopRule
) -> Migration:
    """Follow D' = dirty(rate * 4096 * D / bandwidth) from D = all memory until the rule stops it.

    Parameters
    ----------
    writer : PageWriter
        Says how many different pages a number of writes touches.
    writes_per_second : float
        Dirty rate [pages/s].
    bytes_per_second : float
        Bandwidth.
    rule : StopRule
        When to stop.

    Returns
    -------
    Migration
        Page counts are expectations, not rounded.

    Raises
    ------
    BadInputError
        For rates that are none.
    """
    _require(writer, PageWriter)
    _require(rule, StopRule)
    total = int(writer.guest.ram.n_frames.sum())
    _check(writes_per_second, bytes_per_second, total)
    rounds: list[PrecopyRound] = []
    dirty, sent = float(total), 0.0
    stopped_by = ""
    while not stopped_by:
        seconds = dirty * PAGE_SIZE / bytes_per_second
        left = writer.expected_dirty(writes_per_second * seconds)
        sent += dirty
        rounds.append(PrecopyRound(len(rounds) + 1, dirty, 0.0, seconds, left))
        stopped_by = rule.verdict(len(rounds), dirty, left, sent / total)
        dirty = left
    return Migration("recurrence", rule, total, bytes_per_second, tuple(rounds), stopped_by)


class Sender:
    """Runs a migration against a writer, with real tables and real faults, in computed time.

    Parameters
    ----------
    tracer : Tracer
        Traces the guest's writes.
    writer : PageWriter
        What the guest writes to.
    writes_per_second : float
        Its rate [pages/s].
    bytes_per_second : float
        Bandwidth.
    peek : bool
        Skip pages that are dirty again when their batch's turn comes, as the legacy loop does.

    Raises
    ------
    BadInputError
        For rates that are none, or that make more writes than can be traced.
    """

    def __init__(
        self,
        tracer: Tracer,
        writer: PageWriter,
        writes_per_second: float,
        bytes_per_second: float,
        *,
        peek: bool = False,
    ) -> None:
        _require(tracer, Tracer)
        _require(writer, PageWriter)
        check_traceable(writes_per_second, bytes_per_second, int(writer.guest.ram.n_frames.sum()))
        self.tracer, self.writer = tracer, writer
        self.writes_per_second, self.bytes_per_second = writes_per_second, bytes_per_second
        self.peek = flag(peek, "peek")
        self._owed = 0.0

    def run(self, rule: StopRule) -> Migration:
        """Migrate until the rule stops it; the tracer is off afterwards.

        Parameters
        ----------
        rule : StopRule
            When to stop.

        Returns
        -------
        Migration
        """
        _require(rule, StopRule)
        to_send = all_frames(self.writer.guest)
        total = to_send.size
        rounds: list[PrecopyRound] = []
        sent, stopped_by = 0.0, ""
        self.tracer.start()
        while not stopped_by:
            done, left = self._round(len(rounds) + 1, to_send)
            rounds.append(done)
            sent += done.n_sent
            stopped_by = rule.verdict(len(rounds), to_send.size, left.size, sent / total)
            to_send = left
        self.tracer.stop()
        name = self.tracer.design.name
        return Migration(name, rule, total, self.bytes_per_second, tuple(rounds), stopped_by)

    def _round(self, number: int, to_send: Words) -> tuple[PrecopyRound, Words]:
        before = self._counters()
        n_sent = self._send_peeking(to_send) if self.peek else self._send(to_send.size)
        left = frames_of(self.tracer.clean(), self.tracer.first)
        spent = self._counters() - before
        done = PrecopyRound(
            number,
            n_sent,
            to_send.size - n_sent,
            n_sent * PAGE_SIZE / self.bytes_per_second,
            left.size,
            *spent.tolist(),
        )
        return done, left

    def _counters(self) -> NDArray[np.int64]:
        tracer = self.tracer
        return np.array([tracer.n_writes, tracer.n_faults, tracer.fault_ns, tracer.protect_ns])

    def _send_peeking(self, to_send: Words) -> int:
        n_sent = 0
        for start in range(0, to_send.size, BATCH_PAGES):
            batch = to_send[start : start + BATCH_PAGES]
            again = marked(self.tracer.peek(), batch - np.uint64(self.tracer.first))
            n_sent += self._send(int(np.count_nonzero(~again)))
        return n_sent

    def _send(self, n_pages: int) -> int:
        """Let the guest run for as long as sending takes; a fraction of a write is owed to the next time."""
        due = self._owed + self.writes_per_second * n_pages * PAGE_SIZE / self.bytes_per_second
        n_writes = int(due)
        self._owed = due - n_writes
        while n_writes:
            n_now = min(n_writes, MOST_WRITES_AT_ONCE)
            self.tracer.write(self.writer.write(n_now))
            n_writes -= n_now
        return n_pages
