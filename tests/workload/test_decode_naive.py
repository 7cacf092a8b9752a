"""Raw traces of random events, and of all that stands between events, against a naive decoder."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import raw_pages as made
from naive_trace import decoded

from p2mperf.workload.decode import decode

SMALL = (0, 1, 2, 4095, 4096, 4097, 2**20)
LARGE = (2**31 - 1, 2**32 - 1, 2**32, 2**47, 2**52, 2**62, 2**63 - 1)


def number(random: Random, size: int) -> int:
    """A number of so many bytes, signed where they are negative, often at an edge."""
    n_bits = 8 * abs(size)
    low, high = (-(1 << n_bits - 1), (1 << n_bits - 1) - 1) if size < 0 else (0, (1 << n_bits) - 1)
    edges = [edge for edge in (low, high, *SMALL, *LARGE) if low <= edge <= high]
    return random.choice(edges) if random.random() < 0.6 else random.randint(low, high)


def event(random: Random) -> bytes:
    tracepoint = random.choice(list(made.FIELDS))
    values = {
        name: random.randint(1, 9) if name.endswith("pid") else number(random, size)
        for name, size in made.FIELDS[tracepoint]
        if size != 16
    }
    make = made.event if random.random() < 0.8 else made.long_event
    return make(tracepoint, random.choice((0, 1, 5, 2**27 - 1)), random.randint(1, 9), **values)


def page(random: Random, time: int) -> tuple[bytes, int]:
    """A page, and how many events are on it."""
    pieces: list[bytes] = []
    n_events = 0
    while sum(map(len, pieces)) < 3900:
        between = random.random()
        if between < 0.05:
            pieces.append(made.padding(random.randint(1, 9), 4 * random.randint(1, 5)))
        elif between < 0.1:
            pieces.append(made.extend(random.choice((1, 2**27, 2**34))))
        else:
            pieces.append(event(random))
            n_events += 1
    return made.page(time, *pieces), n_events


@pytest.mark.parametrize("seed", range(12))
def test_random_traces_are_decoded_as_naively(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    pages: dict[int, list[bytes]] = {}
    counts: dict[int, int] = {}
    for cpu in random.sample(range(9), 1 + seed % 4):
        # A page may last 2**34 ns and more, many times: the next begins well after it.
        found = [page(random, (1 + at << 41) + random.randint(0, 9)) for at in range(6)]
        pages[cpu], counts[cpu] = [content for content, _ in found], sum(n for _, n in found)
    raw = made.write_trace(tmp_path, pages, counts, root=random.randint(1, 9))
    recording = decode(raw)
    names = ("time_ns", "cpu", "pid", "event", "value", "aux")
    rows = zip(*(getattr(recording, name).tolist() for name in names), strict=True)
    for found_row, expected in zip(rows, decoded(raw), strict=True):
        assert found_row == expected
