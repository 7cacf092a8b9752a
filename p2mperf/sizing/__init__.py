"""How large the linear list may be: what it needs, what it gets, and which limit gives out first.

`limits` answers for one guest, `table` for many, `QUESTIONS` holds what the mailing-list threads asked and
`prove` builds the answer for real. Each limit is one `Limit` in `LIMITS`; everything that shows limits
reads that registry. Standard library only, but for `prove`, which maps memory.
"""

from __future__ import annotations

from p2mperf.sizing.answer import Answer, Verdict, largest_guest_bytes, limits, readable_size, table
from p2mperf.sizing.arithmetic import address_space, area_bytes, list_bytes, low_memory_parts, vmalloc_bytes
from p2mperf.sizing.parameters import SETTINGS, SHAPES, Parameters, Setting, parameters
from p2mperf.sizing.questions import QUESTIONS, Question, Reply, reply
from p2mperf.sizing.registry import CONFIDENCE, LIMITS, Limit

__all__ = [
    "CONFIDENCE",
    "LIMITS",
    "QUESTIONS",
    "SETTINGS",
    "SHAPES",
    "Answer",
    "Limit",
    "Parameters",
    "Question",
    "Reply",
    "Setting",
    "Verdict",
    "address_space",
    "area_bytes",
    "largest_guest_bytes",
    "limits",
    "list_bytes",
    "low_memory_parts",
    "parameters",
    "readable_size",
    "reply",
    "table",
    "vmalloc_bytes",
]
