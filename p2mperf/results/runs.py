"""The runs of a results directory, without their samples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from p2mperf.errors import DamagedResultsWarning, ResultsError
from p2mperf.results.claim import is_ours
from p2mperf.results.files import as_path, open_regular
from p2mperf.results.journal import SUFFIX, Journal, started


@dataclass(frozen=True)
class RunInfo:
    """What one journal is about, without its samples.

    Parameters
    ----------
    path : Path
        The journal.
    run, host, plan, plan_key, code, machine_key : str
        From the run record; `plan` is the plan's name.
    schema : int
        Version of its records.
    started : datetime
        Start of the run, in UTC.
    n_done, n_finished, n_cells : int
        Cells measured; cells measured or skipped for good; cells of the plan.
    ended : bool
        Whether the run came to its end.
    """

    path: Path
    run: str
    host: str
    plan: str
    plan_key: str
    code: str
    machine_key: str
    schema: int
    started: datetime
    n_done: int
    n_finished: int
    n_cells: int
    ended: bool


def find_runs(directory: str | Path) -> list[RunInfo]:
    """All journals of a results directory.

    Parameters
    ----------
    directory : str or Path
        Results directory.

    Returns
    -------
    list of RunInfo
        By start time; runs of several hosts may stand beside each other. Empty when there is no such
        directory or nothing in it.

    Raises
    ------
    ResultsError
        When the directory is not ours or of a newer schema, or when none of its journals can be read.

    Warns
    -----
    DamagedResultsWarning
        For each journal that is passed over because it cannot be read, while others can.
    """
    directory = as_path(directory)
    if not is_ours(directory):
        return []
    found, damaged = [], []
    for path in sorted(directory.glob("*" + SUFFIX)):
        try:
            if not _died_at_birth(path):
                found.append(_run_info(path))
        except ResultsError as error:
            damaged.append(error)
    if damaged and not found:
        raise damaged[0]
    for reason in damaged:
        warnings.warn(
            f"passed over, the other results are read: {reason}", DamagedResultsWarning, stacklevel=1
        )
    return sorted(found, key=lambda info: (info.started, info.path))


def _run_info(path: Path) -> RunInfo:
    journal = Journal.read(path)
    run = journal.run
    return RunInfo(
        path=path,
        run=run["run"],
        host=run["host"],
        plan=run["plan"]["name"],
        plan_key=run["plan_key"],
        code=run["code"],
        machine_key=run["machine_key"],
        schema=run["schema"],
        started=started(run),
        n_done=journal.n_done,
        n_finished=journal.n_finished,
        n_cells=run["n_cells"],
        ended=journal.is_ended,
    )


def _died_at_birth(path: Path) -> bool:
    """Whether a journal has no whole line: its process died while creating it, or is just doing so."""
    with open_regular(path) as file:
        return not file.readline().endswith(b"\n")
