"""What tests of PV designs share."""

from __future__ import annotations

from typing import Any

import pytest

import p2mperf


@pytest.fixture(scope="module")
def built() -> Any:
    """Build a design of a preset guest once a file."""
    kept: dict[tuple[str, str], Any] = {}

    def get(design: str, guest: str) -> Any:
        if (design, guest) not in kept:
            kept[design, guest] = p2mperf.build(design, guest)
        return kept[design, guest]

    yield get
    for p2m in kept.values():
        p2m.close()
