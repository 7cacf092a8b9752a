"""Jobs: the units of a plan with what they measure and need, and whether that fits where they are to run."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeAlias

from p2mperf.measure.operations.ability import first_able
from p2mperf.measure.operations.registry import find_operation
from p2mperf.measure.settings import Settings
from p2mperf.results.fields import Record
from p2mperf.results.keys import CellSpec, UnitId
from p2mperf.study.executors.base import Capacity
from p2mperf.study.order import Order, unit_id
from p2mperf.study.plans import Plan
from p2mperf.study.rehearsal import rehearsal_guest
from p2mperf.study.specs import WHOLE_TABLE, StreamSpec, Unit, build_options
from p2mperf.units import MIB, readable_size

if TYPE_CHECKING:
    from p2mperf.designs.base import Footprint
    from p2mperf.guests.guest import Guest

# Streams and operations that are done to a guest.
Served: TypeAlias = list[tuple[StreamSpec, str]]

# A unit's interpreter, numba and numpy.
PROCESS_BYTES = 420 * MIB
# Mappings of such a process, libraries included.
PROCESS_MAPS = 1000


@dataclass(frozen=True)
class Job:
    """A unit with the cells of it that are to be measured.

    Attributes
    ----------
    unit : Unit
        What is built.
    id : UnitId
        What it is called in results.
    cells : tuple of CellSpec
        What is measured.
    need_bytes : int
        Memory its process takes at most [bytes].
    need_maps : int
        Mappings of its process at most.
    """

    unit: Unit
    id: UnitId
    cells: tuple[CellSpec, ...]
    need_bytes: int
    need_maps: int

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of its cells, in their order."""
        return tuple(cell.key_in(self.id.key) for cell in self.cells)

    def without(self, finished: Container[str]) -> Self:
        """Leave out the cells whose keys are finished."""
        pairs = zip(self.cells, self.keys, strict=True)
        return replace(self, cells=tuple(cell for cell, key in pairs if key not in finished))

    def order(self, settings: Settings, warm_up: bool = False) -> Order:
        """What its process is told."""
        return Order(self.unit, self.cells, settings, warm_up, self.need_bytes)

    def to_json(self) -> Record:
        """What all its records share; of what was not measured no unit record tells the limit."""
        return {**self.id.to_json(), "limit_bytes": self.id.limit_bytes}

    def cell_json(self, cell: CellSpec) -> Record:
        """What one of its cells is, and is called."""
        return {"cell": cell.key_in(self.id.key), **cell.to_json()}


@dataclass(frozen=True)
class Misfit:
    """Why a job does not fit.

    Attributes
    ----------
    status : str
        Of its cells, as `p2mperf.results.fields.STATUS` has it.
    said : str
        The same for people.
    need_bytes, have_bytes : int or None
        What it needs and what there is, where it is memory that does not suffice [bytes].
    """

    status: str
    said: str
    need_bytes: int | None = None
    have_bytes: int | None = None

    def to_json(self) -> Record:
        """What the records of its cells say about it."""
        if self.have_bytes is None:
            return {"status": self.status, "error": self.said}
        return {"status": self.status, "need_bytes": self.need_bytes, "have_bytes": self.have_bytes}


def jobs(plan: Plan) -> Iterator[Job]:
    """List a plan's units with all their cells and what they need, by arithmetic alone."""
    # Replicates differ in where the guest lies in machine memory, which changes no table: one stands for all.
    worked_out: dict[Unit, tuple[Guest, tuple[CellSpec, ...], int, int]] = {}
    for unit in plan.units():
        alike = replace(unit, replicate=0, seed=plan.seed)
        if alike not in worked_out:
            guest = alike.guest.build(alike.seed)
            served = plan.cells(guest)
            needs = _needs(unit, guest, served, plan.settings)
            worked_out[alike] = (guest, _cells(plan, unit, guest, served), *needs)
        guest, cells, need_bytes, need_maps = worked_out[alike]
        yield Job(unit, unit_id(unit, guest), cells, need_bytes, need_maps)


def _cells(plan: Plan, unit: Unit, guest: Guest, served: Served) -> tuple[CellSpec, ...]:
    from p2mperf.designs import family_of

    family = family_of(unit.designs[0])
    return tuple(
        CellSpec(
            family,
            stream.name,
            stream.hole_fraction,
            stream.identity_fraction,
            operation,
            preamble,
            stream.hole_pattern,
        )
        for stream, operation in served
        for preamble in plan.preambles_of(find_operation(operation), guest)
    )


def _needs(unit: Unit, guest: Guest, served: Served, settings: Settings) -> tuple[int, int]:
    """Memory [bytes] and mappings of a unit's process at most."""
    makes_tables = any(stream == WHOLE_TABLE for stream, _ in served)
    footprints, rehearsed = (_footprints(unit, whose) for whose in (guest, rehearsal_guest(guest)))
    controls = _controls(unit, guest, served, footprints) if settings.control else []
    # Whole tables are made beside those there are, one at a time; so they are when it is rehearsed.
    beside = max(max(f.n_vmas, 2 * r.n_vmas) for f, r in zip(footprints, rehearsed, strict=True))
    again = [max(footprints, key=_bytes_of)] if makes_tables else []
    list_bytes = guest.n_boot_pages * guest.geometry.entry_bytes if makes_tables else 0
    return (
        sum(map(_bytes_of, footprints + controls + again)) + list_bytes + fixed_bytes(settings),
        sum(f.n_vmas for f in footprints + controls) + beside + PROCESS_MAPS,
    )


def _controls(unit: Unit, guest: Guest, served: Served, footprints: list[Footprint]) -> list[Footprint]:
    """What is built once more to be compared with itself: the first design that does each operation."""
    from p2mperf.designs import find

    kinds = {name: find(name) for name in unit.designs}
    operations = {operation for _, operation in served}
    firsts = {first_able(find_operation(operation), kinds, guest) for operation in operations}
    return [footprint for name, footprint in zip(unit.designs, footprints, strict=True) if name in firsts]


def stream_bytes(settings: Settings) -> int:
    """Memory of the longest passes' streams: timed ones of a visit, two others, one in the making [bytes]."""
    return 8 * settings.max_lookups * (settings.n_slices + 2 + 1)


def fixed_bytes(settings: Settings) -> int:
    """What each unit's process needs beside its tables: itself, and the frames of passes [bytes]."""
    return stream_bytes(settings) + PROCESS_BYTES


def _footprints(unit: Unit, guest: Guest) -> list[Footprint]:
    from p2mperf.designs import find

    return [
        kind.predict_footprint(
            guest, backing=kind.backing_of(unit.backing), **build_options(kind, unit.limit_bytes)
        )
        for kind in map(find, unit.designs)
    ]


def _bytes_of(footprint: Footprint) -> int:
    return int(footprint.memory_bytes + footprint.page_table_bytes)


def fit(job: Job, capacity: Capacity) -> Misfit | None:
    """Hold what a job needs against what there is.

    Parameters
    ----------
    job : Job
        What is to run.
    capacity : Capacity
        Of where it is to run, just now.

    Returns
    -------
    Misfit or None
        None when it fits.
    """
    have_bytes, have_maps = capacity.memory_bytes, capacity.n_maps
    if job.need_bytes > have_bytes:
        said = f"needs {readable_size(job.need_bytes)}, {readable_size(have_bytes)} are available"
        return Misfit("skipped_memory", said, job.need_bytes, have_bytes)
    if job.need_maps > have_maps:
        said = f"needs {job.need_maps} mappings, {have_maps} are left: raise vm.max_map_count"
        return Misfit("skipped_maps", said)
    return None
