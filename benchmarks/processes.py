"""Fresh processes: each draws a new address layout, new pages and a new place for its code."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def in_fresh_process(module: str, **arguments: Any) -> Any:
    """Call ``benchmarks.<module>.work(**arguments)`` in a new process and return what it returns.

    Parameters
    ----------
    module : str
        Name of a module of this package.
    **arguments
        Anything JSON can carry; so must be the answer.

    Raises
    ------
    RuntimeError
        When the process fails; its last words are in the message.
    """
    command = [sys.executable, "-m", "benchmarks.worker", module, json.dumps(arguments)]
    # The size of the environment moves the stack, and with it results (Mytkowicz et al., ASPLOS 2009).
    padding = {"P2MPERF_BENCHMARK_PADDING": "x" * random.randrange(4096)}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | padding, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"benchmarks.{module} failed:\n{done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)


def in_fresh_processes(module: str, n_processes: int, **arguments: Any) -> list[Any]:
    """Call ``benchmarks.<module>.work`` in so many new processes, one after the other, with seeds from 1 on.

    Parameters
    ----------
    module : str
        As `in_fresh_process` takes it.
    n_processes : int
        How many.
    **arguments
        Of all of them, beside their seeds.

    Raises
    ------
    RuntimeError
        When one of them fails.
    """
    return [in_fresh_process(module, seed=seed, **arguments) for seed in range(1, n_processes + 1)]
