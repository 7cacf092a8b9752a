"""Runs code in an interpreter of its own: what is forked from a process with threads may wait for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_started(code: str, *arguments: str, timeout_s: int = 120) -> subprocess.CompletedProcess[str]:
    """Run code, its `sys.argv` what is given; status, output and complaints as of `subprocess.run`."""
    places = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
