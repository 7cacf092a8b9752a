"""Results of versions 1 and 2: read with the names of today, and never gone on with."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import record_samples as samples

from p2mperf.analysis.samples import medians
from p2mperf.analysis.summary import summary
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.figures import figure, figures, find
from p2mperf.results.export import export, load
from p2mperf.results.fields import VERSION
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs

# Written by sweeps of the last sources of each version. Of the first, one PV guest; of the second, a PV and
# an ARM guest on backings kernel and small. Streams uniform, zipf and leaf-stride; 6 rounds of two designs.
STORED = Path(__file__).parents[1] / "support" / "stored"
FIRST, SECOND = STORED / "version-1.jsonl", STORED / "version-2.jsonl"
STREAMS = ("leaf-stride-v1", "log-uniform", "uniform")


@pytest.mark.parametrize(
    ("path", "version", "layouts"),
    [
        (FIRST, 1, [("pv", "mixed")]),
        (SECOND, 2, [("arm", "kernel"), ("arm", "small"), ("pv", "mixed"), ("pv", "small")]),
    ],
)
def test_names_that_mean_something_else_are_read_as_what_they_meant(
    path: Path, version: int, layouts: list[tuple[str, str]]
) -> None:
    frame = load(path)
    counted = Counter(frame[["family", "backing", "stream"]].itertuples(index=False, name=None))
    assert counted == {(*layout, stream): 12 for layout in layouts for stream in STREAMS}
    (run,) = frame.attrs["runs"]
    assert run["schema"] == version
    assert set(run["plan"]["backings"]) == {backing for _, backing in layouts}
    assert sorted(stream["name"] for stream in run["plan"]["streams"]) == list(STREAMS)


def test_nothing_else_changes() -> None:
    lines = [json.loads(line) for line in SECOND.read_text().splitlines()]
    took_ns = {
        (
            cell["cell"].replace("zipf", "log-uniform").replace("leaf-stride", "leaf-stride-v1"),
            number,
            name,
        ): ns
        for cell in lines
        if cell["record"] == "cell"
        for number, block in enumerate(cell["rounds"])
        for name, ns in block["elapsed_ns"].items()
    }
    found: dict[Any, Any] = {}
    for key, cell in Journal.read(SECOND).finished_cells().items():
        assert key.startswith(f"{cell['unit']}/")
        assert f"/{cell['backing']}/" in cell["unit"]
        old = key.replace("/mixed/", "/kernel/")
        for number, block in enumerate(cell["rounds"]):
            found |= {(old, number, name): ns for name, ns in block["elapsed_ns"].items()}
    assert found == took_ns
    # Each measured cell still finds the unit that it was measured in.
    for _, unit in Journal.read(SECOND).cells_with_units():
        assert unit is not None
    assert load(SECOND)["view_page_bytes"].notna().all()


@pytest.mark.parametrize("path", [FIRST, SECOND])
def test_a_file_is_read_as_its_journal_is(path: Path, tmp_path: Path) -> None:
    frame = load(path)
    # What is exported today has the names of today, and the version of the run stays beside it.
    exported, _ = export(path, tmp_path)
    pd.testing.assert_frame_equal(load(exported), frame)
    assert load(exported).attrs == frame.attrs
    # A file of an earlier version has the names of then.
    table = pq.read_table(exported)
    then = {"mixed": "kernel", "log-uniform": "zipf", "leaf-stride-v1": "leaf-stride"}
    for name in ("backing", "stream"):
        values = [then.get(value, value) for value in table.column(name).to_pylist()]
        table = table.set_column(table.column_names.index(name), table.schema.field(name), [values])
    version = frame.attrs["runs"][0]["schema"]
    run = json.loads(path.read_text().splitlines()[0])
    said = {b"p2mperf_schema": str(version).encode(), b"p2mperf_runs": json.dumps([run]).encode()}
    kept = {key: value for key, value in table.schema.metadata.items() if key != b"p2mperf_digest"}
    pq.write_table(table.replace_schema_metadata(kept | said), tmp_path / "then.parquet")
    then_frame = load(tmp_path / "then.parquet")
    pd.testing.assert_frame_equal(then_frame, frame)
    assert then_frame.attrs["runs"][0]["plan"] == frame.attrs["runs"][0]["plan"]


def of_version(version: int, **changes: Any) -> list[dict[str, Any]]:
    identity = {"backing": "kernel", "stream": "zipf", **changes}
    return [samples.run(schema=version), samples.unit(**identity), samples.cell(**identity)]


def test_units_with_a_limit_keep_their_keys_apart(tmp_path: Path) -> None:
    # The first files of version 2 did not name the limit in keys; those that followed did.
    limited = of_version(2, limit_bytes=1 << 30)
    bare = [
        record
        | {name: record[name].replace("limit-1073741824/", "") for name in ("unit", "cell") if name in record}
        for record in limited
    ]
    for number, (records, part) in enumerate([(limited, "/limit-1073741824/"), (bare, "/replicate-0/")]):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        journal = Journal.read(path)
        ((key, cell),) = journal.finished_cells().items()
        assert f"/mixed{part}" in key
        assert "/log-uniform/" in key
        assert list(journal.units()) == [cell["unit"]]
        assert set(load(path)["limit_bytes"]) == {1 << 30}


def test_names_of_today_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "now.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in of_version(VERSION)))
    frame = load(path)
    assert (set(frame["backing"]), set(frame["stream"])) == ({"kernel"}, {"zipf"})


@pytest.mark.parametrize("path", [FIRST, SECOND])
def test_a_run_of_an_earlier_version_is_not_gone_on_with(path: Path, tmp_path: Path) -> None:
    Journal.create(tmp_path, samples.run()).close()
    there = shutil.copy(path, tmp_path)
    before = Path(there).read_bytes()
    with pytest.raises(
        ResultsError, match=r"is a run of results schema [12], and samples of schema 3 are others"
    ):
        Journal.open(there)
    assert Path(there).read_bytes() == before
    assert sorted(info.schema for info in find_runs(tmp_path)) == [load(path).attrs["runs"][0]["schema"], 3]


@pytest.mark.parametrize("name", [name for name in figures() if find(name).measured])
def test_samples_of_two_versions_are_no_figure(name: str, tmp_path: Path) -> None:
    # One directory, machine and code; backing mixed of version 2 was called kernel.
    (tmp_path / "results").mkdir()
    Journal.create(tmp_path / "results", samples.run(run="beef")).close()
    now = of_version(VERSION, backing="mixed", stream="log-uniform")
    for number, records in enumerate([of_version(2, geometry="pv64"), now]):
        records[0] |= {"run": f"beef{number}"}
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / "results" / f"{number}.jsonl").write_text(lines)
    both = load(tmp_path / "results", run="all")
    assert len(both) == 8
    assert set(both["backing"]) == {"mixed"}
    with pytest.raises(
        BadInputError, match="samples are of versions 2 and 3 of the results' format, in which"
    ):
        figure(name, both)
    with pytest.raises(BadInputError, match=r"as frame\[frame\['run'\] == 'beef1'\]$"):
        medians(both, ["design"])
    # What it proposes is taken, although the attributes still tell of both runs.
    assert medians(both[both["run"] == "beef1"], ["design"])["cost_ns"].notna().all()


def test_samples_of_two_versions_are_never_paired() -> None:
    first, second = load(FIRST), load(SECOND)
    both = pd.concat([first, second[second["family"] == "pv"]], ignore_index=True)
    both.attrs["runs"] = [*first.attrs["runs"], *second.attrs["runs"]]
    # Other code has other names for the same thing: each row is of one.
    apart = [summary(frame) for frame in (first, second[second["family"] == "pv"])]
    assert len(summary(both)) == sum(map(len, apart))
    assert set(summary(both)["code"]) == {run["code"] for run in both.attrs["runs"]}
