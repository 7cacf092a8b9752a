"""The checkout that is tested: its parts, and a Python of its own in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "p2mperf"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def git(*words: str) -> bytes:
    """What git says of the checkout."""
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *words]
    return subprocess.run(command, check=True, capture_output=True).stdout


def require_git(why: str) -> None:
    """Skip a test where there is no git, or no checkout of it."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip(f"no git checkout here, so {why}")


def require_history() -> None:
    """Skip a test where earlier commits are not to be had."""
    require_git("there is no history")
    if b"true" in git("rev-parse", "--is-shallow-repository"):
        pytest.skip("a shallow clone has no history")


def commits_before() -> dict[str, str]:
    """Day of each commit that led to this checkout, by its whole name.

    What a rebase left behind is not among them, though git in this directory, and in a clone that shares
    its files, still knows it: who clones from elsewhere does not get it.
    """
    lines = git("log", "--format=%H %as").decode().splitlines()
    return dict(line.split() for line in lines)


def load_tool(name: str) -> ModuleType:
    """A program of tools/, as a module that is nobody else's."""
    spec = spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool
