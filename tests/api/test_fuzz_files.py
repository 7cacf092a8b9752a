"""Changed journals, Parquet files and recordings, tried in children of their own for a while: fuzz/files.py.

Some 700 of each in the suite, where figures are drawn of a few that were accepted; of all with `-m slow`.
P2MPERF_FUZZ_SEED takes another seed than 1, P2MPERF_FUZZ_CASES another number of both together.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from fuzzing import fuzz_without_fault

N_CASES = os.environ.get("P2MPERF_FUZZ_CASES", "2000")


@pytest.mark.fuzz
def test_every_changed_file_is_refused_in_a_sentence_or_gives_the_same_data() -> None:
    assert fuzz_without_fault("files.py", "--cases", N_CASES, "--use-one-in", "12", patience=600)[
        "cases"
    ] == int(N_CASES)


@pytest.mark.slow
def test_what_is_accepted_of_a_thousand_changed_files_of_each_can_be_drawn(tell: Any) -> None:
    found = fuzz_without_fault("files.py", "--cases", N_CASES, patience=7200)
    assert found["cases"] == int(N_CASES)
    tell(f"changed files: {found['outcomes']}")
