"""What to do with results: commands that work exactly as they are printed."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from p2mperf.cli.installing import CHECKOUT, in_checkout
from p2mperf.cli.invocation import is_run, program


def next_steps(results: Path) -> dict[str, str]:
    """Name commands that go on from results, each with what it does.

    Parameters
    ----------
    results : Path
        Their directory.

    Returns
    -------
    dict of str to str
        Only those that this installation has: the lab needs the notebooks of a checkout.
    """
    where = shlex.quote(str(results))
    steps = {
        f"{program()} plot --results {where}": "draws the figures",
        f"{program()} report --results {where}": "writes a report on them",
    }
    if not in_checkout():
        return steps
    run = program() if is_run() else _typed(CHECKOUT / "run")
    steps[f"{run} lab"] = f'opens the notebooks; data = "{results.resolve()}" has them show these results'
    return steps


def _typed(path: Path) -> str:
    """A path as short as it can be typed here."""
    near = os.path.relpath(path)
    return shlex.quote(near if os.sep in near else f".{os.sep}{near}")
