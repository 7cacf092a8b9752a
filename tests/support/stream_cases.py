"""Streams of made recordings, and what a naive kernel asks instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made_recordings import Made
from naive_stream import Naive

from p2mperf.workload.placing import Placed, place
from p2mperf.workload.recording import Recording
from p2mperf.workload.translation_stream import Entered, TranslationStream


def of(recording: Recording, seen: Callable[..., Any]) -> Any:
    """Call the function that makes a stream, and keep where it placed frames."""
    kept: list[Placed] = []

    def placed(*arguments: Any) -> Placed:
        kept.append(place(*arguments))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("p2mperf.workload.stream.place", placed)
        return seen(recording), kept[0]


def frames_recorded(*frames: int) -> Recording:
    build = Made()
    for number, frame in enumerate(frames):
        build.fault(1, number).data(1, frame)
    return build.recording()


def naive(recording: Recording, placed: Placed, thp: bool, cpu: int) -> tuple[list[Any], Naive]:
    found = Naive(recording, placed, thp, cpu)
    times = [now for _, now, _ in found.entries]
    gaps = [0, *np.diff(times).tolist()][: len(times)]
    return [
        (entered, items, gap) for (entered, _, items), gap in zip(found.entries, gaps, strict=True)
    ], found


def entries(stream: TranslationStream) -> list[Any]:
    parts = np.split(stream.items, stream.starts[1:-1]) if stream.n_entries else []
    return [
        (Entered(entered), items.tolist(), gap)
        for entered, items, gap in zip(stream.entered.tolist(), parts, stream.gaps_ns.tolist(), strict=True)
    ]
