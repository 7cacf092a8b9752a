"""What a kernel build is predicted from: shipped, or a directory of one's own, which "measure" makes."""

from __future__ import annotations

from pathlib import Path
from shutil import copy

import pytest

import p2mperf
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.shipped import shipped


def test_what_is_shipped() -> None:
    found = p2mperf.build_inputs()
    assert found.recording.n_events > 0
    assert found.replays.replays
    assert found.origin.endswith("Recording and replays come with p2mperf.")


def test_a_directory_of_ones_own(tmp_path: Path) -> None:
    copy(shipped("shipped-replays"), tmp_path / "kernel-build-replays.json")
    found = p2mperf.build_inputs(tmp_path)
    assert found.replays == p2mperf.build_inputs().replays
    assert f"`{tmp_path}/kernel-build-replays.json`, of the recording that comes with p2mperf" in found.origin
    copy(shipped("shipped-tinyconfig"), tmp_path / "kernel-build.parquet")
    own = p2mperf.build_inputs(str(tmp_path))
    assert own.recording.n_events != found.recording.n_events
    assert f"of the recording `{tmp_path}/kernel-build.parquet`." in own.origin


def test_a_directory_without_replays(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"kernel-build-replays\.json"):
        p2mperf.build_inputs(tmp_path)
    with pytest.raises(BadInputError):
        p2mperf.build_inputs(5)  # type: ignore[arg-type]
