"""A small sweep and what stands in its journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sweeping import MOMENT, small_plan

from p2mperf.study.jobs import jobs

Record = dict[str, Any]
PLAN = small_plan(n_replicates=2)  # two units of two cells
KEYS = [key for job in jobs(PLAN) for key in job.keys]


def records(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def cells_of(path: Path) -> list[str]:
    return [record["cell"] for record in records(path) if record["record"] == "cell"]


def order(**changes: Any) -> Record:
    (job, *_) = jobs(small_plan(streams=("uniform",)))
    plain = job.order(MOMENT).to_json()
    return {"task": "unit", **plain, "designs": ["pv-linear"], **changes}
