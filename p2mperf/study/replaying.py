"""Replaying a recorded build in fresh processes, one at a time: what is whole is kept whatever comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace as changed
from typing import TYPE_CHECKING, Protocol

import numpy as np

from p2mperf.errors import NothingFitsError, P2mperfError
from p2mperf.guests.guest import Guest
from p2mperf.measure.interference import Victim, default_victims
from p2mperf.measure.replay import COLD, default_work_bytes
from p2mperf.measure.stretch import Floats, Phases, stretch, summarise
from p2mperf.progress import Progress
from p2mperf.results.fields import Record
from p2mperf.study.executors.base import Capacity, Place
from p2mperf.study.executors.local import LocalExecutor
from p2mperf.study.jobs import PROCESS_BYTES, PROCESS_MAPS
from p2mperf.study.replay_order import ReplayOrder, unpacked_times
from p2mperf.study.replay_plan import ReplayPlan
from p2mperf.study.specs import GuestSpec
from p2mperf.tables.m2p import PAGE_BYTES as M2P_PAGE_BYTES, predict_bytes
from p2mperf.units import format_size, readable_size
from p2mperf.workload.replays import (
    CONTROL,
    Interference,
    Replay,
    ReplayProcess,
    Replays,
    VictimProcess,
)
from p2mperf.workload.translation_stream import TranslationStream, check_stream

if TYPE_CHECKING:
    from p2mperf.designs.base import Design, Footprint

Keep = Callable[[Replays], object]
StreamMaker = Callable[[Guest, int], TranslationStream]  # of a seed

# Memory of a stretch and what is made of it, for each of its items: twice as text, then as numbers [bytes].
_ITEM_BYTES = 64
# How long a victim works after each entry, in quantiles of the time between recorded ones.
_GAPS = (0.5, 0.9)
_VICTIM_PHASE_ENTRIES = 1024


class ReplayExecutor(Protocol):
    """Where replays run: what `LocalExecutor` offers for them."""

    def place(self) -> Place:
        """Say which machine and which code it is."""

    def capacity(self) -> Capacity:
        """Say what the next process can have."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep other measurements away from the machine."""

    def do(self, task: Record, seed: int, need_bytes: int) -> Iterator[Record]:
        """Do one task in a process of its own, as `LocalExecutor.do`.

        Parameters
        ----------
        task : dict
            For `p2mperf.study.unit`.
        seed : int
            Of the process.
        need_bytes : int
            Memory that it takes at most [bytes].
        """


def run_replays(
    source: TranslationStream | StreamMaker,
    plan: ReplayPlan,
    progress: Progress | None = None,
    keep: Keep = lambda replays: None,
    executor: ReplayExecutor | None = None,
    recording: str = "",
) -> Replays:
    """Replay a stream.

    Parameters
    ----------
    source : TranslationStream or callable
        What to replay: one for all processes, or what makes one for a guest and a seed, so that recorded
        frames stand elsewhere in each process' guest.
    plan : ReplayPlan
        How.
    progress : Progress, optional
        Who is told how far it is.
    keep : callable
        Takes what is whole, each time that a process has come to its end.
    executor : ReplayExecutor, optional
        Where; default: here.
    recording : str
        Digest of the recording that the stream is of.

    Returns
    -------
    Replays

    Raises
    ------
    BadInputError
        When the source is none, or asks for frames that a guest does not have.
    NothingFitsError
        When no guest fits this machine.
    ResultsError
        When another measurement is at work on this machine.
    P2mperfError
        When a design cannot be built, or finds something else than the guest's map has.

    Notes
    -----
    Each process has a seed, which draws the layout of the machine and the order of designs; and each replays
    another part of the stream, at equal distances.
    """
    work = _Work(source, plan, progress or Progress(), keep, executor or LocalExecutor(), recording)
    return work.run()


@dataclass(frozen=True)
class _Part:
    """What one process replays: a stretch of the stream, where in the stream it begins, how it is cut."""

    spec: GuestSpec
    seed: int
    first: int
    stream: TranslationStream
    phases: Phases


@dataclass
class _Work:
    """A plan, where it runs, and what was found so far."""

    source: TranslationStream | StreamMaker
    plan: ReplayPlan
    progress: Progress
    keep: Keep
    executor: ReplayExecutor
    recording: str
    place: Place = field(init=False)
    work_bytes: int = 0
    touches_per_us: float = 0.0
    thp: bool = True
    processes: dict[tuple[str, str], list[ReplayProcess]] = field(default_factory=dict)
    phase_entries: dict[str, int] = field(default_factory=dict)
    interference: dict[tuple[str, int], Interference] = field(default_factory=dict)
    n_touches: dict[str, tuple[int, ...]] = field(default_factory=dict)
    told: set[tuple[str, str]] = field(default_factory=set)

    def run(self) -> Replays:
        self.place = self.executor.place()
        self.work_bytes = self.plan.work_bytes or default_work_bytes(self.place.card)
        guests = self._fitting()
        n_all = self.plan.n_processes * len(guests) * (1 + self.plan.interference)
        n_done = 0
        with self.executor.alone():
            for number in range(self.plan.n_processes):
                for spec in guests:
                    self.progress.advance(n_done, n_all, spec.name)
                    seed = self.plan.seed + number
                    part = self._part(spec, seed, number)
                    if self.plan.conditions:
                        self._replay(part)
                        n_done += 1
                        self.keep(self._found())
                    if self.plan.interference:
                        self.progress.advance(n_done, n_all, f"{spec.name}, interference")
                        self._disturb(part)
                        n_done += 1
                        self.keep(self._found())
            self.progress.advance(n_all, n_all, "")
        return self._found()

    def _fitting(self) -> list[GuestSpec]:
        """Name the guests that this machine has room for, and say which it has not."""
        capacity, fitting, least = self.executor.capacity(), [], 0
        for spec in self.plan.guests:
            need_bytes, need_maps = self._needs(spec, 0)
            if need_bytes <= capacity.memory_bytes and need_maps <= capacity.n_maps:
                fitting.append(spec)
                continue
            least = min(least or need_bytes, need_bytes)
            have = readable_size(capacity.memory_bytes)
            self.progress.say(
                f"{spec.name} is skipped: it needs {readable_size(need_bytes)} and {need_maps} mappings, and "
                f"{have} and {capacity.n_maps} are available"
            )
        if not fitting:
            raise NothingFitsError(
                f"no guest of this replay fits this machine: the smallest needs {readable_size(least)} and "
                f"{readable_size(capacity.memory_bytes)} are available; take one with --guest-memory"
            )
        return fitting

    def _needs(self, spec: GuestSpec, n_items: int) -> tuple[int, int]:
        """Memory [bytes] and mappings that a process takes at most."""
        guest = spec.build(self.plan.seed)
        footprints = [_footprint(kind, guest, self.plan.backing) for kind in self.plan.kinds()]
        there = [*footprints, footprints[0]] if not self.plan.alone else [max(footprints, key=_bytes_of)]
        n_bytes = sum(map(_bytes_of, there)) + predict_bytes(guest) + self.work_bytes + PROCESS_BYTES
        return n_bytes + n_items * _ITEM_BYTES, sum(one.n_vmas for one in there) + PROCESS_MAPS

    def _part(self, spec: GuestSpec, seed: int, number: int) -> _Part:
        """What a process replays."""
        guest = spec.build(seed)
        stream = self._stream(guest, seed)
        self.thp = stream.thp
        n_phases = self.plan.n_phases or len(self.plan.designs) + 1  # with the control: a Latin square
        phases = Phases.of(stream.n_entries, self.plan.phase_entries, n_phases)
        spare = stream.n_entries - phases.n_entries
        first = spare * number // max(1, self.plan.n_processes - 1) if self.plan.n_processes > 1 else 0
        return _Part(spec, seed, first, stretch(stream, first, first + phases.n_entries), phases)

    def _stream(self, guest: Guest, seed: int) -> TranslationStream:
        stream = self.source(guest, seed) if callable(self.source) else self.source
        check_stream(stream, guest.n_boot_pages)
        return stream

    def _order(self, part: _Part) -> ReplayOrder:
        return ReplayOrder(
            part.spec,
            part.seed,
            self.plan.designs,
            True,
            self.plan.backing,
            part.stream,
            part.phases,
            self.plan.conditions,
            self.work_bytes,
            self.touches_per_us,
        )

    def _do(self, order: ReplayOrder) -> Iterator[Record]:
        need_bytes, _ = self._needs(order.guest, order.stream.items.size)
        task = {"task": "replay", **order.to_json()}
        n_records = 0
        for record in self.executor.do(task, order.seed, need_bytes):
            if "touches_per_us" in record:
                self.touches_per_us = record["touches_per_us"]
            n_records += 1
            yield record
        if not n_records:
            raise P2mperfError("a process that should replay ended early, and said nothing")

    def _replay(self, part: _Part) -> None:
        order, spec = self._order(part), part.spec
        took: dict[str, dict[str, Floats]] = {condition: {} for condition in order.conditions}
        pages: dict[str, int] = {}
        for one, rename in self._apart(order):
            # Whatever the first process finds out, the others are told.
            for record in self._do(changed(one, touches_per_us=self.touches_per_us)):
                if record["record"] == "pages":
                    pages |= {rename.get(name, name): size for name, size in record["pages"].items()}
                    self._tell_pages(spec, record)
                if record["record"] == "took":
                    name = rename.get(record["design"], record["design"])
                    took[str(record["condition"])][str(name)] = unpacked_times(record["ns"])
        wanted = [*self.plan.designs, CONTROL]
        for condition, times in took.items():
            if set(times) != set(wanted):
                raise P2mperfError(f"a process that should replay {condition} ended early")
            in_order = {name: times[name] for name in wanted}
            classes, n_left_out = summarise(in_order, part.stream, part.phases)
            first = part.first + part.phases.lead_entries
            process = ReplayProcess(part.seed, first, n_left_out, classes, pages)
            self.processes.setdefault((spec.name, condition), []).append(process)
        self.phase_entries[spec.name] = order.phases.phase_entries

    def _tell_pages(self, spec: GuestSpec, record: Record) -> None:
        """Say once of each guest what does not stand on the pages that its system has."""
        wanted = {kind.name: kind.backing_of(self.plan.backing) for kind in self.plan.kinds()}
        sizes = {name: {one.direct_bytes, one.window_bytes} for name, one in wanted.items()}
        there = {"the m2p": record["m2p"], **record["pages"]}
        for name, want in {"the m2p": {M2P_PAGE_BYTES}, **sizes}.items():
            if (key := (spec.name, name)) in self.told or name not in there:
                continue
            self.told.add(key)
            if len(want) == 1 and there[name] not in want:
                got = f"{format_size(there[name])} pages" if there[name] else "pages of both sizes"
                self.progress.say(f"{name} of {spec.name} is on {got}, not on {format_size(want.pop())}")

    def _apart(self, order: ReplayOrder) -> Iterator[tuple[ReplayOrder, dict[str, str]]]:
        """An order as it is, or one for each design and for the control, whichever comes first changing."""
        if not self.plan.alone:
            yield order, {}
            return
        runs: list[tuple[str, dict[str, str]]] = [(name, {}) for name in order.designs]
        runs.append((order.designs[0], {order.designs[0]: CONTROL}))
        turn = order.seed % len(runs)
        for name, rename in runs[turn:] + runs[:turn]:
            yield changed(order, designs=(name,), control=False), rename

    def _disturb(self, part: _Part) -> None:
        spec, seed = part.spec, part.seed
        victims = self.plan.victims or default_victims(self.place.card)
        gaps = tuple(float(np.quantile(part.stream.gaps_ns, share)) for share in _GAPS)
        phase_entries = min(self.plan.phase_entries, _VICTIM_PHASE_ENTRIES)
        phases = Phases.of(part.stream.n_entries, phase_entries, 2 * part.phases.n_phases)
        order = changed(
            self._order(part),
            conditions=(),
            phases=phases,
            victims=victims,
            gaps_ns=gaps,
            n_touches=self.n_touches.get(spec.name, ()),
        )
        touched: Record = {}
        n_touches = order.n_touches
        pairs: list[Victim] = [victim for victim in victims for _ in gaps]
        for record in self._do(order):
            if record["record"] == "calibrated" and "n_touches" in record:
                n_touches = self.n_touches[spec.name] = tuple(record["n_touches"])
            elif record["record"] == "touched":
                touched = record
            elif record["record"] == "victim":
                number = record["number"]
                process = VictimProcess(
                    seed, {name: tuple(each) for name, each in record["ns_per_entry"].items()}
                )
                before = self.interference.get((spec.name, number))
                self.interference[spec.name, number] = Interference(
                    pairs[number].kind,
                    spec.name,
                    pairs[number].work_bytes,
                    n_touches[number],
                    phases.phase_entries,
                    self.plan.designs,
                    touched["lines"],
                    touched["pages"],
                    (*(before.processes if before else ()), process),
                )

    def _found(self) -> Replays:
        """All that is whole so far."""
        order = {name: at for at, name in enumerate(self.plan.conditions)}
        keys = sorted(self.processes, key=lambda key: order[key[1]])
        return Replays(
            self.recording,
            self.thp,
            self.place.code,
            tuple(self._of(guest, condition) for guest, condition in keys),
            self.place.card,
            tuple(self.interference[key] for key in sorted(self.interference)),
        )

    def _of(self, guest: str, condition: str) -> Replay:
        is_cold = condition == COLD
        return Replay(
            condition,
            guest,
            self.phase_entries[guest],
            self.plan.designs,
            tuple(self.processes[guest, condition]),
            self.work_bytes if is_cold else 0,
            self.touches_per_us if is_cold else 0.0,
            self.plan.alone,
        )


def _footprint(kind: type[Design], guest: Guest, backing: str) -> Footprint:
    return kind.predict_footprint(guest, backing=kind.backing_of(backing))


def _bytes_of(footprint: Footprint) -> int:
    return footprint.memory_bytes + footprint.page_table_bytes
