"""The knees of a machine's latency ladder, at which a plan puts its sizes."""

from __future__ import annotations

from pathlib import Path

from p2mperf.results.claim import prepare_directory
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
from p2mperf.study.executors.base import Executor, Knees
from p2mperf.study.executors.local import LocalExecutor
from p2mperf.units import flag


def measured_knees(out: str | Path, executor: Executor | None = None, *, will_write: bool = True) -> Knees:
    """Find the ladder and knees of a machine: in an earlier run in `out`, or measured now.

    A plan that depends on the knees stays the same when it is resumed.

    Parameters
    ----------
    out : str or Path
        Results directory.
    executor : Executor, optional
        Where the machine is; default: this one.
    will_write : bool
        What is measured with them is to stand in `out`, which is then seen to first.

    Returns
    -------
    Knees

    Raises
    ------
    P2mperfError
        When they could not be measured.
    ResultsError
        When `out` cannot be read, or not be written to although that is wanted.
    """
    executor = LocalExecutor() if executor is None else executor
    machine_key = executor.place().card_key
    for info in reversed(find_runs(out)):
        card = Journal.read(info.path).run["machine"]
        if info.machine_key == machine_key and card.get("knees"):
            return Knees.from_json(card)
    if flag(will_write, "will_write"):
        prepare_directory(out)
    return executor.knees()
