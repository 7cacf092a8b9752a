"""A recorded build's translations, replayed through designs in this process, each entry timed for itself."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs import find
from p2mperf.designs.base import Design
from p2mperf.errors import BadInputError, P2mperfError, known, shown
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.host.card import Card
from p2mperf.measure.disturb import FLUSHED_BYTES, filled, unfilled
from p2mperf.measure.replay_kernels import Asked, Condition, Replayed, replay, time_other_work
from p2mperf.measure.rounds import latin_orders
from p2mperf.measure.stretch import Floats, Phases
from p2mperf.measure.touch import touch
from p2mperf.memory import vm
from p2mperf.preambles import Preamble
from p2mperf.tables.m2p import M2p
from p2mperf.units import KIB, MIB, PAGE_SIZE, round_up
from p2mperf.workload.replays import CONTROL
from p2mperf.workload.translation_stream import FRAME_MASK, M2P_ITEM, TranslationStream, check_stream

CONDITIONS = {
    "tight": "entry after entry at once: a lower bound, never what a kernel pays",
    "flushed": "the TLB is flushed before each entry, as Xen does when a 64-bit PV guest enters its kernel",
    "cold": "flushed, and other work is done for as long as was recorded between the entries: the estimate",
}
FLUSHED, COLD = ("flushed", "cold"), "cold"
# What comes after a longer pause is as cold as it gets: other work is done for so long at most [ns].
LONGEST_GAP_NS = 100_000
_CALIBRATED_TOUCHES, _N_CALIBRATED = 1024, 128
_ZERO = np.uint64(0)


def default_work_bytes(card: Card) -> int:
    """Memory that other work reads from, by the caches of this machine [bytes].

    Returns
    -------
    int
        Four times the second-level cache, so that work which goes on for long leaves nothing else in it, but
        no more than this CPU's share of the last one; 4 MiB where the machine does not tell.
    """
    sizes = {
        cache["level"]: cache["size_bytes"]
        for cache in card.get("caches", ())
        if cache["type"] != "Instruction"
    }
    if 2 not in sizes:
        return 4 * MIB
    wanted = 4 * sizes[2]
    if 3 in sizes:
        wanted = max(2 * sizes[2], min(wanted, sizes[3] // max(1, card.get("n_cpus") or 1)))
    return round_up(int(wanted), PAGE_SIZE)


class Replayer:
    """Designs of one guest in this process, with the m2p that they share, and a stretch of a stream.

    Parameters
    ----------
    guest : Guest
        A 64-bit PV guest with nothing but RAM where the stream asks.
    designs : sequence of str
        Names.
    stream : TranslationStream
        The stretch.
    backing : str
        Page sizes of the designs; "kernel" is what a PV kernel has, 4 KiB throughout.
    control : bool
        Whether the first design is built once more.

    Raises
    ------
    BadInputError
        For designs of other families, and a stream that is none for this guest.
    DoesNotFitError
        When memory does not suffice.

    Notes
    -----
    A context manager. All designs and the m2p are built before anything is timed, so that each stands in
    memory as the others do. Nothing here writes to any of them.
    """

    def __init__(
        self,
        guest: Guest,
        designs: Sequence[str],
        stream: TranslationStream,
        backing: str = "kernel",
        control: bool = True,
    ) -> None:
        check_stream(stream, guest.n_boot_pages)
        if not stream.n_entries:
            raise BadInputError("the stream has no entries: record a command that runs longer")
        self.guest, self.stream = guest, stream
        self._kept = ExitStack()
        try:
            self.designs = self._built(designs, backing, control)
            m2p = M2p(guest)
            self._kept.callback(m2p.close)
            # Who holds a view of it keeps it mapped, whatever is closed.
            self._m2p_words = m2p.words()
            vm.protect(m2p.base, m2p.memory_bytes, vm.READ)  # as Xen shows it to its guests
            self.m2p_page_bytes = m2p.page_bytes
            self.asked, self._sums = self._prepared(m2p.base)
        except BaseException:
            self._kept.close()
            raise

    def __enter__(self) -> Replayer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back; a second call does nothing."""
        self._kept.close()

    def _built(self, designs: Sequence[str], backing: str, control: bool) -> dict[str, Design]:
        built: dict[str, Design] = {}
        for name in designs:
            built[name] = self._kept.enter_context(find(name)(self.guest, backing))
        if control:
            built[CONTROL] = self._kept.enter_context(built[designs[0]].again())
        return built

    def _prepared(self, m2p_address: int) -> tuple[Asked, Words]:
        """The items as the loop takes them, and the sums of what they find, entry by entry from the first."""
        items, starts = self.stream.items, self.stream.starts
        frames = (items & np.uint32(FRAME_MASK)).astype(np.uint64)
        entries = self.guest.entries(frames)
        n_machine = np.uint64(self._m2p_words.size)
        if (entries >= n_machine).any() or (self._m2p_words[entries] != frames).any():
            raise BadInputError(
                f"{self.guest.name} has holes where the stream asks: take a guest of RAM alone"
            )
        if self.guest.machine.n_frames > M2P_ITEM:
            raise BadInputError(f"{self.guest.name} has machine frames beyond 31 bits: take a smaller guest")
        asks_m2p = (items & np.uint32(M2P_ITEM)) != 0
        found = np.where(asks_m2p, entries.astype(np.uint32) | np.uint32(M2P_ITEM), items)
        sums = np.concatenate([[_ZERO], np.cumsum(entries, dtype=np.uint64)])
        return Asked(found, starts, np.uint64(m2p_address)), sums[starts]

    def calibrate(self, work_bytes: int) -> float:
        """Say how many lines other work reads in a microsecond, after a flush.

        Parameters
        ----------
        work_bytes : int
            Memory that it reads from [bytes].

        Returns
        -------
        float
            By the lower quartile of many tries: what else runs makes them longer, never shorter.
        """
        condition, took = (
            condition_of("cold", work_bytes, np.zeros(0, np.uint32)),
            np.zeros(_N_CALIBRATED, np.int64),
        )
        time_other_work(condition, np.uint64(_CALIBRATED_TOUCHES), took)
        start = perf_counter_ns()
        _, whole = time_other_work(condition, np.uint64(_CALIBRATED_TOUCHES), took)
        tick_ns = (perf_counter_ns() - start) / max(1, int(whole))
        return float(_CALIBRATED_TOUCHES / (np.quantile(took, 0.25) * tick_ns) * 1000)

    def run(
        self,
        condition: str,
        phases: Phases,
        work_bytes: int = 0,
        touches_per_us: float = 0.0,
        seed: int = 1,
    ) -> dict[str, Floats]:
        """Replay the stretch through all designs, phase by phase in turns.

        Parameters
        ----------
        condition : str
            One of `CONDITIONS`.
        phases : Phases
            How the stretch is cut.
        work_bytes, touches_per_us : int, float
            Of ``cold``: what other work reads from [bytes], and how many lines a microsecond [1/us].
        seed : int
            Seed of the order of designs.

        Returns
        -------
        dict of str to ndarray of float64, shape (phases.n_timed,)
            By design: time of each entry's lookups [ns].

        Raises
        ------
        P2mperfError
            When a design found something else than the guest's map has, or what comes before an entry was
            not done.
        """
        known("condition", condition, CONDITIONS)
        n_touches = np.zeros(self.stream.n_entries, np.uint32)
        if condition == COLD:
            gaps_us = np.minimum(self.stream.gaps_ns, LONGEST_GAP_NS) / 1000
            n_touches = np.round(gaps_us * touches_per_us).astype(np.uint32)
        before = condition_of(condition, work_bytes, n_touches)
        took = {name: np.zeros(phases.n_timed, np.int64) for name in self.designs}
        names, elapsed_ns, whole = list(self.designs), 0, 0
        orders = latin_orders(len(names), phases.n_phases, np.random.default_rng(seed))
        for number, order in enumerate(orders):
            first = phases.starts()[number]
            for name in (names[at] for at in order):
                timed = took[name][number * phases.phase_entries :][: phases.phase_entries]
                spent_ns, ticks = self._phase(name, before, first, timed, phases.lead_entries)
                elapsed_ns, whole = elapsed_ns + spent_ns, whole + ticks
        tick_ns = elapsed_ns / max(1, whole)
        return {name: (ticks * tick_ns).astype(np.float64) for name, ticks in took.items()}

    def _phase(
        self, name: str, before: Condition, first: int, took: NDArray[np.int64], n_lead: int
    ) -> tuple[int, int]:
        """Replay one phase through one design, after what leads to it; gives its time [ns and ticks]."""
        design = self.designs[name]

        def one_pass(start: int, took: NDArray[np.int64]) -> Replayed:
            end = start + took.size
            result: Replayed = replay(
                design.tables, design.state, self.asked, before, start, end, took, _ZERO
            )
            self.check(name, start, end, result)
            self._check_before(before, start, end, result)
            return result

        with design.in_use():
            # Its pages, not its lines: a daemon that clears accessed bits would cost it an assist a page.
            touch(design.stretches(), lined=False)
            return led_to(one_pass, first, took, n_lead)

    def check(self, name: str, first: int, end: int, result: Replayed) -> None:
        """See that a pass found what the guest's map has.

        Parameters
        ----------
        name : str
            Of the design.
        first, end : int
            Entries of the pass.
        result : Replayed
            What it gave.

        Raises
        ------
        P2mperfError
            When it did not.
        """
        if result.total != self._sums[end] - self._sums[first] or result.n_wrong:
            what = f"{self.designs[name].name} of {self.guest.name}"
            raise P2mperfError(f"{what} finds in a replay what is not in its map")

    def _check_before(self, before: Condition, first: int, end: int, result: Replayed) -> None:
        if result.n_flushes != (end - first) * bool(before.flushed.size):
            raise P2mperfError(f"the TLB was flushed before {result.n_flushes} entries of {end - first}")
        if result.work != before.n_touches[first:end].sum(dtype=np.uint64):
            raise P2mperfError(f"other work was done {result.work} times before {end - first} entries")


def led_to(
    one_pass: Callable[[int, NDArray[np.int64]], Replayed], first: int, took: NDArray[np.int64], n_lead: int
) -> tuple[int, int]:
    """Do a pass after an untimed one over the entries before it.

    Parameters
    ----------
    one_pass : callable
        Takes the first entry and what receives the times.
    first : int
        Of the timed pass.
    took : ndarray of int64
        Receives its times [ticks].
    n_lead : int
        Entries of the untimed one.

    Returns
    -------
    tuple of int
        Time of the timed pass [ns], and the same [ticks].
    """
    one_pass(first - n_lead, np.zeros(n_lead, np.int64))
    gc.disable()
    try:
        start = perf_counter_ns()
        result = one_pass(first, took)
        return perf_counter_ns() - start, int(result.whole)
    finally:
        gc.enable()


def condition_of(name: str, work_bytes: int, n_touches: NDArray[np.uint32]) -> Condition:
    """Make ready what comes before entries.

    Parameters
    ----------
    name : str
        One of `CONDITIONS`.
    work_bytes : int
        Of ``cold``: memory that other work reads from [bytes].
    n_touches : ndarray of uint32, shape (n_entries,)
        Lines of it that are read before each entry; 0 unless it is cold.

    Returns
    -------
    Condition
        With memory of its own.

    Raises
    ------
    BadInputError
        When there is no memory to work on.
    P2mperfError
        Where it is not known what flushes the TLB.
    """
    if name in FLUSHED and not Preamble(name, True, 0, 0, "").is_possible:
        raise P2mperfError(f"{name} flushes the TLB, which is known for x86 alone: take condition tight")
    if name == COLD and work_bytes < 32 * KIB:
        raise BadInputError(f"other work on {shown(work_bytes)} bytes disturbs nothing: give it 32K at least")
    flushed = unfilled(FLUSHED_BYTES if name in FLUSHED else 0)
    worked_on = filled(round_up(work_bytes, PAGE_SIZE) if name == COLD else 0)
    return Condition(flushed, np.uint64(flushed.ctypes.data), worked_on, n_touches)


def page_sizes(designs: Mapping[str, Design]) -> dict[str, int]:
    """Page size that all views of each design are on, 0 where they are not on the same [bytes]."""
    found = {name: set(design.views().values()) for name, design in designs.items()}
    return {name: sizes.pop() if len(sizes) == 1 else 0 for name, sizes in found.items()}
