"""What the life of a PV p2m costs in either design: in time, in pages, and in mappings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, cast

import pandas as pd

from p2mperf.analysis.built import built
from p2mperf.analysis.labels import LIST, TREE
from p2mperf.analysis.samples import of_designs
from p2mperf.analysis.summary import between, costs_of_two, summary, with_verdicts
from p2mperf.designs import find
from p2mperf.designs.pv.scenarios import check, run_scenario
from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest
from p2mperf.measure.operations.registry import entries, lookups, operations
from p2mperf.results.samples import as_samples

if TYPE_CHECKING:
    from p2mperf.designs.pv.scenarios import P2m

WRITTEN, PRIVATE, WHOLE = "written in place, or ballooned", "made private", "built as a whole"
# What is done, by what one of it is.
_KINDS = {"frame": WRITTEN, "leaf": PRIVATE, "table": WHOLE}
_LIMIT = "16G"  # room above the map of every guest that scenarios happen to
_GROWTH = {"n_pages_grown": "n_pages", "n_vmas_grown": "n_mappings"}


def life_titles() -> dict[tuple[str, str], str]:
    """Say what each operation and stream is to the kernel, in the order in which they are done.

    Returns
    -------
    dict of (str, str) to str
        By operation and stream; lookups and entries are left out.
    """
    return {
        (name, stream): title
        for name, spec in operations().items()
        if name not in (*lookups(), *entries())
        for stream, title in spec.titles.items()
    }


def titles_of(table: pd.DataFrame) -> list[str]:
    """Title of each row's operation and stream; of those that `life_titles` has not, their names."""
    named = life_titles()
    return [named.get(cell, ", ".join(cell)) for cell in _done(table)]


def order_of(table: pd.DataFrame) -> list[int]:
    """Place of each row's operation and stream in `life_titles`; those that it has not come last."""
    places = {cell: place for place, cell in enumerate(life_titles())}
    return [places.get(cell, len(places)) for cell in _done(table)]


def _done(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return zip(table["operation"], table["stream"], strict=True)


def life_costs(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare tree and list in everything that is done to a p2m but lookups.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        A row an operation, stream, guest and backing, judged among each other: ``kind``, ``what``, ``guest``,
        ``backing``, ``list_ns`` and ``tree_ns`` for a frame, leaf or table [ns], ``ratio`` of tree over list
        with its interval ``low`` to ``high``, ``verdict``, ``faster`` ("list", "tree" or ""), and ``marks``.

    Raises
    ------
    BadInputError
        For what is no samples, and for samples in which there is nothing but lookups.
    """
    found = summary(_lived(frame))
    both = between(found, TREE, LIST)
    if both.empty:
        raise BadInputError("no cell of these samples has tree and list, and anything but lookups")
    both = with_verdicts(both)
    table = _told(both, costs_of_two(both, {LIST: "list", TREE: "tree"}))
    table = table.assign(_place=order_of(both), _bytes=both["guest_bytes"])
    table = table.sort_values(["_place", "_bytes"], ignore_index=True).drop(columns=["_place", "_bytes"])
    table.attrs["note"] = found.attrs["note"]
    return table


def life_growth(frame: pd.DataFrame) -> pd.DataFrame:
    """Count what each thing that is done to a p2m takes: pages of the table, and mappings of the list.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        A row an operation, stream, guest and design: ``kind``, ``what``, ``guest``, ``design``, ``n_pages``
        and ``n_mappings``, means for each frame, leaf or table.

    Raises
    ------
    BadInputError
        As `life_costs`.
    """
    lived = grown_by_one(_lived(frame))
    lived = lived[lived["design"].isin([TREE, LIST])].rename(columns=_GROWTH)
    keys = ["operation", "stream", "guest_bytes", "guest", "design"]
    table = lived.groupby(keys)[list(_GROWTH.values())].mean().reset_index()
    return _told(table, table).drop(columns=["operation", "stream", "guest_bytes"])


def grown_by_one(frame: pd.DataFrame) -> pd.DataFrame:
    """Say of each pass what one frame, leaf or table took.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        Those of designs, their ``n_pages_grown`` and ``n_vmas_grown`` for one; missing where nobody counted.
    """
    designs = of_designs(frame)
    n_done = designs["n_lookups"].astype(float)
    return designs.assign(**{name: (designs[name].astype(float) / n_done).to_numpy() for name in _GROWTH})


def live_through(
    guests: Iterable[str], scenarios: Iterable[str], designs: Iterable[str] = (TREE, LIST)
) -> pd.DataFrame:
    """Let scenarios happen to guests, each step audited.

    Parameters
    ----------
    guests : iterable of str
        Names of presets.
    scenarios, designs : iterable of str
        As `p2mperf.life` takes them.

    Returns
    -------
    pandas.DataFrame
        Steps of all of them, as `p2mperf.life` gives them.

    Raises
    ------
    BadInputError
        For names that are none, and a guest that is too small.
    DoesNotFitError
        When memory does not suffice for the tables.
    AuditError
        When a step breaks an invariant.
    """
    rows = []
    for guest, scenario, design in product(guests, scenarios, designs):
        check(scenario, find(design))
        with cast("P2m", built(design, Guest.preset(guest), limit=_LIMIT)) as p2m:
            names = {"guest": p2m.guest.name, "scenario": scenario, "design": design}
            rows += [{**names, **step._asdict()} for step in run_scenario(scenario, p2m)]
    return pd.DataFrame(rows)


def scenario_totals(steps: pd.DataFrame) -> pd.DataFrame:
    """Sum up what happened to guests, scenario by scenario.

    Parameters
    ----------
    steps : pandas.DataFrame
        Steps of scenarios, as `p2mperf.life` gives them, of several of them.

    Returns
    -------
    pandas.DataFrame
        A row a guest, scenario and design: ``n_steps``, ``n_frames``, ``n_pages_before`` and
        ``n_pages_after`` of the p2m, ``n_mappings_before`` and ``n_mappings_after`` of the list,
        ``n_leaves_broken``, and ``is_as_wanted``, whether each step was done or refused as it had to be.
    """
    marked = steps.assign(_right=steps["done"] == steps["wanted"])
    return (
        marked.groupby(["guest", "scenario", "design"], sort=False)
        .agg(
            n_steps=("what", "size"),
            n_frames=("n_frames", "sum"),
            n_pages_before=("pages_before", "first"),
            n_pages_after=("pages_after", "last"),
            n_mappings_before=("mappings_before", "first"),
            n_mappings_after=("mappings_after", "last"),
            n_leaves_broken=("n_leaves_broken", "sum"),
            is_as_wanted=("_right", "all"),
        )
        .reset_index()
    )


def life_answer(costs: pd.DataFrame, growth: pd.DataFrame, extra_leaves: Mapping[str, int]) -> str:
    """Say what a p2m's life costs with either design, in time, in pages and in mappings.

    Parameters
    ----------
    costs, growth : pandas.DataFrame
        As `life_costs` and `life_growth` give them.
    extra_leaves : mapping of str to int
        As `p2mperf.balloonable_leaves` gives them.

    Returns
    -------
    str
        Markdown, a line a sentence.
    """
    lines = []
    for kind, part in costs.groupby("kind", sort=False):
        faster = part["faster"].value_counts()
        lines.append(
            f"**{str(kind).capitalize()}:** of {len(part)} comparisons the list is faster in"
            f" {faster.get('list', 0)} and the tree in {faster.get('tree', 0)}; the tree takes"
            f" {part['ratio'].min():.2f} to {part['ratio'].max():.2f} times the list's time."
        )
    lines.append(
        f"**In pages:** the example guest's memory that may once be ballooned into takes"
        f" {extra_leaves[LIST]:,} leaves of the list from boot on, and {extra_leaves[TREE]} of the tree."
    )
    broken = growth[growth["kind"] == PRIVATE]
    if len(broken):
        most = broken.groupby("design")["n_mappings"].max()
        lines.append(
            f"**In mappings:** a shared leaf that is made private takes up to {most.get(LIST, 0.0):.1f}"
            f" mappings of the list, and {most.get(TREE, 0.0):.0f} of the tree."
        )
    return "\n".join(f"* {line}" for line in lines)


def _lived(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of PV designs that are neither lookups nor entries."""
    samples = as_samples(frame)
    lived = samples[(samples["family"] == "pv") & ~samples["operation"].isin([*lookups(), *entries()])]
    if lived.empty:
        raise BadInputError("these samples are of lookups alone: `sweep --plan life` measures the rest")
    return lived


def _told(pairs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Say before all else what was done in each row, and to what."""
    table.insert(0, "kind", [_KINDS[operations()[name].per] for name in pairs["operation"]])
    table.insert(1, "what", titles_of(pairs))
    return table
