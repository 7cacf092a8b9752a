"""A record of a journal says all that it must and nothing else, and each cell has a key of its own."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import record_samples as samples
from hypothesis import given
from written_results import without, written

from p2mperf.analysis.summary import summary
from p2mperf.errors import ResultsError
from p2mperf.results import fields as registry
from p2mperf.results.frame import to_frame
from p2mperf.results.journal import Journal
from p2mperf.results.keys import CellSpec, UnitId
from p2mperf.results.records import validate


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
