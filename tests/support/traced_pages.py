"""Pages of a raw trace as a test makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import raw_pages as made

from p2mperf.workload.raw_trace import RawTrace

ROOT, CHILD, OTHER = 10, 11, 99
FAULT, ALLOC = "exceptions/page_fault_user", "kmem/mm_page_alloc"
START = 1_000_000


def fault(delta: int = 5, pid: int = ROOT, page: int = 3) -> bytes:
    return made.event(FAULT, delta, pid, address=page << 12 | 0xABC, error_code=6)


def one_page(directory: Path, *events: bytes, n_read: int, **options: Any) -> RawTrace:
    return made.write_trace(directory, {0: [made.page(START, *events)]}, {0: n_read}, **options)
