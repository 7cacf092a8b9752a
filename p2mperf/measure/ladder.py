"""The latency ladder: what a dependent load costs against how much memory it roams, measured in a second.

From it come the places where a size sweep must have points on both sides. Cache capacities are read from the
machine card; how far translations reach is told by no file and is therefore found as steps of the ladder.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.geometry import Words
from p2mperf.host.card import Card
from p2mperf.host.memory import available_memory_bytes
from p2mperf.memory import smaps, vm
from p2mperf.units import GIB, HUGE_SIZE, KIB, PAGE_SIZE, round_up

Series = tuple[float | None, ...]

RUNGS_PER_OCTAVE = 4
SMALLEST_BYTES = 16 * KIB
LINE_BYTES = 64
_LINES_PER_PAGE = PAGE_SIZE // LINE_BYTES
_WORD_BYTES = 8

# A pass is long enough that the 0.3 us of a call vanish, and short enough for many rungs a second.
_MIN_STEPS, _MAX_STEPS = 16_384, 32_768
_N_PASSES = 5
_WARM_UP_SECONDS = 0.1
_TRANSLATION_SHARE = 0.25

# A step is a rise, within one octave, of a quarter of what a load costs below it.
_STEP_FRACTION = 0.25
_N_SMOOTHED = 5


@dataclass(frozen=True)
class Ladder:
    """Cost of one dependent load while it roams buffers of growing size.

    Attributes
    ----------
    sizes_bytes : tuple of int
        Buffer size of each rung [bytes].
    line_ns : tuple of float or None
        Random cycle over all cache lines of the buffer [ns]; None where time gave out.
    page_ns, huge_ns : tuple of float or None
        Random cycle over one line of every 4 KiB page of the buffer, on 4 KiB and on 2 MiB pages [ns].
    line_page_bytes : int
        Page size that `line_ns` was measured on; 0 if mixed.
    """

    sizes_bytes: tuple[int, ...]
    line_ns: Series
    page_ns: Series
    huge_ns: Series
    line_page_bytes: int

    def to_dict(self) -> dict[str, object]:
        """Give plain, JSON-ready data."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class Knee:
    """A size at which the cost of a load changes.

    Attributes
    ----------
    name : str
        ``L1d``, ``L2`` .. for caches; ``DTLB`` and ``STLB`` for translations of 4 KiB pages, followed by
        ``2M`` for those of 2 MiB pages; ``TLB`` where only one of the two was found.
    bytes : int
        Memory roamed [bytes].
    source : str
        ``system`` when the machine card says it, ``measured`` when the ladder shows it.
    """

    name: str
    bytes: int
    source: str

    def to_dict(self) -> dict[str, object]:
        """Give plain, JSON-ready data."""
        return asdict(self)


def measure_ladder(max_bytes: int = GIB, seconds: float = 1.5, seed: int = 0) -> Ladder:
    """Measure the ladder of this machine, upwards until size or time is used up.

    Parameters
    ----------
    max_bytes : int
        Largest buffer, by default the list of a 512 GiB guest with entries of 8 bytes; a quarter of the
        free memory at most is taken [bytes].
    seconds : float
        Time to spend, without compiling [s].
    seed : int
        Seed of the cycles.

    Returns
    -------
    Ladder
        Each cost the fastest of five passes, which is what the hardware can do.

    Raises
    ------
    DoesNotFitError
        When the kernel refuses the memory.
    """
    sizes = rung_sizes(min(max_bytes, available_memory_bytes() // 4))
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] | np.uint64(1)
    _warm_up(state)
    begin = time.perf_counter()
    share = seconds * _TRANSLATION_SHARE
    page_ns, _ = _measure(sizes, PAGE_SIZE, PAGE_SIZE, begin + share, state)
    huge_ns, backing = _measure(sizes, PAGE_SIZE, HUGE_SIZE, begin + 2 * share, state)
    if backing != HUGE_SIZE:
        huge_ns = (None,) * len(sizes)
    line_ns, backing = _measure(sizes, LINE_BYTES, HUGE_SIZE, begin + seconds, state)
    return Ladder(tuple(sizes), line_ns, page_ns, huge_ns, backing)


def rung_sizes(max_bytes: int) -> list[int]:
    """Sizes of whole pages, four to the octave, from 16 KiB to `max_bytes`.

    Examples
    --------
    >>> [size // 1024 for size in rung_sizes(64 * 1024)]
    [16, 20, 24, 28, 32, 40, 44, 52, 64]
    """
    n_rungs = int(np.log2(max(max_bytes, SMALLEST_BYTES) / SMALLEST_BYTES) * RUNGS_PER_OCTAVE) + 1
    wanted = SMALLEST_BYTES * 2 ** (np.arange(n_rungs) / RUNGS_PER_OCTAVE)
    return [int(pages) * PAGE_SIZE for pages in np.unique(np.round(wanted / PAGE_SIZE))]


def knees(ladder: Ladder, card: Card) -> list[Knee]:
    """Find the sizes at which the cost of a load changes on this machine.

    Parameters
    ----------
    ladder : Ladder
        From `measure_ladder`.
    card : dict
        From `machine_card`; of the same machine.

    Returns
    -------
    list of Knee
        By size. Caches that the card does not describe and steps that the ladder does not show are left out.

    Notes
    -----
    What a translation adds is the cost of roaming one line a page less the cost of roaming as many lines side
    by side. It is looked at only as far as those lines fill half of the second-level cache: beyond, lines and
    page-table entries push each other out, which is no limit of a TLB. A host that backs a guest with 4 KiB
    pages makes the guest's 2 MiB pages reach no further than small ones; such a knee is listed once.
    """
    small, huge = (
        _translation_knees(ladder, cost_ns, card, suffix)
        for cost_ns, suffix in ((ladder.page_ns, ""), (ladder.huge_ns, " 2M"))
    )
    own = [knee for knee in huge if all(not knee.bytes / 2 < other.bytes < knee.bytes * 2 for other in small)]
    return sorted(_cache_knees(card) + small + own, key=lambda knee: knee.bytes)


def find_steps(sizes_bytes: NDArray[np.float64], cost_ns: NDArray[np.float64], floor_ns: float) -> list[int]:
    """Find the sizes after which a cost steps up.

    Parameters
    ----------
    sizes_bytes : ndarray of float64, shape (n_rungs,)
        Sizes, `RUNGS_PER_OCTAVE` to the octave [bytes].
    cost_ns : ndarray of float64, shape (n_rungs,)
        What the steps are sought in [ns].
    floor_ns : float
        Cost of a load that `cost_ns` comes on top of, which says what a small rise is [ns].

    Returns
    -------
    list of int
        For each step the last size before it, in ascending order [bytes].

    Notes
    -----
    A running median of five removes outliers of up to two rungs and keeps edges. Neighbouring rungs from
    which the cost rises by more than a quarter within the next octave belong to one step; the step begins
    where a quarter of its height is passed.
    """
    n_windows = cost_ns.size - RUNGS_PER_OCTAVE
    if n_windows < 1:
        return []
    smooth = _running_median(cost_ns)
    rise = smooth[RUNGS_PER_OCTAVE:] - smooth[:n_windows]
    steep = np.concatenate([[False], rise > _STEP_FRACTION * (floor_ns + smooth[:n_windows]), [False]])
    edges = np.flatnonzero(np.diff(steep.astype(np.int8)))
    steps = []
    for begin, end in edges.reshape(-1, 2).tolist():
        top = end - 1 + RUNGS_PER_OCTAVE
        passed = smooth[begin : top + 1] > smooth[begin] + _STEP_FRACTION * (smooth[top] - smooth[begin])
        steps.append(int(sizes_bytes[begin + int(np.argmax(passed)) - 1]))
    return steps


def _cache_knees(card: Card) -> list[Knee]:
    return [
        Knee("L1d" if cache["level"] == 1 else f"L{cache['level']}", cache["size_bytes"], "system")
        for cache in card["caches"]
        if cache["type"] != "Instruction"
    ]


def _translation_knees(ladder: Ladder, cost_ns: Series, card: Card, suffix: str) -> list[Knee]:
    reaches = find_steps(*_translation_cost(ladder, cost_ns, card), _first(ladder.line_ns))
    names = ("DTLB", "STLB") if len(reaches) > 1 else ("TLB",)
    return [Knee(name + suffix, reach, "measured") for name, reach in zip(names, reaches, strict=False)]


def _translation_cost(
    ladder: Ladder, cost_ns: Series, card: Card
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sizes and added cost of those rungs whose lines fit half of the second-level cache."""
    sizes, cost, line = (
        np.array(series, np.float64) for series in (ladder.sizes_bytes, cost_ns, ladder.line_ns)
    )
    l2_bytes = next((cache["size_bytes"] for cache in card["caches"] if cache["level"] == 2), np.inf)
    lines_bytes = sizes / _LINES_PER_PAGE
    known = np.isfinite(line)
    usable = np.isfinite(cost) & (lines_bytes <= l2_bytes / 2) & known.any()
    baseline = np.interp(np.log(lines_bytes), np.log(sizes[known]), line[known]) if known.any() else line
    return sizes[usable], (cost - baseline)[usable]


def _running_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    half = _N_SMOOTHED // 2
    padded = np.pad(values, half, constant_values=np.nan)
    return np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, _N_SMOOTHED), axis=1)


def _first(series: Series) -> float:
    return next((value for value in series if value is not None), 0.0)


def _warm_up(state: np.uint64) -> None:
    """Compile, then chase until the clock has had time to rise."""
    from p2mperf.measure.ladder_kernels import chase, grow_cycle

    words = np.zeros(PAGE_SIZE // _WORD_BYTES, np.uint64)
    grow_cycle(words, *_geometry(LINE_BYTES), np.uint64(0), np.uint64(_LINES_PER_PAGE), state)
    chase(words, np.uint64(0), 1)
    end = time.perf_counter() + _WARM_UP_SECONDS
    while time.perf_counter() < end:
        chase(words, np.uint64(0), _MIN_STEPS)


def _measure(
    sizes: list[int], slot_bytes: int, page_bytes: int, deadline: float, state: np.uint64
) -> tuple[Series, int]:
    """Cost at each size until the deadline, then None; and the page size that really was there."""
    from p2mperf.measure.ladder_kernels import grow_cycle

    costs: list[float | None] = [None] * len(sizes)
    n_slots, position = np.uint64(0), np.uint64(0)
    with _buffer(sizes[-1], page_bytes) as (address, words):
        for rung, size in enumerate(sizes):
            if time.perf_counter() > deadline:
                break
            n_wanted = np.uint64(size // slot_bytes)
            state = np.uint64(grow_cycle(words, *_geometry(slot_bytes), n_slots, n_wanted, state))
            n_slots = n_wanted
            costs[rung], position = _fastest_pass(words, position, int(n_slots))
        return tuple(costs), smaps.view_page_bytes(address, round_up(sizes[-1], HUGE_SIZE))


def _fastest_pass(words: Words, position: np.uint64, n_slots: int) -> tuple[float, np.uint64]:
    """Cost of a step [ns], and where the chase got to; passes continue, so that none repeats a slice."""
    from p2mperf.measure.ladder_kernels import chase

    n_steps = min(max(n_slots, _MIN_STEPS), _MAX_STEPS)
    position = np.uint64(chase(words, position, n_steps))
    elapsed_ns = []
    for _ in range(_N_PASSES):
        begin = time.perf_counter_ns()
        position = np.uint64(chase(words, position, n_steps))
        elapsed_ns.append(time.perf_counter_ns() - begin)
    return min(elapsed_ns) / n_steps, position


def _geometry(slot_bytes: int) -> tuple[np.uint64, np.uint64]:
    line_mask = _LINES_PER_PAGE - 1 if slot_bytes == PAGE_SIZE else 0
    return np.uint64(slot_bytes // _WORD_BYTES), np.uint64(line_mask)


@contextmanager
def _buffer(n_bytes: int, page_bytes: int) -> Iterator[tuple[int, Words]]:
    """Anonymous memory that is taken as it is touched, on the wanted pages if the kernel gives them."""
    n_bytes = round_up(n_bytes, HUGE_SIZE)
    address = vm.reserve_aligned(n_bytes)
    try:
        vm.map_pages(address, n_bytes, vm.READ_WRITE)
        vm.advise(address, n_bytes, vm.MADV_HUGEPAGE if page_bytes == HUGE_SIZE else vm.MADV_NOHUGEPAGE)
        buffer: Any = (ctypes.c_char * n_bytes).from_address(address)
        yield address, np.frombuffer(buffer, np.uint64)
    finally:
        vm.unmap(address, n_bytes)
