"""Samples frames in Parquet files, each of which explains itself: units, docs, runs and machines.

What is read is held to what a journal's records are held to, so that a file that was damaged, or made by
another hand, is refused in a sentence and never gives numbers that no sweep has measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.errors import ResultsError, shown
from p2mperf.results.earlier import frame_as_today, run_as_today
from p2mperf.results.field import Field
from p2mperf.results.fields import COLUMNS, VERSION, Record, columns, footprint_column
from p2mperf.results.files import read_regular, told
from p2mperf.results.frame import RunRecords, machine_cards
from p2mperf.results.plain import decoded
from p2mperf.results.records import check_version, is_footprint_kind, validate
from p2mperf.results.samples import check_samples
from p2mperf.results.values import is_whole

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PARQUET = ".parquet"
_SCHEMA_KEY, _MACHINES_KEY, _RUNS_KEY = b"p2mperf_schema", b"p2mperf_machines", b"p2mperf_runs"
_DIGEST_KEY = b"p2mperf_digest"
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

    fields = [
        pa.field(column.name, _type_of(column), metadata={"unit": column.unit, "doc": column.doc})
        for column in _columns_of(frame.columns)
    ]
    table = pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)
    said = {_SCHEMA_KEY: json.dumps(VERSION).encode(), _RUNS_KEY: json.dumps(frame.attrs["runs"]).encode()}
    metadata = {
        **(table.schema.metadata or {}),
        **said,
        _MACHINES_KEY: json.dumps(machine_cards(frame)),
        _DIGEST_KEY: _digest(table, said),
    }
    pq.write_table(table.replace_schema_metadata(metadata), path, write_page_checksum=True)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a samples frame, of this or an earlier version.

    Raises
    ------
    ResultsError
        When the file cannot be read, is not one of ours, of a later version, or holds what no sweep gives.
    """
    import pandas as pd
    import pyarrow as pa

    table = _parquet_table(path)
    metadata = table.schema.metadata or {}
    if _SCHEMA_KEY not in metadata or _RUNS_KEY not in metadata:
        raise ResultsError(f"{told(path)} is not a file that p2mperf exported")
    if metadata.get(_DIGEST_KEY, b"") not in (b"", _digest(table, metadata)):
        raise ResultsError(f"{told(path)} is damaged: its digest is another than it was written with")
    try:
        version, runs = _version_and_runs(metadata, told(path))
        names, bare = table.column_names, table.replace_schema_metadata(None)
        _check_types(table)
        # Without the mapper a missing value would turn whole numbers beyond 2**53 into rounded floats; what
        # pandas noted in the file says nothing that the registry does not.
        nullable = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
        frame: pd.DataFrame = bare.to_pandas(types_mapper=nullable.get)
        known = _columns_of(names)
        # Files of earlier versions lack the later columns.
        frame = frame.reindex(columns=[column.name for column in known])
        frame = frame.astype({column.name: column.dtype for column in known}).fillna(_ABSENT)
        frame = frame_as_today(frame, version)
        frame.attrs = {"runs": RunRecords(run_as_today(run, version) for run in runs)}
        check_samples(frame)
    except ResultsError as error:
        raise ResultsError(f"{told(path)}: {error}") from error
    return frame


def _version_and_runs(metadata: dict[bytes, bytes], where: str) -> tuple[int, list[Record]]:
    """Version that the file was written in, and run records in its metadata, each checked as in a journal."""
    try:
        version, runs = decoded(metadata[_SCHEMA_KEY]), decoded(metadata[_RUNS_KEY])
    except ValueError as error:
        raise ResultsError("its metadata is damaged") from error
    check_version(version, where)
    if not is_whole(version) or version < 1:
        raise ResultsError(f"its schema is {shown(version)}, but must be a whole number from 1")
    if not isinstance(runs, list):
        raise ResultsError(f"its runs are {shown(runs)}, but must be a list of run records")
    found = [validate(run) for run in runs]
    if other := next((run["record"] for run in found if run["record"] != "run"), ""):
        raise ResultsError(f"one of its runs is a record of kind {other}")
    return version, found


def _parquet_table(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = read_regular(path)
    try:
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
        table.validate(full=True)
        assert all(isinstance(name, str) for name in table.column_names)
    # Arrow tells of damage by what it stumbles over: OSError for a page, ValueError for text in a name.
    except MemoryError as error:
        raise ResultsError(f"cannot read {told(path)}: it is damaged, or more than memory holds") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ResultsError(f"cannot read {told(path)}: it is damaged, or no Parquet file") from error
    return table


def _check_types(table: pa.Table) -> None:
    """Hold the columns of a file to the registry: none unknown, none missing, each of its type."""
    names = table.column_names
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ResultsError(f"it has column {shown(twice)} twice")
    known = {column.name: column for column in _columns_of(names)}
    for name, kind in zip(names, table.schema.types, strict=True):
        if name not in known:
            raise ResultsError(f"it has an unknown column {shown(name)}")
        if kind != _type_of(known[name]):
            raise ResultsError(
                f"its column {name} is of type {shown(str(kind))}, but must be {_type_of(known[name])}"
            )
    if missing := [column.name for column in COLUMNS if not column.optional and column.name not in names]:
        raise ResultsError(f"it has no column {missing[0]}")


def _type_of(column: Field) -> pa.DataType:
    import pyarrow as pa

    types = {"string": pa.string(), "Int64": pa.int64(), "UInt64": pa.uint64(), "float64": pa.float64()}
    return types[column.dtype]


def _columns_of(names: Iterable[str]) -> tuple[Field, ...]:
    """Columns of the registry, with those of the kinds of pages that are among the names."""
    parts = (name.removeprefix("footprint_").removesuffix("_pages") for name in names)
    given = set(names)
    return columns(part for part in parts if is_footprint_kind(part) and footprint_column(part).name in given)


def _digest(table: pa.Table, metadata: dict[bytes, bytes]) -> bytes:
    """Fingerprint of all that is read from a file: checksums of pages cover no names, places or metadata."""
    digest = hashlib.sha256(metadata[_SCHEMA_KEY] + b"\0" + metadata[_RUNS_KEY])
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"\0{name}\0{column.type}\0{len(column)}\0".encode())
        whole = column.combine_chunks()
        digest.update(whole.is_valid().to_numpy(zero_copy_only=False).tobytes())
        if str(column.type) == "string":
            coded = whole.dictionary_encode()
            digest.update(json.dumps(coded.dictionary.to_pylist()).encode())
            whole = coded.indices
        if str(whole.type) not in ("int32", "int64", "uint64", "double"):
            return b"unknown"
        digest.update(whole.fill_null(0).to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest().encode()
