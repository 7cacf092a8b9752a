"""A recording in one Parquet file: its columns, packed small, and all that is known of how it was taken."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, ResultsError, shown
from p2mperf.host.memory import require_memory
from p2mperf.interrupts import interrupts_held
from p2mperf.results.files import as_path, open_regular, replace_file, status_of, told
from p2mperf.results.plain import decoded
from p2mperf.shipped import RECORDINGS, shipped
from p2mperf.units import flag
from p2mperf.workload.plain import from_plain
from p2mperf.workload.recording import About, Recording
from p2mperf.workload.recording_checks import (
    CHUNK_EVENTS,
    COLUMN_TYPES,
    COLUMNS,
    Checks,
    Column,
    check_about,
    check_recording,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FORMAT = "p2mperf-trace"
VERSION = 1
_FORMAT_KEY, _VERSION_KEY, _ABOUT_KEY, _DIGEST_KEY = b"format", b"version", b"about", b"digest"
_LONGEST_ABOUT = 1 << 22
_MOST_EVENTS = 1 << 31
# A column has its own values, or a dictionary of them, and lengths of runs beside: a few bytes more at most.
_MOST_EVENT_BYTES = 64
_MORE_BYTES = 1 << 22
_ZSTD_LEVEL = 12
# Times are kept as what has passed since the event before: the first since the recording began.
_STORED = {"gap_ns" if name == "time_ns" else name: kind for name, kind in COLUMN_TYPES.items()}


def digest(recording: Recording) -> str:
    """Fingerprint of a recording's columns.

    Parameters
    ----------
    recording : Recording
        Any.

    Returns
    -------
    str
        SHA-256 of its columns one after the other, each with its name, little-endian; in hexadecimal digits.
    """
    return _digest_of({name: getattr(recording, name) for name in COLUMNS})


def write_recording(recording: Recording, path: str | Path, *, force: bool = False) -> None:
    """Write a recording, so that it is there whole or not at all.

    Parameters
    ----------
    recording : Recording
        What to write.
    path : str or Path
        File to make.
    force : bool
        Write over a file that is there.

    Raises
    ------
    BadInputError
        When it is no recording that can be, or there is a file of that name.
    ResultsError
        When the file cannot be written.
    """
    force = flag(force, "force")
    check_recording(recording)
    path = refuse_existing(path, force)
    replace_file(path, lambda temporary: _write(recording, temporary))


def refuse_existing(path: str | Path, force: bool = False) -> Path:
    """Refuse to write over a file, before any work is done for it.

    Parameters
    ----------
    path : str or Path
        File to make.
    force : bool
        Whether it may be written over.

    Returns
    -------
    Path

    Raises
    ------
    BadInputError
        When it is there.
    """
    path, force = as_path(path), flag(force, "force")
    if not force and status_of(path) is not None:
        raise BadInputError(f"{told(path)} is there already: name another file, or --force it to be replaced")
    return path


def _write(recording: Recording, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    said = {
        _FORMAT_KEY: FORMAT.encode(),
        _VERSION_KEY: str(VERSION).encode(),
        _ABOUT_KEY: json.dumps(asdict(recording.about), allow_nan=False).encode(),
        _DIGEST_KEY: digest(recording).encode(),
    }
    fields = [pa.field(name, pa.from_numpy_dtype(kind), nullable=False) for name, kind in _STORED.items()]
    schema = pa.schema(fields, metadata=said)
    # Of the encodings that Parquet has these made the smallest files of recorded builds: 4.5 bytes an event.
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=["cpu", "event", "pid", "aux"],
        column_encoding={"gap_ns": "BYTE_STREAM_SPLIT", "value": "PLAIN"},
        write_page_checksum=True,
    ) as writer:
        last_ns = 0
        for start in range(0, recording.n_events, CHUNK_EVENTS):
            part = slice(start, start + CHUNK_EVENTS)
            columns = {name: getattr(recording, name)[part] for name in COLUMNS}
            times = columns.pop("time_ns")
            columns["gap_ns"] = np.diff(times, prepend=last_ns)
            last_ns = int(times[-1])
            writer.write_table(pa.table([columns[name] for name in _STORED], schema=schema))


def locate(source: str | Path) -> Path:
    """Find a recording's file.

    Parameters
    ----------
    source : str or Path
        As `read_recording` takes it.

    Returns
    -------
    Path

    Raises
    ------
    BadInputError
        When no file can be called so.
    ResultsError
        When it should have come with p2mperf, and has not.
    """
    return shipped(source) if isinstance(source, str) and source in RECORDINGS else as_path(source)


def read_recording(source: str | Path) -> Recording:
    """Read a recording, and check all of it.

    Parameters
    ----------
    source : str or Path
        A file that `write_recording` made, or the name of one that comes with p2mperf: "shipped-tinyconfig"
        or "shipped-defconfig".

    Returns
    -------
    Recording

    Raises
    ------
    ResultsError
        When it cannot be read, is none, is of a later version, is damaged, or holds what no kernel records.
    DoesNotFitError
        When memory does not hold it.
    """
    path = locate(source)
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_regular(path) as file:
        try:
            opened = pq.ParquetFile(file, page_checksum_verification=True)
            return _read(opened)
        except BadInputError as error:
            raise ResultsError(f"{told(path)} is no recording to rely on: {error}") from error
        except ResultsError as error:
            raise ResultsError(f"{told(path)}: {error}") from error
        # Arrow tells of damage by what it stumbles over: OSError for a page, ValueError for text in a name.
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ResultsError(f"cannot read {told(path)}: it is damaged, or no Parquet file") from error
        except MemoryError as error:
            if isinstance(error, ResultsError):
                raise
            raise ResultsError(
                f"cannot read {told(path)}: it is damaged, or more than memory holds"
            ) from error


def _read(opened: pq.ParquetFile) -> Recording:
    about, expected = _metadata(opened)
    n_events = _check_shape(opened)
    require_memory(2 * n_events * sum(kind.itemsize for kind in COLUMN_TYPES.values()), "the recording")
    whole: dict[str, Any] = {name: np.empty(n_events, kind) for name, kind in COLUMN_TYPES.items()}
    checks = Checks(about)
    start, last_ns = 0, 0
    for group in range(opened.num_row_groups):
        part = _columns(opened.read_row_group(group))
        gaps = part.pop("gap_ns")
        if gaps.size and (int(gaps.min()) < 0 or int(gaps.max()) > 1 << 62):
            raise BadInputError("its times do not ascend")
        # A sum beyond 64 bits comes out lower than before, which is refused.
        part["time_ns"] = np.cumsum(gaps) + np.int64(last_ns)
        checks.add(part)
        for name, column in whole.items():
            column[start : start + gaps.size] = part[name]
        start += gaps.size
        last_ns = int(part["time_ns"][-1]) if gaps.size else last_ns
    checks.end()
    if _digest_of(whole) != expected:
        raise BadInputError("its digest is another than it was written with")
    return Recording(**whole, about=about)


def _metadata(opened: pq.ParquetFile) -> tuple[About, str]:
    """What the file says of itself, and the digest that it should have."""
    said: dict[bytes, bytes] = opened.schema_arrow.metadata or {}
    if said.get(_FORMAT_KEY) != FORMAT.encode() or not {_VERSION_KEY, _ABOUT_KEY, _DIGEST_KEY} <= said.keys():
        raise BadInputError("p2mperf has not recorded it")
    version = said[_VERSION_KEY].decode("ascii", "replace")
    if not version.isdecimal() or len(version) > 9 or int(version) < 1:
        raise BadInputError(f"its version is {shown(version)}")
    if int(version) > VERSION:
        raise BadInputError(
            f"it is of version {version}, and this p2mperf reads up to {VERSION}: use a later one"
        )
    if len(said[_ABOUT_KEY]) > _LONGEST_ABOUT:
        raise BadInputError("what it says of itself is longer than that can be")
    try:
        plain = decoded(said[_ABOUT_KEY])
    except ValueError as error:
        raise BadInputError("what it says of itself is no JSON") from error
    about = from_plain(About, plain, "about")
    check_about(about)
    return about, said[_DIGEST_KEY].decode("ascii", "replace")


def _check_shape(opened: pq.ParquetFile) -> int:
    """Hold schema and sizes to what was written, before anything is read; the number of events."""
    import pyarrow as pa

    schema = opened.schema_arrow
    wanted = [(name, pa.from_numpy_dtype(kind)) for name, kind in _STORED.items()]
    if list(zip(schema.names, schema.types, strict=True)) != wanted:
        raise BadInputError(f"its columns are not {', '.join(_STORED)} of their types")
    groups = [opened.metadata.row_group(at) for at in range(opened.num_row_groups)]
    n_events = sum(int(group.num_rows) for group in groups)
    if not 0 < n_events <= _MOST_EVENTS or n_events != opened.metadata.num_rows:
        raise BadInputError(f"it has {n_events} events in its parts, and says {opened.metadata.num_rows}")
    for group in groups:
        if not 0 <= group.num_rows <= CHUNK_EVENTS:
            raise BadInputError(f"one of its parts has {group.num_rows} events, not up to {CHUNK_EVENTS}")
        if not 0 <= group.total_byte_size <= _MOST_EVENT_BYTES * group.num_rows + _MORE_BYTES:
            raise BadInputError(
                f"one of its parts takes {group.total_byte_size} bytes, more than its events do"
            )
    return n_events


def _columns(table: pa.Table) -> dict[str, Column]:
    found = {}
    for name, kind in _STORED.items():
        column = table.column(name)
        if column.null_count:
            raise BadInputError(f"its column {name} lacks values")
        # For the first of them pyarrow imports pandas, which it takes for missing when that is interrupted.
        with interrupts_held():
            plain = column.combine_chunks().to_numpy(zero_copy_only=False)
        found[name] = plain.astype(kind, copy=False)
    return found


def _digest_of(columns: dict[str, NDArray[np.signedinteger]]) -> str:
    made = hashlib.sha256()
    for name in COLUMNS:
        column = columns[name]
        little = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
        made.update(f"{name}:{little.dtype.str}:{little.size}:".encode())
        made.update(little.data.cast("B") if little.size else b"")
    return made.hexdigest()
