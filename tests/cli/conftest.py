"""What tests of commands share: a place of their own, and units that are played."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sweeping import Units

from p2mperf.host import card
from p2mperf.host.watch import Snapshot
from p2mperf.study.executors import local


@pytest.fixture
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is written to the checkout, and a sweep's signal handler ends with its test."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    assert not [name for name in os.listdir() if name.startswith(".")]


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Units:
    found = Units()
    monkeypatch.setattr(local, "child", found)
    # Whatever this machine is busy with: what a sweep says of that is tried elsewhere.
    monkeypatch.setattr(card, "snapshot", lambda root: Snapshot())
    return found
