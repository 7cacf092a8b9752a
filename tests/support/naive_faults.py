"""Faults of a recording told apart once more, by one object each."""

from __future__ import annotations

from dataclasses import dataclass, field

from made_recordings import FETCH, PRESENT, WRITE

from p2mperf.workload.events import Event
from p2mperf.workload.recording import Recording
from p2mperf.workload.translation_stream import Entered

USER_END = 1 << 35
ENDS_A_FAULT = set(Event) - {
    event
    for event in Event
    if event in (Event.ALLOC, Event.MAP_PAGES, Event.CACHE_ADD, Event.SWITCH) or event >= Event.XEN_SET_PTE
}


@dataclass
class Fault:
    """One fault: its class, and what came with it."""

    at: int
    page: int
    code: int
    data: int = -1
    zeroed: bool = False
    window: int = -1
    missed: bool = False
    tables: list[int] = field(default_factory=list)

    @property
    def entered(self) -> Entered:
        if not 0 <= self.page < USER_END:
            return Entered.UNCLASSIFIED
        if self.code & WRITE:
            if self.data < 0:
                return Entered.REUSE if self.code & PRESENT else Entered.UNCLASSIFIED
            if self.code & PRESENT:
                return Entered.ZERO_PAGE_WRITE if self.zeroed else Entered.COPY_ON_WRITE
            return Entered.ANONYMOUS_WRITE if self.zeroed else Entered.PRIVATE_FILE_WRITE
        if self.code & PRESENT:
            return Entered.UNCLASSIFIED
        if self.window >= 0 or self.missed:
            return Entered.FILE_READ
        return Entered.UNCLASSIFIED if self.code & FETCH else Entered.ZERO_READ


def find_faults(recording: Recording) -> tuple[list[Fault], set[int]]:
    """Faults in their order, and events of page tables outside of them; numbers are those of events."""
    gfp = recording.about.gfp
    bit = {name.removeprefix("__"): value for name, value in gfp.items()}
    faults: list[Fault] = []
    current: dict[int, Fault] = {}
    lone: set[int] = set()
    for i, (pid, event, value, aux) in enumerate(rows_of(recording)):
        fault = current.get(pid)
        if event in (Event.FAULT_USER, Event.FAULT_KERNEL):
            current[pid] = Fault(i, value, aux)
            faults.append(current[pid])
        elif event == Event.ALLOC:
            flags, order = aux & 0xFFFF_FFFF, aux >> 32 & 0xFF
            of_table = bit["GFP_ZERO"] | bit["GFP_IO"] | bit["GFP_FS"] | bit.get("GFP_ACCOUNT", 0)
            of_data = bit["GFP_HIGHMEM"] | bit["GFP_MOVABLE"]
            if flags & of_table == of_table and not flags & of_data and order <= 1 and aux >> 40 == 0:
                if order == 1 or fault is None:
                    current.pop(pid, None)
                    lone.add(i)
                else:
                    fault.tables.append(i)
            elif fault is not None and flags & of_data == of_data and fault.data < 0:
                fault.data, fault.zeroed = i, bool(flags & bit["GFP_ZERO"])
        elif event == Event.MAP_PAGES and fault is not None and fault.window < 0:
            fault.window = i
        elif event == Event.CACHE_ADD and fault is not None:
            fault.missed = True
        elif event in ENDS_A_FAULT:
            current.pop(pid, None)
    return faults, lone


def rows_of(recording: Recording) -> list[tuple[int, int, int, int]]:
    columns = recording.pid, recording.event, recording.value, recording.aux
    return list(zip(*(column.tolist() for column in columns), strict=True))
