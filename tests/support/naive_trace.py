"""A raw trace decoded byte by byte and dict by dict, as the files of the kernel's formats say: an oracle."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from p2mperf.workload.events import EVENTS, Event
from p2mperf.workload.raw_trace import RawTrace

Row = tuple[int, int, int, int, int, int]
_FIELD = re.compile(r"(\w+)(?:\[\d*\])?;\toffset:(\d+);\tsize:(\d+);\tsigned:(\d)")
_OF_FILES = (Event.MAP_PAGES, Event.CACHE_ADD)


def decoded(raw: RawTrace) -> list[Row]:
    """Time since the first event, CPU, thread, event, value and aux of each event, in the order of times."""
    events = sorted(
        (row for cpu in raw.cpu_numbers for row in _events(raw, cpu)), key=lambda row: (row[0], row[1])
    )
    first = events[0][0]
    threads: dict[int, int] = {}
    files: dict[tuple[int, int], int] = {}
    n_threads = 0

    def number(thread: int, is_ours: bool) -> int:
        nonlocal n_threads
        if thread not in threads and (is_ours or thread == raw.root_pid):
            n_threads += 1
            threads[thread] = n_threads
        return threads.get(thread, 0)

    rows = []
    for time, cpu, event, fields in events:
        thread = number(fields["common_pid"], event != Event.SWITCH)
        value, aux = _kept(event, fields)
        if event == Event.NEW_TASK:
            n_threads += 1
            threads[value] = n_threads
            value = n_threads
        elif event in (Event.EXEC, Event.EXIT, Event.SWITCH):
            value = number(value, False)
        elif event in _OF_FILES:
            file = files.setdefault((fields["s_dev"], fields["i_ino"]), len(files) + 1)
            aux += file * 2**32
        rows.append((time - first, cpu, thread, int(event), value, aux))
    return rows


def _events(raw: RawTrace, cpu: int) -> Iterator[tuple[int, int, Event, dict[str, int]]]:
    """Time, CPU, event and fields of each event of a CPU."""
    by_tracepoint = {recorded.tracepoint: event for event, recorded in EVENTS.items()}
    formats: dict[int, tuple[Event, list[Any]]] = {}
    for tracepoint, text in raw.formats.items():
        found = re.search(r"ID: (\d+)", text)
        assert found is not None
        formats[int(found[1])] = by_tracepoint[tracepoint], _FIELD.findall(text)
    content = raw.path_of(cpu).read_bytes()
    for start in range(0, len(content), 4096):
        time, commit = struct.unpack_from("<QQ", content, start)
        at, end = start + 16, start + 16 + commit % 2**20
        while at < end:
            (head,) = struct.unpack_from("<I", content, at)
            kind, delta = head % 32, head // 32
            (word,) = struct.unpack_from("<I", content, at + 4)
            time += delta
            if kind == 30:
                time += word * 2**27
                at += 8
                continue
            if kind == 29:
                at += 4 + word
                continue
            n_bytes = 4 * kind or word - 4
            at += 4 if kind else 8
            payload = content[at : at + n_bytes]
            at += -(-n_bytes // 4) * 4
            event, fields = formats[payload[0] + 256 * payload[1]]
            yield (
                time,
                cpu,
                event,
                {
                    name: int.from_bytes(payload[int(o) : int(o) + int(size)], "little", signed=signed == "1")
                    for name, o, size, signed in fields
                },
            )


def _pages(n_bytes: int) -> int:
    return -(-n_bytes // 4096)


def _kept(event: Event, of: dict[str, int]) -> tuple[int, int]:
    """Value and aux, numbers of threads and files aside."""
    word, half = 2**32, 2**31
    entry = next((of[name] for name in ("pteval", "pmdval", "pudval", "pgdval") if name in of), 0)
    kept_entry = entry // 4096 % 2**40 + entry % 4096 * 2**40
    match event:
        case Event.FAULT_USER | Event.FAULT_KERNEL:
            return of["address"] // 4096, of["error_code"] % word
        case Event.ALLOC:
            frame = -1 if of["pfn"] == 2**64 - 1 else of["pfn"] % 2**52
            kinds = of["order"] % 256 + of["migratetype"] % 256 * 256
            return frame, of["gfp_flags"] % word + kinds * word
        case Event.MAP_PAGES:
            return of["index"] % 2**52, (of["last_index"] - of["index"] + 1) % word
        case Event.CACHE_ADD:
            return of["pfn"] % 2**52, of["index"] % word
        case Event.NEW_TASK:
            return of["pid"], of["clone_flags"] % word
        case Event.EXEC:
            return of["old_pid"], 0
        case Event.EXIT:
            return of["pid"], of["group_dead"]
        case Event.SWITCH:
            return of["next_pid"], 0
        case Event.MMAP:
            return _pages(of["len"]), of["prot"] % word + of["flags"] % half * word
        case Event.MMAP_DONE:
            return (-1 if -4096 < of["ret"] < 0 else of["ret"] % 2**64 // 4096), 0
        case Event.MUNMAP:
            return of["addr"] // 4096, _pages(of["len"])
        case Event.MPROTECT:
            return of["start"] // 4096, min(_pages(of["len"]), word - 1) + of["prot"] % half * word
        case Event.BRK:
            return _pages(of["brk"]), 0
        case Event.BRK_DONE:
            return _pages(of["ret"] % 2**64), 0
        case Event.XEN_ALLOC_PTPAGE | Event.XEN_RELEASE_PTPAGE:
            return of["pfn"] % 2**52, of["level"] + of["pinned"] % 2 * word
        case Event.XEN_WRITE_CR3:
            return of["cr3"] // 4096, of["kernel"] % 2
        case Event.XEN_FLUSH_TLB_OTHERS:
            return of["addr"] // 4096, of["ncpus"]
    names = ("addr", "ptep", "pmdp", "pudp", "pgdp", "pgd")
    return next((of[name] // 4096 for name in names if name in of), 0), kept_entry
