"""Running the fuzzers of tests/fuzz, each in a child of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PROGRAMS = Path(__file__).parents[1] / "fuzz"


def fuzz(program: str, *options: str, patience: float = 300) -> dict[str, Any]:
    """Run a fuzzer; it says all it found as JSON in its last line, and `talk` has the lines before."""
    child = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(_PROGRAMS / program), *options],
        capture_output=True,
        text=True,
        timeout=patience,
    )
    assert child.stdout, child.stderr[-2000:]
    *talk, last = child.stdout.rstrip("\n").split("\n")
    report: dict[str, Any] = json.loads(last)
    return {**report, "talk": talk}


def fuzz_without_fault(program: str, *options: str, patience: float = 300) -> dict[str, Any]:
    """Run a fuzzer from the seed that the environment wishes; what it says of a fault is shown."""
    report = fuzz(program, "--seed", os.environ.get("P2MPERF_FUZZ_SEED", "1"), *options, patience=patience)
    assert not report["faults"], "\n".join(report["talk"])
    return report
