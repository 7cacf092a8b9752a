"""Journals as one frame of samples, and its exports: columns, rows, and the same numbers in each form."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import record_samples as samples
from written_results import written

from p2mperf.errors import BadInputError, ResultsError
from p2mperf.results import fields as registry
from p2mperf.results.export import export, load
from p2mperf.results.files import make_directory
from p2mperf.results.frame import machine_cards, to_frame
from p2mperf.results.journal import Journal
from p2mperf.results.runs import find_runs
from p2mperf.results.samples import as_samples
from p2mperf.shipped import shipped

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
