"""Plans: the grid of guests, page backings, streams and operations that is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from p2mperf.designs.backing import KERNEL, NAMES as BACKING_NAMES, backing as find_backing
from p2mperf.errors import known
from p2mperf.families import families, family_of_geometry, preambles
from p2mperf.guests.geometries import find_geometry
from p2mperf.guests.guest import Guest
from p2mperf.measure.operations.ability import can_do
from p2mperf.measure.operations.registry import OperationSpec, find_operation, lookups, operations_of
from p2mperf.measure.settings import Settings
from p2mperf.study.specs import WHOLE_TABLE, GuestSpec, StreamSpec, Unit, designs_of
from p2mperf.units import GIB, PAGE_SHIFT, parse_size


@dataclass(frozen=True)
class Plan:
    """A grid.

    Attributes
    ----------
    name : str
        quick, default, full, life, hap, or what the user made of one.
    guests : tuple of GuestSpec
        Guests of all families.
    backings : tuple of str
        Page backings; of those that are one layout in a family, one is measured.
    streams : tuple of StreamSpec
        Access patterns.
    operations : tuple of str
        What is timed.
    designs : tuple of str
        Designs that take part; those of a family are compared on its guests.
    n_replicates : int
        Fresh processes for each guest and backing.
    seed : int
        Seed of the first replicate; each one has its own.
    settings : Settings
        How long and how often a cell is timed.
    limit_bytes : int
        Memory that may be hot-plugged later, as far as a width reaches: PV tables have room for it [bytes].
    has_ladder : bool
        Whether a run measures the latency ladder of its machine, which explains results and is none of them:
        it is not of the grid.
    preambles : tuple of str
        What comes before entries; none named: what the family of a guest has as usual.
    """

    name: str
    guests: tuple[GuestSpec, ...]
    backings: tuple[str, ...] = (KERNEL,)
    streams: tuple[StreamSpec, ...] = ()
    operations: tuple[str, ...] = field(default_factory=lookups)
    designs: tuple[str, ...] = ()
    n_replicates: int = 9
    seed: int = 1
    settings: Settings = field(default_factory=Settings)
    limit_bytes: int = 0
    has_ladder: bool = True
    preambles: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data: the grid, from which a run's fingerprint is made; what it lacks is no field.

        Page backings are called as its units call them.
        """
        data = {**asdict(self), "settings": self.settings.changes()}
        data["backings"] = tuple(dict.fromkeys(unit.backing for unit in self.units())) or self.backings
        del data["has_ladder"]
        if not self.limit_bytes:
            del data["limit_bytes"]
        if not self.preambles:
            del data["preambles"]
        return data

    def units(self) -> Iterator[Unit]:
        """All units, one replicate of everything before the next, so that drift spreads over all."""
        for replicate in range(self.n_replicates):
            for guest in self.guests:
                for backing in self.backings_of(guest):
                    designs = self.designs_of(guest.family)
                    if designs:
                        seed = self.seed + replicate
                        limit_bytes, asked = self.limit_of(guest), bool(self.designs)
                        yield Unit(guest, backing, replicate, seed, designs, limit_bytes, asked)

    def designs_of(self, family: str) -> tuple[str, ...]:
        """Designs of a family that take part."""
        return designs_of(family, self.designs, self.name)

    def backings_of(self, guest: GuestSpec) -> tuple[str, ...]:
        """Page backings of a guest's designs, each layout once: what its kernel has is called ``kernel``."""
        from p2mperf.designs import find

        kinds = [find(name) for name in self.designs_of(guest.family)]
        names = dict.fromkeys(find_backing(name, guest.family).name for name in self.backings)
        layouts: dict[tuple[tuple[int, int], ...], str] = {}
        for name in names:  # designs on pages of their own have one layout whatever is asked for
            pages = (kind.backing_of(name) for kind in kinds)
            layouts.setdefault(tuple((each.direct_bytes, each.window_bytes) for each in pages), name)
        return tuple(layouts.values())

    def limit_of(self, guest: GuestSpec) -> int:
        """Limit that a guest's tables are built with [bytes]."""
        return min(self.limit_bytes, find_geometry(guest.geometry).hotplug_reach_bytes)

    def cells(self, guest: Guest) -> list[tuple[StreamSpec, str]]:
        """Streams and operations that a guest can serve, to some design that takes part."""
        from p2mperf.designs import find

        kinds = [find(name) for name in self.designs_of(family_of_geometry(guest.geometry.name).name)]
        specs = [
            spec
            for spec in map(find_operation, self.operations)
            if self.preambles_of(spec, guest) and any(can_do(spec, kind, guest) for kind in kinds)
        ]
        streams = [stream for stream in self.streams if stream.fits(guest)]
        cells = [(stream, spec) for stream in streams for spec in specs if stream.serves(spec.name)]
        cells += [(WHOLE_TABLE, spec) for spec in specs if spec.streams == ()]
        # What changes tables for good is done when all else is.
        cells.sort(key=lambda cell: not cell[1].keeps_tables)
        return [(stream, spec.name) for stream, spec in cells]

    def preambles_of(self, spec: OperationSpec, guest: Guest) -> tuple[str, ...]:
        """Name what is to come before an operation, in as many cells; "" alone where nothing does."""
        if not spec.has_preamble:
            return ("",)
        entry = family_of_geometry(guest.geometry.name).entry
        if entry is None:
            return ()
        wanted = self.preambles or entry.usual.get(guest.geometry.name, ())
        return tuple(one.name for one in entry.preambles if one.name in wanted and one.is_possible)


_TWO_STREAMS = (StreamSpec("sequential"), StreamSpec("uniform"))
# What the verdicts need: the two ends of locality, and what lies beside RAM.
_TELLING_STREAMS = (
    *_TWO_STREAMS,
    StreamSpec("uniform", hole_fraction=0.5),
    StreamSpec("uniform", hole_fraction=0.5, hole_pattern="runs"),
    StreamSpec("uniform", identity_fraction=0.5),
)
_EVERY_STREAM = (
    *_TELLING_STREAMS,
    StreamSpec("zipf"),
    StreamSpec("log-uniform"),
    StreamSpec("leaf-stride"),
)


@dataclass(frozen=True)
class _PlanSpec:
    """What a named plan has that neither families nor operations declare.

    Attributes
    ----------
    streams, settings, n_replicates, limit_bytes, has_ladder
        As `Plan`.
    all_backings : bool
        Whether it measures all page backings; else the kernel's alone.
    all_preambles : bool
        Whether it measures entries after all that may come before them; else after the usual.
    at_knees : bool
        Whether it puts guests around the knees of its machine.
    """

    streams: tuple[StreamSpec, ...]
    settings: Settings = field(default_factory=Settings)
    n_replicates: int = 9
    limit_bytes: int = 0
    has_ladder: bool = True
    all_backings: bool = False
    all_preambles: bool = False
    at_knees: bool = False


# A first look, of as few processes as there can be a verdict of.
_QUICK = Settings(n_visits=2, n_slices=2, control=False, warm_up_ns=500_000_000)
_PLANS = {
    "quick": _PlanSpec(_TWO_STREAMS, settings=_QUICK, n_replicates=6, has_ladder=False),
    "default": _PlanSpec(_TELLING_STREAMS),
    "full": _PlanSpec(_EVERY_STREAM, all_backings=True, all_preambles=True, at_knees=True),
    # Room for hotplug as 64-bit kernels have it by default; at 32 bits 64 GiB is the most there can be.
    # What changes tables is timed once a visit, so that it takes more of them.
    "life": _PlanSpec(_TWO_STREAMS, settings=Settings(n_visits=6), limit_bytes=512 * GIB),
    # Walk and window by the size of leaves: all designs of HAP in one cell.
    "hap": _PlanSpec(_TWO_STREAMS, settings=Settings(n_slices=2)),
}
PLANS = tuple(_PLANS)


def _plain_guests(plan: str) -> Iterator[GuestSpec]:
    for family in families().values():
        for geometry, sizes in family.sizes.get(plan, {}).items():
            yield from (GuestSpec.plain(size, geometry) for size in sizes)


def _presets(plan: str) -> Iterator[GuestSpec]:
    for family in families().values():
        yield from map(GuestSpec.preset, family.presets.get(plan, ()))


def make_plan(name: str, knee_bytes: Sequence[int] = ()) -> Plan:
    """Make one of the named plans.

    Parameters
    ----------
    name : str
        One of `PLANS`.
    knee_bytes : sequence of int
        For one that `wants_knees`: list bytes at which a cache or a translation buffer of this machine is
        full; it gets points on both sides of each [bytes].

    Returns
    -------
    Plan

    Raises
    ------
    BadInputError
        For any other name.
    """
    spec = _PLANS[known("plan", name, _PLANS)]
    around = _around_knees(knee_bytes) if spec.at_knees else ()
    return Plan(
        name,
        tuple(dict.fromkeys((*_plain_guests(name), *around, *_presets(name)))),
        backings=BACKING_NAMES if spec.all_backings else (KERNEL,),
        streams=spec.streams,
        operations=operations_of(name),
        n_replicates=spec.n_replicates,
        settings=spec.settings,
        limit_bytes=spec.limit_bytes,
        has_ladder=spec.has_ladder,
        preambles=preambles() if spec.all_preambles else (),
    )


def wants_knees(name: str) -> bool:
    """Tell whether a named plan puts guests around the knees of its machine, which are to be measured first.

    Raises
    ------
    BadInputError
        When there is no plan of that name.
    """
    return _PLANS[known("plan", name, _PLANS)].at_knees


def _around_knees(knee_bytes: Sequence[int]) -> Iterator[GuestSpec]:
    """Two guests on either side of each knee, as far as the family's sizes reach."""
    limits = [limit for family in families().values() for limit in family.knee_limits.items()]
    for geometry, limit in limits:
        entry_bytes = find_geometry(geometry).entry_bytes
        for knee in knee_bytes:
            for factor in (0.35, 0.7, 1.4, 2.8):
                n_bytes = int(knee * factor) // entry_bytes << PAGE_SHIFT
                rounded = n_bytes >> 20 << 20
                if 0 < rounded <= parse_size(limit):
                    yield GuestSpec.plain(rounded, geometry)
