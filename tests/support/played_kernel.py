"""An instance of tracefs that a test plays, on any machine."""

from __future__ import annotations

import os
import time

from trace_texts import HEADER_PAGE

from p2mperf.workload.trace_instance import CpuStats

PAGE = 4096


class PlayedKernel:
    """An instance whose CPUs have pipes for ring buffers, into which a test writes what was recorded."""

    header_page = HEADER_PAGE
    header_event = "# compressed entry header\n"
    formats = {"kmem/mm_page_alloc": "text"}  # noqa: RUF012
    missing = ()

    def __init__(self, n_cpus: int = 2) -> None:
        self.pipes = [os.pipe2(os.O_NONBLOCK) for _ in range(n_cpus)]
        self.followed: list[int] = []
        self.switched: list[bool] = []
        self.on: list[bytes] = [b""] * n_cpus  # what each CPU records as soon as it is switched on
        self.off: list[bytes] = [b""] * n_cpus  # and at the last moment
        self.lost = 0
        self.began_ns = 0

    def cpus(self) -> list[int]:
        return list(range(len(self.pipes)))

    def open_pipe(self, cpu: int) -> int:
        return os.dup(self.pipes[cpu][0])

    def stats(self, cpu: int) -> CpuStats:
        return CpuStats(100 + cpu, 0, self.lost, 0, 0)

    def follow(self, pid: int) -> None:
        assert self.switched == []
        self.followed.append(pid)

    def switch(self, on: bool) -> None:
        self.began_ns = self.began_ns or time.monotonic_ns()
        if on != (self.switched[-1:] == [True]):
            for (_, end), pages in zip(self.pipes, self.on if on else self.off, strict=True):
                os.write(end, pages)
        self.switched.append(on)

    def close(self) -> None:
        for pair in self.pipes:
            for end in pair:
                os.close(end)
