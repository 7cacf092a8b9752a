"""ARM designs that share their tables or their window, and the judges of each: compared step by step.

A scene begins with one design. Others come and go beside it: like one that is there, over the same tables, or
another domain in the same window. Each has a tracer of its own.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pytest
from design_names import ArmName
from naive_arm import FIRST_SLOT, INVALIDATIONS, WRITE, Domain, Stage2, Xen

import p2mperf
from p2mperf.errors import BadInputError, ClosedError
from p2mperf.guests.guest import Guest
from p2mperf.migration.tracing import Tracer, frames_of

GIB = 1 << 30
DESIGNS: tuple[ArmName, ...] = ("arm-walk", "arm-walk-thrashing", "arm-walk-direct", "arm-vlpt")
MOST = 6
LAYOUTS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"run_frames": 1},
    {"n_regions": 3},
    {"domid": 5},
    {"run_frames": 2, "domid": 63},
)


@cache
def guest(name: str, seed: int) -> Guest:
    """A small guest: plain, with its RAM across an edge of GiBs, in two banks, or at the window's end."""
    if name == "banks":
        rows = [("1G", "1030M", "ram"), ("3G", "3083M", "ram")]
        return Guest.from_e820(rows, "17M", geometry="lpae", seed=seed)
    base = {"plain": 2 * GIB, "edge": 3 * GIB - (4 << 20), "end": 64 * GIB - (8 << 20)}[name]
    return Guest.plain("8M", geometry="lpae", base=base, seed=seed)


@cache
def mfns_of(name: str, seed: int) -> dict[int, int]:
    """The frames that the guest's machine gave it; which they are is the machine's business."""
    rows = {
        "plain": [(2 << 18, 2048)],
        "edge": [((3 << 18) - 1024, 2048)],
        "banks": [(1 << 18, 1536), (3 << 18, 2816)],
        "end": [((64 << 18) - 2048, 2048)],
    }[name]
    gfns = [gfn for first, n in rows for gfn in range(first, first + n)]
    return dict(zip(gfns, (guest(name, seed).entries(np.array(gfns)) >> np.uint64(12)).tolist(), strict=True))


@dataclass(eq=False)
class Way:
    """One design, with what it stands on and what its judges say of it."""

    p2m: Any
    stage2: Stage2
    source: Way | None = None  # whose tables
    host: Way | None = None  # whose window
    domain: Domain | None = None
    xen: Xen | None = None
    dirty: set[int] = field(default_factory=set)
    is_tracing: bool = False
    was_closed: bool = False

    def __post_init__(self) -> None:
        self.tracer = Tracer(self.p2m)

    @property
    def is_open(self) -> bool:
        stands_on = [way for way in (self.source, self.host) if way is not None]
        return not self.was_closed and all(not way.was_closed for way in stands_on)

    @property
    def finds_nothing(self) -> bool:
        return self.domain is not None and not self.domain.is_prepared

    def passes_door(self) -> None:
        """Whatever is asked of a domain, its own tables are shown first."""
        if self.domain is not None and self.xen is not None:
            self.xen.switch_to(self.domain)


class Scene:
    """Designs that share something.

    Parameters
    ----------
    design : str
        The first of them, over tables of its own.
    random : Random
        Says which guest, and how its tables are laid out.
    reached : Counter
        Told what came about, by name.
    """

    def __init__(self, design: str, random: Random, reached: Counter[str]) -> None:
        self.reached = reached
        self.name, self.seed = random.choice(("plain", "edge", "banks", "end")), random.randrange(4)
        self.ram = list(mfns_of(self.name, self.seed))
        layout = dict(random.choice(LAYOUTS))
        p2m = p2mperf.build(design, guest(self.name, self.seed), **layout)
        self.ways = [self.way(p2m, Stage2(mfns_of(self.name, self.seed)), domid=layout.get("domid", 0))]

    def way(
        self, p2m: Any, stage2: Stage2, domid: int, source: Way | None = None, host: Way | None = None
    ) -> Way:
        made = Way(p2m, stage2, source, host)
        if p2m.name == "arm-vlpt":
            made.domain, made.xen = Domain(stage2, domid), (host and host.xen) or Xen()
            made.xen.prepare(made.domain)
        return made

    # ---- who is there ----

    def any_open(self, random: Random) -> Way:
        return random.choice([way for way in self.ways if way.is_open])

    def add_like(self, random: Random) -> None:
        other = self.any_open(random)
        if len(self.ways) >= MOST:
            return self.leave(random)
        design = random.choice(DESIGNS)
        p2m = p2mperf.build(design, other.p2m.guest, like=other.p2m)
        source = other.source or other
        self.ways.append(self.way(p2m, other.stage2, p2m.table.domid, source))
        self.reached[f"{design} like {other.p2m.name}"] += 1
        return None

    def add_domain(self, random: Random) -> None:
        """Another domain in a window: of the same map and another machine, or as `neighbour` makes it."""
        windows = [way for way in self.ways if way.is_open and way.xen is not None]
        if not windows or len(self.ways) >= MOST:
            return
        beside = random.choice(windows)
        taken = beside.p2m.window.domids
        if random.random() < 0.3:
            p2m, seed = beside.p2m.neighbour(), None
        else:
            seed = random.randrange(4)
            domid = random.choice([number for number in (*range(4), 63) if number not in taken] or [40])
            shared = {"window": beside.p2m.window, "domid": domid}
            p2m = p2mperf.build("arm-vlpt", guest(self.name, seed), **shared)
        stage2 = Stage2(beside.stage2.mfns if seed is None else mfns_of(self.name, seed))
        self.ways.append(self.way(p2m, stage2, p2m.table.domid, host=beside.host or beside))
        self.reached["domain in the same window"] += 1

    def leave(self, random: Random) -> None:
        """One is closed; who stands on it answers nothing from then on, and is closed as well."""
        gone = {random.choice(self.ways)}
        while more := {way for way in self.ways if {way.source, way.host} & gone} - gone:
            gone |= more
        if len(gone) == len(self.ways):
            return
        for way in sorted(gone, key=self.ways.index):
            if not way.is_open:
                for ask in (lambda way=way: way.p2m.lookup([0]), way.p2m.audit, way.tracer.start):
                    with pytest.raises(ClosedError):
                        ask()
                self.reached["closed with what it stood on"] += 1
            if way.domain is not None and way.xen is not None:
                way.xen.cleanup(way.domain)
            way.p2m.close()
            way.was_closed = True
        self.ways = [way for way in self.ways if way not in gone]
        self.reached["closed"] += 1

    def close(self, random: Random) -> None:
        random.shuffle(self.ways)
        for way in self.ways:
            way.p2m.close()

    # ---- what is asked ----

    def frame(self, random: Random, in_ram: float = 0.7) -> int:
        first, end = self.ram[0], self.ram[-1] + 1
        if random.random() < in_ram:
            return random.choice((first, end - 1, first + 511, random.choice(self.ram)))
        edges = (0, 511, first - 1, end, end + 511, first >> 18 << 18)
        ends = (1 << 24, (1 << 28) - 1, 1 << 28, 2**63, 2**64 - 1)
        return random.choice((*edges, *ends, random.randrange(end + 5000)))

    def some_ram(self, random: Random) -> list[int]:
        return random.choices(self.ram, k=4)

    def expected(self, way: Way, gfn: int) -> int:
        return 0 if way.finds_nothing else way.stage2.entry(gfn)

    def look_up(self, random: Random) -> None:
        way = self.any_open(random)
        gfns = [self.frame(random) for _ in range(random.choice((1, 5, 200)))]
        found = way.p2m.lookup(np.array(gfns, np.uint64)).tolist()
        assert found == [self.expected(way, gfn) for gfn in gfns], way.p2m.name
        way.passes_door()

    def look_at_path(self, random: Random) -> None:
        way, gfn = self.any_open(random), self.frame(random)
        path = way.p2m.lookup_path(gfn)
        assert path.entry == self.expected(way, gfn), way.p2m.name
        if way.domain is None:
            levels = [step.level for step in path.steps if step.level != "map_slots"]
            assert levels == ["root", "second", "third"][: way.stage2.n_levels(gfn)]
            assert way.p2m.events(gfn).get("entry_load", 0) == way.stage2.n_levels(gfn)
        way.passes_door()

    def start(self, random: Random) -> None:
        way = self.any_open(random)
        way.tracer.start()
        way.stage2.protect()
        way.dirty, way.is_tracing = set(), True
        self.reached["protected"] += 1

    def stop(self, random: Random) -> None:
        way = self.any_open(random)
        way.tracer.stop()
        way.stage2.unprotect()
        way.is_tracing = False
        self.reached["unprotected"] += 1

    def write(self, random: Random) -> None:
        way = self.any_open(random)
        gfns = [gfn for _ in range(random.choice((1, 3, 60))) for gfn in self.some_ram(random)]
        if way.finds_nothing:
            with pytest.raises(BadInputError, match="prepare it again"):
                way.tracer.write(gfns)
            self.reached["write without a window"] += 1
            return
        n_faults = way.stage2.write(gfns, way.dirty)
        assert way.tracer.write(gfns) == n_faults, way.p2m.name
        way.passes_door()
        self.reached["faults"] += n_faults

    def write_outside(self, random: Random) -> None:
        way, gfn = self.any_open(random), self.frame(random, in_ram=0)
        if gfn in way.stage2.mfns:
            return
        with pytest.raises(BadInputError, match="outside the RAM"):
            way.tracer.write(np.array([self.ram[0], gfn], np.uint64))
        self.reached["write outside RAM"] += 1

    def take_bitmap(self, random: Random) -> None:
        way = self.any_open(random)
        assert frames_of(way.tracer.peek(), way.tracer.first).tolist() == sorted(way.dirty)
        if random.random() < 0.6:
            assert frames_of(way.tracer.clean(), way.tracer.first).tolist() == sorted(way.dirty)
            way.dirty = set()
            if way.is_tracing:
                way.stage2.protect()
            self.reached["cleaned"] += 1

    def change_rights(self, random: Random) -> None:
        """A page is made read-only by other means, or writable, in the memory that all ways read."""
        way, gfn = self.any_open(random), self.some_ram(random)[0]
        if way.finds_nothing or gfn in way.stage2.protected:
            return
        step = next(step for step in way.p2m.lookup_path(gfn).steps if step.level == "third")
        np.frombuffer(memoryview((ctypes.c_char * 8).from_address(step.address)), np.uint64)[0] ^= np.uint64(
            WRITE
        )
        way.stage2.flip_write(gfn)
        way.passes_door()
        self.reached["made read-only or writable"] += 1

    def audit(self, random: Random) -> None:
        way = self.any_open(random)
        way.p2m.audit()
        way.passes_door()

    # ---- the window ----

    def switch(self, random: Random) -> None:
        """A context switch; or a domain's window is cleaned up, and prepared again."""
        ways = [way for way in self.ways if way.is_open and way.xen is not None]
        if not ways:
            return
        way = random.choice(ways)
        assert way.xen is not None
        assert way.domain is not None
        how = random.choice(("restore", "restore", "switch_to", "cleanup", "prepare"))
        if how == "prepare" and way.xen.is_taken(way.domain):
            with pytest.raises(BadInputError, match="shares this window"):
                way.p2m.prepare()
            self.reached["domid taken"] += 1
            return
        before = way.p2m.window.events.copy()
        getattr(way.p2m, how)()
        found = getattr(way.xen, how)(way.domain)
        if how == "restore":
            spent = way.p2m.window.events - before
            slots = len(way.domain.slots) if way.domain.is_prepared else 0
            told = {"dsb": 2, "isb": 1, "compare": slots, "entry_store": found, "tlbi": found * INVALIDATIONS}
            assert dict(spent) == {name: n for name, n in told.items() if n}
            self.reached["slots rewritten"] += found
        self.reached[how] += 1

    def agree(self, random: Random) -> None:
        """What the windows show; and how some frames read, one after the other, in every way there is."""
        roots = {way.domain: way.p2m.root_words() for way in self.ways}
        for way in self.ways:
            if way.xen is not None:
                shown = {slot: int(roots[one][slot - FIRST_SLOT]) for slot, one in way.xen.shown.items()}
                second = way.p2m.window.second
                assert {int(slot): int(second[slot]) for slot in np.flatnonzero(second)} == shown
        gfns = [self.frame(random) for _ in range(4)]
        for way in random.sample(self.ways, len(self.ways)):
            found = way.p2m.lookup(np.array(gfns, np.uint64)).tolist()
            assert found == [self.expected(way, gfn) for gfn in gfns], way.p2m.name
            way.passes_door()


ARM_OPERATIONS = {
    "lookup": (6, Scene.look_up),
    "lookup_path": (3, Scene.look_at_path),
    "protect": (2, Scene.start),
    "unprotect": (1, Scene.stop),
    "fault": (5, Scene.write),
    "fault outside RAM": (1, Scene.write_outside),
    "bitmap": (3, Scene.take_bitmap),
    "rights": (2, Scene.change_rights),
    "like": (2, Scene.add_like),
    "domain": (2, Scene.add_domain),
    "close": (1, Scene.leave),
    "switch": (5, Scene.switch),
    "audit": (1, Scene.audit),
}
