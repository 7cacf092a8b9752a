"""A Parquet file is what was exported, or is refused in one sentence; the shipped ones read as ever."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import record_samples as samples
from damaged_files import DEEP, GRID, refusal
from written_results import written

from p2mperf.errors import ResultsError
from p2mperf.results.export import export, load
from p2mperf.shipped import SWEEPS, shipped

Change = Callable[[pa.Table], pa.Table]
DIGEST, RUNS = b"p2mperf_digest", b"p2mperf_runs"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    records = [samples.unit(), samples.cell(), samples.skipped(stream="zipf"), samples.failed(stream="leaf")]
    return export(written(tmp_path / "results", *records), tmp_path / "out")[0]


def changed(path: Path, change: Change, keeps_digest: bool = False) -> Path:
    """The file with its table changed, as if an exporter that knows no digest had written it."""
    table = change(pq.read_table(path))
    said = {key: value for key, value in table.schema.metadata.items() if keeps_digest or key != DIGEST}
    pq.write_table(table.replace_schema_metadata(said), path)
    return path


def column(name: str, value: object, kind: pa.DataType | None = None) -> Change:
    """The table with another value in the first row of a column; of a type, in all rows."""

    def change(table: pa.Table) -> pa.Table:
        at, n_rows = table.column_names.index(name), table.num_rows
        if kind is not None:
            return table.set_column(at, pa.field(name, kind), pa.array([value] * n_rows, kind))
        values = table.column(name).to_pylist()
        return table.set_column(
            at, table.schema.field(name), pa.array([value, *values[1:]], table.schema.field(name).type)
        )

    return change


def last(name: str, value: object) -> Change:
    """The same of the last row, whose cell failed."""

    def change(table: pa.Table) -> pa.Table:
        values, field = table.column(name).to_pylist(), table.schema.field(name)
        return table.set_column(
            table.column_names.index(name), field, pa.array([*values[:-1], value], field.type)
        )

    return change


def said(key: bytes, value: bytes) -> Change:
    return lambda table: table.replace_schema_metadata(table.schema.metadata | {key: value})


def runs(**changes: Any) -> Change:
    return said(RUNS, json.dumps([samples.run(**changes)]).encode())


def again(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)]).replace_schema_metadata(table.schema.metadata)


NAN, INF = float("nan"), float("inf")
OTHER_GRIDS: list[dict[str, Any]] = [
    {"guests": [{"name": "domu-32-8g", "geometry": "pv32"}]},
    {"guests": [{"name": "domu-32-512m", "geometry": "pv64"}]},
    {"backings": ["kernel", "huge"]},
    {"n_replicates": 0},
]

WRONG: list[tuple[Change, str]] = [
    *((column("cost_ns", cost), "column cost_ns") for cost in (-1.0, 0.0, INF, NAN, None, 5.0)),
    *((column("elapsed_ns", time), "column elapsed_ns") for time in (-5, 0, None)),
    *((column("n_lookups", count), "column n_lookups") for count in (0, -1, None)),
    (column("guest_bytes", -1), "column guest_bytes"),
    (column("guest_bytes", 4096), "guest_bytes is not guest_pages in bytes"),
    (column("hole_fraction", 7.0), "column hole_fraction"),
    (column("hole_fraction", NAN), "column hole_fraction"),
    (column("status", "odd"), "column status"),
    (column("design", "control:"), "column design"),
    (column("guest", "a\nb"), "column guest"),
    (column("run", "../../etc"), "column run"),
    (column("run", "beef"), "its runs are others"),
    (column("footprint_leaf_pages", -1), "column footprint_leaf_pages"),
    *(
        (column(name, None), f"column {name}")
        for name in ("run", "host", "design", "guest", "status", "round", "position", "replicate", "seed")
    ),
    (column("checksum", None), "column checksum"),
    (last("cost_ns", 3.0), "has a value where nothing was measured"),
    (last("design", "pv-tree"), "has a value where nothing was measured"),
    (again, "names one pass twice"),
    (column("position", 7), "column position leaves out a place"),
    (lambda table: table.slice(1), "column position leaves out a place"),
    (lambda table: table.slice(2), "column round leaves out a round"),
    (column("cost_ns", "1", pa.string()), "column cost_ns is of type 'string'"),
    (column("elapsed_ns", 1.5, pa.float64()), "column elapsed_ns is of type"),
    (column("guest", b"x", pa.binary()), "column guest is of type"),
    (column("guest", ["x"], pa.list_(pa.string())), "column guest is of type"),
    (column("seed", True, pa.bool_()), "column seed is of type"),
    (column("round", None, pa.null()), "column round is of type"),
    (lambda table: table.append_column("zz", table.column("seed")), "unknown column 'zz'"),
    (lambda table: table.append_column("footprint_x y_pages", table.column("seed")), "unknown column"),
    (lambda table: table.append_column("footprint__pages", table.column("seed")), "unknown column"),
    (lambda table: table.append_column("seed", table.column("seed")), "damaged"),
    (lambda table: table.drop_columns(["cost_ns"]), "no column cost_ns"),
    (lambda table: table.drop_columns(["replicate"]), "no column replicate"),
    (lambda table: table.drop_columns(["n_lookups"]), "column n_lookups lacks"),
    (lambda table: table.slice(0, 0), "has no samples"),
    *(
        (said(RUNS, text), "")
        for text in (b"5", b"[5]", b"[{}]", b"{}", b"[]", b"null", b"\xff", b"", DEEP, b"[1e400]")
    ),
    *((said(b"p2mperf_schema", text), "") for text in (b'"x"', b"null", b"-1", b"1e400", b"99", b"true")),
    (runs(run="beef"), "its runs are others"),
    *((runs(plan=GRID | change), "is no unit of plan quick") for change in OTHER_GRIDS),
    (runs(plan=GRID | {"backings": 5}), "'backings' of the plan"),
    (runs(machine=5), "'machine' of a run record"),
    (runs(machine={"knees": [5]}), "'knees' of the machine card"),
    (runs(started="0001-01-01T00:00:00+14:00"), "'started' of a run record"),
]


@pytest.mark.parametrize(("change", "complaint"), WRONG, ids=map(str, range(len(WRONG))))
def test_what_no_sweep_has_measured_is_refused(exported: Path, change: Change, complaint: str) -> None:
    sentence = refusal(lambda: load(changed(exported, change)))
    assert str(exported) in sentence
    assert complaint in sentence


@pytest.mark.parametrize("garbage", [b"", b"x", b"\xff", b'{"index_columns": [5]}', DEEP])
def test_what_pandas_noted_is_not_asked(exported: Path, garbage: bytes) -> None:
    frame = load(exported)
    assert load(changed(exported, said(b"pandas", garbage))).equals(frame)


def test_a_file_without_a_digest_is_read(exported: Path) -> None:
    frame = load(exported)
    assert load(changed(exported, lambda table: table)).equals(frame)
    assert DIGEST not in pq.read_schema(exported).metadata


def test_a_file_that_was_changed_after_its_export_is_refused(exported: Path) -> None:
    # Possible numbers, which no other check can tell from measured ones.
    for change in (last("error", "other"), runs(host="alpha", n_units=7), column("seed", 8)):
        content = exported.read_bytes()
        assert "digest" in refusal(lambda change=change: load(changed(exported, change, True)))  # type: ignore[misc]
        exported.write_bytes(content)


def test_pages_carry_checksums(exported: Path) -> None:
    content = exported.read_bytes()
    chunk = pq.read_metadata(exported).row_group(0).column(0)
    start = chunk.data_page_offset
    end = (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size
    frame = load(exported)
    for place in range(start, end, 3):
        spoilt = bytearray(content)
        spoilt[place] ^= 4
        exported.write_bytes(spoilt)
        with contextlib.suppress(ResultsError):
            assert load(exported).equals(frame)  # a bit that says nothing


def test_shipped_files_read_as_others_read_them() -> None:
    for name in SWEEPS:
        frame, table = load(shipped(name)), pq.read_table(shipped(name))
        assert DIGEST not in table.schema.metadata or len(frame) == table.num_rows
        for column_name in table.column_names:
            values = frame[column_name].astype(object).where(frame[column_name].notna(), None).tolist()
            expected = table.column(column_name).to_pylist()
            if table.schema.metadata[b"p2mperf_schema"] in (b"1", b"2"):
                expected = as_called_today(column_name, expected, table.column("family").to_pylist())
            assert values == [
                ("" if value is None and column_name in ("error", "flagged") else value) for value in expected
            ]


def as_called_today(column: str, values: list[Any], families: list[str]) -> list[Any]:
    if column == "backing":
        pairs = zip(values, families, strict=True)
        return ["mixed" if pair == ("kernel", "pv") else pair[0] for pair in pairs]
    names = {"zipf": "log-uniform", "leaf-stride": "leaf-stride-v1"} if column == "stream" else {}
    return [names.get(value, value) for value in values] if names else values
