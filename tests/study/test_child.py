"""What the process of a unit says on stderr is not shown; it is told where the process told nothing else."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from p2mperf.errors import P2mperfError
from p2mperf.study.executors.local import LocalExecutor, child


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is started in place of the interpreter, to be written by a test."""
    path = tmp_path / "python"
    path.touch(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    return path


def does(python: Path, script: str) -> None:
    python.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")


def test_what_a_child_says_is_not_the_users(python: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # More than a pipe holds, before and after its records.
    talk = "seq 50000 >&2"
    does(python, f"""{talk}; echo '{{"a": 1}}'; {talk}; echo '{{"b": 2}}'; {talk}""")
    assert list(child({})) == [{"a": 1}, {"b": 2}]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("seq 50000 >&2; echo 'LLVM ERROR: x' >&2; kill -6 $$", r"killed by signal 6 \(LLVM ERROR: x\)$"),
        ("kill -9 $$", r"killed by signal 9$"),
        ("printf 'Traceback\\nImportError: x\\n\\n' >&2; exit 1", r"ended early \(ImportError: x\)$"),
        ("printf '\\377\\033[1m%0300d' 7 >&2; exit 1", r"ended early \(.\?\[1m0*\.\.\.\)$"),
    ],
)
def test_the_last_words_of_one_that_died_are_told(
    python: Path, capfd: pytest.CaptureFixture[str], script: str, sentence: str
) -> None:
    does(python, script)
    with pytest.raises(P2mperfError, match=sentence):
        list(child({}))
    with pytest.raises(P2mperfError, match=f"the latency ladder .* could not be measured: .*{sentence}"):
        LocalExecutor().knees()
    assert capfd.readouterr() == ("", "")


def test_one_that_says_nothing_at_all_has_ended_early(python: Path) -> None:
    does(python, "exit 1")
    assert list(child({})) == []
    with pytest.raises(P2mperfError, match=r"could not be measured: its process ended early$"):
        LocalExecutor().knees()


def test_one_that_answered_has_said_it_all(python: Path) -> None:
    does(python, """echo '{"record": "error", "error": "why"}'; echo Traceback >&2; exit 1""")
    assert list(child({})) == [{"record": "error", "error": "why"}]


def test_who_keeps_its_stderr_open_keeps_nobody_waiting(python: Path) -> None:
    does(python, """sleep 60 >/dev/null & echo $!""")
    (number,) = child({})
    os.kill(cast(int, number), signal.SIGKILL)  # it is still there


def test_a_fault_of_ours_says_where_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    # An order without its parts: only we could have written one.
    (record,) = child({"task": "unit"})
    assert re.fullmatch(r"'guest' \(KeyError\) at order\.py, line \d+", record["error"])
    assert capfd.readouterr() == ("", "")


FRESH_PAGES = """
import resource, numpy as np
from p2mperf.study.unit import _keep_freed_memory
_keep_freed_memory()

def n_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(3_000_000, np.uint64)[:] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(n_faults(), n_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_units_streams_take_the_memory_of_those_before_them() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH_PAGES], capture_output=True, text=True, check=True)
    first, second = map(int, done.stdout.split())
    assert first >= 10  # of 2 MiB pages, where numpy gets them
    assert second <= first // 5
