"""What a sweep is made of, before anything is built: guests, streams and units by name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from p2mperf.errors import BadInputError, PluginError, known, shown
from p2mperf.families import FAMILIES, family_of_geometry
from p2mperf.guests.geometries import GEOMETRIES
from p2mperf.guests.geometry import Kind
from p2mperf.guests.guest import Guest
from p2mperf.guests.names import read_name
from p2mperf.guests.presets import ALL_PRESETS
from p2mperf.measure.operations.ability import broken as broken_operations
from p2mperf.measure.operations.registry import find_operation
from p2mperf.streams import HOLE_PATTERNS, STREAMS

if TYPE_CHECKING:
    from p2mperf.designs.base import Design


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
        name = known("guest", name, ALL_PRESETS)
        return cls(name, ALL_PRESETS[name].geometry)

    @classmethod
    def named(cls, name: str) -> GuestSpec:
        """Name a guest as results do: a preset, or one with nothing but RAM.

        Raises
        ------
        BadInputError
            When it is neither.
        """
        plain = read_name(name)
        return cls.plain(*plain) if plain else cls.preset(name)

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
        """Make the guest, its machine laid out by `seed`; the same one as long as it is asked for again."""
        return _built(self, seed)

    @property
    def family(self) -> str:
        return family_of_geometry(self.geometry).name


@lru_cache(maxsize=16)
def _built(spec: GuestSpec, seed: int) -> Guest:
    if spec.n_bytes:
        return Guest.plain(spec.n_bytes, geometry=spec.geometry, seed=seed, name=spec.name)
    return Guest.preset(spec.name, seed=seed)


@dataclass(frozen=True)
class StreamSpec:
    """A stream by name, with the shares of it that go elsewhere than to RAM, and how those come."""

    name: str
    hole_fraction: float = 0.0
    identity_fraction: float = 0.0
    hole_pattern: str = HOLE_PATTERNS[0]

    def serves(self, operation: str) -> bool:
        """Tell whether an operation is done over it: what is written to must be RAM."""
        in_ram = not (self.hole_fraction or self.identity_fraction)
        return find_operation(operation).serves(self.name, in_ram)

    def fits(self, guest: Guest) -> bool:
        """Tell whether the guest has the frames it asks for, as one that runs might ask for them.

        What lies below the RAM of a guest whose RAM begins higher, as an ARM one's, is no such hole.
        """
        holes, identity = guest.runs.select(Kind.EXTRA, Kind.MISSING), guest.runs.select(Kind.IDENTITY)
        among_ram = holes.n_frames[holes.first_pfn > guest.ram.first_pfn.min()]
        has_holes = among_ram.sum() >= guest.geometry.leaf_frames
        return bool(
            (not self.hole_fraction or has_holes) and (not self.identity_fraction or identity.n_frames.size)
        )


# The stream of what makes a whole table.
WHOLE_TABLE = StreamSpec("whole-table")


@dataclass(frozen=True)
class Unit:
    """One process: a guest, a backing, a replicate, and the designs it builds."""

    guest: GuestSpec
    backing: str
    replicate: int
    seed: int
    designs: tuple[str, ...]
    limit_bytes: int = 0
    asked: bool = False  # whether its designs were named by the user, not chosen for being there


def build_options(kind: type[Design], limit_bytes: int) -> dict[str, int]:
    """What a design is built with for a hotplug limit: not all know of one."""
    return {"limit": limit_bytes} if limit_bytes and "limit" in kind.options else {}


def designs_of(family: str, wanted: Sequence[str], plan: str = "") -> tuple[str, ...]:
    """Name the designs of a family that take part.

    Parameters
    ----------
    family : str
        Which.
    wanted : sequence of str
        Those that were asked for, of any family; without one, the headline designs take part.
    plan : str
        Plan that others may take part in beside them.

    Returns
    -------
    tuple of str
        What another package offers, is broken, and nobody asked for is passed over.
    """
    from p2mperf.designs import find, registry

    chosen = []
    for name, spec in registry().items():
        if name in wanted if wanted else spec.headline or plan in spec.plans:
            with suppress(*(() if wanted else (PluginError,))):
                chosen += [name] if find(name).family == family else []
    return tuple(chosen)


def left_out(designs: Sequence[str]) -> list[str]:
    """Why what other packages offer does not take part, though no name keeps it out; a sentence each.

    Parameters
    ----------
    designs : sequence of str
        The designs that were asked for; of those, one that is broken has been refused.
    """
    from p2mperf.designs import broken as broken_designs

    reasons = [*FAMILIES.broken(), *GEOMETRIES.broken(), *broken_operations()]
    return reasons if designs else [*reasons, *broken_designs()]


def parse_stream(text: str) -> StreamSpec:
    """Read ``uniform``, ``uniform:hole=0.5,identity=0.1`` or ``uniform:hole=0.5,pattern=runs``.

    Raises
    ------
    BadInputError
        When the name, an option, a number or a pattern is none, or a pattern is one of no share.

    Examples
    --------
    >>> parse_stream("uniform:hole=0.5")
    StreamSpec(name='uniform', hole_fraction=0.5, identity_fraction=0.0, hole_pattern='random')
    """
    name, _, rest = _checked_text(text).partition(":")
    known("stream", name, STREAMS)
    fractions, pattern = {"hole": 0.0, "identity": 0.0}, HOLE_PATTERNS[0]
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if known(f"option of stream {name!r}", key, (*fractions, "pattern")) == "pattern":
            pattern = known("pattern of holes", value, HOLE_PATTERNS)
            continue
        try:
            fractions[key] = float(value)
        except ValueError:
            raise BadInputError(
                f"{shown(part)} of stream {shown(text)}: {shown(value)} is not a number"
            ) from None
    if not (min(fractions.values()) >= 0 and sum(fractions.values()) <= 1):  # nor may they be nan
        raise BadInputError(f"stream {shown(text)}: fractions lie in [0, 1] and do not exceed 1 together")
    if pattern != HOLE_PATTERNS[0] and not any(fractions.values()):
        raise BadInputError(f"stream {shown(text)}: nothing comes in {pattern} without hole= or identity=")
    return StreamSpec(name, fractions["hole"], fractions["identity"], pattern)


def _checked_text(text: object) -> str:
    return text if isinstance(text, str) else known("stream", text, STREAMS)
