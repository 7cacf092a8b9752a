"""What lookups do to the work that comes after them: the work is timed, and not they."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import known
from p2mperf.guests.geometry import Words
from p2mperf.host.card import Card
from p2mperf.measure.disturb import filled
from p2mperf.measure.ladder_kernels import grow_cycle
from p2mperf.measure.replay import Replayer, led_to
from p2mperf.measure.replay_kernels import Replayed, disturb_victim, note_loads
from p2mperf.measure.rounds import latin_orders
from p2mperf.measure.stretch import Phases
from p2mperf.measure.touch import LINE_BYTES, touch
from p2mperf.units import MIB, PAGE_SHIFT, PAGE_SIZE, round_up

VICTIMS = {
    "chase": "each load names the next one, here and there: latency",
    "stream": "line after line, round and round: what a processor fetches ahead",
}
_ZERO, _LINE_WORDS, _CYCLE_SEED = np.uint64(0), np.uint64(LINE_BYTES // 8), np.uint64(0x9E3779B97F4A7C15)
# A virtual machine may see all of a last cache that it shares with a hundred CPUs that it does not see.
_LARGEST_BYTES = 32 * MIB
_N_COUNTED = 1000  # entries whose loads are noted
_CALIBRATED_TOUCHES, _N_CALIBRATED = 4096, 9  # or all of its lines


@dataclass(frozen=True)
class Victim:
    """Other work that is timed.

    Attributes
    ----------
    kind : str
        One of `VICTIMS`.
    work_bytes : int
        Memory that it goes round in [bytes].
    """

    kind: str
    work_bytes: int

    def memory(self) -> Words:
        """Make its memory, on 4 KiB pages: of a chase, one random cycle through all lines."""
        known("victim", self.kind, VICTIMS)
        words = filled(round_up(self.work_bytes, PAGE_SIZE))
        if self.kind == "chase":
            n_lines = np.uint64(words.size) // _LINE_WORDS
            grow_cycle(words, _LINE_WORDS, _ZERO, _ZERO, n_lines, _CYCLE_SEED)
        return words


def default_victims(card: Card) -> tuple[Victim, ...]:
    """Work in three quarters of the first and second cache, in twice the second, and in a share of the last.

    Parameters
    ----------
    card : dict
        From `p2mperf.host.card.machine_card`.

    Notes
    -----
    A cycle as large as a cache would not stay in it: of a line that is driven out, the next round drives out
    the next one, and so on, as no program's own work does.
    """
    sizes = {
        cache["level"]: cache["size_bytes"] for cache in card["caches"] if cache["type"] != "Instruction"
    }
    wanted = [_within(sizes[1])] if 1 in sizes else [8 * PAGE_SIZE]
    if 2 in sizes:
        wanted += [_within(sizes[2]), 2 * sizes[2]]
    if 3 in sizes:
        wanted.append(min(sizes[3] // max(1, card.get("n_cpus") or 1), _LARGEST_BYTES))
    return tuple(Victim(kind, n_bytes) for kind in VICTIMS for n_bytes in sorted(set(wanted)))


def _within(cache_bytes: int) -> int:
    return cache_bytes * 3 // 4 // PAGE_SIZE * PAGE_SIZE


def touches_in(replayer: Replayer, victim: Victim, gap_ns: float) -> int:
    """Say how many lines a victim reads in a time, undisturbed: the median of a few tries.

    Parameters
    ----------
    replayer : Replayer
        Whose first design stands by.
    victim : Victim
        What works.
    gap_ns : float
        The time [ns].

    Returns
    -------
    int
        At least 1.
    """
    design, words = next(iter(replayer.designs.values())), victim.memory()
    took = np.zeros(1, np.int64)
    n_touches = max(_CALIBRATED_TOUCHES, words.nbytes // LINE_BYTES)
    per_touch = []
    for _ in range(_N_CALIBRATED):
        start = perf_counter_ns()
        result = disturb_victim(
            design.tables,
            design.state,
            replayer.asked,
            words,
            victim.kind == "chase",
            n_touches,
            0,
            1,
            took,
            _ZERO,
        )
        tick_ns = (perf_counter_ns() - start) / max(1, int(result.whole))
        per_touch.append(int(took[0]) * tick_ns / n_touches)
    return max(1, round(gap_ns / max(0.01, float(np.median(per_touch)))))


def measure_victim(
    replayer: Replayer, victim: Victim, n_touches: int, phases: Phases, seed: int = 1
) -> dict[str, tuple[float, ...]]:
    """Time other work after each entry, design after design in turns.

    Parameters
    ----------
    replayer : Replayer
        Designs, and the stretch of a stream whose entries are looked up.
    victim : Victim
        What works.
    n_touches : int
        Lines that it reads after each entry.
    phases : Phases
        How the stretch is cut.
    seed : int
        Seed of the order of designs.

    Returns
    -------
    dict of str to tuple of float
        By design: time of the work after an entry, the mean of the middle half of each phase [ns].

    Raises
    ------
    P2mperfError
        When a design found something else than the guest's map has.

    Notes
    -----
    The TLB is not flushed: Xen makes a PV guest's user pages global, so that they stay in it when the kernel
    is entered. Work lasts ten to a hundred times as long as an entry's lookups, and is interrupted as much
    more often; a line more that it has to fetch makes the middle half longer as well as the rest.
    """
    words, chased = victim.memory(), victim.kind == "chase"
    names, elapsed_ns, whole = list(replayer.designs), 0, 0
    means: dict[str, list[float]] = {name: [] for name in names}
    orders = latin_orders(len(names), phases.n_phases, np.random.default_rng(seed))
    for first, order in zip(phases.starts(), orders, strict=False):
        for name in (names[at] for at in order):
            took = np.zeros(phases.phase_entries, np.int64)
            spent_ns, ticks = _phase(
                replayer, name, words, chased, n_touches, first, took, phases.lead_entries
            )
            elapsed_ns, whole = elapsed_ns + spent_ns, whole + ticks
            means[name].append(_midmean(took))
    tick_ns = elapsed_ns / max(1, whole)
    return {name: tuple(ticks * tick_ns for ticks in each) for name, each in means.items()}


def _midmean(took: NDArray[np.int64]) -> float:
    quarter = took.size // 4
    return float(np.sort(took)[quarter : took.size - quarter].mean())


def _phase(
    replayer: Replayer,
    name: str,
    words: Words,
    chased: bool,
    n_touches: int,
    first: int,
    took: NDArray[np.int64],
    n_lead: int,
) -> tuple[int, int]:
    design = replayer.designs[name]

    def one_pass(start: int, took: NDArray[np.int64]) -> Replayed:
        end = start + took.size
        result: Replayed = disturb_victim(
            design.tables, design.state, replayer.asked, words, chased, n_touches, start, end, took, _ZERO
        )
        replayer.check(name, start, end, result)
        return result

    with design.in_use():
        touch(design.stretches(), lined=False)
        return led_to(one_pass, first, took, n_lead)


def count_touched(replayer: Replayer) -> tuple[dict[str, float], dict[str, float]]:
    """Count what an entry reads of each design's tables, exactly: every load notes where it went.

    Parameters
    ----------
    replayer : Replayer
        Designs, and a stretch of a stream.

    Returns
    -------
    lines_per_entry, pages_per_entry : dict of str to float
        By design: means over the stretch's first thousand entries, each line and 4 KiB page of an entry once.
    """
    n_entries = min(_N_COUNTED, replayer.stream.n_entries)
    longest = int(np.diff(replayer.stream.starts[: n_entries + 1]).max(initial=0))
    lines, pages = {}, {}
    for name, design in replayer.designs.items():
        with design.in_use():
            probe = np.zeros(1 + 32 * longest, np.uint64)
            n_lines = n_pages = 0
            for number in range(n_entries):
                note_loads(design.tables, design.state, replayer.asked, number, probe)
                addresses = probe[1 : 1 + int(probe[0])]
                n_lines += np.unique(addresses // np.uint64(LINE_BYTES)).size
                n_pages += np.unique(addresses >> np.uint64(PAGE_SHIFT)).size
        lines[name], pages[name] = n_lines / n_entries, n_pages / n_entries
    return lines, pages
