"""A plan narrowed to what the user asks for, and refused where nothing of that can be measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from p2mperf.designs import find
from p2mperf.designs.backing import NAMES as BACKING_NAMES
from p2mperf.designs.capabilities import missing
from p2mperf.errors import BadInputError, PluginError, in_a_row, known, shown
from p2mperf.families import (
    Family,
    families,
    find_family,
    geometries_of,
    preambles as all_preambles,
)
from p2mperf.guests.geometries import find_geometry, geometries as all_geometries
from p2mperf.measure.operations.ability import answered_for, why_not
from p2mperf.measure.operations.registry import find_operation
from p2mperf.study.plans import Plan
from p2mperf.study.specs import GuestSpec, designs_of, parse_stream
from p2mperf.units import PAGE_SIZE, flag, is_one_of, parse_size, whole_number

T = TypeVar("T")

_MOST_REPLICATES = 10_000  # a process each, which takes a second or more


def narrow(
    plan: Plan,
    *,
    guests: Sequence[str] = (),
    sizes: Sequence[str] = (),
    entry_bits: int | None = None,
    geometries: Sequence[str] = (),
    designs: Sequence[str] = (),
    streams: Sequence[str] = (),
    operations: Sequence[str] = (),
    backings: Sequence[str] = (),
    n_replicates: int | None = None,
    control: bool | None = None,
    limit: str | int | None = None,
    preambles: Sequence[str] = (),
) -> Plan:
    """Replace parts of a plan by what the user asked for.

    Parameters
    ----------
    plan : Plan
        Where to start.
    guests : sequence of str
        Presets, or plain guests as results call them.
    sizes : sequence of str
        Sizes of plain guests; with `guests`, both take part.
    entry_bits : int, optional
        Only guests of this width.
    geometries : sequence of str
        Only guests of these geometries; without any, sizes are of the first of its width in each family of
        the designs, or, without those, of the first family that the plan measures.
    designs, streams, operations, backings : sequence of str
        Names; empty leaves the plan's. A stream may be written ``uniform:hole=0.5,identity=0.1``.
        What equals a family's kernel's layout is measured as ``kernel``.
    n_replicates : int, optional
        Fresh processes.
    control : bool, optional
        Time the first design against itself too.
    limit : str, optional
        Memory that may be hot-plugged later, as 512G; 0 for none.
    preambles : sequence of str
        What comes before entries; without a name, all that may where entries are asked for by name, else
        what the plan has.

    Returns
    -------
    Plan

    Raises
    ------
    BadInputError
        For names and sizes that are none, or when nothing is left.
    """
    designs, streams = in_a_row("designs", designs), in_a_row("streams", streams)
    operations, backings = in_a_row("operations", operations), in_a_row("backings", backings)
    guests, sizes = in_a_row("guests", guests), in_a_row("sizes", sizes)
    geometries = in_a_row("geometries", geometries)
    preambles = in_a_row("preambles", preambles)
    measured = sorted({find(name).family for name in designs} or {_usual_family(plan)})
    chosen = _chosen_guests(plan, guests, sizes, entry_bits, geometries, [*map(find_family, measured)])
    for name in preambles:
        known("preamble", name, all_preambles())
    if any(find_operation(name).has_preamble for name in operations):
        preambles = preambles or all_preambles()
    for name in backings:
        known("page backing", name, BACKING_NAMES)
    control = plan.settings.control if control is None else flag(control, "control")
    narrowed = replace(
        plan,
        guests=chosen,
        designs=_each_once(designs) or plan.designs,
        streams=_each_once(map(parse_stream, streams)) or plan.streams,
        operations=_each_once(operations) or plan.operations,
        backings=_each_once(backings) or plan.backings,
        n_replicates=plan.n_replicates if n_replicates is None else _checked_replicates(n_replicates),
        settings=replace(plan.settings, control=control),
        limit_bytes=plan.limit_bytes if limit is None else parse_limit(limit),
        preambles=_each_once(preambles) or plan.preambles,
    )
    _check_reach(narrowed)
    if next(narrowed.units(), None) is None:
        raise BadInputError("nothing is left to measure: no chosen design belongs to a chosen guest's family")
    _check_cells(narrowed, operations)
    return narrowed


def _checked_replicates(n_replicates: int) -> int:
    n_replicates = whole_number(n_replicates, "n_replicates")
    if n_replicates < 1:
        raise BadInputError(f"{shown(n_replicates)} replicates: at least one process must measure")
    if n_replicates > _MOST_REPLICATES:
        raise BadInputError(f"{shown(n_replicates)} replicates: more than {_MOST_REPLICATES} never end")
    return n_replicates


def parse_limit(text: str | int) -> int:
    """Read up to how much memory there may be later.

    Parameters
    ----------
    text : str or int
        A size, as 512G; 0 for none.

    Returns
    -------
    int
        The limit [bytes].

    Raises
    ------
    BadInputError
        When it is no size, or beyond what any PV table indexes.
    """
    is_none = is_one_of(text, 0) or (isinstance(text, str) and text == "0")
    limit_bytes = 0 if is_none else parse_size(text)
    if limit_bytes % PAGE_SIZE:
        raise BadInputError(f"limit {shown(text)} is not a whole number of 4 KiB pages")
    if limit_bytes > max(shape.hotplug_reach_bytes for shape in all_geometries().values()):
        raise BadInputError(
            f"limit {shown(text)} is beyond 512G, which is what three levels index (64G at 32 bits)"
        )
    return limit_bytes


def _check_reach(plan: Plan) -> None:
    """A comparison with tables that end below the guest's would compare different tables."""
    for spec in plan.guests:
        guest = spec.build(plan.seed)
        for name in plan.designs_of(spec.family):
            if reason := find(name).out_of_reach(guest):
                raise BadInputError(f"{name} {reason}")


def _check_cells(plan: Plan, asked: Sequence[str]) -> None:
    _check_room(plan, asked)
    _check_able(plan)
    guests = [guest.build(plan.seed) for guest in plan.guests]
    if any(map(plan.cells, guests)):
        return
    if not any(stream.fits(guest) for stream in plan.streams for guest in guests):
        raise BadInputError(
            "no chosen guest has the holes or identity frames that the chosen streams ask for: take one with "
            "gaps, as dom0-64-e820"
        )
    names = ", ".join(plan.operations)
    raise BadInputError(f"none of the chosen guests and streams is one that {names} can be done on")


def _check_room(plan: Plan, asked: Sequence[str]) -> None:
    for spec, designs in {unit.guest: unit.designs for unit in plan.units()}.items():
        guest = spec.build(plan.seed)
        for operation in map(find_operation, plan.operations):
            # One of another package that takes part by itself, and breaks, fails its own cells alone.
            with suppress(*(() if operation.name in asked else (PluginError,))), answered_for(operation):
                if any(not why_not(operation, find(name), guest) for name in designs):
                    operation.load().check_room(guest, plan.limit_of(spec))


def _check_able(plan: Plan) -> None:
    """Refuse designs that cannot do what others of their family can."""
    for family in families():
        chosen = designs_of(family, plan.designs) if plan.designs else ()
        refused = [
            spec.name
            for spec in map(find_operation, plan.operations)
            if chosen
            and all(missing(find(name), spec.needs) for name in chosen)
            and not all(missing(find(name), spec.needs) for name in designs_of(family, ()))
        ]
        if refused:
            raise BadInputError(
                f"{', '.join(chosen)} can only be read, not for {', '.join(refused)}: take another design, "
                "or --operation latency"
            )


def _usual_family(plan: Plan) -> str:
    """Whose guests a size means where no design is named: the first family's, if the plan has any of them."""
    there = {guest.family for guest in plan.guests} or families()
    return next(name for name in families() if name in there)


def _each_once(names: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(names))


def _chosen_guests(
    plan: Plan,
    guests: Sequence[str],
    sizes: Sequence[str],
    entry_bits: int | None,
    geometries: Sequence[str],
    measured: Sequence[Family],
) -> tuple[GuestSpec, ...]:
    if entry_bits is not None and not is_one_of(entry_bits, 32, 64):
        raise BadInputError(f"entries have 32 or 64 bits, not {shown(entry_bits)}")
    there = [name for family in measured for name in family.geometries]
    for name in geometries:
        known("geometry of the chosen designs' guests", name, there)
    if not guests and not sizes:
        chosen = plan.guests
    else:
        shapes = geometries or [name for family in measured for name in geometries_of(family, entry_bits)[:1]]
        plain = [GuestSpec.plain(size, shape) for size in sizes for shape in shapes]
        chosen = _each_once([*map(GuestSpec.named, guests), *plain])
    if entry_bits:
        chosen = tuple(guest for guest in chosen if find_geometry(guest.geometry).entry_bits == entry_bits)
    if not chosen:
        raise BadInputError(f"no chosen guest has {entry_bits}-bit entries")
    if geometries and not (chosen := tuple(guest for guest in chosen if guest.geometry in geometries)):
        raise BadInputError(f"no chosen guest is of geometry {' or '.join(geometries)}: give it a size")
    return chosen
