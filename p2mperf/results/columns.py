"""The columns of the samples frame: one registry is documentation, types and order in one.

The frame (`p2mperf.results.export`) has one row per design and round of every measured cell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of the samples frame.

    Parameters
    ----------
    name : str
        Its name; ends in the unit where there is one.
    dtype : str
        The pandas dtype: ``string``, ``Int64``, ``UInt64`` (all three know missing values) or ``float64``.
    unit : str
        Unit as people write it; empty for names and pure counts.
    doc : str
        One line.
    """

    name: str
    dtype: str
    unit: str
    doc: str


COLUMNS = (
    Column("run", "string", "", "run id"),
    Column("host", "string", "", "name of the host that measured"),
    Column("machine", "string", "", "key of the machine card: timings with equal keys compare"),
    Column("code", "string", "", "hash of all sources that decide a number, and of their settings"),
    Column("plan", "string", "", "name of the plan"),
    Column("guest", "string", "", "guest name"),
    Column("geometry", "string", "", "radix geometry of the guest's tables"),
    Column("entry_bits", "Int64", "bit", "width of one p2m entry"),
    Column("guest_pages", "Int64", "page", "guest memory"),
    Column("guest_bytes", "Int64", "byte", "guest memory"),
    Column("backing", "string", "", "page backing asked for"),
    Column(
        "limit_bytes", "Int64", "byte", "memory that may be hot-plugged later, for which tables have room"
    ),
    Column("replicate", "Int64", "", "number of the fresh process"),
    Column("seed", "Int64", "", "seed of the unit: layout, contents and streams"),
    Column("family", "string", "", "designs that answer the same question"),
    Column(
        "design",
        "string",
        "",
        "translation layout, or control:<design>; missing for cells that were not measured",
    ),
    Column("stream", "string", "", "name of the access pattern"),
    Column("hole_fraction", "float64", "1", "share of the stream that lands in holes"),
    Column("identity_fraction", "float64", "1", "share of the stream that lands in identity ranges"),
    Column("operation", "string", "", "what is timed"),
    Column("status", "string", "", "done, skipped_memory, skipped_maps or failed"),
    Column("error", "string", "", "why a cell was not measured; empty for done cells"),
    Column("round", "Int64", "", "number of the block over all designs of the cell"),
    Column("position", "Int64", "", "place of the design in the order of its block"),
    Column("n_lookups", "Int64", "", "loop count of one timed pass: lookups, frames, leaves or whole tables"),
    Column("elapsed_ns", "Int64", "ns", "time of one timed pass"),
    Column("cost_ns", "float64", "ns", "elapsed_ns per lookup, frame, leaf or whole table"),
    Column("n_pages_grown", "Int64", "page", "pages that the pass took; missing for lookups"),
    Column("n_vmas_grown", "Int64", "", "mappings that the pass took; missing for lookups"),
    Column("checksum", "UInt64", "", "wrapping sum of the entries, equal across the designs of a cell"),
    Column("n_involuntary_switches", "Int64", "", "times the process was preempted during the pass"),
    Column("n_steal_ticks", "Int64", "tick", "time the hypervisor took away during the pass"),
    Column("flagged", "string", "", "cause of an outlier, such as steal; empty for all other samples"),
    Column("code_form", "string", "", "form of the compiled loop, such as scalar or gather:5"),
    Column("view_page_bytes", "Int64", "byte", "page size that the timed view really has"),
    Column("build_ns", "Int64", "ns", "time to build the design"),
    Column("mfn_generation_ns", "Int64", "ns", "time to make the machine frame numbers, outside build_ns"),
    Column("n_vmas", "Int64", "", "mappings the design takes"),
    Column("page_table_bytes", "Int64", "byte", "hardware page tables the design takes"),
    Column("memory_bytes", "Int64", "byte", "memory the design takes, counted"),
    Column("predicted_memory_bytes", "Int64", "byte", "memory the design takes, predicted"),
    Column("need_bytes", "Int64", "byte", "memory a skipped cell would have needed"),
    Column("have_bytes", "Int64", "byte", "memory there was for a skipped cell"),
)


def footprint_column(kind: str) -> Column:
    """Column that counts one kind of page of a design's footprint.

    Parameters
    ----------
    kind : str
        Kind of page, as the design's footprint names it.

    Returns
    -------
    Column

    Examples
    --------
    >>> footprint_column("leaf").name
    'footprint_leaf_pages'
    """
    return Column(f"footprint_{kind}_pages", "Int64", "page", f"pages of kind {kind} in the design's tables")


def columns(footprint_kinds: Iterable[str] = ()) -> tuple[Column, ...]:
    """All columns of a samples frame, in their order.

    Parameters
    ----------
    footprint_kinds : iterable of str
        Kinds of pages that occur in the data; they become the last columns, in alphabetical order.

    Returns
    -------
    tuple of Column
    """
    return COLUMNS + tuple(footprint_column(kind) for kind in sorted(set(footprint_kinds)))
