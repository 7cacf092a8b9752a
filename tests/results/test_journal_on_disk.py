"""Full disks, places that cannot be written, other processes: the journal says so, and loses nothing."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import record_samples as samples
from written_results import numbers_of, python, written

from p2mperf.errors import ResultsError
from p2mperf.results.claim import MARKER, claim_directory, is_ours
from p2mperf.results.export import has_results, load
from p2mperf.results.files import replace_file
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
from p2mperf.shipped import shipped

# ---- disks, permissions, other processes ----


def test_a_full_disk_loses_only_the_record_at_hand(tmp_path: Path) -> None:
    """A limit on the file size makes the kernel write a part of the line, as a full disk does."""
    path = written(tmp_path, samples.cell())
    before = path.read_bytes()
    script = """
import sys
import record_samples as samples
from p2mperf.errors import ResultsError
from p2mperf.results.journal import Journal
with Journal.open(sys.argv[1]) as journal:
    try:
        journal.append(samples.cell(stream="zipf"))
    except ResultsError as error:
        print(error)
    print(list(journal.finished_cells()) == [samples.cell()["cell"]])
"""
    limit_bytes = len(before) + 100
    child = python(
        script, path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes,) * 2)
    )
    output, errors = child.communicate()
    assert errors == ""
    sentence, unharmed = output.splitlines()
    assert sentence.startswith(f"cannot write to {path}: No space left on device")
    assert "give the same command again" in sentence
    assert unharmed == "True"
    assert path.read_bytes() == before
    with Journal.open(path) as journal:
        assert journal.recovered_bytes == 0
        journal.append(samples.cell(stream="zipf"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk(tiny_disk: Path) -> None:
    results = tiny_disk / "results"
    n_kept = 0

    def append_until_full(journal: Journal) -> None:
        nonlocal n_kept
        for n_kept in range(1000):
            journal.append(samples.unit(replicate=n_kept))
            journal.append(samples.cell(replicate=n_kept))

    with (
        Journal.create(results, samples.run()) as journal,
        pytest.raises(ResultsError, match="No space left on device"),
    ):
        append_until_full(journal)
    assert n_kept > 0
    assert numbers_of(results) == list(range(n_kept))
    assert Journal.read(journal.path).recovered_bytes == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_flush_takes_the_line_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = written(tmp_path, samples.unit())
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with Journal.open(path) as journal:
        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(ResultsError, match=os.strerror(code)):
            journal.append(samples.cell())
        monkeypatch.undo()
        assert path.read_bytes() == before
        journal.append(samples.cell())


def test_a_second_sweep_into_the_same_journal_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, samples.cell())
    with Journal.open(path):
        with pytest.raises(ResultsError, match="is in use by another sweep"):
            Journal.open(path)
        assert len(Journal.read(path).finished_cells()) == 1
        assert find_runs(tmp_path)[0].n_done == 1
    Journal.open(path).close()


@pytest.mark.parametrize("place", ["/proc/p2mperf-results", "/sys/p2mperf-results", "/dev/null/results"])
def test_a_place_that_cannot_be_written(place: str) -> None:
    with pytest.raises(ResultsError, match=f"cannot write results to {place}: ") as refusal:
        Journal.create(place, samples.run())
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_read_only_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = written(tmp_path, samples.cell())
    really_open = os.open

    def refuse_writing(file: Any, flags: int, *rest: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(code, os.strerror(code), file)
        return really_open(file, flags, *rest)

    monkeypatch.setattr(os, "open", refuse_writing)
    accesses: list[Callable[[], Journal]] = [
        lambda: Journal.open(path),
        lambda: Journal.create(tmp_path, samples.run(run="beef")),
    ]
    for access in accesses:
        with pytest.raises(ResultsError, match=f"cannot write results to .*{os.strerror(code)}"):
            access()
    assert len(Journal.read(path).finished_cells()) == 1


def test_reading_opens_nothing_for_writing(tmp_path: Path) -> None:
    written(tmp_path, samples.unit(), samples.cell())
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    script = """
import os, sys
def forbid(event, arguments):
    is_write = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if is_write and str(arguments[0]).startswith(sys.argv[1]):
        raise PermissionError(arguments[0])
sys.addaudithook(forbid)
from p2mperf.results.export import load
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
(info,) = find_runs(sys.argv[1])
assert len(Journal.read(info.path).finished_cells()) == 1
print(len(load(sys.argv[1])))
try:
    Journal.open(info.path)
except Exception as error:
    print(type(error).__name__)
"""
    output, errors = python(script, tmp_path).communicate()
    # 2 rounds of 2 designs; the last line shows that the guard of this test works
    assert (output.split(), errors) == (["4", "ResultsError"], "")
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def every_access(directory: Path) -> list[Callable[[], object]]:
    return [
        lambda: Journal.create(directory, samples.run()),
        lambda: find_runs(directory),
        lambda: load(directory),
    ]


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.jsonl").write_text("precious\n")
    for access in every_access(tmp_path):
        with pytest.raises(ResultsError, match="is not a p2mperf results directory"):
            access()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.jsonl"]


def test_what_other_commands_put_there_keeps_no_sweep_out(tmp_path: Path) -> None:
    shutil.copy(shipped("shipped-replays"), tmp_path / "replays.json")
    shutil.copy(shipped("shipped-tinyconfig"), tmp_path / "build.parquet")
    claim_directory(tmp_path / "mine")
    assert not is_ours(tmp_path)
    assert not has_results(tmp_path)
    claim_directory(tmp_path)
    assert is_ours(tmp_path)


@pytest.mark.parametrize("name", ["mine", "replays.json", "build.parquet", "measure.py"])
def test_what_is_only_called_so_does(tmp_path: Path, name: str) -> None:
    if name == "mine":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("import p2mperf\n")
    with pytest.raises(ResultsError, match="is not a p2mperf results directory"):
        claim_directory(tmp_path)
    assert not has_results(tmp_path)


def test_what_cannot_be_looked_into_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As lost+found of a mounted disk, for who is not root; root may look into everything.
    (tmp_path / "lost+found").mkdir()
    look = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if path.parent.name == "lost+found":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(ResultsError, match="is not a p2mperf results directory"):
        claim_directory(tmp_path)
    assert not has_results(tmp_path / "lost+found")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text("precious")
    for access in every_access(file):
        with pytest.raises(ResultsError, match=f"{file}"):
            access()
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ('{"p2mperf_results": 4}', "has results schema 4, this p2mperf knows up to 3: install a newer one"),
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"p2mperf": 1}', "is damaged"),
    ],
)
def test_a_marker_we_cannot_follow(tmp_path: Path, marker: str, complaint: str) -> None:
    (tmp_path / MARKER).write_text(marker)
    for access in every_access(tmp_path):
        with pytest.raises(ResultsError, match=complaint):
            access()
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]


def test_a_journal_of_a_newer_schema(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(json.dumps(samples.run(schema=4, galaxy="M31")) + "\n")
    for access in (lambda: Journal.read(path), lambda: Journal.open(path), lambda: load(tmp_path)):
        with pytest.raises(ResultsError, match="line 1: this run has results schema 4"):
            access()


def test_runs_of_several_hosts_stand_side_by_side(tmp_path: Path) -> None:
    # 12:00 at +02:00 is 10:00 UTC, before 11:00 UTC
    later = written(tmp_path, host="alpha", run="aaaa", started="2026-11-21T11:00:00+00:00")
    records = [samples.cell(), samples.skipped(stream="zipf"), samples.failed(stream="sequential")]
    earlier = written(
        tmp_path, *records, samples.end(), host="beta", run="bbbb", started="2026-11-21T12:00:00+02:00"
    )
    infos = find_runs(tmp_path)
    assert [info.path for info in infos] == [earlier, later]
    # of the three cells one was measured, and the failed one is not finished
    assert [(info.host, info.n_done, info.n_finished, info.n_cells, info.ended) for info in infos] == [
        ("beta", 1, 2, 2, True),
        ("alpha", 0, 0, 2, False),
    ]
    assert infos[0].machine_key == "fee1"
    assert infos[0].plan == "quick"


# ---- the samples frame ----


def test_importing_the_room_is_light() -> None:
    script = """
import sys
import p2mperf.analysis.compare, p2mperf.results.export
print([name for name in ("pandas", "numpy", "pyarrow") if name in sys.modules])
"""
    assert python(script).communicate() == ("[]\n", "")


def test_nothing_is_written_through_a_link_that_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, directory = tmp_path / "victim", tmp_path / "shared"
    victim.write_text("kept")
    directory.mkdir()
    (directory / f".p2mperf-{os.getpid()}-file").symlink_to(victim)
    replace_file(directory / "file", lambda path: path.write_text("new"))
    assert (victim.read_text(), (directory / "file").read_text()) == ("kept", "new")
    # A name that can be told in advance is not taken either.
    monkeypatch.setattr("secrets.token_hex", lambda n_bytes: "guessed")
    (directory / ".p2mperf-guessed-file").symlink_to(victim)
    with pytest.raises(ResultsError, match="File exists"):
        replace_file(directory / "file", lambda path: path.write_text("newer"))
    assert victim.read_text() == "kept"
