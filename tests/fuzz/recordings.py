"""Cases of the API fuzz with recordings of what no kernel does: columns of right types, and of no sense."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from values import Pools, expressions, filled

from p2mperf.workload.recording import About, Recording, Usage

_GFP_NAMES = ("HIGHMEM", "MOVABLE", "IO", "FS", "ZERO", "ACCOUNT")
_GFP = {f"__GFP_{name}": 1 << bit for bit, name in enumerate(_GFP_NAMES)}
# Values that events take: small ones, the edges of what an address, a frame, a word can be, and their like.
_EDGES = np.array(
    [
        0,
        1,
        15,
        16,
        511,
        512,
        1 << 18,
        1 << 27,
        (1 << 35) - 1,
        1 << 35,
        1 << 40,
        1 << 48,
        (1 << 52) - 1,
        1 << 62,
    ]
    + [-1, -2, -(1 << 63), (1 << 63) - 1, 0x100, 0x10 << 32, 3, 6, 7, 2, 20],
    np.int64,
)
_KINDS = np.array([*range(16), 0, 0, 0, 0, 2, 2, 2, 2, 3, 5, 12, 13, 32, 45, 46, 100, 127], np.int8)


def wild(seed: int, n_events: int) -> Recording:
    """A recording that a reader passes: one length, one type a column, and nothing else in order."""
    random = np.random.default_rng(seed)
    few = random.random() < 0.5
    event = random.choice(_KINDS, n_events)
    value, aux = (random.choice(_EDGES, n_events) for _ in range(2))
    if few:  # faults that are classified, close to each other
        value = np.where(random.random(n_events) < 0.9, random.integers(0, 3000, n_events), value)
    gfp = random.choice([0b11, 0b10011, 0b111100, 0b111100 | 1 << 32, 0], n_events) | random.choice(
        [0, 1 << 40]
    )
    aux = np.where(event == 2, gfp, np.where((event < 2) & few, random.integers(0, 8, n_events), aux))
    usage = Usage(0.0, 0.0, 0.0, 0, 0, 0)
    return Recording(
        time_ns=random.choice(
            [np.sort(random.integers(0, 1 << 40, n_events)), random.choice(_EDGES, n_events)]
        ),
        cpu=random.integers(0, 128, n_events).astype(np.int8),
        pid=random.integers(0, random.choice([3, 20, n_events + 3]), n_events).astype(np.int32),
        event=event,
        value=value.astype(np.int64),
        aux=aux.astype(np.int64),
        about=About("x", "", "", 4096, 4096, "", {}, _GFP, {}, usage),
    )


def names() -> dict[str, Any]:
    """What the statements call."""
    from p2mperf.workload.faults import classify
    from p2mperf.workload.stream import count_translations, make_stream
    from p2mperf.workload.translation_stream import check_stream

    return {
        "wild": wild,
        "classify": classify,
        "count_translations": count_translations,
        "make_recorded": make_stream,
        "checked": lambda stream: check_stream(stream, stream.n_guest_frames),
    }


def warm() -> None:
    """Compile what cases will run: that takes longer than one may."""
    from p2mperf.guests.guest import Guest
    from p2mperf.workload.stream import make_stream

    make_stream(wild(1, 0), Guest.plain("64M"))


_WILD: Pools = {
    "n": expressions("0  1  2  30  300  3000  3000"),
    "size": expressions("'64M'  '1G'  '8G'  '16M'"),
    "cpu": expressions("None  None  None  0  5  ?scalar"),
    "thp": expressions("True  False  ?scalar"),
    "seed": expressions("1  2  ?scalar"),
    "placement": expressions("'spread'  'recorded'  ?text"),
    "column": expressions("pid  cpu  event  value  aux  time_ns  about"),
}
_OF_A_RECORDING = expressions("""
    classify(r).counts  count_translations(r, ?thp).total  count_translations(r, True, ?cpu)
    checked(make_recorded(r, Guest.plain(?size)))
    checked(make_recorded(r, Guest.plain(?size), placement='recorded'))
    make_recorded(r, Guest.plain(?size), thp=?thp, seed=?seed, cpu=?cpu, placement=?placement)
    make_recorded(r, ?)  classify(?)  count_translations(?)  classify(replace(r, ?column=?array))
    count_translations(replace(r, ?column=?array))
""")


def recordings(random: Random) -> list[str]:
    """A recording of no sense, and what is made of it."""
    lines = [f"r = wild({random.randrange(10**6)}, ?n)"]
    lines += [random.choice(_OF_A_RECORDING) for _ in range(random.randint(1, 4))]
    return [filled(random, line, _WILD) for line in lines]
