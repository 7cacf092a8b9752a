"""From journals to the samples frame, and from there to Parquet and CSV and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2mperf.errors import ResultsError, unknown
from p2mperf.results import columns as registry, records as schema
from p2mperf.results.journal import SUFFIX, Journal, RunInfo, find_runs, make_directory, replace_file
from p2mperf.results.records import Record
from p2mperf.units import PAGE_SIZE

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PARQUET = ".parquet"
_SCHEMA_KEY, _MACHINES_KEY, _RUNS_KEY = b"p2mperf_schema", b"p2mperf_machines", b"p2mperf_runs"
_CELL_FIELDS = tuple(name for name in schema.CELL if name not in ("cell", "unit", "rounds"))
_DESIGN_FIELDS = tuple(name for name in schema.DESIGN if name not in ("family", "footprint", "code_form"))


def to_frame(journals: Iterable[Journal | str | Path]) -> pd.DataFrame:
    """Tidy samples of any number of journals, of one host or of several.

    Parameters
    ----------
    journals : iterable of Journal, str or Path
        Journals or their files.

    Returns
    -------
    pandas.DataFrame
        Columns and dtypes as `registry.columns` with the kinds of pages that occur. One row per design and
        round of every measured cell; a cell that was skipped or failed has one row, without design, round and
        cost. ``attrs["runs"]`` holds the run records, machine cards included.

    Raises
    ------
    ResultsError
        When a journal cannot be read.
    """
    import pandas as pd

    opened = [journal if isinstance(journal, Journal) else Journal.read(journal) for journal in journals]
    rows = [row for journal in opened for row in _samples(journal)]
    columns = registry.columns(kind for journal in opened for kind in _footprint_kinds(journal))
    frame = pd.DataFrame({column.name: _array(column, rows) for column in columns})
    frame.attrs["runs"] = [journal.run for journal in opened]
    return frame


def machine_cards(frame: pd.DataFrame) -> dict[str, Record]:
    """Machine cards of the runs in a samples frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `to_frame` or `load` gives it.

    Returns
    -------
    dict of str to dict
        By the key that stands in the machine column.
    """
    return {run["machine_key"]: run["machine"] for run in frame.attrs.get("runs", ())}


def load(source: str | Path, run: str = "latest") -> pd.DataFrame:
    """Samples from a results directory, from one journal, or from one exported Parquet file.

    Parameters
    ----------
    source : str or Path
        Directory or file.
    run : str
        For a directory: ``latest`` (the newest run with a measured cell), ``all``, or a run id. A run that
        was measured on several hosts is taken whole.

    Returns
    -------
    pandas.DataFrame
        As `to_frame`.

    Raises
    ------
    ResultsError
        When there are no results, or they cannot be read.
    BadInputError
        When there is no such run.
    """
    source = Path(source)
    if source.suffix == PARQUET:
        return _read_parquet(source)
    if source.suffix == SUFFIX:
        return to_frame([source])
    if source.is_file():
        raise ResultsError(f"{source} holds no results: name a directory, a {SUFFIX} or a {PARQUET} file")
    return to_frame(info.path for info in _chosen(source, run))


def export(source: Journal | str | Path, out: str | Path) -> list[Path]:
    """Write every run as ``<run>.parquet`` and ``<run>.csv``.

    Parameters
    ----------
    source : Journal, str or Path
        A journal, its file, or a results directory: then every run in it that has a finished cell.
    out : str or Path
        Directory to write to; made if missing. Files of the same names are replaced.

    Returns
    -------
    list of Path
        The files, two a run.

    Raises
    ------
    ResultsError
        When there is nothing to export, or it cannot be written.
    """
    out = Path(out)
    if isinstance(source, Journal) or Path(source).is_file():
        return _export_frame(to_frame([source]), out)
    frame = to_frame(info.path for info in _chosen(Path(source), "all"))
    runs = frame.attrs["runs"]
    written = []
    for run, samples in frame.groupby("run", sort=False):
        samples = samples.reset_index(drop=True)
        samples.attrs["runs"] = [record for record in runs if record["run"] == run]
        written += _export_frame(samples, out)
    return written


def _chosen(directory: Path, run: str) -> list[RunInfo]:
    known = [info for info in find_runs(directory) if info.n_finished]
    if not known:
        raise ResultsError(
            f"no results in {directory}: `python -m p2mperf sweep --out {directory}` measures some"
        )
    if run == "all":
        return known
    if run == "latest":
        run = next((info for info in reversed(known) if info.n_done), known[-1]).run
    chosen = [info for info in known if info.run == run]
    if not chosen:
        raise unknown("run", run, dict.fromkeys(info.run for info in known))
    return chosen


def _samples(journal: Journal) -> Iterator[Record]:
    run = journal.run
    origin = {
        "run": run["run"],
        "host": run["host"],
        "machine": run["machine_key"],
        "code": run["code"],
        "plan": run["plan"]["name"],
        "flagged": "",
    }
    for cell, unit in journal.cells_with_units():
        common = {
            **origin,
            **{name: cell.get(name) for name in _CELL_FIELDS},
            "guest_bytes": cell["guest_pages"] * PAGE_SIZE,
            "error": cell.get("error") or "",
            "limit_bytes": (unit or cell).get("limit_bytes") or 0,
        }
        if cell["status"] == "done":
            yield from _cell_samples(cell, common, unit["designs"] if unit else {})
        else:
            yield common


def _cell_samples(cell: Record, common: Record, designs: Record) -> Iterator[Record]:
    built = {name: _built(design, cell["operation"]) for name, design in designs.items()}
    for number, block in enumerate(cell["rounds"]):
        for position, design in enumerate(block["order"]):
            elapsed_ns = block["elapsed_ns"][design]
            yield {
                **common,
                **built.get(design.removeprefix(schema.CONTROL), {}),
                "design": design,
                "round": number,
                "position": position,
                "elapsed_ns": elapsed_ns,
                "cost_ns": elapsed_ns / cell["n_lookups"],
                "n_involuntary_switches": block["n_involuntary_switches"][design],
                "n_steal_ticks": block["n_steal_ticks"][design],
                **{name: (block.get(name) or {}).get(design) for name in ("n_pages_grown", "n_vmas_grown")},
                "flagged": (block.get("flagged") or {}).get(design, ""),
            }


def _built(design: Record, operation: str) -> Record:
    """What the unit record knows of a design, as columns."""
    pages = {registry.footprint_column(kind).name: n_pages for kind, n_pages in design["footprint"].items()}
    known = {name: design.get(name) for name in _DESIGN_FIELDS}
    return {**known, **pages, "code_form": design["code_form"].get(operation)}


def _array(column: registry.Column, rows: list[Record]) -> Any:
    import pandas as pd

    dtype: Any = column.dtype
    return pd.array([row.get(column.name) for row in rows], dtype=dtype)


def _footprint_kinds(journal: Journal) -> Iterator[str]:
    for unit in journal.units().values():
        for design in unit["designs"].values():
            yield from design["footprint"]


def _export_frame(frame: pd.DataFrame, out: Path) -> list[Path]:
    if frame.empty:
        raise ResultsError("nothing to export: the run has no finished cell yet")
    make_directory(out)
    stem = str(frame["run"].iloc[0])
    paths = [out / f"{stem}{PARQUET}", out / f"{stem}.csv"]
    replace_file(paths[0], lambda path: _write_parquet(frame, path))
    replace_file(paths[1], lambda path: frame.to_csv(path, index=False, lineterminator="\n"))
    return paths


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"string": pa.string(), "Int64": pa.int64(), "UInt64": pa.uint64(), "float64": pa.float64()}
    fields = [
        pa.field(column.name, types[column.dtype], metadata={"unit": column.unit, "doc": column.doc})
        for column in _columns_of(frame.columns)
    ]
    table = pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)
    metadata = {
        **(table.schema.metadata or {}),
        _SCHEMA_KEY: json.dumps(schema.VERSION),
        _MACHINES_KEY: json.dumps(machine_cards(frame)),
        _RUNS_KEY: json.dumps(frame.attrs["runs"]),
    }
    pq.write_table(table.replace_schema_metadata(metadata), path)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    table = _parquet_table(path)
    metadata = table.schema.metadata or {}
    try:
        version, runs = (json.loads(metadata[key]) for key in (_SCHEMA_KEY, _RUNS_KEY))
    except (KeyError, ValueError) as error:
        raise ResultsError(f"{path} is not a file that p2mperf exported") from error
    schema.check_version(version, f"{path}")
    # Without the mapper a missing value would turn whole numbers beyond 2**53 into rounded floats.
    nullable = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    columns = _columns_of(frame.columns)
    # Files of earlier versions lack the later columns.
    frame = frame.reindex(columns=[column.name for column in columns])
    frame = frame.astype({column.name: column.dtype for column in columns}).fillna({"limit_bytes": 0})
    frame.attrs = {"runs": runs}
    return frame


def _parquet_table(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(path.read_bytes()))
    except pa.ArrowInvalid as error:
        raise ResultsError(f"cannot read {path}: it is no Parquet file") from error
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error


def _columns_of(names: Iterable[Any]) -> tuple[registry.Column, ...]:
    fixed = {column.name for column in registry.COLUMNS}
    return registry.columns(
        name.removeprefix("footprint_").removesuffix("_pages") for name in names if name not in fixed
    )
