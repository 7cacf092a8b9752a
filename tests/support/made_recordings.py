"""Recordings made by hand, event by event, as tests need them."""

from __future__ import annotations

import numpy as np

from p2mperf.workload.events import Event
from p2mperf.workload.recording import About, Recording, Usage

# As Linux 6.18 numbers them; others below.
GFP = {
    "__GFP_HIGHMEM": 1 << 1,
    "__GFP_MOVABLE": 1 << 3,
    "__GFP_IO": 1 << 6,
    "__GFP_FS": 1 << 7,
    "__GFP_ZERO": 1 << 8,
    "__GFP_COMP": 1 << 18,
    "__GFP_ACCOUNT": 1 << 22,
}
# Linux 4.4: other bits, other names, and page tables that are not accounted to anybody.
OLD_GFP = {
    "GFP_HIGHMEM": 1 << 1,
    "GFP_MOVABLE": 1 << 3,
    "GFP_IO": 1 << 6,
    "GFP_FS": 1 << 7,
    "GFP_ZERO": 1 << 15,
    "GFP_COMP": 1 << 14,
}
PRESENT, WRITE, USER, FETCH = 1, 2, 4, 16
CLONE_VM = 0x100


class Made:
    """Events one after the other; each method adds one, of thread `pid` on `cpu`."""

    def __init__(self, gfp: dict[str, int] | None = None, step_ns: int = 1000) -> None:
        self.gfp = gfp or GFP
        self.rows: list[tuple[int, int, int, int, int, int]] = []
        self.now_ns, self.step_ns, self.cpu = 0, step_ns, 0

    def add(self, event: int, pid: int, value: int = 0, aux: int = 0) -> Made:
        self.rows.append((self.now_ns, self.cpu, pid, event, value, aux))
        self.now_ns += self.step_ns
        return self

    def fault(self, pid: int, page: int, code: int = WRITE | USER) -> Made:
        return self.add(Event.FAULT_USER if code & USER else Event.FAULT_KERNEL, pid, page, code)

    def flags(self, *names: str) -> int:
        return sum(self.gfp.get(f"__GFP_{name}") or self.gfp.get(f"GFP_{name}", 0) for name in names)

    def alloc(self, pid: int, frame: int, *names: str, order: int = 0, kind: int = 0) -> Made:
        return self.add(Event.ALLOC, pid, frame, self.flags(*names) | order << 32 | kind << 40)

    def data(self, pid: int, frame: int, zero: bool = True, order: int = 0) -> Made:
        names = ("HIGHMEM", "MOVABLE", "IO", "FS", "COMP", *(["ZERO"] if zero else []))
        return self.alloc(pid, frame, *names, order=order, kind=1)

    def table(self, pid: int, *frames: int, order: int = 0) -> Made:
        for frame in frames:
            self.alloc(pid, frame, "IO", "FS", "ZERO", "ACCOUNT", order=order)
        return self

    def window(self, pid: int, file: int, first: int, n_pages: int) -> Made:
        return self.add(Event.MAP_PAGES, pid, first, n_pages | file << 32)

    def cached(self, pid: int, frame: int, file: int, page: int) -> Made:
        return self.add(Event.CACHE_ADD, pid, frame, page | file << 32)

    def recording(self) -> Recording:
        columns = np.array(self.rows, np.int64).reshape(-1, 6).T
        kinds = (np.int64, np.int8, np.int32, np.int8, np.int64, np.int64)
        time_ns, cpu, pid, event, value, aux = (
            np.ascontiguousarray(column.astype(kind)) for column, kind in zip(columns, kinds, strict=True)
        )
        usage = Usage(1.0, 1.0, 0.1, 0, 0, 0)
        about = About(
            "made", "6.18.0", "x86_64", 4096, 4096, "mono", {}, self.gfp, {}, usage, made="by a test"
        )
        return Recording(time_ns, cpu, pid, event, value, aux, about)


def build(n_writes: int = 300, n_reads: int = 30) -> Recording:
    """One process: so many pages of its own, so many faults that map 16 pages of a file, and its end."""
    made = Made()
    for number in range(n_writes):
        made.fault(1, 1000 + number).data(1, 5000 + 37 * number)
    for number in range(n_reads):
        made.fault(1, 100_000 + 16 * number, USER).window(1, 1, 16 * number, 16)
    made.add(Event.EXIT_MMAP, 1).add(Event.EXIT, 1, 1, 1)
    return made.recording()
