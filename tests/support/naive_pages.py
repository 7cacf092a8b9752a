"""Sub-buffers of the kernel walked byte by byte, as slowly and plainly as its description of them reads."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from p2mperf.workload.formats import parse_format

PAGE_BYTES = 4096
HEADER_BYTES = 16


class Payload(NamedTuple):
    """When an event was, and what was in it."""

    time_ns: int
    content: bytes


def payloads(content: bytes) -> Iterator[Payload]:
    """Events of one CPU's file (Linux kernel/trace/ring_buffer.c, rb_event_length)."""
    for start in range(0, len(content), PAGE_BYTES):
        page = content[start : start + PAGE_BYTES]
        now, commit = struct.unpack_from("<QQ", page)
        at, end = HEADER_BYTES, HEADER_BYTES + (commit & 0xFFFFF)
        while at < end:
            (head,) = struct.unpack_from("<I", page, at)
            kind, delta = head & 31, head >> 5
            word = struct.unpack_from("<I", page, at + 4)[0] if at + 8 <= PAGE_BYTES else 0
            if kind == 29:  # padding
                if delta == 0:
                    break
                now, at = now + delta, at + 4 + word
            elif kind == 30:  # time extend
                now, at = now + (word << 27) + delta, at + 8
            elif kind == 31:  # absolute stamp, of which the upper five bits are the clock's own
                now, at = (now >> 59 << 59) | (word << 27) + delta, at + 8
            else:
                length, body = (4 * kind, at + 4) if kind else (word - 4, at + 8)
                now += delta
                yield Payload(now, page[body : body + length])
                at = body + (length + 3) // 4 * 4


# EXIT_DEAD and EXIT_ZOMBIE of include/linux/sched.h.
_ENDED = 0x10 | 0x20


class Fields:
    """Values of an event's fields, but for flags of the moment, texts, and gaps that nobody wrote to.

    Whether a thread that has ended is a zombie still or dead already Linux reads anew for each instance,
    while another CPU buries it: both are one here.
    """

    def __init__(self, formats: dict[str, str]) -> None:
        made = [parse_format(text) for text in formats.values()]
        skipped = ("common_flags", "common_preempt_count")
        self._places = {
            one.event_id: [
                (field.offset, field.size, _ENDED if name == "prev_state" else 0)
                for name, field in one.fields.items()
                if name not in skipped and not field.is_located and field.size <= 8
            ]
            for one in made
        }

    def of(self, payload: Payload) -> tuple[int, ...]:
        places = self._places[int.from_bytes(payload.content[:2], "little")]
        values = (
            (int.from_bytes(payload.content[at : at + size], "little"), alike) for at, size, alike in places
        )
        return tuple(value | alike if value & alike else value for value, alike in values)
