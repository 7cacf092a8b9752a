"""Samples out of a results directory or file, and into files for others."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.errors import BadInputError, ResultsError, shown, unknown
from p2mperf.results.claim import has_marker
from p2mperf.results.files import (
    as_path,
    make_directory,
    remove_left_over,
    replace_file,
    status_of,
    told,
)
from p2mperf.results.frame import RunRecords, joined, to_frame
from p2mperf.results.journal import SUFFIX, Journal
from p2mperf.results.parquet import PARQUET, read_parquet, write_parquet
from p2mperf.results.runs import RunInfo, find_runs

if TYPE_CHECKING:
    import pandas as pd


def load(source: str | Path | Sequence[str | Path], run: str = "latest") -> pd.DataFrame:
    """Samples from a results directory, from one journal, from one exported Parquet file, or from several.

    Parameters
    ----------
    source : str, Path, or sequence of them
        Directory or file. Several may be of several machines: what is in them is told apart by the columns
        machine and run.
    run : str
        For a directory: ``latest`` (the newest run with a measured cell), ``all``, or a run id. A run that
        was measured on several hosts is taken whole.

    Returns
    -------
    pandas.DataFrame
        As `to_frame`.

    Raises
    ------
    ResultsError
        When there are no results, they cannot be read, or two of several hold the same run.
    BadInputError
        When there is no such run, or an empty sequence is given.
    """
    if isinstance(source, list | tuple):
        if not source:
            raise BadInputError("no results are named: give at least one directory or file")
        return joined([_load_one(as_path(each), run) for each in source])
    return _load_one(as_path(source), run)


def _load_one(source: Path, run: str) -> pd.DataFrame:
    if source.suffix == PARQUET:
        return read_parquet(source)
    if source.suffix == SUFFIX:
        return to_frame([source])
    if _is_no_directory(source):
        raise ResultsError(
            f"{told(source)} holds no results: name a directory, a {SUFFIX} or a {PARQUET} file"
        )
    return to_frame(info.path for info in _chosen(source, run))


def has_results(directory: Path) -> bool:
    """Tell whether a directory holds a run that measured anything: what commands show where none is named.

    Parameters
    ----------
    directory : Path
        As ``./results``; it need not exist.

    Returns
    -------
    bool
        False also for a directory of somebody else's.
    """
    return has_marker(directory) and any(info.n_done for info in find_runs(directory))


def export(source: Journal | str | Path, out: str | Path) -> list[Path]:
    """Write every run as ``<run>.parquet`` and ``<run>.csv``.

    Parameters
    ----------
    source : Journal, str or Path
        A journal, its file, or a results directory: then every run in it that has a finished cell.
    out : str or Path
        Directory to write to; made if missing. Files of the same names are replaced.

    Returns
    -------
    list of Path
        The files, two a run.

    Raises
    ------
    ResultsError
        When there is nothing to export, or it cannot be written.
    """
    out = as_path(out)
    if isinstance(source, Journal) or _is_no_directory(as_path(source)):
        return _export_frame(to_frame([source]), out)
    frame = to_frame(info.path for info in _chosen(as_path(source), "all"))
    runs = frame.attrs["runs"]
    written = []
    for run, samples in frame.groupby("run", sort=False):
        samples = samples.reset_index(drop=True)
        samples.attrs["runs"] = RunRecords(record for record in runs if record["run"] == run)
        written += _export_frame(samples, out)
    return written


def _is_no_directory(path: Path) -> bool:
    """Whether something is there that cannot hold journals."""
    status = status_of(path)
    return status is not None and not stat.S_ISDIR(status.st_mode)


def _chosen(directory: Path, run: str) -> list[RunInfo]:
    if not isinstance(run, str):
        raise BadInputError(f"a run is named by text, as latest, not by {shown(run)}")
    known = [info for info in find_runs(directory) if info.n_finished]
    if not known:
        raise ResultsError(
            f"no results in {told(directory)}: "
            f"`python -m p2mperf sweep --out {told(directory)}` measures some"
        )
    if run == "all":
        return known
    if run == "latest":
        run = next((info for info in reversed(known) if info.n_done), known[-1]).run
    chosen = [info for info in known if info.run == run]
    if not chosen:
        raise unknown(
            "run", run if len(run) <= 64 else f"{run[:61]}...", dict.fromkeys(info.run for info in known)
        )
    return chosen


def is_exported(info: RunInfo) -> bool:
    """Tell whether both files of a run are beside its journal.

    Parameters
    ----------
    info : RunInfo
        The run.

    Returns
    -------
    bool
    """
    return all(path.exists() for path in _files_of(info.run, info.path.parent))


def _files_of(run: str, out: Path) -> list[Path]:
    return [out / f"{run}{PARQUET}", out / f"{run}.csv"]


def _export_frame(frame: pd.DataFrame, out: Path) -> list[Path]:
    if frame.empty:
        raise ResultsError("nothing to export: the run has no finished cell yet")
    make_directory(out)
    remove_left_over(out)
    paths = _files_of(str(frame["run"].iloc[0]), out)
    replace_file(paths[0], lambda path: write_parquet(frame, path))
    replace_file(paths[1], lambda path: frame.to_csv(path, index=False, lineterminator="\n"))
    return paths
