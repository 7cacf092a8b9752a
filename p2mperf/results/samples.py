"""Whether a samples frame could be what a sweep has measured: it is held to what records are held to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from p2mperf.errors import BadInputError, ResultsError, shown
from p2mperf.results.field import Field
from p2mperf.results.fields import CELL_AXES, COLUMNS, RECORDS, STATUS, footprint_column
from p2mperf.results.frame import RunRecords
from p2mperf.results.grid import UNIT_AXES, refuse_stranger
from p2mperf.results.records import is_design, is_footprint_kind, validate
from p2mperf.units import PAGE_SIZE

if TYPE_CHECKING:
    import pandas as pd

# What a run's rows repeat of its record.
_ORIGIN = ("run", "host", "machine", "code", "plan")
# What a row has of one pass of one design; a cell that was not measured has none of it.
_TIMED = ("design", "round", "position", "elapsed_ns", "cost_ns")
_OF_A_PASS = (*_TIMED, "n_involuntary_switches", "n_steal_ticks")
_CELL = (*_ORIGIN, *CELL_AXES, "replicate", "seed")


def check_samples(frame: pd.DataFrame) -> None:
    """Refuse samples that no sweep can have measured.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns and dtypes as `p2mperf.results.frame.to_frame` gives them, run records in its attributes.

    Raises
    ------
    ResultsError
        Naming the first column that is wrong.
    """
    if frame.empty:
        raise ResultsError("it has no samples")
    known = {column.name: column for column in COLUMNS}
    for name in frame:
        _check_values(frame[name], known.get(str(name)) or footprint_column("any"))
    _check_present(frame)
    _check_sums(frame)
    _check_runs(frame)
    _check_unique(frame)
    _check_places(frame)


def as_samples(frame: object) -> pd.DataFrame:
    """Take what a user hands over as samples: all of what `load` gives, or any rows of it.

    Parameters
    ----------
    frame : object
        A frame that has the columns of samples, in any order, and maybe others.

    Returns
    -------
    pandas.DataFrame
        The same, its columns of the types that samples have.

    Raises
    ------
    BadInputError
        When it is no such frame, or holds what no sweep gives.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise BadInputError(f"samples are a DataFrame, as p2mperf.load gives it, not {shown(frame)}")
    if frame.columns.nlevels > 1 or not frame.columns.is_unique:
        raise BadInputError(
            "these samples have several columns of one name: take them as p2mperf.load gives them"
        )
    columns = [*COLUMNS, *map(footprint_column, _footprint_kinds(frame))]
    try:
        frame = frame.assign(**{column.name: _typed(frame, column) for column in columns})
        for column in columns:
            _check_values(frame[column.name], column)
        _check_present(frame)
        runs = _runs_of(frame)
        for run in runs:
            validate(run)
    except ResultsError as error:
        raise BadInputError(f"these samples are not as p2mperf.load gives them: {error}") from error
    if "runs" in frame.attrs:
        frame.attrs["runs"] = RunRecords(runs)
    return frame


def _footprint_kinds(frame: pd.DataFrame) -> list[str]:
    names = (name for name in frame if isinstance(name, str) and name.startswith("footprint_"))
    kinds = (name.removeprefix("footprint_").removesuffix("_pages") for name in names)
    return [kind for kind in kinds if is_footprint_kind(kind) and footprint_column(kind).name in frame]


def _typed(frame: pd.DataFrame, column: Field) -> pd.Series:
    import pandas as pd

    dtype: Any = column.dtype
    if column.name not in frame:
        if not column.optional:
            raise ResultsError(f"it has no column {column.name}")
        return pd.Series([column.absent] * len(frame), frame.index, dtype)
    values = frame[column.name]
    try:
        typed = values.astype(dtype)
        return typed if column.absent is None else typed.fillna(column.absent)
    except (TypeError, ValueError, OverflowError) as error:
        raise ResultsError(
            f"its column {column.name} is of type {values.dtype}, but must be {column.dtype}"
        ) from error


def _runs_of(frame: pd.DataFrame) -> list[Any]:
    runs = frame.attrs.get("runs")
    if runs is None:
        return []
    if not isinstance(runs, list):
        raise ResultsError(f"its runs are {shown(runs)}, but must be a list of run records")
    return runs


def _check_values(values: pd.Series, column: Field) -> None:
    """Each value for itself; of numbers the least and the greatest tell of all others."""
    there = values.dropna()
    if there.empty:
        return
    samples = (
        there.unique().tolist() if values.dtype == "string" else [there.min().item(), there.max().item()]
    )
    holds = is_design if column.name == "design" else column.cell_type.holds
    for value in samples:
        if not holds(value):
            wants = "a design's name" if column.name == "design" else column.cell_type.wants
            raise ResultsError(f"its column {values.name} has {shown(value)}, but must have {wants}")


def _check_present(frame: pd.DataFrame) -> None:
    """What each row must have, and what rows of its status must have or lack."""
    of_pass = frozenset(_OF_A_PASS)
    always = [
        *_ORIGIN,
        "guest_bytes",
        *(
            field.name
            for record in ("unit", "cell")
            for field in RECORDS[record].values()
            if field.is_column and (not field.optional or field.absent is not None)
        ),
    ]
    _need(frame, [name for name in always if name not in of_pass], "a sample")
    if wrong := next((status for status in frame["status"].unique().tolist() if status not in STATUS), None):
        raise ResultsError(f"its column status has {shown(wrong)}, but must have one of {', '.join(STATUS)}")
    for status, needed in STATUS.items():
        rows = frame[frame["status"] == status]
        named = [name for name in needed if name in frame]
        if status == "done":
            _need(rows, [*named, *_OF_A_PASS], "a sample that was measured")
            continue
        _need(rows, named, f"a cell of status {status}")
        if has := next((name for name in _TIMED if rows[name].notna().any()), None):
            raise ResultsError(f"its column {has} has a value where nothing was measured")


def _need(rows: pd.DataFrame, names: Iterable[str], whose: str) -> None:
    if lacking := next((name for name in names if rows[name].isna().any()), None):
        raise ResultsError(f"its column {lacking} lacks a value of {whose}")


def _check_sums(frame: pd.DataFrame) -> None:
    """What follows from other columns must be what follows."""
    if (frame["guest_bytes"] != frame["guest_pages"] * PAGE_SIZE).any():
        raise ResultsError("its column guest_bytes is not guest_pages in bytes")
    done = frame[frame["status"] == "done"]
    costs = (done["elapsed_ns"] - done["call_ns"]).astype("float64") / done["n_lookups"].astype("float64")
    if ((costs - done["cost_ns"]).abs() > 1e-12 * costs).any():
        raise ResultsError("its column cost_ns is not elapsed_ns less call_ns by n_lookups")


def _check_runs(frame: pd.DataFrame) -> None:
    """Every row is of a run of the metadata, and of a unit of its plan; no run is without a row."""
    runs = frame.attrs["runs"]
    told = {(run["run"], run["host"], run["machine_key"], run["code"], run["plan"]["name"]) for run in runs}
    named = set(frame[list(_ORIGIN)].drop_duplicates().itertuples(index=False, name=None))
    if not named <= told or {run["run"] for run in runs} != {name[0] for name in named}:
        raise ResultsError("its runs are others than those that its samples name")
    for run in runs:
        units = frame.loc[frame["run"] == run["run"], list(UNIT_AXES)].drop_duplicates()
        for unit in units.to_dict("records"):
            refuse_stranger(run["plan"], unit)


def _check_places(frame: pd.DataFrame) -> None:
    """Rounds of a cell, and places in a round, are counted from 0 without a gap."""
    done = frame[frame["status"] == "done"]
    if done.empty:
        return
    cell = list(_CELL)
    places = done.groupby([*cell, "round"], dropna=False)
    if (places["position"].max() + 1 != places.size()).any():
        raise ResultsError("its column position leaves out a place in a round")
    rounds = done.groupby(cell, dropna=False)["round"]
    if (rounds.max() + 1 != rounds.nunique()).any():
        raise ResultsError("its column round leaves out a round of a cell")


def _check_unique(frame: pd.DataFrame) -> None:
    """No design is timed twice in a round, no two have one place in it, and no cell has two ends."""
    cell = list(_CELL)
    for name in ("design", "position"):
        if frame.duplicated([*cell, "round", name]).any():
            raise ResultsError(f"its column {name} names one pass twice")
    if frame[[*cell, "status"]].drop_duplicates().duplicated(cell).any():
        raise ResultsError("one of its cells has two statuses")
