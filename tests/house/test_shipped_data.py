"""What ships was measured by code that is known: the hash in each file is that of the commit beside it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from checkout import ROOT, commits_before, git, require_history
from readme_tool import block, load_tool

from p2mperf.shipped import REPLAYS, SWEEPS

PAGE = (ROOT / "data" / "README.md").read_text("utf-8")
_HASH = "from p2mperf.provenance import SHOWING, source_hash; print(source_hash(SHOWING))"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool()


@cache
def hash_at(commit: str, directory: Path) -> str:
    """Hash the sources of a commit as that commit's own code does it."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "p2mperf"))) as sources:
        sources.extractall(directory, filter="data")
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    said = subprocess.run(
        [sys.executable, "-c", _HASH],
        cwd=directory,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return said.stdout.strip()


def test_the_page_is_that_of_the_files(tool: ModuleType) -> None:
    assert block(PAGE, "data") == tool.data_page.data(), "run python tools/readme.py"


@pytest.mark.parametrize("name", [*SWEEPS, *REPLAYS])
def test_the_code_that_measured_is_in_the_history(
    tool: ModuleType, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    require_history()
    commit = tool.data_page.COMMITS[name]
    assert any(known.startswith(commit) for known in commits_before())
    assert tool.data_page.codes(name) == {hash_at(commit, tmp_path_factory.getbasetemp() / commit)}


def test_what_measures_now_is_one_version(tool: ModuleType) -> None:
    # Machines that are gone aside, all that ships was measured by the same code.
    gone = {"shipped-zen3", "shipped-zen4"}
    assert len({code for name in {*SWEEPS, *REPLAYS} - gone for code in tool.data_page.codes(name)}) == 1
