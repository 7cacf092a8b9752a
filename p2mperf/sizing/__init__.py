"""How large the linear list may be: what it needs, what it gets, and which limit gives out first.

`limits` answers for one guest, `table` for many, `QUESTIONS` holds what the mailing-list threads asked and
`prove` builds the answer for real. Each limit is one `Limit`: in `LIMITS`, or in an entry point of the group
``p2mperf.limits``, which may be about a geometry of another package; everything that shows limits reads
`every_limit`. Importing it takes the standard library only; geometries are asked when something is computed.
"""

from __future__ import annotations

from p2mperf.sizing.answer import Answer, Ruling, largest_guest_bytes, limits
from p2mperf.sizing.arithmetic import address_space, area_bytes, list_bytes, low_memory_parts, vmalloc_bytes
from p2mperf.sizing.parameters import SETTINGS, Parameters, Setting, parameters
from p2mperf.sizing.questions import QUESTIONS, Question, Reply, reply
from p2mperf.sizing.registry import CONFIDENCE, LIMITS, Limit, every_limit, limit_names
from p2mperf.sizing.shapes import SHAPES
from p2mperf.sizing.table import table
from p2mperf.units import readable_size

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
    "Ruling",
    "Setting",
    "address_space",
    "area_bytes",
    "every_limit",
    "largest_guest_bytes",
    "limit_names",
    "limits",
    "list_bytes",
    "low_memory_parts",
    "parameters",
    "readable_size",
    "reply",
    "table",
    "vmalloc_bytes",
]
