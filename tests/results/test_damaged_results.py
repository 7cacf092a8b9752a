"""Results of any kind are read or refused in one sentence: no hang, no traceback, no number made up."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import record_samples as samples
from damaged_files import DEEP, GRID, refusal
from written_results import python, written

from p2mperf import api
from p2mperf.errors import BadInputError, DamagedResultsWarning
from p2mperf.results.claim import MARKER, claim_directory
from p2mperf.results.export import export, load
from p2mperf.results.journal import Journal
from p2mperf.results.records import validate
from p2mperf.results.runs import find_runs

# ---- what is no file ----

READER = """
import sys
from p2mperf.errors import P2mperfError
from p2mperf.results.export import export, load
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
doors = {"load": load, "read": Journal.read, "open": Journal.open, "find": find_runs, "export": export}
for line in sys.stdin:
    door, *arguments = line.split()
    try:
        doors[door](*arguments)
    except P2mperfError as error:
        print(error, flush=True)
"""


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as ear:
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            ear.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize("make", [fifo, device, listener])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    journal, parquet, directory = tmp_path / "a.jsonl", tmp_path / "a.parquet", tmp_path / "marked"
    directory.mkdir()
    for path in (journal, parquet, directory / MARKER):
        make(path)
    inside = claim_directory(tmp_path / "inside")
    make(inside / "b.jsonl")
    calls = [
        ("load", journal),
        ("load", parquet),
        ("load", directory),
        ("load", inside),
        ("read", journal),
        ("find", inside),
        ("export", inside, tmp_path / "out"),
        ("export", journal, tmp_path / "out"),
        ("open", journal),
    ]
    asked = "".join(f"{' '.join(map(str, call))}\n" for call in calls)
    said, errors = python(READER, stdin=subprocess.PIPE).communicate(asked, timeout=30)
    sentences = said.splitlines()
    assert len(sentences) == len(calls), (said, errors)
    assert all(sentence.startswith("cannot ") for sentence in sentences), said


def test_a_name_that_no_file_has(tmp_path: Path) -> None:
    odd: tuple[Any, ...] = (None, 5, 1.5, b"results", [], {}, "a\0b")
    acts: tuple[Any, ...] = (api.load, load, Journal.read, find_runs, lambda name: export(name, tmp_path))
    for name in odd:
        for act in acts:
            refusal(partial(act, name), BadInputError)
    for name in ("x" * 5000, "x" * 300 + ".jsonl", "x" * 300 + ".parquet", "a\nb", "a\nb.jsonl"):
        refusal(partial(load, name))
    written(tmp_path, samples.cell())
    runs: tuple[Any, ...] = (5, None, "x" * 1000)
    for run in runs:
        refusal(partial(load, tmp_path, run), BadInputError)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.parquet"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 42)  # a hole: it takes no room
        assert "more than results can be" in refusal(partial(load, tmp_path / name))


# ---- journals ----


def journal_with(path: Path, *lines: bytes) -> Path:
    """A results directory whose only journal is of these lines."""
    claim_directory(path)
    (path / "a.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return path / "a.jsonl"


def line(record: object) -> bytes:
    return json.dumps(record).encode()


def knees(*found: object, **changes: Any) -> dict[str, Any]:
    return samples.run(machine={"knees": list(found), "ladder": {}, **changes})


KNEE = {"name": "L2", "bytes": 1 << 20, "source": "system"}


def in_round(name: str, value: object) -> dict[str, Any]:
    return samples.cell(rounds=[samples.block(2000, 3000) | {name: {"pv-tree": value}}])


@pytest.mark.parametrize(
    "lines",
    [
        [DEEP],
        [b'{"a":' * 100_000 + b"1" + b"}" * 100_000],
        [b'{"record":["cell"]}'],
        [b'{"record":{}}'],
        [line(samples.cell())[:-1] + b',"seed":7}'],
        [line(samples.cell()).replace(b"2000", b"1" * 9000)],
        [line(samples.cell()).replace(b"0.0", b"1e400", 1)],
        [line(samples.failed(error="\udcff"))],
        [line(samples.cell(stream="zi\udcffpf"))],
        [line(samples.cell(stream="zi\0pf"))],
        [line(samples.cell(stream="zi\npf"))],
        [line(samples.cell(stream=""))],
        [line(samples.cell(stream="x" * 3000))],
        [line(samples.unit(guest_pages=2**62))],
        [line(samples.cell(guest_pages=2**51))],
        [line(in_round("n_pages_grown", 2**70))],
        [line(in_round("n_vmas_grown", -(2**63) - 1))],
        [line(samples.unit({"pv-tree": samples.design(footprint={"leaf": 2**70})}))],
        [line(samples.unit({"": samples.design()}))],
        [line(samples.unit({"control:pv-tree": samples.design()}))],
        [line(samples.cell(rounds=[samples.block(1, order=("",))]))],
        [line(samples.cell(rounds=[samples.block(1, order=("control:",))]))],
        [line(samples.cell(rounds=[samples.block(1, order=("control:control:pv-tree",))]))],
    ],
)
def test_lines_that_no_sweep_has_written(tmp_path: Path, lines: list[bytes]) -> None:
    # At the end, where a torn line would be passed over, and in the midst.
    for number, content in enumerate(([*lines, line(samples.end())], lines)):
        path = journal_with(tmp_path / str(number), line(samples.run()), line(samples.unit()), *content)
        for source in (path, path.parent):
            sentence = refusal(partial(load, source))
            assert f"{path.name}, line 3: " in sentence


@pytest.mark.parametrize("stranger", ["pv-other", "control:pv-other"])
def test_a_cell_of_a_design_that_its_unit_has_not_built(tmp_path: Path, stranger: str) -> None:
    cell = samples.cell(rounds=[samples.block(2000, 3000, order=("pv-tree", stranger))])
    good = written(tmp_path, samples.unit(), samples.cell(operation="throughput"))
    with Journal.open(good) as journal:
        assert "which its unit has not built" in refusal(lambda: journal.append(cell))
    with good.open("ab") as file:
        file.write(line(cell) + b"\n")
    assert f"{good.name}, line 4: cell " in refusal(lambda: load(good))
    written(tmp_path, samples.unit(), samples.cell(), run="beef")
    with pytest.warns(DamagedResultsWarning, match=good.name):
        assert len(find_runs(tmp_path)) == 1


def test_a_measured_cell_whose_unit_is_not_told_of(tmp_path: Path) -> None:
    path = journal_with(tmp_path, line(samples.run()), line(samples.cell()))
    assert f"{path.name}, line 2: cell " in refusal(lambda: load(path))
    assert "no record before it" in refusal(lambda: load(tmp_path))
    with Journal.create(tmp_path, samples.run()) as journal:
        refusal(lambda: journal.append(samples.cell()))
        # What was not built has no record of a unit.
        journal.append(samples.skipped())
        journal.append(samples.failed(stream="zipf"))
        journal.append(samples.unit(replicate=1))
        refusal(lambda: journal.append(samples.cell(stream="zipf")))
        journal.append(samples.unit())
        journal.append(samples.cell(stream="zipf"))
    assert len(load(journal.path)) == 1 + 2 * 2


STRANGERS: list[dict[str, Any]] = [
    {"guest": "domu-32-8g"},
    {"geometry": "pv64"},
    {"backing": "huge"},
    {"replicate": 2},
]


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("record", [samples.unit, samples.skipped, samples.failed])
def test_a_unit_that_the_plan_does_not_have(
    tmp_path: Path, record: Callable[..., dict[str, Any]], stranger: dict[str, Any]
) -> None:
    path = written(tmp_path, samples.unit(), samples.cell(), plan=GRID)
    with Journal.open(path) as journal:
        assert "is no unit of plan quick" in refusal(lambda: journal.append(record(**stranger)))
    with path.open("ab") as file:
        file.write(line(record(**stranger)) + b"\n")
    assert f"{path.name}, line 4: replicate " in refusal(lambda: load(path))


@pytest.mark.parametrize(
    "run",
    [
        samples.run(plan=GRID | {"guests": 5}),
        samples.run(plan=GRID | {"guests": ["domu-32-512m"]}),
        samples.run(plan=GRID | {"guests": [{"name": "domu-32-512m"}]}),
        samples.run(plan=GRID | {"guests": [{"name": [], "geometry": "pv32"}]}),
        samples.run(plan=GRID | {"backings": "4k"}),
        samples.run(plan=GRID | {"backings": [["4k"]]}),
        samples.run(plan=GRID | {"n_replicates": "2"}),
        samples.run(started="0001-01-01T00:00:00+14:00"),
        samples.run(started="9999-12-31T23:59:59-14:00"),
        samples.run(plan={"name": ""}),
        samples.run(plan={"name": "a\nb"}),
        samples.run(host="\udcff"),
        samples.run(machine_key="a\0b"),
        samples.run(left_out=[5]),
        samples.run(machine={"knees": 5}),
        knees(5),
        knees({"name": 5, "bytes": "x"}),
        knees(KNEE | {"bytes": 10**400}),
        knees(KNEE | {"bytes": 0}),
        knees(KNEE | {"more": 1}),
        knees(KNEE, ladder=[]),
        samples.run(machine={"cpu_model": ["x"]}),
        samples.run(machine={"kernel_release": {"a": 1}}),
        samples.run(machine={"hypervisor": 5}),
    ],
)
def test_runs_that_no_machine_has_made(tmp_path: Path, run: dict[str, Any]) -> None:
    refusal(lambda: validate(run))
    try:
        path = journal_with(tmp_path, json.dumps(run).encode(), line(samples.unit()), line(samples.cell()))
    except ValueError:  # a number that Python does not write
        return
    refusal(lambda: load(path))


def test_a_right_machine_card_passes() -> None:
    validate(knees(KNEE, cpu_model="Example 9000", kernel_release="3.18.0", hypervisor=None))


@pytest.mark.parametrize("version", ['"x"', "null", "true", "0", "-1", "1.5", "[" * 100_000, '{"a": 1}'])
def test_a_marker_of_no_version(tmp_path: Path, version: str) -> None:
    written(tmp_path, samples.cell())
    (tmp_path / MARKER).write_text(f'{{"p2mperf_results": {version}}}')
    acts: tuple[Any, ...] = (load, find_runs, claim_directory)
    for act in acts:
        assert "is damaged" in refusal(partial(act, tmp_path))


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for odd in (deep, 1 << 64, "\udcff", float("inf")):
        refusal(partial(Journal.create, tmp_path, samples.run(machine={"odd": odd})))
    assert list(tmp_path.glob("*.jsonl")) == []


# ---- one damaged file among others ----


def spoil(directory: Path, how: str) -> str:
    path = directory / "beta-20261122T100000-beef.jsonl"
    if how == "directory":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "link to nowhere":
        path.symlink_to("nowhere")
    else:
        path.write_bytes(line(samples.run(run="beef")) + b"\n" + DEEP + b"\n")
    return path.name


@pytest.mark.parametrize("how", ["directory", "pipe", "link to nowhere", "damaged"])
def test_one_damaged_file_does_not_block_the_others(tmp_path: Path, how: str) -> None:
    written(tmp_path, samples.unit(), samples.cell())
    name = spoil(tmp_path, how)
    for act in (load, find_runs, lambda directory: export(directory, tmp_path / "out")):
        with pytest.warns(DamagedResultsWarning, match=name) as warned:
            assert len(act(tmp_path))
        assert ["\n" in str(warning.message) for warning in warned] == [False]


def test_the_command_line_tells_of_a_damaged_file_in_one_line(tmp_path: Path) -> None:
    written(tmp_path / "results", samples.unit(), samples.cell())
    name = spoil(tmp_path / "results", "pipe")
    command = [sys.executable, "-m", "p2mperf", "plot", "cost", "--format", "svg"]
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    # Its results are looked at twice: whether there are any, and what they are.
    assert [name in said for said in done.stderr.splitlines()].count(True) == 1
    assert all(said.startswith("p2mperf: ") for said in done.stderr.splitlines())


# ---- names that matplotlib would take for formulas ----


def test_tables_of_private_leaves_alone_are_drawn(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        samples.unit({"pv-linear": samples.design(footprint={"leaf": 1})}),
        samples.cell(rounds=[samples.block(2000, order=("pv-linear",))]),
    )
    assert len(api.figure("footprint", api.load(path)).axes) == 2


def test_a_dollar_in_a_name_is_drawn_as_a_dollar(tmp_path: Path) -> None:
    from p2mperf.figures import save

    odd = {"guest": "$x_{$ a \\frac{$", "stream": "$\\oops{$"}
    run = samples.run(machine={"cpu_model": "$\\frac{$ 9000"})
    with Journal.create(tmp_path, run) as journal:
        journal.append(samples.unit(guest=odd["guest"]))
        journal.append(samples.cell(**odd))
        journal.append(samples.cell(guest=odd["guest"], stream="uniform"))
    frame = api.load(tmp_path)
    for name in ("cost", "footprint"):
        (drawn,) = save(api.figure(name, frame), tmp_path, name, ("svg",))
        assert "$\\frac{$ 9000" in drawn.read_text()
    assert set(frame["guest"]) == {odd["guest"]}
