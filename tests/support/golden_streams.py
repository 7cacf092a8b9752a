"""Integers of what the shipped recordings ask, the same anywhere: ``python tests/support/golden_streams.py``.

Run it where a recording that is shipped, or the model, has changed on purpose, and look at what has changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.guest import Guest
from p2mperf.shipped import RECORDINGS
from p2mperf.workload.events import Event
from p2mperf.workload.recording import Recording
from p2mperf.workload.recording_file import read_recording
from p2mperf.workload.stream import count_translations, make_stream
from p2mperf.workload.translation_stream import FRAME_MASK, TranslationStream

STORED = Path(__file__).parents[1] / "support" / "stored" / "kernel_build_streams.json"
SIZES = ("8G", "128G", "400G")


def both(numbers: NDArray[Any]) -> list[int]:
    """Exclusive or of numbers, and their sum modulo 2**64."""
    words = numbers.astype(np.uint64)
    return [int(np.bitwise_xor.reduce(words)), int(np.sum(words, dtype=np.uint64))]


def frames(stream: TranslationStream) -> NDArray[np.uint64]:
    """What a stream asks for, whichever table."""
    return (stream.items & np.uint32(FRAME_MASK)).astype(np.uint64)


def of_recording(recording: Recording, thp: bool) -> dict[str, Any]:
    """Counts by kind, of all CPUs."""
    counted = count_translations(recording, thp)
    by_class = {name: [one.n, one.p2m, one.m2p] for name, one in counted.by_class.items()}
    return {
        "by_class": by_class,
        "by_step": {name: one.n for name, one in counted.by_step.items()},
        "n_unknown": counted.n_unknown,
        "n_revived": counted.n_revived,
    }


def of_stream(stream: TranslationStream, guest: Guest) -> dict[str, Any]:
    """What a stream is, and what a right p2m of its guest answers."""
    return {
        "n_entries": stream.n_entries,
        "n_p2m": stream.n_p2m,
        "n_m2p": stream.n_m2p,
        "items": both(stream.items),
        "gaps_ns": both(stream.gaps_ns),
        "frames": both(frames(stream)),
        "entries": both(guest.entries(frames(stream))),
    }


def of(name: str) -> dict[str, Any]:
    """All integers of a shipped recording."""
    recording = read_recording(name)
    events = np.bincount(recording.event, minlength=len(Event)).tolist()
    found: dict[str, Any] = {"events": {event.name: events[event] for event in Event if event < len(events)}}
    for thp in (True, False):
        key = "thp" if thp else "no-thp"
        found[key] = of_recording(recording, thp)
        for size in SIZES:
            guest = Guest.plain(size)
            found[f"{key}, {size}"] = of_stream(make_stream(recording, guest, thp=thp), guest)
    return found


def written(found: dict[str, dict[str, Any]]) -> str:
    """Integers as they are stored: a line for each stream."""
    parts = (
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f" {json.dumps(key)}: {json.dumps(each)}" for key, each in parts.items())
        + "\n}"
        for name, parts in found.items()
    )
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    STORED.write_text(written({name: of(name) for name in sorted(RECORDINGS)}))
