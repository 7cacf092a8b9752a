"""Two results to compare, of which every cost is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import record_samples as samples

from p2mperf.results.journal import Journal

N_PROCESSES = 6


def measured(directory: Path, *elapsed_ns: tuple[int, int], **run: Any) -> Path:
    """Run with one process for every pair of times (list, tree), 1000 lookups each."""
    with Journal.create(directory, samples.run(**run)) as journal:
        for replicate, times in enumerate(elapsed_ns):
            journal.append(samples.unit(replicate=replicate))
            journal.append(samples.cell(replicate=replicate, rounds=[samples.block(*times)] * 3))
    return directory


def rows(*ratios: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(ratios, columns=["ratio_low", "ratio", "ratio_high"])


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return measured(tmp_path / "before", *[(2000, 3000)] * N_PROCESSES)


@pytest.fixture
def after(tmp_path: Path) -> Path:
    """The list as before, the tree 20 % slower."""
    return measured(tmp_path / "after", *[(2000, 3600)] * N_PROCESSES, run="beef")
