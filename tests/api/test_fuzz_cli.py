"""Hostile command lines, fuzzed in children of their own for a while: tests/fuzz/cli.py.

In the suite they have fifteen seconds, so that the number of vectors is the machine's; `-m slow` runs full
counts. P2MPERF_FUZZ_SEED takes another seed than 1, P2MPERF_FUZZ_CASES other counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2mperf.cli import COMMANDS

FUZZER = Path(__file__).parents[1] / "fuzz" / "cli.py"


def fuzz(*options: str, patience: float = 300) -> dict[str, Any]:
    """Run the fuzzer; it says all it found as JSON in its last line."""
    seed = os.environ.get("P2MPERF_FUZZ_SEED", "1")
    child = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(FUZZER), "--seed", seed, *options],
        capture_output=True,
        text=True,
        timeout=patience,
    )
    assert child.stdout, child.stderr[-2000:]
    *talk, last = child.stdout.rstrip("\n").split("\n")
    report: dict[str, Any] = json.loads(last)
    assert not report["faults"], "\n".join(talk)
    return {**report, "table": talk[:-1]}


@pytest.mark.fuzz
def test_every_command_line_is_answered_with_a_documented_code() -> None:
    assert fuzz("--seconds", "15")["cases"] >= len(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_two_thousand_vectors_of_a_command(command: str, tell: Any) -> None:
    n_vectors = os.environ.get("P2MPERF_FUZZ_CASES", "2000")
    found = fuzz("--command", command, "--vectors", n_vectors, patience=7200)
    assert found["cases"] == int(n_vectors)
    # The head of the table once; a run of all commands, `python tests/fuzz/cli.py`, prints it in one piece.
    tell("\n".join(found["table"] if command == next(iter(COMMANDS)) else found["table"][1:]))
