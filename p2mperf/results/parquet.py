"""Samples frames in Parquet files, each of which explains itself: units, docs, runs and machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.errors import ResultsError
from p2mperf.results.fields import COLUMNS, VERSION, Field, columns
from p2mperf.results.frame import machine_cards
from p2mperf.results.records import check_version

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PARQUET = ".parquet"
_SCHEMA_KEY, _MACHINES_KEY, _RUNS_KEY = b"p2mperf_schema", b"p2mperf_machines", b"p2mperf_runs"
_ABSENT = {column.name: column.absent for column in COLUMNS if column.absent is not None}


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a samples frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `p2mperf.results.frame.to_frame` gives it.
    path : Path
        File to write.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"string": pa.string(), "Int64": pa.int64(), "UInt64": pa.uint64(), "float64": pa.float64()}
    fields = [
        pa.field(column.name, types[column.dtype], metadata={"unit": column.unit, "doc": column.doc})
        for column in _columns_of(frame.columns)
    ]
    table = pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)
    metadata = {
        **(table.schema.metadata or {}),
        _SCHEMA_KEY: json.dumps(VERSION),
        _MACHINES_KEY: json.dumps(machine_cards(frame)),
        _RUNS_KEY: json.dumps(frame.attrs["runs"]),
    }
    pq.write_table(table.replace_schema_metadata(metadata), path)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a samples frame, of this or an earlier version.

    Raises
    ------
    ResultsError
        When the file cannot be read, is not one of ours, or of a later version.
    """
    import pandas as pd
    import pyarrow as pa

    table = _parquet_table(path)
    metadata = table.schema.metadata or {}
    try:
        version, runs = (json.loads(metadata[key]) for key in (_SCHEMA_KEY, _RUNS_KEY))
    except (KeyError, ValueError) as error:
        raise ResultsError(f"{path} is not a file that p2mperf exported") from error
    check_version(version, f"{path}")
    # Without the mapper a missing value would turn whole numbers beyond 2**53 into rounded floats.
    nullable = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    known = _columns_of(frame.columns)
    # Files of earlier versions lack the later columns.
    frame = frame.reindex(columns=[column.name for column in known])
    frame = frame.astype({column.name: column.dtype for column in known}).fillna(_ABSENT)
    frame.attrs = {"runs": runs}
    return frame


def _parquet_table(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(path.read_bytes()))
    except pa.ArrowInvalid as error:
        raise ResultsError(f"cannot read {path}: it is no Parquet file") from error
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error


def _columns_of(names: Iterable[str]) -> tuple[Field, ...]:
    fixed = {column.name for column in COLUMNS}
    return columns(
        name.removeprefix("footprint_").removesuffix("_pages") for name in names if name not in fixed
    )
