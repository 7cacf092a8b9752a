"""A cache of compiled code that cannot be written, or is torn, is none: it costs time and stops nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TWICE = """
from p2mperf.jit import njit

@njit
def twice(x):
    return 2 * x
"""
RUN = """
import resource, sys
if sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from twice import twice
print(twice(21), twice._cache_hits.total(), type(twice._cache).__name__)
"""


def run(
    directory: Path, *limit: int, place: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Compile a function, or load it, in a process of its own; its answer, its hits, its cache."""
    (directory / "twice.py").write_text(TWICE)
    kept = {"P2MPERF_CACHE_DIR": str(directory / "cache"), "PYTHONPATH": f"{directory}:{ROOT}"}
    # Where no file may be long, Python leaves torn bytecode, and trusts it for the rest of the second.
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(
        [sys.executable, "-c", f"{place}\n{RUN}", *map(str, limit)],
        env=os.environ | kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a function was compiled and kept; each test leaves it so."""
    directory = tmp_path_factory.mktemp("filled")
    assert run(directory).stdout == "42 0 _Cache\n"
    return directory


def test_it_is_used_where_it_can_be_written(filled: Path) -> None:
    assert run(filled).stdout == "42 1 _Cache\n"


# Saves when the other process, too, has compiled, and takes its time for it.
TOGETHER = """
import sys, time
from pathlib import Path
from p2mperf import jit
from numba.core.caching import IndexDataCacheFile
from twice import twice

save, save_index = jit._Cache.save_overload, IndexDataCacheFile._save_index

def when_both_have_compiled(self, signature, data):
    Path(sys.argv[1], f"compiled-{sys.argv[2]}").touch()
    while len(list(Path(sys.argv[1]).glob("compiled-*"))) < 2:
        time.sleep(0.01)
    save(self, signature, data)

def slowly(self, index):
    time.sleep(0.3)
    save_index(self, index)

jit._Cache.save_overload, IndexDataCacheFile._save_index = when_both_have_compiled, slowly
twice(float(sys.argv[2]) if "." in sys.argv[2] else int(sys.argv[2]))
"""


def test_two_that_save_at_once_keep_both(tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(TWICE)
    environment = {"P2MPERF_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-c", TOGETHER, str(tmp_path)]
    both = [subprocess.Popen([*command, asked], env=os.environ | environment) for asked in ("21", "21.5")]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    # Each finds its own: with one file for both, one would be lost, or integers' code given a fraction.
    later = run(tmp_path, place="from twice import twice; assert twice(21.5) == 43.0")
    assert later.stdout == "42 2 _Cache\n"


@pytest.mark.parametrize("limit", [0, 64])
def test_one_that_cannot_be_written_is_none(tmp_path: Path, limit: int) -> None:
    done = run(tmp_path, limit)
    assert (done.stdout, done.stderr) == ("42 0 _Cache\n", "")
    # What was begun does not mislead who can write again.
    assert run(tmp_path).stdout == "42 0 _Cache\n"


@pytest.mark.parametrize(("suffix", "length"), [(".nbi", 40), (".nbc", 0)])
def test_one_that_was_torn_is_made_anew(filled: Path, suffix: str, length: int) -> None:
    (torn,) = (filled / "cache").glob(f"*/*/twice*{suffix}")
    torn.write_bytes(torn.read_bytes()[:length])
    done = run(filled)
    assert (done.stdout, done.stderr) == ("42 0 _Cache\n", "")
    assert run(filled).stdout == "42 1 _Cache\n"


def test_without_any_place_every_process_compiles_and_says_so(tmp_path: Path) -> None:
    no_directory = str(tmp_path / "file")
    Path(no_directory).touch()
    environment = dict.fromkeys(("P2MPERF_CACHE_DIR", "TMPDIR", "TEMP", "TMP"), no_directory)
    done = run(tmp_path, place=f"import tempfile; tempfile.tempdir = {no_directory!r}", **environment)
    assert done.stdout == "42 0 NullCache\n"
    assert done.stderr == (
        "p2mperf: there is no place to keep compiled code, so that every process compiles anew: name one in "
        "P2MPERF_CACHE_DIR\n"
    )


def test_nothing_is_kept_nor_loaded_where_nobody_looked(tmp_path: Path) -> None:
    # With its own directory closed numba would go to the one beside the source, or to the user's home.
    run(tmp_path)
    (kept,) = (tmp_path / "cache").glob(f"*/{tmp_path.name}_*")
    shutil.rmtree(kept)
    kept.touch()
    done = run(tmp_path)
    assert (done.stdout, done.stderr) == ("42 0 NullCache\n", "")
    assert not list((tmp_path / "__pycache__").glob("*.nb?"))
