"""The journal loses nothing and doubles nothing, whatever happens to the process or the file."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import record_samples as samples
from hypothesis import given
from written_results import numbers_of, python, without, written

from p2mperf.errors import ResultsError
from p2mperf.results.claim import MARKER
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs

N_KILLS = 20

# ---- schema ----

fractions = st.floats(0, 1)

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
