"""Journals of a test's own making, and processes that write to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import record_samples as samples

from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs

TESTS = Path(__file__).resolve().parent


def python(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    paths = {"PYTHONPATH": f"{TESTS.parents[1]}:{TESTS}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(command, text=True, env=os.environ | paths, **options)


def written(directory: Path, *records: dict[str, Any], **run: Any) -> Path:
    """Journal with a run record and these records, closed; cells that lack their unit's get one."""
    with Journal.create(directory, samples.run(**run)) as journal:
        for record in samples.with_units(*records):
            journal.append(record)
    return journal.path


def without(record: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


def numbers_of(directory: Path) -> list[int]:
    return [
        cell["replicate"]
        for info in find_runs(directory)
        for cell in Journal.read(info.path).finished_cells().values()
    ]
