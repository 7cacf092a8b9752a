"""Changed journals, Parquet files and recordings, tried in children of their own for a while: fuzz/files.py.

Some 700 of each in the suite, where figures are drawn of a few that were accepted; of all with `-m slow`.
P2MPERF_FUZZ_SEED takes another seed than 1, P2MPERF_FUZZ_CASES another number of both together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[1] / "fuzz" / "files.py"
N_CASES = os.environ.get("P2MPERF_FUZZ_CASES", "2000")


def fuzz(*options: str, patience: float) -> dict[str, Any]:
    """Run the fuzzer; it says all it found as JSON in its last line."""
    seed = os.environ.get("P2MPERF_FUZZ_SEED", "1")
    child = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM), "--seed", seed, *options],
        capture_output=True,
        text=True,
        timeout=patience,
    )
    assert child.stdout, child.stderr[-2000:]
    *talk, last = child.stdout.rstrip("\n").split("\n")
    report: dict[str, Any] = json.loads(last)
    assert not report["faults"], "\n".join(talk)
    return report


@pytest.mark.fuzz
def test_every_changed_file_is_refused_in_a_sentence_or_gives_the_same_data() -> None:
    assert fuzz("--cases", N_CASES, "--use-one-in", "12", patience=600)["cases"] == int(N_CASES)


@pytest.mark.slow
def test_what_is_accepted_of_a_thousand_changed_files_of_each_can_be_drawn(tell: Any) -> None:
    found = fuzz("--cases", N_CASES, patience=7200)
    assert found["cases"] == int(N_CASES)
    tell(f"changed files: {found['outcomes']}")
