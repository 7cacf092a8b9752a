"""The journal loses nothing and doubles nothing, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pandas as pd
import pyarrow.parquet as pq
import pytest
import record_samples as samples
from hypothesis import given

from p2mperf.analysis.summary import summary
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.results import fields as registry
from p2mperf.results.claim import MARKER
from p2mperf.results.export import export, load
from p2mperf.results.files import make_directory, replace_file
from p2mperf.results.frame import machine_cards, to_frame
from p2mperf.results.journal import Journal
from p2mperf.results.keys import CellSpec, UnitId
from p2mperf.results.records import validate
from p2mperf.results.runs import find_runs
from p2mperf.results.samples import as_samples
from p2mperf.shipped import shipped

TESTS = Path(__file__).resolve().parent
N_KILLS = 20


def python(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    paths = {"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(command, text=True, env=os.environ | paths, **options)


def written(directory: Path, *records: dict[str, Any], **run: Any) -> Path:
    """Journal with a run record and these records, closed; cells that lack their unit's get one."""
    with Journal.create(directory, samples.run(**run)) as journal:
        for record in samples.with_units(*records):
            journal.append(record)
    return journal.path


# ---- schema ----


def without(record: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


def in_round(**changes: Any) -> dict[str, Any]:
    return samples.cell(rounds=[samples.block(2000, 3000) | changes])


@pytest.mark.parametrize(
    "record",
    [
        samples.run(),
        samples.unit(),
        samples.unit(designs={"pv-tree": samples.design(view_page_bytes=None)}),
        samples.cell(),
        samples.cell(rounds=[samples.block(1, 2) | {"flagged": {"pv-tree": "steal"}}]),
        samples.skipped(),
        samples.skipped(status="skipped_maps", error="needs 70000 mappings"),
        samples.failed(),
        without(samples.failed(), "n_lookups"),
        samples.end(),
        samples.unit(limit_bytes=1 << 39),
        samples.cell(limit_bytes=1 << 39),
        samples.skipped(limit_bytes=1 << 39),
        # Files of version 2 that were written before keys named the limit.
        samples.unit() | {"limit_bytes": 1 << 39},
        samples.skipped() | {"limit_bytes": 1 << 39},
    ],
)
def test_right_records_pass(record: dict[str, Any]) -> None:
    validate(record)


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ("text", "a journal line is a table"),
        ({"record": "sample"}, "'record' is one of run, unit, cell, end"),
        (without(samples.run(), "host"), "run record has no 'host'"),
        (samples.run(run="../../etc"), "'run' of a run record is '../../etc', but must be 4 to 64 hex"),
        (samples.run(started="2026-11-21T10:00:00"), "'started' of a run record"),
        (samples.run(plan={"sizes": []}), "must hold the 'name' of the plan"),
        (samples.run(schema=4), "this run has results schema 4, this p2mperf knows up to 3"),
        (samples.run(schema="1"), "'schema' of a run record is '1'"),
        (samples.run(n_cells=True), "'n_cells' of a run record is True"),
        (samples.run(color="red"), "run record has an unknown field 'color'"),
        (samples.unit() | {"unit": "u"}, "'unit' of a unit record is 'u', but its fields say 'domu-32-512m/"),
        (samples.unit(limit_bytes=1 << 39) | {"limit_bytes": 0}, "'unit' of a unit record is .*/limit-5497"),
        (samples.unit() | {"unit": f"{samples.unit()['unit']}/limit-4096"}, "but its fields say .*/seed-7'"),
        (
            samples.cell(limit_bytes=1 << 39) | {"limit_bytes": None},
            "'unit' of a cell record is .*/limit-5497",
        ),
        (samples.unit(designs={"pv-tree": 1}), "design 'pv-tree' of unit domu-32-512m/"),
        (
            samples.unit(designs={"t": samples.design(footprint={"leaf-page": 1})}),
            "'footprint' of design 't'",
        ),
        (samples.unit(designs={"t": samples.design(code_form={"latency": 5})}), "'code_form' of design 't'"),
        (samples.cell() | {"operation": "fault"}, "'cell' of a cell record is"),
        (
            samples.cell(status="lost"),
            "'lost', but must be one of done, skipped_memory, skipped_maps, failed",
        ),
        (samples.cell(n_lookups=None), "is 'done' but has no 'n_lookups'"),
        (samples.cell(rounds=[]), "is 'done' but has no round"),
        (samples.skipped(have_bytes=None), "is 'skipped_memory' but has no 'have_bytes'"),
        (samples.failed(error=None), "is 'failed' but has no 'error'"),
        (samples.cell(hole_fraction=1.5), "'hole_fraction' of a cell record is 1.5, but must be a number"),
        (samples.cell(hole_fraction=float("nan")), "'hole_fraction' of a cell record is nan"),
        (samples.cell(checksum=2**64), "'checksum' of a cell record"),
        (in_round(elapsed_ns={"pv-tree": 1}), "has other designs than its 'order'"),
        (in_round(elapsed_ns={"pv-tree": 1, "pv-linear": 0}), "'elapsed_ns' of a round of cell"),
        (in_round(order=[]), "'order' of a round of cell .* names no design"),
        (in_round(order=["pv-tree", "pv-tree"]), "names a design twice"),
        (in_round(flagged={"pv-list": "steal"}), "'flagged' of a round"),
        (in_round(n_minor_faults={"pv-list": 1}), "'n_minor_faults' of a round"),
        # the tree's shortest pass of the sample takes 3000 ns; a list was timed in none
        (samples.cell(call_ns={"pv-tree": 3000}), "'call_ns' of cell .* has 3000 for 'pv-tree'"),
        (samples.cell(call_ns={"pv-list": 1}), "'call_ns' of cell .* has 1 for 'pv-list'"),
    ],
)
def test_wrong_records_are_refused_in_one_sentence(record: object, complaint: str) -> None:
    with pytest.raises(ResultsError, match=complaint) as refusal:
        validate(record)
    assert "\n" not in str(refusal.value)


def test_every_name_is_declared_once() -> None:
    names = [field.name for field in registry.FIELDS]
    assert sorted(names) == sorted(set(names))
    # What stands nowhere in a journal is a column of the frame, or it would be nothing.
    assert all(field.records or field.is_column for field in registry.FIELDS)
    assert all(field.dtype for field in registry.COLUMNS)


def test_what_tells_units_and_cells_apart_is_what_is_declared() -> None:
    of_unit, of_cell = ({field.name for field in fields(kind)} for kind in (UnitId, CellSpec))
    unit, cell = registry.RECORDS["unit"], registry.RECORDS["cell"]
    assert of_unit == set(unit) & set(cell) - {"unit"}
    # A cell's key names its unit, which says what all cells of it share.
    assert of_cell == {name for name, field in cell.items() if field.key and name not in unit}
    # Samples are of one cell whichever process took them, and however its tables were laid out.
    assert set(registry.CELL_AXES) == (of_unit | of_cell) - {"replicate", "seed", "entry_bits"}


def test_an_identity_survives_its_record() -> None:
    for limit in (0, 1 << 39):
        unit = UnitId("a/b", "pv64", 64, 4096, "kernel", 3, 7, limit)
        assert UnitId.from_json(json.loads(json.dumps(unit.to_json()))) == unit
        assert samples.unit(**asdict(unit))["unit"] == unit.key
    cell = CellSpec("pv", "uniform", 0.5, 0.25, "latency")
    assert CellSpec.from_json(samples.cell(**asdict(cell))) == cell


NAMES = ("", "a", "b", "a/b", "b/a", "a%2Fb", "a%252Fb")


def test_different_parts_give_different_keys() -> None:
    pairs = list(itertools.product(NAMES, repeat=2))
    units = {UnitId(guest, geometry, 64, 1, "4k", 0, 0).key for guest, geometry in pairs}
    cells = {CellSpec(family, stream, 0, 0, "latency").key_in("unit") for family, stream in pairs}
    # nothing coincides, so there are as many keys as pairs
    assert len(units) == len(cells) == len(pairs)


def test_units_that_differ_in_their_limit_alone_stand_beside_each_other(tmp_path: Path) -> None:
    limits = (0, 1 << 34, 1 << 39)
    records = [of(limit_bytes=limit) for limit in limits for of in (samples.unit, samples.cell)]
    journal = Journal.read(written(tmp_path, *records))
    assert len(journal.units()) == len(journal.finished_cells()) == 3
    rows = to_frame([journal]).drop_duplicates("limit_bytes")
    assert list(rows["limit_bytes"]) == list(limits)


def test_cells_whose_holes_come_otherwise_stand_beside_each_other(tmp_path: Path) -> None:
    # A cell that does not tell, as of earlier files, has its holes at random, and its key is what it was.
    plain, runs = (samples.cell(hole_fraction=0.5, **told) for told in ({}, {"hole_pattern": "runs"}))
    assert plain["cell"].endswith("/uniform/hole-0.5/identity-0.0/latency")
    assert runs["cell"] == f"{plain['cell']}/runs"
    assert CellSpec.from_json(plain).to_json().keys() == plain.keys() & CellSpec.__dataclass_fields__.keys()
    assert CellSpec.from_json(runs).hole_pattern == "runs"
    frame = to_frame([Journal.read(written(tmp_path, samples.unit(), plain, runs))])
    assert list(frame["hole_pattern"].unique()) == ["random", "runs"]
    assert set(summary(frame)["stream_label"]) == {"uniform, 50 % holes", "uniform, 50 % holes in runs"}


fractions = st.floats(0, 1)


@given(fractions, fractions)
def test_fractions_keep_their_digits_in_a_key(a: float, b: float) -> None:
    keys = [CellSpec("pv", "uniform", fraction, 0, "latency").key_in("unit") for fraction in (a, b)]
    assert (keys[0] == keys[1]) == (a == b)
    # the hole fraction is the fourth part: unit / family / stream / hole-...
    assert float(keys[0].split("/")[3].removeprefix("hole-")) == a


# ---- the journal as it is meant to be used ----


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    records = [samples.unit(), samples.cell(), samples.skipped(stream="zipf"), samples.end()]
    path = written(tmp_path / "new" / "results", *records)
    journal = Journal.read(path)
    assert path.name == "alpha-20261121T100000-0123456789ab.jsonl"
    assert journal.run == samples.run()
    assert list(journal.units().values()) == [records[0]]
    assert list(journal.finished_cells().values()) == records[1:3]
    assert journal.is_ended
    assert journal.recovered_bytes == 0
    assert json.loads((path.parent / MARKER).read_text()) == {"p2mperf_results": 3}


def test_the_file_name_is_in_utc_and_safe(tmp_path: Path) -> None:
    # 01:30 at +02:00 is 23:30 UTC of the day before
    path = written(tmp_path, host="a/b c", started="2026-11-21T01:30:00+02:00")
    assert path.name == "a_b_c-20261120T233000-0123456789ab.jsonl"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
tables = st.dictionaries(st.text(), values, max_size=3)
counts = st.integers(0, 2**63 - 1)
printable = st.text(st.characters().filter(str.isprintable), min_size=1, max_size=20)


@given(
    machine=tables,
    host=printable,
    designs=st.lists(
        printable.filter(lambda name: not name.startswith("control:")), min_size=1, max_size=3, unique=True
    ),
    checksum=st.integers(0, 2**64 - 1),
    times=st.lists(st.integers(1, 2**63 - 1), min_size=3, max_size=3),
    names=st.tuples(printable, printable, printable),
    hole_fraction=fractions,
    seed=counts,
    error=st.none() | st.text(),
)
def test_any_record_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    machine: dict[str, Any],
    host: str,
    designs: list[str],
    checksum: int,
    times: list[int],
    names: tuple[str, str, str],
    hole_fraction: float,
    seed: int,
    error: str | None,
) -> None:
    guest, stream, operation = names
    run = samples.run(machine=machine, host=host)
    unit = samples.unit(guest=guest, seed=seed, designs={name: samples.design() for name in designs})
    cell = samples.cell(
        guest=guest,
        seed=seed,
        stream=stream,
        operation=operation,
        hole_fraction=hole_fraction,
        checksum=checksum,
        error=error,
        rounds=[samples.block(*times[: len(designs)], order=tuple(designs))],
    )
    with Journal.create(tmp_path_factory.mktemp("results"), run) as journal:
        journal.append(unit)
        journal.append(cell)
    with Journal.open(journal.path) as again:
        assert again.run == run
        assert list(again.cells_with_units()) == [(cell, unit)]


def test_a_finished_cell_is_never_recorded_twice(tmp_path: Path) -> None:
    path = written(tmp_path, samples.cell(), samples.skipped(stream="zipf"))
    before = path.read_bytes()
    with Journal.open(path) as journal:
        for cell in (samples.cell(), samples.cell(stream="zipf"), samples.failed()):
            with pytest.raises(ResultsError, match="is finished already"):
                journal.append(cell)
    assert path.read_bytes() == before


def test_a_failed_cell_may_be_tried_again(tmp_path: Path) -> None:
    path = written(tmp_path, samples.failed())
    with Journal.open(path) as journal:
        assert journal.finished_cells() == {}
        assert (journal.n_done, journal.n_finished) == (0, 0)
        journal.append(samples.failed())
        journal.append(samples.unit())
        journal.append(samples.cell())
        journal.append(samples.skipped(stream="zipf"))
        assert (journal.n_done, journal.n_finished) == (1, 2)
    cells = [samples.cell(), samples.skipped(stream="zipf")]
    assert list(Journal.read(path).finished_cells().values()) == cells
    assert len(list(Journal.read(path).cells_with_units())) == 2


def test_a_cell_belongs_to_the_latest_build_of_its_unit(tmp_path: Path) -> None:
    first = samples.unit()
    second = samples.unit(designs={"pv-tree": samples.design(build_ns=5)})
    rounds = [samples.block(2000, order=("pv-tree",))]
    path = written(tmp_path, first, samples.cell(), second, samples.cell(stream="zipf", rounds=rounds))
    assert [unit for _, unit in Journal.read(path).cells_with_units()] == [first, second]


def test_the_run_record_comes_first_and_once(tmp_path: Path) -> None:
    path = written(tmp_path)
    with Journal.open(path) as journal, pytest.raises(ResultsError, match="must be the first record"):
        journal.append(samples.run())
    headless = tmp_path / "headless.jsonl"
    headless.write_text(json.dumps(samples.end()) + "\n")
    with pytest.raises(ResultsError, match=r"headless\.jsonl, line 1: the run record must be the first"):
        Journal.read(headless)


def test_what_json_cannot_hold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot be written as JSON"):
        Journal.create(tmp_path, samples.run(machine={"clock": float("nan")}))
    assert find_runs(tmp_path) == []
    assert list(tmp_path.glob("*.jsonl")) == []


def test_a_journal_that_was_only_read_takes_nothing(tmp_path: Path) -> None:
    journal = Journal.read(written(tmp_path))
    with pytest.raises(ResultsError, match="is not open for appending"):
        journal.append(samples.cell())


# ---- crashes ----


def test_a_line_torn_anywhere_is_cut_off(tmp_path: Path) -> None:
    path = written(tmp_path, samples.cell())
    whole = path.read_bytes()
    line = json.dumps(samples.cell(stream="zipf")).encode()
    torn_lines = [line[:length] + newline for length in range(len(line)) for newline in (b"", b"\n")]
    # the full line without its newline was never acknowledged either; a first b"" is no torn line
    twice_torn = b'{"record":"cell","ce\n{"rec'
    for torn in [*torn_lines[1:], line, twice_torn, b"\x00" * 4096, b"17\n", b"\xff\xfe\n"]:
        path.write_bytes(whole + torn)
        assert Journal.read(path).recovered_bytes == len(torn)
        assert path.read_bytes() == whole + torn
        with Journal.open(path) as journal:
            assert journal.recovered_bytes == len(torn)
            assert list(journal.finished_cells().values()) == [samples.cell()]
            assert path.read_bytes() == whole


def test_after_a_torn_line_the_run_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path, samples.cell())
    with path.open("ab") as file:
        file.write(b'{"record":"cell","cel')
    with Journal.open(path) as journal:
        journal.append(samples.cell(stream="zipf"))
    cells = [samples.cell(), samples.cell(stream="zipf")]
    assert list(Journal.read(path).finished_cells().values()) == cells


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"record":"cell","cel', "line 3: not a JSON record, but records follow"),
        (b"", "line 3: not a JSON record"),
        (json.dumps(without(samples.cell(), "stream")).encode(), "line 3: cell record has no 'stream'"),
        (json.dumps(samples.cell()).encode(), "line 4: cell .* is finished already"),
    ],
)
def test_damage_elsewhere_is_named_not_repaired(tmp_path: Path, line: bytes, complaint: str) -> None:
    path = written(tmp_path, samples.cell())
    *first, last = path.read_bytes().splitlines()
    content = b"\n".join([*first, line, last, b""])
    path.write_bytes(content)
    for access in (Journal.read, Journal.open, lambda _: find_runs(tmp_path)):
        with pytest.raises(ResultsError, match=rf"{path.name}, {complaint}"):
            access(path)
    assert path.read_bytes() == content


APPENDER = """
import os, sys
from pathlib import Path
import record_samples as samples
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
directory = Path(sys.argv[1])
runs = find_runs(directory)
journal = Journal.open(runs[0].path) if runs else Journal.create(directory, samples.run())
finished = journal.finished_cells()
for number in range(1_000_000):
    cell = samples.cell(replicate=number, n_lookups=number + 1)
    if cell["cell"] not in finished:
        journal.append(samples.unit_of(cell))
        journal.append(cell)
        os.write(1, f"{number}\\n".encode())
"""


def numbers_of(directory: Path) -> list[int]:
    return [
        cell["replicate"]
        for info in find_runs(directory)
        for cell in Journal.read(info.path).finished_cells().values()
    ]


def test_twenty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    generator = random.Random(2014)
    acknowledged: list[int] = []
    for number in range(N_KILLS):
        child = python(APPENDER, tmp_path / "results")
        assert child.stdout is not None
        # every other kill may hit the start of a process, the rest hit one that is appending
        first = os.read(child.stdout.fileno(), 1 << 16).decode() if number % 2 else ""
        time.sleep(generator.uniform(0, 0.06))
        child.send_signal(signal.SIGKILL)
        rest, errors = child.communicate()
        assert (child.returncode, errors) == (-signal.SIGKILL, "")
        acknowledged += [int(text) for text in (first + rest).split()]
        recorded = numbers_of(tmp_path / "results")
        # every child goes on where the file ended: 0, 1, 2 ... without gap or repetition
        assert recorded == list(range(len(recorded)))
        # no number is acknowledged twice; one that was not may be on disk, once a kill
        assert len(set(acknowledged)) == len(acknowledged)
        assert set(acknowledged) <= set(recorded)
        assert len(recorded) <= len(acknowledged) + N_KILLS
        if number % 3 == 1:
            (path,) = (info.path for info in find_runs(tmp_path / "results"))
            with path.open("ab") as file:
                file.write(path.read_bytes()[:-1].rpartition(b"\n")[2][: generator.randrange(1, 300)])
                file.write(generator.choice([b"", b"\n"]))
    (path,) = (info.path for info in find_runs(tmp_path / "results"))
    for cell in Journal.read(path).finished_cells().values():
        assert cell == samples.cell(replicate=cell["replicate"], n_lookups=cell["replicate"] + 1)


def test_a_run_killed_at_birth_is_no_run(tmp_path: Path) -> None:
    (tmp_path / ".p2mperf-17-p2mperf-results.json").write_text("")  # killed before the marker was in place
    assert find_runs(tmp_path) == []
    path = written(tmp_path, samples.cell())
    for content in (b"", b'{"record":"run"'):  # killed before the run record was whole
        (tmp_path / "beta-20261121T110000-ffff.jsonl").write_bytes(content)
        assert [info.path for info in find_runs(tmp_path)] == [path]


# ---- disks, permissions, other processes ----


def test_a_full_disk_loses_only_the_record_at_hand(tmp_path: Path) -> None:
    """A limit on the file size makes the kernel write a part of the line, as a full disk does."""
    path = written(tmp_path, samples.cell())
    before = path.read_bytes()
    script = """
import sys
import record_samples as samples
from p2mperf.errors import ResultsError
from p2mperf.results.journal import Journal
with Journal.open(sys.argv[1]) as journal:
    try:
        journal.append(samples.cell(stream="zipf"))
    except ResultsError as error:
        print(error)
    print(list(journal.finished_cells()) == [samples.cell()["cell"]])
"""
    limit_bytes = len(before) + 100
    child = python(
        script, path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes,) * 2)
    )
    output, errors = child.communicate()
    assert errors == ""
    sentence, unharmed = output.splitlines()
    assert sentence.startswith(f"cannot write to {path}: No space left on device")
    assert "give the same command again" in sentence
    assert unharmed == "True"
    assert path.read_bytes() == before
    with Journal.open(path) as journal:
        assert journal.recovered_bytes == 0
        journal.append(samples.cell(stream="zipf"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk(tiny_disk: Path) -> None:
    results = tiny_disk / "results"
    n_kept = 0

    def append_until_full(journal: Journal) -> None:
        nonlocal n_kept
        for n_kept in range(1000):
            journal.append(samples.unit(replicate=n_kept))
            journal.append(samples.cell(replicate=n_kept))

    with (
        Journal.create(results, samples.run()) as journal,
        pytest.raises(ResultsError, match="No space left on device"),
    ):
        append_until_full(journal)
    assert n_kept > 0
    assert numbers_of(results) == list(range(n_kept))
    assert Journal.read(journal.path).recovered_bytes == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_flush_takes_the_line_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = written(tmp_path, samples.unit())
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with Journal.open(path) as journal:
        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(ResultsError, match=os.strerror(code)):
            journal.append(samples.cell())
        monkeypatch.undo()
        assert path.read_bytes() == before
        journal.append(samples.cell())


def test_a_second_sweep_into_the_same_journal_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, samples.cell())
    with Journal.open(path):
        with pytest.raises(ResultsError, match="is in use by another sweep"):
            Journal.open(path)
        assert len(Journal.read(path).finished_cells()) == 1
        assert find_runs(tmp_path)[0].n_done == 1
    Journal.open(path).close()


@pytest.mark.parametrize("place", ["/proc/p2mperf-results", "/sys/p2mperf-results", "/dev/null/results"])
def test_a_place_that_cannot_be_written(place: str) -> None:
    with pytest.raises(ResultsError, match=f"cannot write results to {place}: ") as refusal:
        Journal.create(place, samples.run())
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_read_only_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = written(tmp_path, samples.cell())
    really_open = os.open

    def refuse_writing(file: Any, flags: int, *rest: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(code, os.strerror(code), file)
        return really_open(file, flags, *rest)

    monkeypatch.setattr(os, "open", refuse_writing)
    for access in (lambda: Journal.open(path), lambda: Journal.create(tmp_path, samples.run(run="beef"))):
        with pytest.raises(ResultsError, match=f"cannot write results to .*{os.strerror(code)}"):
            access()
    assert len(Journal.read(path).finished_cells()) == 1


def test_reading_opens_nothing_for_writing(tmp_path: Path) -> None:
    written(tmp_path, samples.unit(), samples.cell())
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    script = """
import os, sys
def forbid(event, arguments):
    is_write = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if is_write and str(arguments[0]).startswith(sys.argv[1]):
        raise PermissionError(arguments[0])
sys.addaudithook(forbid)
from p2mperf.results.export import load
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
(info,) = find_runs(sys.argv[1])
assert len(Journal.read(info.path).finished_cells()) == 1
print(len(load(sys.argv[1])))
try:
    Journal.open(info.path)
except Exception as error:
    print(type(error).__name__)
"""
    output, errors = python(script, tmp_path).communicate()
    # 2 rounds of 2 designs; the last line shows that the guard of this test works
    assert (output.split(), errors) == (["4", "ResultsError"], "")
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def every_access(directory: Path) -> list[Callable[[], object]]:
    return [
        lambda: Journal.create(directory, samples.run()),
        lambda: find_runs(directory),
        lambda: load(directory),
    ]


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.jsonl").write_text("precious\n")
    for access in every_access(tmp_path):
        with pytest.raises(ResultsError, match="is not a p2mperf results directory"):
            access()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.jsonl"]


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text("precious")
    for access in every_access(file):
        with pytest.raises(ResultsError, match=f"{file}"):
            access()
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ('{"p2mperf_results": 4}', "has results schema 4, this p2mperf knows up to 3: install a newer one"),
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"p2mperf": 1}', "is damaged"),
    ],
)
def test_a_marker_we_cannot_follow(tmp_path: Path, marker: str, complaint: str) -> None:
    (tmp_path / MARKER).write_text(marker)
    for access in every_access(tmp_path):
        with pytest.raises(ResultsError, match=complaint):
            access()
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]


def test_a_journal_of_a_newer_schema(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(json.dumps(samples.run(schema=4, galaxy="M31")) + "\n")
    for access in (lambda: Journal.read(path), lambda: Journal.open(path), lambda: load(tmp_path)):
        with pytest.raises(ResultsError, match="line 1: this run has results schema 4"):
            access()


def test_runs_of_several_hosts_stand_side_by_side(tmp_path: Path) -> None:
    # 12:00 at +02:00 is 10:00 UTC, before 11:00 UTC
    later = written(tmp_path, host="alpha", run="aaaa", started="2026-11-21T11:00:00+00:00")
    records = [samples.cell(), samples.skipped(stream="zipf"), samples.failed(stream="sequential")]
    earlier = written(
        tmp_path, *records, samples.end(), host="beta", run="bbbb", started="2026-11-21T12:00:00+02:00"
    )
    infos = find_runs(tmp_path)
    assert [info.path for info in infos] == [earlier, later]
    # of the three cells one was measured, and the failed one is not finished
    assert [(info.host, info.n_done, info.n_finished, info.n_cells, info.ended) for info in infos] == [
        ("beta", 1, 2, 2, True),
        ("alpha", 0, 0, 2, False),
    ]
    assert infos[0].machine_key == "fee1"
    assert infos[0].plan == "quick"


# ---- the samples frame ----

# The order of the columns is part of the format: other people's scripts count on it.
CSV_HEADER = (
    "run,host,machine,code,plan,guest,geometry,entry_bits,guest_pages,guest_bytes,backing,limit_bytes,replicate,"
    "seed,boot,family,design,stream,hole_fraction,identity_fraction,operation,preamble,hole_pattern,status,error,"
    "round,position,n_lookups,"
    "elapsed_ns,cost_ns,n_pages_grown,n_vmas_grown,checksum,n_involuntary_switches,n_steal_ticks,flagged,visit,n_minor_faults,call_ns,"
    "warm_ns,timed_ns,cell_ns,code_form,view_page_bytes,build_ns,"
    "mfn_generation_ns,n_vmas,page_table_bytes,memory_bytes,predicted_memory_bytes,need_bytes,have_bytes,"
    "footprint_leaf_pages,footprint_top_pages"
)


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    flagged = samples.cell()
    flagged["rounds"][1]["flagged"] = {"pv-tree": "steal"}
    flagged["rounds"][1]["n_steal_ticks"]["pv-tree"] = 4
    records = [samples.unit(), flagged, samples.skipped(stream="zipf"), samples.failed(stream="sequential")]
    return written(tmp_path / "results", *records)


def test_one_row_a_design_and_round(journal_path: Path) -> None:
    frame = to_frame([journal_path])
    columns = registry.columns(["top", "leaf"])
    assert list(frame.columns) == [column.name for column in columns]
    assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in columns]
    done = frame[frame["status"] == "done"]
    # elapsed of the sample records over their 1000 lookups, in the order timed
    facts = ["round", "position", "design", "cost_ns", "n_steal_ticks", "flagged"]
    assert list(done[facts].itertuples(index=False, name=None)) == [
        (0, 0, "pv-linear", 2.0, 0, ""),
        (0, 1, "pv-tree", 3.0, 0, ""),
        (1, 0, "pv-tree", 3.3, 4, "steal"),
        (1, 1, "pv-linear", 2.2, 0, ""),
    ]
    assert set(done["checksum"]) == {2**64 - 1}
    assert set(done["guest_bytes"]) == {512 * 2**20}
    assert set(done["code_form"]) == {"scalar"}
    assert set(done["machine"]) == {"fee1"}
    # the list has no top page: missing, not zero
    assert list(done["footprint_top_pages"].isna()) == [True, False, False, True]
    assert machine_cards(frame) == {"fee1": samples.MACHINE}


def test_a_control_is_built_like_its_design(tmp_path: Path) -> None:
    names = ("pv-tree", "control:pv-tree")
    frame = to_frame(
        [written(tmp_path, samples.unit(), samples.cell(rounds=[samples.block(8, 9, order=names)]))]
    )
    assert list(frame["design"]) == list(names)
    assert list(frame["footprint_top_pages"]) == [1, 1]
    assert list(frame["code_form"]) == ["scalar", "scalar"]


def test_cells_that_were_not_measured_have_one_row(journal_path: Path) -> None:
    frame = to_frame([Journal.read(journal_path)])
    rest = frame[frame["status"] != "done"]
    assert list(rest["status"]) == ["skipped_memory", "failed"]
    assert list(rest["stream"]) == ["zipf", "sequential"]
    assert list(rest["error"]) == ["", "the process died with signal 7"]
    assert rest["need_bytes"].iloc[0] == 2**40
    assert rest["have_bytes"].iloc[0] == 2**34
    for name in ("design", "round", "elapsed_ns", "cost_ns", "checksum", "build_ns"):
        assert rest[name].isna().all(), name


def test_a_run_may_go_on_after_another_boot(tmp_path: Path) -> None:
    """Each process says in which boot it ran; one of an earlier version does not."""
    with Journal.create(tmp_path, samples.run()) as journal:
        for replicate, boot in enumerate([{"boot": "b001"}, {"boot": "b002"}, {}]):
            journal.append(samples.unit(replicate=replicate) | boot)
            journal.append(samples.cell(replicate=replicate))
    boots = load(tmp_path).groupby("replicate")["boot"].unique().map(list).tolist()
    assert boots == [["b001"], ["b002"], [""]]
    exported, _ = export(tmp_path, tmp_path / "out")
    assert load(exported)["boot"].tolist() == load(tmp_path)["boot"].tolist()


def test_no_journal_gives_an_empty_frame_of_the_same_columns() -> None:
    frame = to_frame([])
    assert list(frame.columns) == [column.name for column in registry.COLUMNS]
    assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in registry.COLUMNS]


def test_parquet_gives_back_the_same_frame(journal_path: Path, tmp_path: Path) -> None:
    frame = to_frame([journal_path])
    parquet, _ = export(journal_path, tmp_path / "out")
    assert parquet.name == "0123456789ab.parquet"
    pd.testing.assert_frame_equal(load(parquet), frame, check_exact=True)
    assert machine_cards(load(parquet)) == machine_cards(frame)


def test_parquet_explains_itself(journal_path: Path, tmp_path: Path) -> None:
    parquet, _ = export(journal_path, tmp_path / "out")
    stored = pq.read_schema(parquet)
    for column in registry.columns(["leaf", "top"]):
        metadata = stored.field(column.name).metadata
        assert (metadata[b"unit"].decode(), metadata[b"doc"].decode()) == (column.unit, column.doc)
    cards = json.loads(stored.metadata[b"p2mperf_machines"])
    assert cards == {"fee1": samples.MACHINE}
    # who reads it without p2mperf gets exact integers too
    assert str(pd.read_parquet(parquet)["checksum"].dtype) == "UInt64"


def test_csv_has_its_columns_in_order_and_the_same_numbers(journal_path: Path, tmp_path: Path) -> None:
    _, csv = export(journal_path, tmp_path / "out")
    assert csv.read_text().splitlines()[0] == CSV_HEADER
    frame = to_frame([journal_path])
    again = pd.read_csv(
        csv, dtype={column.name: column.dtype for column in registry.columns(["leaf", "top"])}
    )
    exact = [name for name in frame if frame[name].dtype != "string"]
    pd.testing.assert_frame_equal(again[exact], frame[exact], check_exact=True)


def test_growth_and_limit_of_a_unit_stand_in_its_samples(tmp_path: Path) -> None:
    cell = samples.cell(operation="set")
    for block in cell["rounds"]:
        block["n_pages_grown"], block["n_vmas_grown"] = {"pv-tree": 129}, {"pv-tree": -1}
    frame = to_frame([written(tmp_path, samples.unit() | {"limit_bytes": 1 << 39}, cell)])
    tree = frame[frame["design"] == "pv-tree"]
    assert set(tree["n_pages_grown"]) == {129}
    assert set(tree["n_vmas_grown"]) == {-1}
    assert frame[frame["design"] != "pv-tree"]["n_pages_grown"].isna().all()
    assert set(frame["limit_bytes"]) == {1 << 39}


def test_results_of_the_first_version_can_be_read(journal_path: Path, tmp_path: Path) -> None:
    # Version 1 knew neither a limit nor growth: tables had room for the map alone.
    old = tmp_path / "old" / journal_path.name
    make_directory(old.parent)
    old.write_text(
        journal_path.read_text().replace('"schema":3', '"schema":1').replace('"schema": 3', '"schema": 1')
    )
    assert Journal.read(old).run["schema"] == 1
    frame = load(old)
    assert set(frame["limit_bytes"]) == {0}
    parquet, _ = export(old, tmp_path / "out")
    table = pq.read_table(parquet).drop_columns(
        ["limit_bytes", "n_pages_grown", "n_vmas_grown"]
        + ["visit", "n_minor_faults", "call_ns", "warm_ns", "timed_ns", "cell_ns"]
    )
    # ... nor a digest of the file.
    said = {key: value for key, value in table.schema.metadata.items() if key != b"p2mperf_digest"}
    pq.write_table(table.replace_schema_metadata(said | {b"p2mperf_schema": b"1"}), parquet)
    pd.testing.assert_frame_equal(load(parquet), frame)


def test_a_directory_is_exported_run_by_run(journal_path: Path, tmp_path: Path) -> None:
    results = journal_path.parent
    written(results, samples.unit(), samples.cell(), host="beta")  # the same run on a second host
    written(results, samples.cell(), run="beef", started="2026-11-22T10:00:00+00:00")
    written(results, run="dead", started="2026-11-23T10:00:00+00:00")  # nothing finished
    paths = export(results, tmp_path / "out")
    suffixes = (".parquet", ".csv")
    assert [path.name for path in paths] == [
        run + suffix for run in ("0123456789ab", "beef") for suffix in suffixes
    ]
    first, second = load(paths[0]), load(paths[2])
    # 4 samples and 2 cells without any from alpha, 4 samples from beta
    assert dict(first["host"].value_counts()) == {"alpha": 6, "beta": 4}
    assert [run["host"] for run in first.attrs["runs"]] == ["alpha", "beta"]
    assert [run["run"] for run in second.attrs["runs"]] == ["beef"]
    pd.testing.assert_frame_equal(load(results, run="0123456789ab"), first)


def test_export_that_fails_leaves_the_old_file(
    journal_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    before = {path.name: path.read_bytes() for path in export(journal_path, out)}

    def fail(table: object, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(ResultsError, match="No space left on device"):
        export(journal_path, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_latest_is_the_newest_run_that_measured_something(tmp_path: Path) -> None:
    for number, records in enumerate([[samples.cell()], [samples.cell()], [samples.skipped()], []], start=1):
        written(tmp_path, *records, run=f"000{number}", started=f"2026-11-2{number}T10:00:00+00:00")
    assert set(load(tmp_path)["run"]) == {"0002"}
    assert list(load(tmp_path, run="all")["run"].unique()) == ["0001", "0002", "0003"]
    assert set(load(tmp_path, run="0001")["run"]) == {"0001"}
    with pytest.raises(BadInputError, match="unknown run '0009'"):
        load(tmp_path, run="0009")


def test_where_there_is_nothing_the_command_is_named(tmp_path: Path) -> None:
    empty, begun = tmp_path / "empty", tmp_path / "begun"
    empty.mkdir()
    written(begun)
    for directory in (tmp_path / "missing", empty, begun):
        with pytest.raises(ResultsError, match=f"python -m p2mperf sweep --out {directory}"):
            load(directory)
    with pytest.raises(ResultsError, match="nothing to export"):
        export(find_runs(begun)[0].path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("a.parquet", "no Parquet file"), ("a.jsonl", "holds no run record"), ("a.csv", "holds no results")],
)
def test_files_that_are_no_results(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / name).write_text("nothing of ours")
    with pytest.raises(ResultsError, match=complaint):
        load(tmp_path / name)


def test_a_parquet_file_of_others(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ResultsError, match="is not a file that p2mperf exported"):
        load(tmp_path / "a.parquet")
    with pytest.raises(ResultsError, match="No such file"):
        load(tmp_path / "b.parquet")


def test_importing_the_room_is_light() -> None:
    script = """
import sys
import p2mperf.analysis.compare, p2mperf.results.export
print([name for name in ("pandas", "numpy", "pyarrow") if name in sys.modules])
"""
    assert python(script).communicate() == ("[]\n", "")


def test_nothing_is_written_through_a_link_that_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, directory = tmp_path / "victim", tmp_path / "shared"
    victim.write_text("kept")
    directory.mkdir()
    (directory / f".p2mperf-{os.getpid()}-file").symlink_to(victim)
    replace_file(directory / "file", lambda path: path.write_text("new"))
    assert (victim.read_text(), (directory / "file").read_text()) == ("kept", "new")
    # A name that can be told in advance is not taken either.
    monkeypatch.setattr("secrets.token_hex", lambda n_bytes: "guessed")
    (directory / ".p2mperf-guessed-file").symlink_to(victim)
    with pytest.raises(ResultsError, match="File exists"):
        replace_file(directory / "file", lambda path: path.write_text("newer"))
    assert victim.read_text() == "kept"


def test_what_a_call_costs_is_taken_off(tmp_path: Path) -> None:
    cell = samples.cell(call_ns={"pv-tree": 200}, warm_ns=7000, cell_ns=20_000)
    for number, block in enumerate(cell["rounds"]):
        block |= {"visit": number // 2, "n_minor_faults": {"pv-tree": 3}}
    frame = to_frame([written(tmp_path, samples.unit(), cell)])
    tree, linear = (frame[frame["design"] == name] for name in ("pv-tree", "pv-linear"))
    # 3000 and 2200 ns of 1000 lookups, less 200; of the list no call was timed
    assert list(tree["elapsed_ns"]) == [3000, 3300]
    assert list(tree["cost_ns"]) == [2.8, 3.1]
    assert list(linear["cost_ns"]) == [2.0, 2.2]
    assert (set(tree["call_ns"]), set(linear["call_ns"])) == ({200}, {0})
    assert set(tree["n_minor_faults"]) == {3}
    assert linear["n_minor_faults"].isna().all()
    assert (set(frame["visit"]), set(frame["warm_ns"]), set(frame["cell_ns"])) == ({0}, {7000}, {20_000})
    parquet, _ = export(next(tmp_path.glob("*.jsonl")), tmp_path / "out")
    pd.testing.assert_frame_equal(load(parquet), frame)


def test_copies_of_a_frame_share_its_run_records() -> None:
    frame = load(shipped())
    (run, *_) = frame.attrs["runs"]
    for copied in (frame.copy(), frame[frame["round"] == 0], as_samples(frame)):
        assert copied.attrs["runs"] is not frame.attrs["runs"]
        assert copied.attrs["runs"] == frame.attrs["runs"]
        assert copied.attrs["runs"][0] is run
