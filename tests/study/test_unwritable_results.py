"""Where results cannot be written is said before anything is measured, the ladder included."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import record_samples as samples
from sweeping import Units, small_plan
from written_results import written

import p2mperf
from p2mperf.cli import main
from p2mperf.errors import ResultsError
from p2mperf.results.claim import claim_directory, prepare_directory
from p2mperf.study.executors import local
from p2mperf.study.sweep import sweep

SHORT = ("--size", "16M", "--operation", "latency", "-q")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All that is measured: nothing, if all goes well."""
    orders: list[Any] = []

    def child(task: Any, start: Any = None, meanwhile: Any = None) -> Iterator[Any]:
        orders.append(task)
        return iter(())

    monkeypatch.setattr(local, "child", child)
    return orders


def plain_file(place: Path) -> Path:
    place.write_text("kept")
    return place


def below_a_file(place: Path) -> Path:
    place.write_text("kept")
    return place / "results"


def foreign(place: Path) -> Path:
    place.mkdir()
    (place / "letter.txt").write_text("kept")
    return place


def without_files(place: Path) -> Path:
    """A directory in which the kernel makes no file, whoever asks."""
    return Path("/proc/self/fdinfo")


def long_name(place: Path) -> Path:
    return place / ("x" * 5000)


def nul(place: Path) -> Path:
    return place / "a\0b"


@pytest.mark.parametrize("make", [plain_file, below_a_file, foreign, without_files, long_name, nul])
def test_it_is_refused_before_anything_is_measured(
    tmp_path: Path, asked: list[Any], capsys: pytest.CaptureFixture[str], make: Callable[[Path], Path]
) -> None:
    out = make(tmp_path / "place")
    for plan in ("default", "full", "quick"):
        assert main(["sweep", "--plan", plan, "--out", str(out), *SHORT]) == 2
        said = capsys.readouterr().err
        assert said.startswith("p2mperf: ")
        assert said.count("\n") == 1
        with pytest.raises(p2mperf.errors.P2mperfError):
            p2mperf.sweep(plan, sizes=["16M"], out=out, quiet=True)
    assert asked == []
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] in ([], ["kept"])


def test_a_file_is_called_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = plain_file(tmp_path / "results")
    assert main(["sweep", "--out", str(out), *SHORT]) == 2
    assert capsys.readouterr().err == f"p2mperf: {out} is a file: results need a directory\n"


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """What a full disk does, for this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("n_bytes", [0, 8 << 10])
@pytest.mark.parametrize("is_claimed", [False, True])
def test_a_directory_that_takes_no_more_is_refused(
    tmp_path: Path, asked: list[Any], capsys: pytest.CaptureFixture[str], n_bytes: int, is_claimed: bool
) -> None:
    if is_claimed:
        claim_directory(tmp_path)
    for plan in ("default", "full"):
        with files_of_at_most(n_bytes):
            code = main(["sweep", "--plan", plan, "--out", str(tmp_path), *SHORT])
        said = capsys.readouterr().err
        assert (code, said.count("\n")) == (2, 1)
        assert "File too large; raise `ulimit -f`, or name a directory you can write to" in said
    assert asked == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_so_is_going_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = Units()
    monkeypatch.setattr(local, "child", units)

    def spoil(number: int, record: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    units.spoil = spoil
    with pytest.raises(KeyboardInterrupt):
        sweep(small_plan(), tmp_path)
    n_orders = len(units.orders)
    with files_of_at_most(0), pytest.raises(ResultsError, match="File too large"):
        sweep(small_plan(), tmp_path)
    assert len(units.orders) == n_orders


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ladder = {"ladder": {}, "knees": [{"name": "L2", "bytes": 1 << 20, "source": "system"}]}
    monkeypatch.setattr(local, "child", lambda task, seed=0, meanwhile=None: iter([ladder]))
    out = tmp_path / "results"
    assert main(["sweep", "--plan", "full", "--dry-run", "--out", str(out), *SHORT]) == 0
    assert not out.exists()


def test_what_can_be_written_to_is_left_as_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, samples.unit(), samples.cell())
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert prepare_directory(tmp_path) == tmp_path
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert path in before


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_file_system_is_refused(tmp_path: Path, asked: list[Any]) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "p2mperf-test", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    try:
        claim_directory(tmp_path)
        with pytest.raises(ResultsError, match="No space left on device"):
            sweep(replace(small_plan(), has_ladder=True), tmp_path)
        assert asked == []
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
