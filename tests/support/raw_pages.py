"""Raw traces made by hand: pages of a ring buffer as Linux writes them, right or wrong, and formats.

Fields stand as a compiler for a 64-bit machine lays out each event's struct: those of include/trace/events of
Linux 6.18, and of xen.h of Linux 3.19.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2mperf.workload.raw_trace import (
    PROGRESS_FILE,
    RawCpu,
    RawTrace,
    read_raw_trace,
    write_progress,
    write_raw_trace,
)
from p2mperf.workload.recording import Usage

PAGE_BYTES = 4096
DATA_BYTES = PAGE_BYTES - 16
HEADER_PAGE = """\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;
"""
LOST, LOST_STORED = 1 << 31, 1 << 30
COMMON = (("common_type", 2), ("common_flags", 1), ("common_preempt_count", 1), ("common_pid", -4))
# Bytes of each field, negative where it is signed.
FIELDS: dict[str, tuple[tuple[str, int], ...]] = {
    "exceptions/page_fault_user": (("address", 8), ("ip", 8), ("error_code", 8)),
    "exceptions/page_fault_kernel": (("address", 8), ("ip", 8), ("error_code", 8)),
    "kmem/mm_page_alloc": (("pfn", 8), ("order", 4), ("gfp_flags", 8), ("migratetype", -4)),
    "filemap/mm_filemap_map_pages": (("i_ino", 8), ("s_dev", 4), ("index", 8), ("last_index", 8)),
    "filemap/mm_filemap_add_to_page_cache": (
        *(("pfn", 8), ("i_ino", 8), ("index", 8), ("s_dev", 4), ("order", 1)),
    ),
    "task/task_newtask": (("pid", -4), ("comm", 16), ("clone_flags", 8), ("oom_score_adj", -2)),
    "sched/sched_process_exec": (("filename", 4), ("pid", -4), ("old_pid", -4)),
    "sched/sched_process_exit": (("comm", 16), ("pid", -4), ("prio", -4), ("group_dead", 1)),
    "mmap/exit_mmap": (("mm", 8), ("mt", 8)),
    "sched/sched_switch": (
        *(("prev_comm", 16), ("prev_pid", -4), ("prev_prio", -4), ("prev_state", -8)),
        *(("next_comm", 16), ("next_pid", -4), ("next_prio", -4)),
    ),
    "syscalls/sys_enter_mmap": (
        *(("__syscall_nr", -4), ("addr", 8), ("len", 8), ("prot", 8)),
        *(("flags", 8), ("fd", 8), ("off", 8)),
    ),
    "syscalls/sys_exit_mmap": (("__syscall_nr", -4), ("ret", -8)),
    "syscalls/sys_enter_munmap": (("__syscall_nr", -4), ("addr", 8), ("len", 8)),
    "syscalls/sys_enter_mprotect": (("__syscall_nr", -4), ("start", 8), ("len", 8), ("prot", 8)),
    "syscalls/sys_enter_brk": (("__syscall_nr", -4), ("brk", 8)),
    "syscalls/sys_exit_brk": (("__syscall_nr", -4), ("ret", -8)),
    "xen/xen_mmu_set_pte": (("ptep", 8), ("pteval", 8)),
    "xen/xen_mmu_set_pte_at": (("mm", 8), ("addr", 8), ("ptep", 8), ("pteval", 8)),
    "xen/xen_mmu_set_pmd": (("pmdp", 8), ("pmdval", 8)),
    "xen/xen_mmu_set_pud": (("pudp", 8), ("pudval", 8)),
    "xen/xen_mmu_set_pgd": (("pgdp", 8), ("user_pgdp", 8), ("pgdval", 8)),
    "xen/xen_mmu_pte_clear": (("mm", 8), ("addr", 8), ("ptep", 8)),
    "xen/xen_mmu_ptep_modify_prot_start": (("mm", 8), ("addr", 8), ("ptep", 8), ("pteval", 8)),
    "xen/xen_mmu_ptep_modify_prot_commit": (("mm", 8), ("addr", 8), ("ptep", 8), ("pteval", 8)),
    "xen/xen_mmu_alloc_ptpage": (("mm", 8), ("pfn", 8), ("level", 4), ("pinned", 1)),
    "xen/xen_mmu_release_ptpage": (("pfn", 8), ("level", 4), ("pinned", 1)),
    "xen/xen_mmu_pgd_pin": (("mm", 8), ("pgd", 8)),
    "xen/xen_mmu_pgd_unpin": (("mm", 8), ("pgd", 8)),
    "xen/xen_mmu_write_cr3": (("kernel", 1), ("cr3", 8)),
    "xen/xen_mmu_flush_tlb": (),
    "xen/xen_mmu_flush_tlb_all": (),
    "xen/xen_mmu_flush_tlb_single": (("addr", 8),),
    "xen/xen_mmu_flush_tlb_others": (("ncpus", 4), ("mm", 8), ("addr", 8), ("end", 8)),
}
IDS = {tracepoint: 100 + number for number, tracepoint in enumerate(FIELDS)}
GFP = '{( gfp_t)(((1UL) << (6))|((1UL) << (7))), "GFP_KERNEL"}, {( gfp_t)((1UL) << (8)), "__GFP_ZERO"}'


@dataclass(frozen=True)
class Place:
    """Where a field stands."""

    offset: int
    size: int
    is_signed: bool


def places(tracepoint: str) -> dict[str, Place]:
    """All fields of an event, each at the next multiple of its own size; texts anywhere."""
    found, offset = {}, 0
    for name, signed_size in (*COMMON, *FIELDS[tracepoint]):
        size = abs(signed_size)
        offset += -offset % (1 if size == 16 else size)
        found[name] = Place(offset, size, signed_size < 0)
        offset += size
    return found


def format_text(tracepoint: str) -> str:
    """A format file."""
    lines = [f"name: {tracepoint.rpartition('/')[2]}", f"ID: {IDS[tracepoint]}", "format:"]
    for name, place in places(tracepoint).items():
        array = "[16]" if place.size == 16 else ""
        where = f"offset:{place.offset};\tsize:{place.size};\tsigned:{int(place.is_signed)};"
        lines.append(f"\tfield:int {name}{array};\t{where}")
    gfp = f', {{ __print_flags(REC->gfp_flags, "|", {GFP}) }}' if tracepoint == "kmem/mm_page_alloc" else ""
    return "\n".join([*lines, "", f'print fmt: "x"{gfp}', ""])


def payload(tracepoint: str, thread: int, /, **values: int) -> bytes:
    """An event without its head; fields that are not named are 0."""
    there = places(tracepoint)
    last = max(there.values(), key=lambda place: place.offset)
    made = bytearray(-(-(last.offset + last.size) // 4) * 4)
    for name, value in {"common_type": IDS[tracepoint], "common_pid": thread, **values}.items():
        place = there[name]
        made[place.offset : place.offset + place.size] = (value % (1 << 8 * place.size)).to_bytes(
            place.size, "little"
        )
    return bytes(made)


def head(kind: int, delta: int) -> bytes:
    return struct.pack("<I", delta << 5 | kind)


def event(tracepoint: str, delta: int, thread: int, /, **values: int) -> bytes:
    """An event, its length in its head."""
    body = payload(tracepoint, thread, **values)
    return head(len(body) // 4, delta) + body


def long_event(tracepoint: str, delta: int, thread: int, /, extra: int = 0, **values: int) -> bytes:
    """An event whose length stands in a word of its own, with bytes behind its fields."""
    body = payload(tracepoint, thread, **values) + bytes(extra)
    return head(0, delta) + struct.pack("<I", 4 + len(body)) + body + bytes(-len(body) % 4)


def padding(delta: int, n_bytes: int) -> bytes:
    """An event that was discarded, of so many bytes behind its head."""
    return head(29, delta) + struct.pack("<I", n_bytes) + bytes(n_bytes - 4)


def extend(delta: int) -> bytes:
    return head(30, delta & (1 << 27) - 1) + struct.pack("<I", delta >> 27)


def stamp(time_ns: int) -> bytes:
    low = time_ns & (1 << 59) - 1
    return head(31, low & (1 << 27) - 1) + struct.pack("<I", low >> 27)


def page(time_ns: int, *events: bytes, marks: int = 0, commit: int | None = None) -> bytes:
    """A page of the ring buffer."""
    data = b"".join(events)
    committed = (len(data) if commit is None else commit) | marks
    return struct.pack("<QQ", time_ns, committed) + data + bytes(DATA_BYTES - len(data))


def write_trace(
    directory: Path,
    pages: Mapping[int, Sequence[bytes]],
    n_read: Mapping[int, int],
    *,
    tracepoints: Sequence[str] = tuple(FIELDS),
    finished: bool = True,
    lost: int = 0,
    until_ns: int = -1,
    root: int = 10,
    header_page: str = HEADER_PAGE,
) -> RawTrace:
    """Write a raw trace and read it back."""
    directory.mkdir(exist_ok=True)
    for cpu, content in pages.items():
        (directory / f"cpu{cpu}.raw").write_bytes(b"".join(content))
    with (directory / PROGRESS_FILE).open("wb") as file:
        for cpu, content in pages.items():
            write_progress(file.fileno(), cpu, sum(map(len, content)), max(until_ns, 1))
    raw = RawTrace(
        directory=directory,
        tool="make",
        kernel_release="6.18.0",
        architecture="x86_64",
        page_bytes=4096,
        clock="mono",
        header_page=header_page,
        header_event="",
        formats={name: format_text(name) for name in tracepoints},
        missing=(),
        cpu_numbers=tuple(pages),
        root_pid=root,
        finished=finished,
        cpus={cpu: RawCpu(n_read[cpu], lost, 0, 0) for cpu in pages} if finished else {},
        usage=Usage(1.0, 0.5, 0.25, 7, 0, 0) if finished else None,
        made="by a test",
    )
    write_raw_trace(raw)
    return read_raw_trace(directory)
