"""A small recording and a raw trace, ways to change their files, and what may come of reading them then."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import mutations
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import raw_pages
from made_recordings import CLONE_VM, USER, WRITE, Made
from mutations import ODD_VALUES, cut, flipped, overwritten
from outcomes import Wrong

from p2mperf.errors import BadInputError
from p2mperf.workload import recording_file
from p2mperf.workload.decode import decode
from p2mperf.workload.describing import describe
from p2mperf.workload.events import Event
from p2mperf.workload.plain import from_plain
from p2mperf.workload.raw_trace import read_raw_trace
from p2mperf.workload.recording import About, CpuCount, Recording
from p2mperf.workload.recording_checks import COLUMN_TYPES, COLUMNS, check_recording
from p2mperf.workload.sampling import sample

_ODD_NUMBERS = (
    *(0, 1, -1, 2, 7, 32, 100, 127, -128, 2**31 - 1, 2**32, 2**40),
    *(2**52, 2**62, 2**63 - 1, -(2**63)),
)


def original(directory: Path) -> tuple[Recording, bytes]:
    """A recording of a few processes, and its file."""
    made = Made()
    for pid in range(1, 9):
        made.cpu = pid % 2
        for page in range(12):
            made.fault(pid, page, WRITE | USER)
            made.data(pid, 1000 * pid + page)
        made.window(pid, 1 + pid % 2 if pid > 1 else 1, 4, 16)
        made.add(Event.NEW_TASK, pid, pid + 1, CLONE_VM if pid % 3 else 0)
        made.add(Event.SWITCH, pid, pid + 1)
        made.add(Event.EXEC, pid + 1, pid + 1)
        made.add(Event.MPROTECT, pid + 1, 5, 2 | 1 << 32)
        made.add(Event.EXIT, pid, pid, 1)
    recording = made.recording()
    counts = {cpu: CpuCount(int(n), 0, 0) for cpu, n in enumerate(np.bincount(recording.cpu))}
    recording = replace(recording, about=replace(recording.about, cpus=counts))
    path = directory / "original.parquet"
    recording_file.write_recording(recording, path)
    return recording, path.read_bytes()


def renumbered(random: Random, content: bytes) -> bytes:
    """Written anew, digest and all, with a few other numbers in one column, or without some of its events."""
    recording = _read(content)
    columns = {name: getattr(recording, name).copy() for name in COLUMNS}
    name = random.choice(COLUMNS)
    bounds = np.iinfo(COLUMN_TYPES[name])
    n_events = recording.n_events
    if random.random() < 0.2:
        first, last = sorted(random.randrange(n_events + 1) for _ in range(2))
        columns = {each: column[first:last] for each, column in columns.items()}
    else:
        for _ in range(random.choice((1, 1, 3))):
            odd = random.choice((*_ODD_NUMBERS, random.randrange(-(2**63), 2**63)))
            columns[name][random.randrange(n_events)] = min(max(odd, bounds.min), bounds.max)
    changed = Recording(**columns, about=recording.about)
    counts = {
        cpu: CpuCount(int(n), 0, 0) for cpu, n in enumerate(np.bincount(np.abs(changed.cpu.astype(int)))) if n
    }
    if random.random() < 0.7:  # in step with the changed events
        changed = replace(changed, about=replace(changed.about, cpus=counts))
    return _written(changed)


def resaid(random: Random, content: bytes) -> bytes:
    """With another value in what it says of itself, or another type of a column."""
    table = pq.read_table(pa.BufferReader(content))
    metadata = dict(table.schema.metadata)
    how = random.random()
    if how < 0.7:
        about = json.loads(metadata[b"about"])
        holder, key = random.choice(list(mutations.places(about)))
        holder[key] = random.choice(ODD_VALUES)
        metadata[b"about"] = json.dumps(about).encode()
    elif how < 0.85:
        odd = (b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b"1e400", b"-1", b"99", b"1" * 5000)
        metadata[random.choice(sorted(metadata))] = random.choice(odd)
    else:
        at = random.randrange(table.num_columns)
        kind = random.choice((pa.int64(), pa.float64(), pa.string(), pa.uint8(), pa.bool_()))
        values = [None if random.random() < 0.01 else 1 for _ in range(table.num_rows)]
        column = pa.array(values).cast(kind)
        table = table.set_column(at, pa.field(table.column_names[at], kind), column)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    return bytes(sink.getvalue())


def _read(content: bytes) -> Recording:
    table = pq.read_table(pa.BufferReader(content))
    columns = {name: table.column(name).to_numpy() for name in COLUMNS[1:]}
    about = from_plain(About, json.loads(table.schema.metadata[b"about"]), "about")
    return Recording(np.cumsum(table.column("gap_ns").to_numpy()), **columns, about=about)


def _written(recording: Recording) -> bytes:
    """The file as `write_recording` makes it, of what it would refuse."""
    sink = pa.BufferOutputStream()
    recording_file._write(recording, sink)
    return bytes(sink.getvalue())


class RawOriginal:
    """A raw trace of events of every kind on two CPUs, and how to write changed ones."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "raw"
        random = Random(1)
        pages: dict[int, list[bytes]] = {}
        for cpu in range(2):
            events = [
                raw_pages.event(name, random.randint(1, 2000), random.randint(1, 9), pid=random.randint(1, 9))
                if ("pid", -4) in fields
                else raw_pages.event(name, random.randint(1, 2000), random.randint(1, 9))
                for name, fields in raw_pages.FIELDS.items()
            ]
            pages[cpu] = [raw_pages.page(10**6 * at, *events) for at in range(1, 4)]
        counts = dict.fromkeys(pages, 3 * len(raw_pages.FIELDS))
        raw_pages.write_trace(self._directory, pages, counts, until_ns=10**7)
        self._files = {path.name: path.read_bytes() for path in self._directory.iterdir()}

    def changed(self, random: Random) -> tuple[str, Path]:
        """How it was changed, and where it is."""
        for name, content in self._files.items():
            (self._directory / name).write_bytes(content)
        name = random.choice((*self._files, "trace.json"))
        if name == "trace.json":
            about = json.loads(self._files[name])
            if random.random() < 0.3:
                about.update(finished=False, cpus={})
            holder, key = random.choice(list(mutations.places(about)))
            holder[key] = random.choice(ODD_VALUES)
            content, how = json.dumps(about).encode(), "retyped"
        else:
            change = random.choice((flipped, cut, overwritten))
            content, how = change(random, self._files[name]), change.__name__
        (self._directory / name).write_bytes(content)
        return f"raw {name} {how}", self._directory


def judge_raw(directory: Path) -> str:
    """Outcome of decoding a changed raw trace: its pages have no checksums, what comes out must be possible.

    Raises
    ------
    Wrong
        When it is not.
    """
    found = decode(read_raw_trace(directory))
    try:
        check_recording(found)
    except BadInputError as error:
        raise Wrong(f"a recording that cannot be was decoded: {error}") from error
    return "decoded"


RECORDING = (flipped, flipped, cut, overwritten, renumbered, renumbered, renumbered, resaid, resaid)
_ANEW = {"renumbered", "resaid"}


def judge(path: Path, recording: Recording, how: str) -> str:
    """Outcome of reading a changed file.

    Raises
    ------
    Wrong
        When other events came out of a file that was only damaged, or a recording that cannot be.
    """
    found = recording_file.read_recording(path)
    is_same = recording_file.digest(found) == recording_file.digest(recording)
    if is_same and asdict(found.about) == asdict(recording.about):
        return "the same data"
    if how not in _ANEW and not is_same:
        raise Wrong("other events from a damaged recording")
    check_recording(found)
    describe(found)
    try:
        check_recording(sample(found, 2))
    except BadInputError as error:
        return f"other data, which is not sampled: {type(error).__name__}"
    return "other data, as it stands in the file"
