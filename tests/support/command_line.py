"""The command line in this process: what it says, and with which code it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2mperf.cli import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--plan", "quick", "--size", "16M", "--replicates", "1")


def run(*arguments: str, stdout: int = subprocess.PIPE, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "p2mperf", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that ends with 2: one line on stderr, and nothing else."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("p2mperf: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err.removeprefix("p2mperf: ").rstrip()
