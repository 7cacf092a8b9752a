"""What recording costs a command: the same command without and with it, in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

from p2mperf.analysis.statistics import Ratio, ratio_interval
from p2mperf.errors import P2mperfError
from p2mperf.study.recording import remove_raw
from p2mperf.workload.recorder import RawRun, make_raw_directory, record_raw
from p2mperf.workload.recording import Usage
from p2mperf.workload.running import Running

# What is compared, and what a run of it says [s].
TIMES: dict[str, Callable[[Usage], float]] = {
    "elapsed": lambda usage: usage.elapsed_s,
    "user + system": lambda usage: usage.user_s + usage.system_s,
    "user": lambda usage: usage.user_s,
    "system": lambda usage: usage.system_s,
}


@dataclass(frozen=True)
class Pair:
    """One run without and one with recording, one after the other.

    Attributes
    ----------
    plain, recorded : Usage
        What each took.
    n_events, n_lost : int
        Of the recorded one.
    """

    plain: Usage
    recorded: Usage
    n_events: int
    n_lost: int


@dataclass(frozen=True)
class Cost:
    """What recording costs.

    Attributes
    ----------
    pairs : tuple of Pair
        All that was run; in every second pair the recorded run came first.
    """

    pairs: tuple[Pair, ...]

    def ratio(self, what: str) -> Ratio | None:
        """With recording over without it.

        Parameters
        ----------
        what : str
            One of `TIMES`.

        Returns
        -------
        Ratio or None
            None where a run took too little of it to be told.
        """
        times = [(TIMES[what](pair.recorded), TIMES[what](pair.plain)) for pair in self.pairs]
        if not all(recorded > 0 and plain > 0 for recorded, plain in times):
            return None
        return ratio_interval([log(recorded / plain) for recorded, plain in times])

    @property
    def system_ns_per_event(self) -> float:
        """System time that an event costs, over all pairs [ns]."""
        n_events = sum(pair.n_events for pair in self.pairs)
        extra_s = sum(pair.recorded.system_s - pair.plain.system_s for pair in self.pairs)
        return extra_s * 1e9 / n_events if n_events else 0.0


def recording_cost(
    command: Sequence[str],
    n_pairs: int,
    directory: Path,
    buffer_bytes: int,
    tell: Callable[[int, str], None] = lambda n_done, what: None,
    stdout: int = 1,
) -> Cost:
    """Run a command 2 * `n_pairs` times, half of them recorded, in ABBA order.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; it must do the same each time.
    n_pairs : int
        Pairs.
    directory : Path
        Of the raw trace; each is removed before the next.
    buffer_bytes : int
        Ring buffer of each CPU [bytes].
    tell : callable
        Told before each run how many there were, and what comes.
    stdout : int
        Descriptor that the command has as its standard output.

    Returns
    -------
    Cost

    Raises
    ------
    P2mperfError
        When the command fails, or is interrupted: its times say nothing then.
    BadInputError, NoTracingError, DoesNotFitError
        As `p2mperf.workload.recorder.record_raw`.
    """
    pairs = []
    for k in range(n_pairs):
        plain, recorded = None, None
        for is_recorded in (False, True) if k % 2 == 0 else (True, False):
            tell(2 * k + (plain is not None or recorded is not None), "recorded" if is_recorded else "plain")
            if is_recorded:
                recorded = _recorded(command, directory, buffer_bytes, stdout)
            else:
                plain = _plain(command, stdout)
        assert plain is not None
        assert recorded is not None
        assert recorded.raw.usage is not None
        pairs.append(Pair(plain, recorded.raw.usage, recorded.raw.n_read, recorded.raw.n_lost))
    return Cost(tuple(pairs))


def _plain(command: Sequence[str], stdout: int) -> Usage:
    running = Running(command, stdout)
    try:
        running.go()
        usage = running.wait()
    finally:
        running.give_up()
    _require_success(usage, running.is_interrupted)
    return usage


def _recorded(command: Sequence[str], directory: Path, buffer_bytes: int, stdout: int) -> RawRun:
    make_raw_directory(directory)  # what is removed below is ours
    try:
        run = record_raw(command, directory, buffer_bytes=buffer_bytes, stdout=stdout)
    finally:
        remove_raw(directory)
    assert run.raw.usage is not None
    _require_success(run.raw.usage, run.is_interrupted)
    return run


def _require_success(usage: Usage, is_interrupted: bool) -> None:
    if is_interrupted:
        raise KeyboardInterrupt
    if usage.exit_code != 0:
        raise P2mperfError(
            f"the command failed with code {usage.exit_code}, and its times say nothing: give one that can"
            " be run again and again"
        )
