"""What the arithmetic has to know of each kind of list: the geometry of its entries, and where it lives.

Geometries say what an entry is; `HOMES` says what they do not: the address space around the list. Light until
it is asked: guests, which know geometries, are imported then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2mperf.errors import BadInputError, known, shown
from p2mperf.families import FAMILIES, Family, families, geometries_of
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, TIB, is_one_of

if TYPE_CHECKING:
    from p2mperf.guests.geometry import Geometry

ENTRIES_PER_PAGE_TABLE = 512
# The list that is asked about where none is named.
DEFAULT_DESIGN = next(iter(FAMILIES.shipped.values())).reference


@dataclass(frozen=True)
class Home:
    """Where lists of a geometry live; one of another package has nothing of it unless its limits say so.

    Attributes
    ----------
    has_vmalloc : bool
        Whether the list stands in the kernel's vmalloc area.
    fixed_vmalloc_bytes : int
        Size of that area; 0 where it is what the split and low memory leave of 4 GiB [bytes].
    has_window : bool
        Whether the list is shown in a virtual window of its own, indexed from guest-physical address 0.
    n_levels : int
        Levels of the page table that it shows, whose pages come from a pool; 0 where none is counted.
    n_mark_bits : int
        Bits of an entry that number no frame; 0 where the geometry's levels say what can be numbered.
    hypervisors : tuple of str
        Hypervisors that there can be under the guest.
    """

    has_vmalloc: bool = False
    fixed_vmalloc_bytes: int = 0
    has_window: bool = False
    n_levels: int = 0
    n_mark_bits: int = 0
    hypervisors: tuple[str, ...] = ()


HOMES = {
    "pv32": Home(has_vmalloc=True, n_mark_bits=2, hypervisors=("compat", "native")),
    "pv64": Home(has_vmalloc=True, fixed_vmalloc_bytes=32 * TIB, n_mark_bits=2, hypervisors=("native",)),
    "lpae": Home(has_window=True),
    "hap64": Home(has_window=True, n_levels=4),
    "hap-pae": Home(has_window=True, n_levels=3),
    "hap-nonpae": Home(has_window=True, n_levels=2),
}


@dataclass(frozen=True)
class Shape:
    """One kind of list.

    Attributes
    ----------
    geometry : Geometry
        Of its entries.
    home : Home
        The address space around it.
    """

    geometry: Geometry
    home: Home

    @property
    def name(self) -> str:
        return self.geometry.name

    @property
    def entry_bytes(self) -> int:
        return self.geometry.entry_bytes

    @property
    def n_leaf_entries(self) -> int:
        """Entries in one 4 KiB leaf."""
        return PAGE_SIZE // self.entry_bytes

    @property
    def structural_bytes(self) -> int:
        """Memory that the entries can number at all [bytes]."""
        if self.home.n_mark_bits:
            return PAGE_SIZE << (self.geometry.entry_bits - self.home.n_mark_bits)
        return self.geometry.max_frames * PAGE_SIZE

    @property
    def granule_bytes(self) -> int:
        """Step of the virtual area: PMD_SIZE * PMDS_PER_MID_PAGE of xen_vmalloc_p2m_tree [bytes]."""
        return HUGE_SIZE * (self.n_leaf_entries // ENTRIES_PER_PAGE_TABLE)

    @property
    def granule_guest_bytes(self) -> int:
        """Guest memory that one granule of the area covers [bytes]."""
        return self.granule_bytes // self.entry_bytes * PAGE_SIZE

    @property
    def has_low_memory(self) -> bool:
        """Whether low memory and the vmalloc area share what a 32-bit kernel can address."""
        return self.home.has_vmalloc and not self.home.fixed_vmalloc_bytes


class _Shapes(Mapping[str, Shape]):
    """Shapes by geometry, those of other packages' geometries after ours."""

    def __getitem__(self, name: str) -> Shape:
        from p2mperf.guests.geometries import find_geometry

        if name not in self:
            raise KeyError(name)
        return Shape(find_geometry(name), HOMES.get(name, Home()))

    def __contains__(self, name: object) -> bool:
        return name in HOMES or name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        from p2mperf.guests.geometries import GEOMETRIES

        return [*dict.fromkeys([*HOMES, *GEOMETRIES.names()])]


SHAPES = _Shapes()


def lists() -> dict[str, Family]:
    """Lists that can be asked about: the reference design of each family, or the one it says."""
    return {family.listed or family.reference: family for family in families().values()}


def geometry_of(design: str, entry_bits: int | None = None, geometry: str | None = None) -> str:
    """Name the geometry of a list.

    Parameters
    ----------
    design : str
        A list, as `lists` has them.
    entry_bits : int, optional
        Width of an entry, 32 or 64; the first geometry of that width is taken, and of 64 bits without it.
    geometry : str, optional
        One that is asked for.

    Raises
    ------
    BadInputError
        For another design, or a width or geometry that it has not.
    """
    if not (entry_bits is None or is_one_of(entry_bits, 32, 64)):
        raise BadInputError(f"entry bits of {shown(entry_bits)} are unknown: the lists have 32 or 64")
    family = lists()[known("limits design", design, lists())]
    if geometry is not None:
        from p2mperf.guests.geometries import choose_geometry

        return choose_geometry(geometry, family.geometries, entry_bits)
    for first in geometries_of(family, entry_bits):
        return first
    assert entry_bits is not None  # without one, each family has some
    names = " and ".join(name.upper() for name in family.geometries)
    raise BadInputError(
        f"{design} with {entry_bits}-bit entries contradicts itself: {names} entries have"
        f" {96 - entry_bits} bits"
    )
