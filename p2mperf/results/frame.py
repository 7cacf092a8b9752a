"""From journals to the samples frame: one row a design and round of every measured cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2mperf.control import CONTROL
from p2mperf.errors import ResultsError
from p2mperf.results.field import Field
from p2mperf.results.fields import COLUMNS, RECORDS, Record, columns, footprint_column
from p2mperf.results.journal import Journal
from p2mperf.units import PAGE_SIZE

if TYPE_CHECKING:
    import pandas as pd

_UNIT_FIELDS = frozenset(RECORDS["unit"]) & frozenset(RECORDS["cell"])
# What a unit alone says, and all of its samples have.
_UNIT_ONLY = tuple(
    field for field in RECORDS["unit"].values() if field.is_column and field.name not in RECORDS["cell"]
)
_CELL_FIELDS = tuple(field for field in RECORDS["cell"].values() if field.is_column and not field.type.each)
# Of a cell that was measured: one value a design, in all rounds or in each, or one a round.
_CELL_BY_DESIGN = tuple(field for field in RECORDS["cell"].values() if field.is_column and field.type.each)
_ROUND_BY_DESIGN = tuple(field for field in RECORDS["round"].values() if field.is_column and field.type.each)
_ROUND_FIELDS = tuple(field for field in RECORDS["round"].values() if field.is_column and not field.type.each)
# What a design belongs to stands in the cell; of the forms of its loops, a sample shows its own.
_DESIGN_FIELDS = tuple(
    field
    for field in RECORDS["design"].values()
    if field.is_column and field.name not in ("family", "code_form")
)


class RunRecords(list[Record]):
    """Run records of a frame, which its copies share.

    pandas copies ``attrs`` in depth whenever it makes one frame from another, which was two thirds of what a
    summary took. Nobody changes a record that was read.
    """

    def __deepcopy__(self, memo: object) -> RunRecords:
        return RunRecords(self)


def to_frame(journals: Iterable[Journal | str | Path]) -> pd.DataFrame:
    """Tidy samples of any number of journals, of one host or of several.

    Parameters
    ----------
    journals : iterable of Journal, str or Path
        Journals or their files.

    Returns
    -------
    pandas.DataFrame
        Columns and dtypes as `p2mperf.results.fields.columns` with the kinds of pages that occur. One row per
        design and round of every measured cell; a cell that was skipped or failed has one row, without
        design, round and cost. ``attrs["runs"]`` holds the run records, machine cards included.

    Raises
    ------
    ResultsError
        When a journal cannot be read.
    """
    import pandas as pd

    opened = [journal if isinstance(journal, Journal) else Journal.read(journal) for journal in journals]
    rows = [row for journal in opened for row in _samples(journal)]
    kinds = (kind for journal in opened for kind in _footprint_kinds(journal))
    frame = pd.DataFrame({column.name: _array(column, rows) for column in columns(kinds)})
    frame.attrs["runs"] = RunRecords(journal.run_with_end for journal in opened)
    return frame


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Samples of several results as one frame.

    Parameters
    ----------
    frames : sequence of pandas.DataFrame
        As `to_frame` gives them, at least one.

    Returns
    -------
    pandas.DataFrame
        All rows, in the order of the frames, and all run records.

    Raises
    ------
    ResultsError
        When two of them have the same run of the same host: its processes would count twice.
    """
    import pandas as pd

    if len(frames) == 1:
        return frames[0]
    runs = [run for frame in frames for run in frame.attrs["runs"]]
    names = Counter((run["run"], run["host"], run["machine_key"]) for run in runs)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise ResultsError(
            f"run {twice[0]} of host {twice[1]} is in two of these results, and its processes would "
            "count twice: name it once"
        )
    known = {column.name for column in COLUMNS}
    kinds = {
        name.removeprefix("footprint_").removesuffix("_pages")
        for frame in frames
        for name in map(str, frame)
        if name not in known
    }
    dtypes = {column.name: column.dtype for column in columns(kinds)}
    pooled = pd.concat([frame.reindex(columns=list(dtypes)).astype(dtypes) for frame in frames])
    pooled = pooled.reset_index(drop=True)
    pooled.attrs = {"runs": RunRecords(runs)}
    return pooled


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


def _samples(journal: Journal) -> Iterator[Record]:
    run = journal.run
    origin = {
        "run": run["run"],
        "host": run["host"],
        "machine": run["machine_key"],
        "code": run["code"],
        "plan": run["plan"]["name"],
        **{field.name: field.absent for field in (*_CELL_BY_DESIGN, *_ROUND_BY_DESIGN, *_ROUND_FIELDS)},
    }
    for cell, unit in journal.cells_with_units():
        # A cell that was measured does not repeat all that its unit says.
        told = {**cell, **{name: value for name, value in (unit or {}).items() if name in _UNIT_FIELDS}}
        common = {
            **origin,
            **{field.name: _value(field, told) for field in _CELL_FIELDS},
            **{field.name: _value(field, unit or {}) for field in _UNIT_ONLY},
            "guest_bytes": cell["guest_pages"] * PAGE_SIZE,
        }
        if cell["status"] == "done":
            yield from _cell_samples(cell, common, unit["designs"] if unit else {})
        else:
            yield common


def _cell_samples(cell: Record, common: Record, designs: Record) -> Iterator[Record]:
    built = {name: _built(design, cell["operation"]) for name, design in designs.items()}
    for number, round_ in enumerate(cell["rounds"]):
        of_round = {field.name: _value(field, round_) for field in _ROUND_FIELDS}
        for position, design in enumerate(round_["order"]):
            timed = {
                **{field.name: _value_of(field, cell, design) for field in _CELL_BY_DESIGN},
                **{field.name: _value_of(field, round_, design) for field in _ROUND_BY_DESIGN},
            }
            yield {
                **common,
                **built.get(design.removeprefix(CONTROL), {}),
                **of_round,
                **timed,
                "design": design,
                "round": number,
                "position": position,
                "cost_ns": (timed["elapsed_ns"] - timed["call_ns"]) / cell["n_lookups"],
            }


def _value(field: Field, record: Record) -> object:
    value = record.get(field.name)
    return field.absent if value is None else value


def _value_of(field: Field, record: Record, design: str) -> Any:
    return (record.get(field.name) or {}).get(design, field.absent)


def _built(design: Record, operation: str) -> Record:
    """What the unit record knows of a design, as columns."""
    pages = {footprint_column(kind).name: n_pages for kind, n_pages in design["footprint"].items()}
    known = {field.name: design.get(field.name) for field in _DESIGN_FIELDS}
    return {**known, **pages, "code_form": design["code_form"].get(operation)}


def _array(column: Field, rows: list[Record]) -> Any:
    import pandas as pd

    dtype: Any = column.dtype
    return pd.array([row.get(column.name) for row in rows], dtype=dtype)


def _footprint_kinds(journal: Journal) -> Iterator[str]:
    for unit in journal.units().values():
        for design in unit["designs"].values():
            yield from design["footprint"]
