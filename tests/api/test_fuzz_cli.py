"""Hostile command lines, fuzzed in children of their own for a while: tests/fuzz/cli.py.

In the suite they have fifteen seconds, so that the number of vectors is the machine's; `-m slow` runs full
counts. P2MPERF_FUZZ_SEED takes another seed than 1, P2MPERF_FUZZ_CASES other counts.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from fuzzing import fuzz_without_fault

from p2mperf.cli import COMMANDS


@pytest.mark.fuzz
def test_every_command_line_is_answered_with_a_documented_code() -> None:
    assert fuzz_without_fault("cli.py", "--seconds", "15")["cases"] >= len(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_two_thousand_vectors_of_a_command(command: str, tell: Any) -> None:
    n_vectors = os.environ.get("P2MPERF_FUZZ_CASES", "2000")
    found = fuzz_without_fault("cli.py", "--command", command, "--vectors", n_vectors, patience=7200)
    assert found["cases"] == int(n_vectors)
    # The head of the table once; a run of all commands, `python tests/fuzz/cli.py`, prints it in one piece.
    tell("\n".join(found["talk"][:-1] if command == next(iter(COMMANDS)) else found["talk"][1:-1]))
