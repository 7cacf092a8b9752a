"""Changed journals and Parquet files, each tried in a child of its own for a while: tests/fuzz/files.py.

In the suite as many as there are in twenty seconds; `-m slow` tries a thousand. P2MPERF_FUZZ_SEED takes
another seed than 1, P2MPERF_FUZZ_CASES another number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "fuzz" / "files.py"
SECONDS = 20


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


def test_every_changed_file_is_refused_in_a_sentence_or_gives_the_same_data() -> None:
    assert fuzz("--seconds", str(SECONDS), patience=300)["cases"] >= 10


@pytest.mark.slow
def test_a_thousand_changed_files() -> None:
    n_cases = os.environ.get("P2MPERF_FUZZ_CASES", "1000")
    assert fuzz("--cases", n_cases, patience=7200)["cases"] >= int(n_cases)
