"""Plans: the grid of guests, page backings, streams and operations, and what of it fits this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from p2mperf.errors import BadInputError, unknown
from p2mperf.families import Family, families, family_of_geometry, find_family, geometries_of
from p2mperf.guests.geometries import find_geometry, geometries
from p2mperf.guests.geometry import Kind
from p2mperf.guests.guest import Guest
from p2mperf.guests.presets import PRESETS
from p2mperf.results.records import LOOKUPS
from p2mperf.units import GIB, PAGE_SHIFT, format_size, parse_size

if TYPE_CHECKING:
    from p2mperf.designs.base import Design

BACKING_NAMES = ("kernel", "small", "huge", "swapped")
# What happens to a p2m over its life, and the streams it is done over: none for what makes a whole table.
LIFE_STREAMS: dict[str, tuple[str, ...]] = {
    "set": ("sequential", "uniform", "zipf", "leaf-stride"),
    "balloon-down": ("sequential",),
    "balloon-up": ("sequential",),
    "cow": ("sequential", "uniform"),
    "tools": (),
    "rebuild": (),
    "build": (),
}
OPERATION_NAMES = (*LOOKUPS, *LIFE_STREAMS)
# Leaves that cow takes of one p2m: 128 a pass, two trials and six rounds, neighbours and others.
MOST_BROKEN = 128 * (2 + 6) * 2


@dataclass(frozen=True, order=True)
class GuestSpec:
    """A guest by name or by size, before it is built.

    Attributes
    ----------
    name : str
        Name of a preset, or of the plain guest.
    geometry : str
        Geometry of its tables.
    n_bytes : int
        Memory of a plain guest; 0 for a preset [bytes].
    """

    name: str
    geometry: str
    n_bytes: int = 0

    @classmethod
    def preset(cls, name: str) -> GuestSpec:
        """Name a preset.

        Raises
        ------
        BadInputError
            When there is none of that name.
        """
        if name not in PRESETS:
            raise unknown("guest", name, PRESETS)
        return cls(name, PRESETS[name].geometry)

    @classmethod
    def plain(cls, size: str | int, geometry: str) -> GuestSpec:
        """Describe a guest with nothing but RAM.

        Raises
        ------
        BadInputError
            When the size is none, or beyond the geometry's width.
        """
        guest = Guest.plain(size, geometry=geometry)
        return cls(guest.name, geometry, guest.memory_bytes)

    def build(self, seed: int) -> Guest:
        """Make the guest, its machine laid out by `seed`."""
        if self.n_bytes:
            return Guest.plain(self.n_bytes, geometry=self.geometry, seed=seed, name=self.name)
        return Guest.preset(self.name, seed=seed)

    @property
    def family(self) -> str:
        return family_of_geometry(self.geometry).name


@dataclass(frozen=True)
class StreamSpec:
    """A stream by name, with the shares of it that go elsewhere than to RAM."""

    name: str
    hole_fraction: float = 0.0
    identity_fraction: float = 0.0

    def serves(self, operation: str) -> bool:
        """Tell whether an operation is done over it: what is written to must be RAM."""
        in_ram = not (self.hole_fraction or self.identity_fraction)
        return operation in LOOKUPS or (in_ram and self.name in LIFE_STREAMS[operation])

    def fits(self, guest: Guest) -> bool:
        """Tell whether the guest has the frames it asks for."""
        holes = guest.runs.select(Kind.EXTRA, Kind.MISSING).n_frames.sum() >= guest.geometry.leaf_frames
        identity = guest.runs.select(Kind.IDENTITY).n_frames.size
        return bool((not self.hole_fraction or holes) and (not self.identity_fraction or identity))


def _is_done_to(guest: Guest, operation: str) -> bool:
    """Tell whether an operation is one of a guest's family; a flat list holds memory without holes."""
    if operation in LOOKUPS:
        return True
    return bool(guest.geometry.hotplug_reach_bytes) and (operation != "rebuild" or guest.is_flat)


# The stream of what makes a whole table.
WHOLE_TABLE = StreamSpec("whole-table")


@dataclass(frozen=True)
class Plan:
    """A grid.

    Attributes
    ----------
    name : str
        quick, default, full, or what the user made of one.
    guests : tuple of GuestSpec
        Guests of all families.
    backings : tuple of str
        Page backings.
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
    settings : dict
        `p2mperf.measure.engine.Settings` as plain data, as far as it differs from the default.
    limit_bytes : int
        Memory that may be hot-plugged later, as far as a width reaches: PV tables have room for it [bytes].
    """

    name: str
    guests: tuple[GuestSpec, ...]
    backings: tuple[str, ...] = ("kernel",)
    streams: tuple[StreamSpec, ...] = ()
    operations: tuple[str, ...] = LOOKUPS
    designs: tuple[str, ...] = ()
    n_replicates: int = 6
    seed: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    limit_bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data: the grid, from which a run's fingerprint is made; no limit is no field."""
        data = asdict(self)
        if not self.limit_bytes:
            del data["limit_bytes"]
        return data

    def units(self) -> Iterator[Unit]:
        """All units, one replicate of everything before the next, so that drift spreads over all."""
        for replicate in range(self.n_replicates):
            for guest in self.guests:
                for backing in self.backings:
                    designs = designs_of(guest.family, self.designs)
                    if designs:
                        seed = self.seed + replicate
                        yield Unit(guest, backing, replicate, seed, designs, self.limit_of(guest))

    def limit_of(self, guest: GuestSpec) -> int:
        """Limit that a guest's tables are built with [bytes]."""
        return min(self.limit_bytes, find_geometry(guest.geometry).hotplug_reach_bytes)

    def cells(self, guest: Guest) -> list[tuple[StreamSpec, str]]:
        """Streams and operations that a guest can serve."""
        operations = [name for name in self.operations if _is_done_to(guest, name)]
        streams = [stream for stream in self.streams if stream.fits(guest)]
        whole = [(WHOLE_TABLE, name) for name in operations if not LIFE_STREAMS.get(name, LOOKUPS)]
        cells = [(s, name) for s in streams for name in operations if s.serves(name)] + whole
        # Broken leaves stay so: all else is done before.
        return sorted(cells, key=lambda cell: cell[1] == "cow")


@dataclass(frozen=True)
class Unit:
    """One fresh process: a guest, a backing, a replicate, and the designs it builds."""

    guest: GuestSpec
    backing: str
    replicate: int
    seed: int
    designs: tuple[str, ...]
    limit_bytes: int = 0


def build_options(kind: type[Design], limit_bytes: int) -> dict[str, int]:
    """What a design is built with for a hotplug limit: not all know of one."""
    return {"limit": limit_bytes} if limit_bytes and "limit" in kind.options else {}


def designs_of(family: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Designs of a family that take part: the wanted ones, or the headline designs.

    What another package offers, is broken, and nobody asked for is passed over.
    """
    from p2mperf.designs import family_of, registry

    chosen = []
    for name, spec in registry().items():
        if name in wanted if wanted else spec.headline:
            with suppress(*(() if wanted else (BadInputError,))):
                chosen += [name] if family_of(name) == family else []
    return tuple(chosen)


_ALL_STREAMS = (
    StreamSpec("sequential"),
    StreamSpec("uniform"),
    StreamSpec("zipf"),
    StreamSpec("leaf-stride"),
    StreamSpec("uniform", hole_fraction=0.5),
    StreamSpec("uniform", identity_fraction=0.5),
)


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
        "quick", "default", "full" or "life".
    knee_bytes : sequence of int
        For "full": list bytes at which a cache or a translation buffer of this machine is full; it gets
        points on both sides of each [bytes].

    Returns
    -------
    Plan

    Raises
    ------
    BadInputError
        For any other name.
    """
    guests = (*_plain_guests(name), *_presets(name))
    if name == "quick":
        streams = (StreamSpec("sequential"), StreamSpec("uniform"))
        settings = {"control": False, "warm_up_ns": 500_000_000}
        return Plan(name, guests, streams=streams, settings=settings)
    if name == "default":
        return Plan(name, guests, streams=_ALL_STREAMS)
    if name == "full":
        chosen = _each_once((*_plain_guests(name), *_around_knees(knee_bytes), *_presets(name)))
        return Plan(name, chosen, BACKING_NAMES, streams=_ALL_STREAMS)
    if name == "life":
        streams = (StreamSpec("sequential"), StreamSpec("uniform"))
        # Room for hotplug as kernels have had it since 4.0.
        return Plan(name, guests, streams=streams, operations=OPERATION_NAMES, limit_bytes=512 * GIB)
    raise unknown("plan", name, ("quick", "default", "full", "life"))


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


def narrow(
    plan: Plan,
    *,
    guests: Sequence[str] = (),
    sizes: Sequence[str] = (),
    entry_bits: int | None = None,
    designs: Sequence[str] = (),
    streams: Sequence[str] = (),
    operations: Sequence[str] = (),
    backings: Sequence[str] = (),
    n_replicates: int | None = None,
    control: bool | None = None,
    limit: str | int | None = None,
) -> Plan:
    """Replace parts of a plan by what the user asked for.

    Parameters
    ----------
    plan : Plan
        Where to start.
    guests : sequence of str
        Presets.
    sizes : sequence of str
        Sizes of plain guests; with `guests`, both take part.
    entry_bits : int, optional
        Only guests of this width.
    designs, streams, operations, backings : sequence of str
        Names; empty leaves the plan's. A stream may be written ``uniform:hole=0.5,identity=0.1``.
    n_replicates : int, optional
        Fresh processes.
    control : bool, optional
        Time the first design against itself too.
    limit : str, optional
        Memory that may be hot-plugged later, as 512G; 0 for none.

    Returns
    -------
    Plan

    Raises
    ------
    BadInputError
        For names and sizes that are none, or when nothing is left.
    """
    from p2mperf.designs import find

    measured = sorted({find(name).family for name in designs} or {next(iter(families()))})
    chosen = _chosen_guests(plan, guests, sizes, entry_bits, map(find_family, measured))
    for name in operations:
        if name not in OPERATION_NAMES:
            raise unknown("operation", name, OPERATION_NAMES)
    for name in backings:
        if name not in BACKING_NAMES:
            raise unknown("page backing", name, BACKING_NAMES)
    if n_replicates is not None and n_replicates < 1:
        raise BadInputError(f"{n_replicates} replicates: at least one process must measure")
    settings = plan.settings if control is None else {**plan.settings, "control": control}
    narrowed = replace(
        plan,
        guests=chosen,
        designs=_each_once(designs) or plan.designs,
        streams=_each_once(map(parse_stream, streams)) or plan.streams,
        operations=_each_once(operations) or plan.operations,
        backings=_each_once(backings) or plan.backings,
        n_replicates=n_replicates or plan.n_replicates,
        settings=settings,
        limit_bytes=plan.limit_bytes if limit is None else _parse_limit(limit),
    )
    _check_tree_reaches(narrowed)
    if next(narrowed.units(), None) is None:
        raise BadInputError("nothing is left to measure: no chosen design belongs to a chosen guest's family")
    _check_cells(narrowed)
    return narrowed


def _parse_limit(text: str | int) -> int:
    limit_bytes = 0 if text in (0, "0") else parse_size(text)
    if limit_bytes > max(shape.hotplug_reach_bytes for shape in geometries().values()):
        raise BadInputError(f"limit {text} is beyond 512G, which is what three levels index (64G at 32 bits)")
    return limit_bytes


def _can_grow(guest: GuestSpec) -> bool:
    return find_geometry(guest.geometry).hotplug_reach_bytes > 0


def _check_room(plan: Plan) -> None:
    for spec in {unit.guest: None for unit in plan.units() if _can_grow(unit.guest)}:
        guest = spec.build(plan.seed)
        n_frames = (plan.limit_of(spec) >> PAGE_SHIFT) - guest.covered_pfn
        if n_frames // guest.geometry.leaf_frames < MOST_BROKEN:
            room = format_size(MOST_BROKEN * guest.geometry.leaf_frames << PAGE_SHIFT)
            raise BadInputError(
                f"cow breaks up to {MOST_BROKEN} shared leaves beyond the map of {spec.name}: give it {room} "
                "of room with --limit, as 512G (32-bit guests reach 64G)"
            )


def _check_writers(plan: Plan) -> None:
    from p2mperf.designs import find

    writing = ", ".join(name for name in plan.operations if name not in (*LOOKUPS, "build"))
    chosen = [name for name in plan.designs if "limit" in find(name).options] if writing else []
    if chosen and not any(getattr(find(name), "writable", False) for name in chosen):
        raise BadInputError(
            f"{', '.join(chosen)} can only be read, not for {writing}: take another design, or "
            "--operation latency"
        )


def _check_cells(plan: Plan) -> None:
    if "cow" in plan.operations:
        _check_room(plan)
    _check_writers(plan)
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


def _check_tree_reaches(plan: Plan) -> None:
    """MAX_DOMAIN_PAGES cuts the tree: a comparison above it would compare different tables."""
    for guest in plan.guests:
        if guest.n_bytes > 500 * GIB and "pv-tree" in designs_of(guest.family, plan.designs):
            raise BadInputError(
                f"pv-tree ends at 500G (MAX_DOMAIN_PAGES), below {guest.name}: take --design pv-linear alone"
            )


def _each_once(names: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(names))


def _chosen_guests(
    plan: Plan,
    guests: Sequence[str],
    sizes: Sequence[str],
    entry_bits: int | None,
    measured: Iterable[Family],
) -> tuple[GuestSpec, ...]:
    if entry_bits not in (None, 32, 64):
        raise BadInputError(f"entries have 32 or 64 bits, not {entry_bits}")
    if not guests and not sizes:
        chosen = plan.guests
    else:
        shapes = [name for family in measured for name in geometries_of(family, entry_bits)]
        plain = [GuestSpec.plain(size, shape) for size in sizes for shape in shapes]
        chosen = _each_once([*map(GuestSpec.preset, guests), *plain])
    if entry_bits:
        chosen = tuple(guest for guest in chosen if find_geometry(guest.geometry).entry_bits == entry_bits)
    if not chosen:
        raise BadInputError(f"no chosen guest has {entry_bits}-bit entries")
    return chosen


def parse_stream(text: str) -> StreamSpec:
    """Read ``uniform`` or ``uniform:hole=0.5,identity=0.1``.

    Raises
    ------
    BadInputError
        When the name, an option or a number is none.

    Examples
    --------
    >>> parse_stream("uniform:hole=0.5")
    StreamSpec(name='uniform', hole_fraction=0.5, identity_fraction=0.0)
    """
    from p2mperf.streams import STREAMS

    name, _, rest = text.partition(":")
    if name not in STREAMS:
        raise unknown("stream", name, STREAMS)
    fractions = {"hole": 0.0, "identity": 0.0}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in fractions:
            raise unknown(f"option of stream {name!r}", key, fractions)
        try:
            fractions[key] = float(value)
        except ValueError:
            raise BadInputError(f"{part!r} of stream {text!r}: {value!r} is not a number") from None
    if not (min(fractions.values()) >= 0 and sum(fractions.values()) <= 1):  # nor may they be nan
        raise BadInputError(f"stream {text!r}: fractions lie in [0, 1] and do not exceed 1 together")
    return StreamSpec(name, fractions["hole"], fractions["identity"])
