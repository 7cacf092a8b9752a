"""Every name in results, declared once: its type, unit and meaning, and the records it stands in.

From this one table derive the checks of a journal's records (`p2mperf.results.records`), the columns of the
samples frame (`p2mperf.results.frame`), the keys of units and cells (`p2mperf.results.keys`), and the columns
by which samples of one cell are told from those of another (`CELL_AXES`). A new axis is one line here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from p2mperf.results.field import Field
from p2mperf.results.values import (
    CHANGES_BY_DESIGN,
    COST,
    COUNT,
    COUNTS_BY_DESIGN,
    ELAPSED_BY_DESIGN,
    FRACTION,
    HEXADECIMAL,
    KEY,
    LIST,
    NAME,
    NAMED_TABLE,
    NAMES,
    PAGES,
    POSITIVE,
    SUM,
    TABLE,
    TEXT,
    TEXTS,
    TEXTS_BY_DESIGN,
    TIME,
)

# History of the format. Whoever changes the meaning of a record or of a column adds a line and a number.
#   1  run, unit, cell and end records; the columns of the samples frame
#   2  operations beside lookups: limit_bytes of a unit, n_pages_grown and n_vmas_grown of a round
#      (keys of units with a limit, and of their cells, name it; the first files of version 2 did not)
#   3  backing kernel is what the family's system has, 4 KiB pages throughout for PV, where it was what is
#      called mixed since; streams leaf-stride and zipf are what their names say, where they were what is
#      called leaf-stride-v1 and log-uniform since. Files of versions 1 and 2 are read with those names, see
#      `p2mperf.results.earlier`; a run of theirs is never continued
VERSION = 3

# One line of a journal, decoded: plain data as JSON has it.
Record = dict[str, Any]

# What a journal holds, line by line, and what stands inside a unit (once a design) and inside a cell.
LINES = ("run", "unit", "cell", "end")
PARTS = ("design", "round")

_RUN, _END, _CELL, _DESIGN, _ROUND = (("run",), ("end",), ("cell",), ("design",), ("round",))
_UNIT = ("unit", "cell")  # what a unit is stands in its cells too

# In the order of the frame's columns. Others' scripts count on it: what is new comes last among its kind.
FIELDS = (
    Field("schema", POSITIVE, "version of this format", records=_RUN, is_column=False),
    Field("run", HEXADECIMAL, "run id; journals of several hosts may share one", records=_RUN),
    Field("host", NAME, "name of the host that measured", records=_RUN),
    Field("started", TIME, "start of the run", records=_RUN, is_column=False),
    Field("finished", TIME, "end of the run", records=_END, is_column=False),
    Field("machine", NAMED_TABLE, "machine card; as a column its key", records=_RUN),
    Field(
        "machine_key",
        NAME,
        "hash of what makes timings comparable: only a run of the same machine is continued",
        records=_RUN,
        is_column=False,
    ),
    Field(
        "code",
        NAME,
        "hash of all sources that decide a number, and of their settings: only a run of the same code is "
        "continued",
        records=_RUN,
    ),
    Field("plan", NAMED_TABLE, "name of the plan and its full grid; as a column its name", records=_RUN),
    Field(
        "plan_key",
        NAME,
        "fingerprint of the grid: only a run of the same plan is continued",
        records=_RUN,
        is_column=False,
    ),
    Field("n_units", COUNT, "units of the plan", records=_RUN, is_column=False),
    Field("n_cells", COUNT, "cells of the plan", records=_RUN, is_column=False),
    Field(
        "left_out",
        TEXTS,
        "what other packages offer and could not be used, a sentence each",
        records=("run", "unit"),
        is_column=False,
        optional=True,
    ),
    Field("n_done", COUNT, "cells measured over the whole run", records=_END, is_column=False),
    Field(
        "watched",
        TABLE,
        "what the machine was busy with at the start and at the end of the session that ended the run; the "
        "run records of a samples frame have it too",
        records=("run", "end"),
        is_column=False,
        optional=True,
    ),
    Field("unit", KEY, "key of the unit, made of its fields", records=_UNIT, is_column=False),
    Field("cell", KEY, "key of the cell, made of its fields", records=_CELL, is_column=False),
    Field("guest", NAME, "guest name", records=_UNIT, is_axis=True, key="{}"),
    Field("geometry", NAME, "radix geometry of the guest's tables", records=_UNIT, is_axis=True, key="{}"),
    Field("entry_bits", POSITIVE, "width of one p2m entry, as its geometry has it", "bit", records=_UNIT),
    Field("guest_pages", PAGES, "guest memory", "page", records=_UNIT, is_axis=True, key="{}-pages"),
    Field("guest_bytes", POSITIVE, "guest memory", "byte"),
    Field("backing", NAME, "page backing asked for", records=_UNIT, is_axis=True, key="{}"),
    Field(
        "limit_bytes",
        COUNT,
        "memory that may be hot-plugged later, for which tables have room",
        "byte",
        records=_UNIT,
        is_axis=True,
        key="limit-{}",
        optional=True,
        absent=0,
    ),
    Field("replicate", COUNT, "number of the fresh process", records=_UNIT, key="replicate-{}"),
    Field("seed", COUNT, "seed of the unit: layout, contents and streams", records=_UNIT, key="seed-{}"),
    Field(
        "boot",
        KEY,
        "key of the boot; empty where it is not known",
        records=("unit",),
        optional=True,
        absent="",
    ),
    Field("designs", TABLE, "what was built, by name of the design", records=("unit",), is_column=False),
    Field(
        "family",
        NAME,
        "designs that answer the same question",
        records=("design", "cell"),
        is_axis=True,
        key="{}",
    ),
    Field(
        "design",
        NAME,
        "translation layout, or control:<design>; missing for cells that were not measured",
    ),
    Field("stream", NAME, "name of the stream", records=_CELL, is_axis=True, key="{}"),
    Field(
        "hole_fraction",
        FRACTION,
        "share of the stream that lands in holes",
        "1",
        records=_CELL,
        is_axis=True,
        key="hole-{}",
    ),
    Field(
        "identity_fraction",
        FRACTION,
        "share of the stream that lands in identity ranges",
        "1",
        records=_CELL,
        is_axis=True,
        key="identity-{}",
    ),
    Field("operation", NAME, "what is timed", records=_CELL, is_axis=True, key="{}"),
    Field(
        "preamble",
        TEXT,
        "what came before each entry; empty for operations that nothing comes before",
        records=_CELL,
        is_axis=True,
        key="after-{}",
        optional=True,
        absent="",
    ),
    Field(
        "hole_pattern",
        NAME,
        "how the shares that land in holes and identity ranges come: drawn for each lookup, or in runs",
        records=_CELL,
        is_axis=True,
        key="{}",
        optional=True,
        absent="random",
    ),
    Field("status", NAME, "done, skipped_memory, skipped_maps or failed", records=_CELL),
    Field(
        "error",
        TEXT,
        "why a cell was not measured; empty for done cells",
        records=_CELL,
        optional=True,
        absent="",
    ),
    Field("rounds", LIST, "every round", records=_CELL, is_column=False, optional=True),
    Field("round", COUNT, "number of the round in its cell"),
    Field("order", NAMES, "designs of a round in the order timed", records=_ROUND, is_column=False),
    Field("position", COUNT, "place of the design in the order of its round"),
    Field(
        "n_lookups",
        POSITIVE,
        "loop count of one timed pass: lookups, frames, leaves or whole tables",
        records=_CELL,
        optional=True,
    ),
    Field("elapsed_ns", ELAPSED_BY_DESIGN, "time of one timed pass", "ns", records=_ROUND),
    Field("cost_ns", COST, "elapsed_ns less call_ns, per lookup, frame, leaf or whole table", "ns"),
    Field(
        "n_pages_grown",
        CHANGES_BY_DESIGN,
        "pages that the pass took; missing for lookups",
        "page",
        records=_ROUND,
        optional=True,
    ),
    Field(
        "n_vmas_grown",
        CHANGES_BY_DESIGN,
        "mappings that the pass took; missing for lookups",
        records=_ROUND,
        optional=True,
    ),
    Field(
        "checksum",
        SUM,
        "wrapping sum of the entries, equal across the designs of a cell",
        records=_CELL,
        optional=True,
    ),
    Field(
        "n_involuntary_switches",
        COUNTS_BY_DESIGN,
        "times the process was preempted during the pass",
        records=_ROUND,
    ),
    Field(
        "n_steal_ticks",
        COUNTS_BY_DESIGN,
        "time the hypervisor took away during the pass",
        "tick",
        records=_ROUND,
    ),
    Field(
        "flagged",
        TEXTS_BY_DESIGN,
        "cause of an outlier, such as steal; empty for all other samples",
        records=_ROUND,
        optional=True,
        absent="",
    ),
    Field(
        "visit", COUNT, "which visit to each design the round is of", records=_ROUND, optional=True, absent=0
    ),
    Field("n_minor_faults", COUNTS_BY_DESIGN, "pages faulted in by the pass", records=_ROUND, optional=True),
    Field(
        "call_ns",
        COUNTS_BY_DESIGN,
        "of each elapsed_ns of the design, what the call costs that makes the pass: no part of cost_ns",
        "ns",
        records=_CELL,
        optional=True,
        absent=0,
    ),
    Field(
        "warm_ns", COUNT, "time of the cell's touches and untimed passes", "ns", records=_CELL, optional=True
    ),
    Field(
        "timed_ns",
        COUNT,
        "time of the cell's timed passes, with what comes before entries",
        "ns",
        records=_CELL,
        optional=True,
    ),
    Field("cell_ns", COUNT, "time of the whole cell", "ns", records=_CELL, optional=True),
    Field("code_form", NAMED_TABLE, "form of the compiled loop, such as scalar or gather:5", records=_DESIGN),
    Field("footprint", TABLE, "pages by kind", records=_DESIGN, is_column=False),
    Field(
        "view_page_bytes",
        COUNT,
        "page size that the timed view really has",
        "byte",
        records=_DESIGN,
        optional=True,
    ),
    Field(
        "views",
        TABLE,
        "page sizes of every view [byte], by design and view, as (before the cell, after it); 0 where mixed",
        "byte",
        records=_CELL,
        is_column=False,
        optional=True,
    ),
    Field("build_ns", COUNT, "time to build the design", "ns", records=_DESIGN, optional=True),
    Field(
        "mfn_generation_ns",
        COUNT,
        "time to make the machine frame numbers, outside build_ns",
        "ns",
        records=_DESIGN,
        optional=True,
    ),
    Field("n_vmas", COUNT, "mappings the design takes", records=_DESIGN, optional=True),
    Field(
        "page_table_bytes",
        COUNT,
        "hardware page tables the design takes",
        "byte",
        records=_DESIGN,
        optional=True,
    ),
    Field("memory_bytes", COUNT, "memory the design takes, counted", "byte", records=_DESIGN, optional=True),
    Field(
        "predicted_memory_bytes",
        COUNT,
        "memory the design takes, predicted",
        "byte",
        records=_DESIGN,
        optional=True,
    ),
    Field(
        "need_bytes",
        COUNT,
        "memory a skipped cell would have needed",
        "byte",
        records=_CELL,
        optional=True,
    ),
    Field("have_bytes", COUNT, "memory there was for a skipped cell", "byte", records=_CELL, optional=True),
)

# Fields that are optional in general and needed by cells of this status.
STATUS = {
    "done": ("n_lookups", "rounds", "checksum"),
    "skipped_memory": ("need_bytes", "have_bytes"),
    "skipped_maps": ("error",),
    "failed": ("error",),
}

RECORDS: dict[str, dict[str, Field]] = {
    record: {field.name: field for field in FIELDS if record in field.records} for record in (*LINES, *PARTS)
}

COLUMNS = tuple(field for field in FIELDS if field.is_column)

# Columns that tell the samples of one cell from those of another: what a cell is, whoever measured it.
CELL_AXES = tuple(field.name for field in FIELDS if field.is_axis)


def footprint_column(kind: str) -> Field:
    """Column that counts one kind of page of a design's footprint.

    Parameters
    ----------
    kind : str
        Kind of page, as the design's footprint names it.

    Returns
    -------
    Field

    Examples
    --------
    >>> footprint_column("leaf").name
    'footprint_leaf_pages'
    """
    return Field(f"footprint_{kind}_pages", COUNT, f"pages of kind {kind} in the design's tables", "page")


def columns(footprint_kinds: Iterable[str] = ()) -> tuple[Field, ...]:
    """All columns of a samples frame, in their order.

    Parameters
    ----------
    footprint_kinds : iterable of str
        Kinds of pages that occur in the data; they become the last columns, in alphabetical order.

    Returns
    -------
    tuple of Field
    """
    return COLUMNS + tuple(footprint_column(kind) for kind in sorted(set(footprint_kinds)))
