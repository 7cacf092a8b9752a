"""The process of a replay: builds designs once, and replays one stretch of a stream under all conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as changed

from p2mperf.measure.interference import count_touched, measure_victim, touches_in
from p2mperf.measure.replay import COLD, Replayer, page_sizes
from p2mperf.measure.stretch import Phases, stretch
from p2mperf.results.fields import Record
from p2mperf.study.rehearsal import rehearsal_guest
from p2mperf.study.replay_order import ReplayOrder, packed_times
from p2mperf.units import PAGE_SIZE

_REHEARSED = 2  # entries
_LEAST_WORK = 8 * PAGE_SIZE

Emit = Callable[[Record], None]


def run_replay(order: ReplayOrder, emit: Emit) -> int:
    """Build an order's designs, and replay.

    Parameters
    ----------
    order : ReplayOrder
        What to do.
    emit : callable
        Takes the records: ``pages`` (page size of each design as ``pages``, and that of the ``m2p``),
        ``calibrated`` where that was asked for (``touches_per_us``, ``n_touches``), then ``took``
        (``condition``, ``design``, ``ns`` as `packed_times` writes them), and of victims ``touched``
        (``lines``, ``pages``) and ``victim`` (``number``, ``ns_per_entry``).

    Returns
    -------
    int
        0.
    """
    guest = order.guest.build(order.seed)
    _rehearse(order)
    with Replayer(guest, order.designs, order.stream, order.backing, order.control) as replayer:
        emit({"record": "pages", "pages": page_sizes(replayer.designs), "m2p": replayer.m2p_page_bytes})
        rate = order.touches_per_us
        if COLD in order.conditions and not rate:
            rate = replayer.calibrate(order.work_bytes)
            emit({"record": "calibrated", "touches_per_us": rate})
        for condition in order.conditions:
            took = replayer.run(condition, order.phases, order.work_bytes, rate, order.seed)
            for name, ns in took.items():
                emit({"record": "took", "condition": condition, "design": name, "ns": packed_times(ns)})
        if order.victims:
            _disturb(order, replayer, emit)
    return 0


def _disturb(order: ReplayOrder, replayer: Replayer, emit: Emit) -> None:
    lines, pages = count_touched(replayer)
    emit({"record": "touched", "lines": lines, "pages": pages})
    pairs = [(victim, gap_ns) for victim in order.victims for gap_ns in order.gaps_ns]
    n_touches = order.n_touches
    if not n_touches:
        n_touches = tuple(touches_in(replayer, victim, gap_ns) for victim, gap_ns in pairs)
        emit({"record": "calibrated", "n_touches": n_touches})
    for number, (victim, _) in enumerate(pairs):
        found = measure_victim(replayer, victim, n_touches[number], order.phases, order.seed + number)
        emit({"record": "victim", "number": number, "ns_per_entry": found})


def _rehearse(order: ReplayOrder) -> None:
    """Compiling, or loading what was compiled, is no part of what is timed: try all on a small guest."""
    small = rehearsal_guest(order.guest.build(order.seed))
    few = stretch(order.stream, 0, min(_REHEARSED, order.stream.n_entries))
    mask = (1 << 31) | (small.n_boot_pages - 1)  # flags, and frames that it has
    few = changed(few, items=few.items & few.items.dtype.type(mask))
    phases = Phases(0, 1, few.n_entries)
    with Replayer(small, order.designs, few, order.backing, order.control) as replayer:
        for condition in order.conditions:
            replayer.run(condition, phases, max(order.work_bytes, _LEAST_WORK), 1.0)
        if COLD in order.conditions and not order.touches_per_us:
            replayer.calibrate(order.work_bytes)
        for victim in order.victims[:1]:
            measure_victim(replayer, victim, 1, phases)
            touches_in(replayer, victim, 1.0)
            count_touched(replayer)
