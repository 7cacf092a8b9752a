"""The command line as a process: streams that are closed, full or narrow, and limits of the shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
P2MPERF = f'"{sys.executable}" -m p2mperf'
LOOKUP = "lookup --design pv-tree --size 64M 5"


def shell(line: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which P stands for the program."""
    return subprocess.run(
        ["bash", "-c", f'P() {{ {P2MPERF} "$@"; }}; {line}'],
        capture_output=True,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"} | variables,
    )


def one_sentence(done: subprocess.CompletedProcess[bytes]) -> str:
    """What was said, if it is one line of ours."""
    said = done.stderr.decode()
    assert said.startswith("p2mperf: "), said
    assert said.count("\n") == 1, said
    return said


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["--help", "limits --help", "limits"])
@pytest.mark.parametrize("stdout", [">&-", ">/dev/full"])
def test_an_answer_that_cannot_be_written_is_an_error(
    tmp_path: Path, command: str, stdout: str, unbuffered: str
) -> None:
    done = shell(f"P {command} {stdout}", tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert "cannot write to standard output: " in one_sentence(done)


@pytest.mark.parametrize("stdout", [">&-", ">/dev/full"])
def test_what_was_wrong_before_keeps_its_sentence_and_its_code(tmp_path: Path, stdout: str) -> None:
    done = shell(f"P nope {stdout}", tmp_path)
    assert done.returncode == 2
    assert "unknown command 'nope'" in one_sentence(done)


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_sentence_that_cannot_be_said_changes_no_code(tmp_path: Path, stderr: str) -> None:
    assert shell(f"P nope {stderr}", tmp_path).returncode == 2
    done = shell(f"P limits --guest-memory 400G {stderr}", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"guest    400G")


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    # The first file that is opened would be descriptor 1, and get what was meant for standard output.
    done = shell("P plot limit-area --format svg --out figures <&- >&- 2>&-", tmp_path)
    assert done.returncode == 1
    assert (tmp_path / "figures" / "limit-area.svg").read_text().startswith("<?xml")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    done = shell("P limits --question all --json | head -c 10; exit ${PIPESTATUS[0]}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"[\n  {\n    ", b"")


@pytest.mark.parametrize(
    ("name", "variables", "shown"),
    [
        ("fü", {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"}, rb"f\xfc/"),
        ("fü", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "fü/".encode()),
        ("$'f\\xff'", {"PYTHONIOENCODING": "utf-8:strict"}, b"f\xff/"),
    ],
)
def test_a_path_that_the_locale_cannot_say_is_shown_all_the_same(
    tmp_path: Path, name: str, variables: dict[str, str], shown: bytes
) -> None:
    done = shell(f"P plot limit-area --format svg --out {name}", tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


# The limit comes when the program has begun, so that no look beforehand could tell of it.
LIMITED_LATE = """
import resource, sys
from importlib import import_module
from p2mperf.cli import process
def main(argv):
    resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))
    return import_module("p2mperf.cli." + argv[0]).main(argv[1:])
sys.exit(process.run(main, sys.argv[1:]))
"""


@pytest.mark.parametrize("command", [LOOKUP, "life"])
def test_a_compiler_that_finds_no_memory_is_no_broken_design(tmp_path: Path, command: str) -> None:
    done = shell(f"\"{sys.executable}\" -c '{LIMITED_LATE}' {command}", tmp_path)
    assert done.returncode == 4
    assert "memory" in one_sentence(done)


@pytest.mark.parametrize("limit", ["-v 300000", "-v 525000", "-d 100000"])
@pytest.mark.parametrize("command", ["plot cost", "lookup --design pv-tree --size 64M 5", "doctor", "sweep"])
def test_a_limit_that_no_library_survives_is_looked_at_first(
    tmp_path: Path, limit: str, command: str
) -> None:
    # As a user has it: OpenBLAS takes memory for each processor.
    done = shell(f"unset OPENBLAS_NUM_THREADS; ulimit {limit}; P {command}", tmp_path)
    assert done.returncode == 4
    assert f"the libraries need 1G of address space and `ulimit {limit[:2]}` allows " in one_sentence(done)
    assert shell(f"ulimit {limit}; P --help", tmp_path).returncode == 0


def test_the_least_limit_that_is_taken_suffices_to_draw(tmp_path: Path) -> None:
    plot = "P plot cost --family pv --format svg"
    done = shell(f"unset OPENBLAS_NUM_THREADS; ulimit -v {1 << 20}; {plot}", tmp_path)
    assert (done.returncode, done.stdout) == (0, b"figures/cost.svg\n"), done.stderr


# A command each, and what becomes of it where the working directory was removed: "" where none is needed.
# Whatever compiles asks where it is; what finds all code compiled would not, and so is given an empty cache.
WITHOUT_DIRECTORY = {
    "--help": "",
    "info": "",
    "limits": "",
    "doctor --json": "",
    "life --design pv-tree --guest no-such": "unknown guest 'no-such'",
    "lookup --design pv-tree --size 16M 5": "the working directory is gone: change to another",
    "dump --design pv-tree --size 16M": "the working directory is gone: change to another",
    "migrate --memory 16M --dirty-rate 10 --bandwidth 1G": "the working directory is gone: change to another",
    "sweep --size 16M": "the working directory is gone: change to another",
    "compare a b": "no results in a",
    "plot limit-area": "cannot write figures to figures: No such file or directory; name another --out",
    "report --results there": "the working directory is gone: change to another",
}


@pytest.mark.parametrize("command", WITHOUT_DIRECTORY)
def test_a_working_directory_that_is_gone(tmp_path: Path, command: str) -> None:
    cache = str(tmp_path / "cache")
    done = shell(f"mkdir gone; cd gone; rmdir ../gone; P {command}", tmp_path, P2MPERF_CACHE_DIR=cache)
    if sentence := WITHOUT_DIRECTORY[command]:
        assert done.returncode == 2
        assert sentence in one_sentence(done)
    else:
        assert done.returncode == 0
        assert done.stderr == b""


def test_few_descriptors_are_told_as_that(tmp_path: Path) -> None:
    line = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))"
    done = shell(f'"{sys.executable}" -c "from p2mperf.cli import entry; {line}; entry()" {LOOKUP}', tmp_path)
    assert done.returncode == 4
    assert "no file descriptor is left" in one_sentence(done)


def test_a_fault_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    faulty = "def f(argv): open('nothing')"
    done = shell(
        f'"{sys.executable}" -c "from p2mperf.cli import process\n{faulty}\nprocess.run(f, [])"', tmp_path
    )
    assert done.returncode == 1
    assert b"Traceback" in done.stderr
    assert b"FileNotFoundError" in done.stderr
