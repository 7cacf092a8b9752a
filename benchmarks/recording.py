"""Decoding a raw trace and making a stream of it: events a CPU-second, and the memory that both take.

The trace is the shipped recording of a tinyconfig build, written as Linux writes pages of its ring buffer,
over and over until it is long enough. What the recorder itself costs, `record --overhead` measures.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.effort import Effort
from benchmarks.processes import in_fresh_process
from benchmarks.report import Criterion, Report
from p2mperf.guests.guest import Guest
from p2mperf.workload.decode import decode
from p2mperf.workload.events import EVENTS, Event
from p2mperf.workload.raw_trace import RawCpu, RawTrace
from p2mperf.workload.recording import Recording
from p2mperf.workload.recording_file import read_recording
from p2mperf.workload.stream import make_stream

BOUND_RATE, BOUND_STREAM_S, BOUND_BYTES = 20.0, 5.0, 1 << 30  # M events a CPU-second, s, bytes
N_EVENTS, N_FEW = 10_000_000, 1_000_000
N_PROCESSES = 3
GUEST = "8G"
_PAGE_BYTES, _HEADER_BYTES = 4096, 16
_MOST_DELTA = (1 << 27) - 1
_HEADER_PAGE = (
    "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    "\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n"
)
_COMMON = [
    ("common_type", "<u2"),
    ("common_flags", "u1"),
    ("common_preempt_count", "u1"),
    ("common_pid", "<i4"),
]
_FAULT = [("address", "<u8"), ("ip", "<u8"), ("error_code", "<u8")]
# Fields as Linux 6.18 has them, of the events that make 97 of 100, and of those that begin and end processes.
FIELDS: dict[Event, list[tuple[str, str]]] = {
    Event.FAULT_USER: _FAULT,
    Event.FAULT_KERNEL: _FAULT,
    Event.ALLOC: [("pfn", "<u8"), ("order", "<u4"), ("gfp_flags", "<u8"), ("migratetype", "<i4")],
    Event.MAP_PAGES: [("i_ino", "<u8"), ("s_dev", "<u4"), ("index", "<u8"), ("last_index", "<u8")],
    Event.NEW_TASK: [("pid", "<i4"), ("comm", "S16"), ("clone_flags", "<u8"), ("oom_score_adj", "<i2")],
    Event.EXEC: [("filename", "<u4"), ("pid", "<i4"), ("old_pid", "<i4"), ("text", "S12")],
    Event.EXIT: [("comm", "S16"), ("pid", "<i4"), ("prio", "<i4"), ("group_dead", "u1")],
    Event.EXIT_MMAP: [("mm", "<u8"), ("mt", "<u8")],
}


def run(effort: Effort) -> Report:
    """Decode in fresh processes, and make a stream of what came out.

    Parameters
    ----------
    effort : Effort
        Unless full, one process; smoke: few events.

    Returns
    -------
    Report
    """
    n_events = effort.choose(N_EVENTS, N_EVENTS, N_FEW)
    n_processes = effort.choose(N_PROCESSES, 1, 1)
    report = Report(
        f"recording: {n_events} events decoded, and a stream made of them for a guest of {GUEST}",
        ("process", "M events/CPU-s", "again", "peak MiB", "stream s", "peak MiB"),
        notes=["'again' in memory that the process had before; peaks are beyond what it has without events"],
    )
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory), n_events)
        found = [in_fresh_process("recording", directory=directory) for _ in range(n_processes)]
    for number, one in enumerate(found, 1):
        rates = [one["n_events"] / seconds / 1e6 for seconds in one["decode_s"]]
        one["rate"] = max(rates)
        cells = [f"{rate:.1f}" for rate in rates], f"{one['decode_bytes'] / 2**20:.0f}"
        stream = f"{one['stream_s']:.2f}", f"{one['stream_bytes'] / 2**20:.0f}"
        report.rows.append([str(number), *cells[0], cells[1], *stream])
    slowest, largest = min(one["rate"] for one in found), max(one["stream_bytes"] for one in found)
    longest = max(one["stream_s"] for one in found)
    report.criteria.extend(
        [
            Criterion(
                f"decoding at least {BOUND_RATE:.0f} M events a CPU-second",
                f"{slowest:.1f}",
                slowest >= BOUND_RATE,
            ),
            Criterion(
                f"stream in at most {BOUND_STREAM_S:.0f} s", f"{longest:.2f} s", longest <= BOUND_STREAM_S
            ),
            Criterion("all of it below 1 GiB", f"{largest / 2**20:.0f} MiB", largest < BOUND_BYTES),
        ]
    )
    return report


def work(directory: str) -> dict[str, Any]:
    """Decode twice, then make a stream, in this process.

    Parameters
    ----------
    directory : str
        Of the raw trace.

    Returns
    -------
    dict
        ``n_events``, ``decode_s`` of both times [CPU-s], ``stream_s``, and the most memory that was had
        beyond that without events, until after decoding and after the stream: ``decode_bytes`` and
        ``stream_bytes``.
    """
    raw = trace(Path(directory))
    guest = Guest.plain(GUEST)
    with tempfile.TemporaryDirectory() as few:  # what is compiled is no part of it
        write(Path(few), 1)
        make_stream(decode(trace(Path(few))), guest)
    Path("/proc/self/clear_refs").write_text("5")  # compiling took more than what comes now
    before = _memory_bytes("VmRSS")
    seconds = []
    recording: Recording | None = None
    for _ in range(2):
        recording = None  # two at once would be another use of memory
        start = process_time()
        recording = decode(raw)
        seconds.append(process_time() - start)
    assert recording is not None
    decoded = _memory_bytes("VmHWM") - before
    start = perf_counter()
    make_stream(recording, guest)
    return {
        "n_events": recording.n_events,
        "decode_s": seconds,
        "decode_bytes": decoded,
        "stream_s": perf_counter() - start,
        "stream_bytes": _memory_bytes("VmHWM") - before,
    }


def _memory_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def write(directory: Path, n_events: int) -> None:
    """Write the pages of each CPU, again and again, until there are so many events.

    Parameters
    ----------
    directory : Path
        Where to.
    n_events : int
        At least so many.
    """
    recording = read_recording("shipped-tinyconfig")
    # A whole round more: what comes after it begins behind its end.
    span = int(recording.time_ns[-1]) + 1
    by_cpu = {cpu: _pages(recording, cpu) for cpu in recording.about.cpus}
    n_rounds = -(-n_events // sum(n for _, n in by_cpu.values()))
    for cpu, (pages, n_of_cpu) in by_cpu.items():
        times = pages.view("<u8")[:, 0]
        with (directory / f"cpu{cpu}.raw").open("wb") as file:
            for _ in range(n_rounds):
                pages.tofile(file)
                times += np.uint64(span)
        (directory / f"cpu{cpu}.n").write_text(str(n_of_cpu * n_rounds))


def trace(directory: Path) -> RawTrace:
    """What a recorder would have noted beside the pages that `write` made."""
    recording = read_recording("shipped-tinyconfig")
    about = recording.about
    counts = {cpu: RawCpu(int((directory / f"cpu{cpu}.n").read_text()), 0, 0, 0) for cpu in about.cpus}
    flags = ", ".join(f'{{( gfp_t){value}UL, "{name}"}}' for name, value in about.gfp.items())
    return RawTrace(
        directory=directory,
        tool=about.tool,
        kernel_release=about.kernel_release,
        architecture=about.architecture,
        page_bytes=about.page_bytes,
        clock=about.clock,
        header_page=_HEADER_PAGE,
        header_event="",
        formats={EVENTS[event].tracepoint: _format(event, flags) for event in FIELDS},
        missing=(),
        cpu_numbers=tuple(about.cpus),
        root_pid=1,
        finished=True,
        cpus=counts,
        usage=about.usage,
        made="from the shipped recording",
    )


def _dtype(event: Event) -> np.dtype[Any]:
    return np.dtype([*_COMMON, *FIELDS[event]], align=True)


def _format(event: Event, flags: str) -> str:
    fields: Mapping[str, Any] = _dtype(event).fields or {}
    lines = [
        f"\tfield:int {name};\toffset:{offset};\tsize:{kind.itemsize};\tsigned:{int(kind.kind == 'i')};"
        for name, (kind, offset, *_) in fields.items()
    ]
    return "\n".join(
        [f"name: {event.name.lower()}", f"ID: {100 + event}", "format:", *lines, "", f"print fmt: {flags}"]
    )


def _pages(recording: Recording, cpu: int) -> tuple[NDArray[np.uint8], int]:
    """Pages with the events of a CPU, and how many they are."""
    chosen = np.flatnonzero((recording.cpu == cpu) & np.isin(recording.event, list(FIELDS)))
    made: list[bytes] = [b""] * chosen.size
    for event in FIELDS:
        at = np.flatnonzero(recording.event[chosen] == event)
        table = _payloads(recording, event, chosen[at])
        size = table.dtype.itemsize
        content = table.tobytes()
        for number, place in enumerate(at.tolist()):
            made[place] = content[number * size : (number + 1) * size]
    pages, page, start, last = [], bytearray(), 0, 0
    for time, payload in zip(recording.time_ns[chosen].tolist(), made, strict=True):
        is_far = time - last > _MOST_DELTA
        if not page or is_far or len(page) + 4 + len(payload) > _PAGE_BYTES - _HEADER_BYTES:
            pages.append(_page(start, page))
            page, start, last = bytearray(), time, time
        page += struct.pack("<I", (time - last) << 5 | len(payload) // 4) + payload
        last = time
    pages.append(_page(start, page))
    whole = np.frombuffer(b"".join(pages[1:]), np.uint8).reshape(-1, _PAGE_BYTES).copy()
    return whole, chosen.size


def _page(start: int, content: bytes | bytearray) -> bytes:
    return struct.pack("<QQ", start, len(content)) + bytes(content).ljust(_PAGE_BYTES - _HEADER_BYTES, b"\0")


def _payloads(recording: Recording, event: Event, at: NDArray[np.intp]) -> NDArray[np.void]:
    """What stands in events of one kind behind their heads."""
    value, aux = recording.value[at], recording.aux[at]
    low, high = aux & 0xFFFF_FFFF, aux >> 32
    known: dict[str, NDArray[np.int64]] = {
        "common_type": np.full(at.size, 100 + event),
        "common_pid": recording.pid[at].astype(np.int64),
        "address": value << 12,
        "error_code": aux,
        "pfn": value,
        "gfp_flags": low,
        "order": high & 255,
        "migratetype": high >> 8,
        "index": value,
        "last_index": value + low - 1,
        "i_ino": high,
        "pid": value,
        "old_pid": value,
        "clone_flags": aux,
        "group_dead": aux,
    }
    table = np.zeros(at.size, _dtype(event))
    for name in table.dtype.names or ():
        if name in known:
            table[name] = known[name].astype(table.dtype[name])
    return table
