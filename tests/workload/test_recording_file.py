"""A recording is read as it was written, whatever is in it; what is none is refused in one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import raw_pages

import p2mperf
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.workload import recording_checks
from p2mperf.workload.decode import decode
from p2mperf.workload.events import EVENTS, Event
from p2mperf.workload.recording import About, Recording, Whole
from p2mperf.workload.recording_file import digest, read_recording, write_recording

COLUMNS = ("time_ns", "cpu", "pid", "event", "value", "aux")
ROOT = 10


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Two CPUs' events of every kind, 600 of them."""
    random = np.random.default_rng(1)
    names = sorted(raw_pages.FIELDS)
    pages: dict[int, list[bytes]] = {}
    for cpu in range(2):
        pages[cpu] = []
        for at in range(10):
            chosen = random.integers(0, len(names), 30)
            events = [
                raw_pages.event(names[number], 100 + number, ROOT + number % 3, **values(names[number], at))
                for number in map(int, chosen)
            ]
            pages[cpu].append(raw_pages.page(10**6 * (1 + at) + cpu, *events))
    directory = tmp_path_factory.mktemp("raw")
    return decode(raw_pages.write_trace(directory, pages, {0: 300, 1: 300}))


def values(tracepoint: str, at: int) -> dict[str, int]:
    numbers = {"pid": ROOT + at % 3, "next_pid": ROOT + at, "old_pid": ROOT}
    fields = {name for name, _ in raw_pages.FIELDS[tracepoint]}
    others = {name: 4096 * (at + 1) for name in fields if name.startswith(("addr", "pte", "start", "len"))}
    return {**others, **{name: number for name, number in numbers.items() if name in fields}}


@pytest.fixture
def file(recording: Recording, tmp_path: Path) -> Path:
    write_recording(recording, tmp_path / "recording.parquet")
    return tmp_path / "recording.parquet"


def refusal(call: Callable[[], object], kind: type[Exception] = ResultsError) -> str:
    with pytest.raises(kind) as caught:
        call()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 600
    return sentence


def is_equal(one: Recording, other: Recording) -> bool:
    columns = all(
        np.array_equal(getattr(one, name), getattr(other, name))
        and getattr(one, name).dtype == getattr(other, name).dtype
        for name in COLUMNS
    )
    return columns and one.about == other.about


def test_what_was_written_is_read(recording: Recording, file: Path) -> None:
    assert set(np.unique(recording.event)) == set(map(int, EVENTS))
    found = read_recording(file)
    assert is_equal(found, recording)
    assert digest(found) == digest(recording)
    assert p2mperf.read_recording(str(file)).n_events == recording.n_events == 600


def test_parts_of_any_size_give_the_same(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 600 events in parts of 7: 86 of them, the last with 5.
    monkeypatch.setattr("p2mperf.workload.recording_file.CHUNK_EVENTS", 7)
    write_recording(recording, tmp_path / "parts.parquet")
    assert pq.read_metadata(tmp_path / "parts.parquet").num_row_groups == 86
    assert is_equal(read_recording(tmp_path / "parts.parquet"), recording)


def test_a_digest_is_of_each_column(recording: Recording) -> None:
    digests = {digest(recording)}
    for name in COLUMNS:
        column = getattr(recording, name).copy()
        column[-1] += 1
        digests.add(digest(replace(recording, **{name: column})))
    assert len(digests) == 1 + len(COLUMNS)
    assert digest(replace(recording, about=replace(recording.about, tool="other"))) in digests


def test_nothing_is_written_over_unless_forced(recording: Recording, file: Path) -> None:
    before = file.read_bytes()
    assert "is there already" in refusal(lambda: write_recording(recording, file), BadInputError)
    assert file.read_bytes() == before
    other = replace(recording, about=replace(recording.about, tool="other"))
    write_recording(other, file, force=True)
    assert read_recording(file).about.tool == "other"
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_where_nothing_can_be_written_a_sentence_says_so(recording: Recording, tmp_path: Path) -> None:
    assert "cannot write" in refusal(lambda: write_recording(recording, tmp_path / "none" / "file"))


def whole(recording: Recording, **changes: Any) -> Whole:
    counts = {event.name: int(np.count_nonzero(recording.event == event)) for event in EVENTS}
    given: dict[str, Any] = {
        "every": 2,
        "first": 1,
        "n_spaces": 4,
        "n_kept_spaces": 2,
        "n_events": counts,
        "n_faults": {"REUSE": 3},
        "gaps_ns": ((0, 2), (8, 1)),
    }
    return Whole(**{**given, **changes})


def test_a_sample_says_what_it_is_of(recording: Recording, tmp_path: Path) -> None:
    sample = replace(recording, about=replace(recording.about, whole=whole(recording)))
    write_recording(sample, tmp_path / "sample.parquet")
    assert read_recording(tmp_path / "sample.parquet").about.whole == sample.about.whole


def column(name: str, *changes: tuple[int, int]) -> Callable[[Recording], Recording]:
    def change(recording: Recording) -> Recording:
        values = getattr(recording, name).copy()
        for at, value in changes:
            values[at] = value
        return replace(recording, **{name: values})

    return change


def about(**changes: Any) -> Callable[[Recording], Recording]:
    return lambda recording: replace(recording, about=replace(recording.about, **changes))


def at_first(event: Event, name: str, value: int) -> Callable[[Recording], Recording]:
    """The first event of a kind with another value."""
    return lambda recording: column(name, (int(np.argmax(recording.event == event)), value))(recording)


NO_RECORDING: list[tuple[Callable[[Recording], Recording], str]] = [
    (column("time_ns", (5, -1)), "times do not ascend"),
    (column("time_ns", (599, 2**62 + 1)), "times do not ascend"),
    (column("time_ns", (300, 2**61)), "times do not ascend"),
    (column("cpu", (3, 2)), "a CPU that was not recorded"),
    (column("event", (3, 20)), "does not know"),
    (column("pid", (0, 2)), "threads are not numbered"),
    (column("pid", (500, 100)), "threads are not numbered"),
    (at_first(Event.FAULT_USER, "pid", 0), "happened to no thread"),
    (at_first(Event.NEW_TASK, "value", 10**6), "threads are not numbered"),
    (at_first(Event.CACHE_ADD, "aux", 9 << 32), "files are not numbered"),
    (at_first(Event.MAP_PAGES, "aux", 5), "files are not numbered"),
    (at_first(Event.FAULT_USER, "value", -1), "a value that no event has"),
    (at_first(Event.MUNMAP, "value", 1 << 52), "a value that no event has"),
    (at_first(Event.ALLOC, "value", -2), "a value that no event has"),
    (at_first(Event.EXIT_MMAP, "aux", 1), "an aux that no event has"),
    (at_first(Event.FAULT_USER, "aux", 1 << 32), "an aux that no event has"),
    (at_first(Event.ALLOC, "aux", -1), "an aux that no event has"),
    (about(complete_until_ns=5), "later than it says it is complete"),
    (about(complete_until_ns=-2), "complete_until_ns"),
    (about(cpus={}), "cpus"),
    (about(page_bytes=65536), "page_bytes"),
    (about(subbuffer_bytes=0), "subbuffer_bytes"),
    (about(tool="a\nb"), "tool is no name"),
    (about(tool="x" * 201), "tool is no name"),
    (about(gfp={"__GFP_ZERO": -1}), "gfp"),
    (about(gfp={"\n": 1}), "a name of gfp"),
    (about(formats={"FAULT_USER": "x"}), "formats"),
    (about(formats={"NONE": "a" * 64}), "formats"),
    (lambda recording: about(whole=whole(recording, every=0))(recording), "whole"),
    (lambda recording: about(whole=whole(recording, first=2))(recording), "whole"),
    (lambda recording: about(whole=whole(recording, n_kept_spaces=5))(recording), "whole"),
    (lambda recording: about(whole=whole(recording, gaps_ns=((8, 1), (0, 1))))(recording), "whole"),
    (lambda recording: about(whole=whole(recording, n_faults={"NONE": 1}))(recording), "whole"),
    (lambda recording: about(whole=whole(recording, n_events={"EXEC": 0}))(recording), "more events"),
    (
        lambda recording: replace(recording, **{name: getattr(recording, name)[:0] for name in COLUMNS}),
        "none",
    ),
    (lambda recording: replace(recording, cpu=recording.cpu[:-1]), "have 599 and 600 events"),
    (lambda recording: replace(recording, pid=recording.pid.astype(np.int64)), "column pid"),
    (
        lambda recording: replace(recording, **{name: getattr(recording, name)[:-1] for name in COLUMNS}),
        "of 300 that were read",
    ),
]


@pytest.mark.parametrize(("change", "complaint"), NO_RECORDING, ids=map(str, range(len(NO_RECORDING))))
def test_what_no_kernel_records_is_neither_written_nor_read(
    recording: Recording,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Recording], Recording],
    complaint: str,
) -> None:
    changed = change(recording)
    path = tmp_path / "changed.parquet"
    assert complaint in refusal(lambda: write_recording(changed, path), BadInputError)
    assert not path.exists()
    if complaint in ("column pid", "have 599 and 600 events", "none"):
        return  # no file can hold it
    # As another hand may have written it, digest and all.
    monkeypatch.setattr("p2mperf.workload.recording_file.check_recording", lambda _: None)
    write_recording(changed, path)
    sentence = refusal(lambda: read_recording(path))
    assert complaint in sentence
    assert str(path) in sentence


def table(change: Callable[[pa.Table], pa.Table], **options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pq.write_table(change(pq.read_table(path)), path, **options)

    return write


def said(**changes: bytes | None) -> Callable[[Path], None]:
    """The file with other metadata."""

    def change(made: pa.Table) -> pa.Table:
        known = {**made.schema.metadata, **{key.encode(): text for key, text in changes.items()}}
        return made.replace_schema_metadata({key: text for key, text in known.items() if text is not None})

    return table(change)


def told(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """The file with a changed About."""

    def write(path: Path) -> None:
        plain = json.loads(pq.read_schema(path).metadata[b"about"])
        change(plain)
        said(about=json.dumps(plain).encode())(path)

    return write


def cast(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(made: pa.Table) -> pa.Table:
        at = made.column_names.index(name)
        return made.set_column(at, pa.field(name, kind), made.column(name).cast(kind))

    return change


def lacking(made: pa.Table) -> pa.Table:
    at = made.column_names.index("pid")
    values = [None, *made.column("pid").to_pylist()[1:]]
    return made.set_column(at, pa.field("pid", pa.int32()), pa.array(values, pa.int32()))


def be_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


FOREIGN: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: path.write_bytes(b""), "damaged, or no Parquet file"),
    (lambda path: path.write_bytes(b"PAR1" + bytes(50) + b"PAR1"), "damaged, or no Parquet file"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1]), "damaged, or no Parquet file"),
    (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "damaged"),
    (lambda path: path.unlink(), "cannot read"),
    (be_directory, "it is a directory"),
    (said(format=b"other"), "p2mperf has not recorded it"),
    (said(about=None), "p2mperf has not recorded it"),
    (said(version=b"2"), "it is of version 2, and this p2mperf reads up to 1"),
    (said(version=b"0"), "its version is '0'"),
    (said(version=b"\xff"), "its version is"),
    (said(version=b"9" * 5000), "its version is"),
    (said(about=b"{"), "is no JSON"),
    (said(about=b"[" * 100_000), "nested too deeply"),
    (said(about=b"[]"), "about must be a table"),
    (said(about=b" " * (1 << 22) + b"{}"), "longer than that can be"),
    (said(digest=b"0" * 64), "its digest is another"),
    (said(digest=b"\xff"), "its digest is another"),
    (told(lambda plain: plain.pop("tool")), "about lacks tool"),
    (told(lambda plain: plain.update(surprise=1)), "about has 'surprise'"),
    (told(lambda plain: plain.update(cpus=[])), "about.cpus must be a table"),
    (told(lambda plain: plain["usage"].update(user_s=-1)), "usage"),
    (told(lambda plain: plain["usage"].update(user_s="x")), "about.usage.user_s must be a number"),
    (told(lambda plain: plain["cpus"].update({"x": plain["cpus"]["0"]})), "a whole number"),
    (told(lambda plain: plain["cpus"]["0"].update(n_read=7)), "has 300 events of CPU 0, of 7"),
    (table(lambda made: made.drop_columns(["aux"])), "its columns are not"),
    (table(lambda made: made.append_column("more", made.column("aux"))), "its columns are not"),
    (table(cast("pid", pa.int64())), "its columns are not"),
    (table(lacking), "its column pid lacks values"),
    (table(lambda made: made.slice(0, 0)), "0 events"),
    (table(lambda made: made.slice(1)), "threads are not numbered"),
    (table(lambda made: made.slice(0, 599)), "events of CPU"),
]


@pytest.mark.parametrize(("change", "complaint"), FOREIGN, ids=map(str, range(len(FOREIGN))))
def test_another_file_is_refused_in_a_sentence(
    file: Path, change: Callable[[Path], Any], complaint: str
) -> None:
    change(file)
    sentence = refusal(lambda: read_recording(file))
    assert complaint in sentence
    assert file.name in sentence


def test_a_part_that_is_too_large_is_refused_before_it_is_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2mperf.workload.recording_file.CHUNK_EVENTS", 599)
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", None)
    assert "one of its parts has 600 events" in refusal(lambda: read_recording(file))


def test_a_sweep_is_no_recording() -> None:
    from p2mperf.shipped import shipped

    assert "p2mperf has not recorded it" in refusal(lambda: read_recording(shipped("shipped")))


def test_every_bit_of_every_page_counts(recording: Recording, file: Path) -> None:
    content = file.read_bytes()
    expected = read_recording(file)
    for place in range(4, len(content) - 8, 97):
        spoilt = bytearray(content)
        spoilt[place] ^= 4
        file.write_bytes(spoilt)
        try:
            found = read_recording(file)
        except ResultsError:
            continue
        assert is_equal(found, expected) or asdict(found.about) != asdict(expected.about)
        assert digest(found) == digest(expected)


def test_about_says_no_more_than_is_declared(file: Path) -> None:
    plain = json.loads(pq.read_schema(file).metadata[b"about"])
    assert set(plain) == set(About.__dataclass_fields__)
    assert re.fullmatch("[0-9a-f]{64}", pq.read_schema(file).metadata[b"digest"].decode())


def test_checks_in_stretches_are_those_of_the_whole(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n_events in (1, 7, 600):
        monkeypatch.setattr(recording_checks, "CHUNK_EVENTS", n_events)
        recording_checks.check_recording(recording)
        late = column("time_ns", (300, int(recording.time_ns[299]) - 1))(recording)
        assert "ascend" in refusal(lambda late=late: recording_checks.check_recording(late), BadInputError)  # type: ignore[misc]
