"""Writes of HAP entries in place, leaves of each size: numba's loop, and gcc's over the same tables."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter_ns
from typing import Any, cast

import numpy as np

from p2mperf import api
from p2mperf.analysis.statistics import process_ratio
from p2mperf.designs.hap.change_kernels import set_ranges
from p2mperf.designs.hap.linear import HapLinear
from p2mperf.designs.hap.walk import HapWalk
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.guests.hap import P2mType
from p2mperf.measure.rounds import latin_orders

N_WRITES = 1 << 16
_FLAGS = np.uint64(P2mType.RAM_RW.flags)
_N_COUNTS = 4  # of the twin


def work(library: str, size: str, designs: Sequence[str], seed: int, n_rounds: int) -> dict[str, Any]:
    """Compare both loops over one guest, in this process.

    Parameters
    ----------
    library : str
        Path of the compiled twins.
    size : str
        The guest's.
    designs : sequence of str
        Whose tables; leaves of the largest size that each has are set to what they are.
    seed : int
        Seed of guest, writes and order.
    n_rounds : int
        Paired rounds.

    Returns
    -------
    dict
        By "<design> writes <sequential or random>": ``log_ratio`` (natural log of numba / gcc), ``numba_ns``
        and ``gcc_ns`` for one write (medians).
    """
    guest = Guest.plain(size, "hap64", seed=seed)
    found = {}
    for name in designs:
        with api.build(name, guest) as built:
            p2m = cast(HapWalk | HapLinear, built)  # those of other leaves have the same doors
            order = max(p2m.leaves)
            p2m.set_entry([0], p2m.lookup([0]) >> np.uint64(12), order)  # mappings are counted then
            firsts = np.arange(0, guest.n_boot_pages, 1 << order, dtype=np.uint64)
            random = np.random.default_rng(seed).choice(firsts, N_WRITES)
            for how, gfns in (("sequential", np.resize(firsts, N_WRITES)), ("random", random)):
                times = _times(_loops(library, p2m, gfns, order), n_rounds, seed)
                assert p2m.leaves == {order: firsts.size}
                found[f"{name} writes {how}"] = {
                    "log_ratio": process_ratio(times["numba"], times["gcc"]),
                    "numba_ns": median(times["numba"]),
                    "gcc_ns": median(times["gcc"]),
                }
    return found


def _loops(library: str, p2m: Any, gfns: Words, order: int) -> dict[str, Callable[[], int | np.uint64]]:
    store, views, sizes = p2m.table.store, p2m.table.views, p2m.table.sizes
    mfns, orders = p2m.lookup(gfns) >> np.uint64(12), np.full(gfns.size, order, np.uint64)
    done = np.zeros(gfns.size, np.bool_)
    words = (store.root, store.base, store.bits, store.top, store.largest, store.is_wide)
    tables, counts = np.array([int(word) for word in words], np.uint64), np.zeros(_N_COUNTS, np.uint64)
    kept = (tables, counts, gfns, mfns, orders, done)
    at = [ctypes.c_void_p(array.ctypes.data) for array in kept]
    numbers = [ctypes.c_uint64(int(number)) for number in (sizes, _FLAGS, gfns.size)]
    twin = ctypes.CDLL(library).set_ranges
    twin.restype = ctypes.c_int64

    def gcc(_kept: Any = kept) -> int:
        return int(twin(*at[:2], numbers[0], *at[2:5], *numbers[1:], at[5]))

    return {"numba": lambda: set_ranges(store, views, sizes, gfns, mfns, orders, _FLAGS, 0, done), "gcc": gcc}


def _times(
    loops: dict[str, Callable[[], int | np.uint64]], n_rounds: int, seed: int
) -> dict[str, list[float]]:
    """Time each loop in turns; for one write [ns]."""
    names = list(loops)
    times: dict[str, list[float]] = {name: [] for name in names}
    for order in latin_orders(len(names), n_rounds + 2, np.random.default_rng(seed)):
        for name in (names[i] for i in order):
            start = perf_counter_ns()
            n_done = loops[name]()
            times[name].append((perf_counter_ns() - start) / N_WRITES)
            assert n_done == N_WRITES
    return {name: found[2:] for name, found in times.items()}
