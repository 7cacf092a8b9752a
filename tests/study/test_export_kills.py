"""A sweep killed between its end and its export: the same command exports it, and measures nothing again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import record_samples as samples
from written_results import written

from p2mperf.results.export import export, load
from p2mperf.results.files import replace_file
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs

ROOT = Path(__file__).resolve().parents[2]
ONE_CELL = ("--size", "16M", "--stream", "uniform", "--operation", "latency", "--replicates", "1")
SWEEP = ("sweep", "--plan", "quick", *ONE_CELL)

# Dies by SIGKILL when something is called for the nth time; nothing of the package knows of this.
DIES = """
import importlib, os, signal, sys
from p2mperf.cli import process, main
module, name, wanted, when = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
owner = importlib.import_module(module)
*path, name = name.split(".")
for part in path:
    owner = getattr(owner, part)
kept, calls = getattr(owner, name), []
def dying(*arguments, **options):
    calls.append(name)
    if len(calls) == wanted and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    done = kept(*arguments, **options)
    if len(calls) == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
setattr(owner, name, dying)
process.run(main, sys.argv[5:])
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)


def left_over(directory: Path) -> list[Path]:
    return list(directory.glob(".p2mperf-*"))


def dying(out: Path, module: str, name: str, number: int, when: str) -> None:
    """Sweep, or go on with one, until something is called for the nth time."""
    dead = run("-c", DIES, module, name, str(number), when, *SWEEP, f"--out={out}")
    assert dead.returncode == -signal.SIGKILL, dead.stderr


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a sweep that died after its last record."""
    out = tmp_path_factory.mktemp("ended") / "results"
    dying(out, "p2mperf.cli.sweep", "_report", 1, "before")
    return out


@pytest.mark.parametrize(
    ("death", "n_left"),
    [
        (None, 0),
        (("p2mperf.results.parquet", "_digest", 1, "after"), 1),
        (("p2mperf.results.files", "_flush", 1, "before"), 1),
        (("p2mperf.results.export", "replace_file", 1, "after"), 0),
        (("p2mperf.results.export", "replace_file", 2, "before"), 0),
    ],
    ids=[
        "after the last record",
        "in the table",
        "in the first file",
        "between the files",
        "before the second",
    ],
)
def test_a_sweep_that_dies_before_its_export(
    ended: Path, tmp_path: Path, death: tuple[str, str, int, str] | None, n_left: int
) -> None:
    out = Path(shutil.copytree(ended, tmp_path / "results"))
    (info,) = find_runs(out)
    assert info.ended
    before = info.path.read_bytes()
    if death:
        dying(out, *death)
        assert info.path.read_bytes() == before
    assert len(left_over(out)) == n_left
    n_samples = sum(len(cell["rounds"]) * 2 for cell in Journal.read(info.path).finished_cells().values())
    assert len(load(out)) == n_samples
    done = run("-m", "p2mperf", *SWEEP, f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert f"{info.path.name} came to its end but was not exported" in done.stderr
    assert info.path.read_bytes() == before
    assert [run.path for run in find_runs(out)] == [info.path]
    exported, kept = load(out / f"{info.run}.parquet"), load(out)
    assert exported.equals(kept)
    assert len(kept) == n_samples
    assert (out / f"{info.run}.csv").is_file()
    assert left_over(out) == []


def test_what_is_being_written_is_not_taken_for_left_over(tmp_path: Path) -> None:
    """Nor anything else that nobody of ours has left: an export may go to any directory."""
    path = written(tmp_path / "results", samples.cell())
    out = tmp_path / "out"
    out.mkdir()
    others = [".p2mperf-notes", ".p2mperf-17-p2mperf-results.json", ".p2mperf-0123456789abcdef-link"]
    for name in others[:2]:
        (out / name).write_text("mine")
    (out / others[2]).symlink_to(others[0])
    killed = [out / ".p2mperf-fedcba9876543210", out / ".p2mperf-fedcba9876543210-beef.csv"]
    for dead in killed:
        dead.write_text("torn")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        export(path, out)
        assert temporary.read_text() == "half"
        temporary.write_text("whole")

    replace_file(out / "other.csv", write)
    assert (out / "other.csv").read_text() == "whole"
    assert sorted(path.name for path in left_over(out)) == sorted(others)
