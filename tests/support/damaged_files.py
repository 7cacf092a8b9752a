"""Contents of files that are no results, and the sentence that refuses them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2mperf.errors import P2mperfError, ResultsError

DEEP = b"[" * 100_000 + b"]" * 100_000


LONGEST_SENTENCE = 600


def refusal(act: Callable[[], object], kind: type[P2mperfError] = ResultsError) -> str:
    with pytest.raises(kind) as refused:
        act()
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert 0 < len(sentence) <= LONGEST_SENTENCE
    return sentence


GRID = {
    "name": "quick",
    "guests": [{"name": "domu-32-512m", "geometry": "pv32", "n_bytes": 0}],
    "backings": ["4k"],
    "n_replicates": 2,
}
