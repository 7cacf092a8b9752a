"""Guests as memory maps: which frames are RAM, identity, balloonable or absent, and which mfn backs them.

A map is kept as runs, so that a 400 GB guest is a few thousand numbers; `p2mperf.guests.e820` derives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.errors import BadInputError, known, shown
from p2mperf.guests.e820 import Row, checked_rows, is_zero, lay_out
from p2mperf.guests.extents import Extents
from p2mperf.guests.frames import frame_numbers
from p2mperf.guests.geometries import find_geometry
from p2mperf.guests.geometry import Geometry, Kind, Words
from p2mperf.guests.machine import MAX_FRAMES, Machine, checked_seed
from p2mperf.guests.names import read_name
from p2mperf.guests.presets import ALL_PRESETS, BuiltPreset
from p2mperf.guests.runs import Runs
from p2mperf.units import PAGE_SHIFT, format_size, parse_pages, round_up, whole_number

_LONGEST_NAME = 100


@dataclass(frozen=True)
class Guest:
    """A guest: a memory map, an entry width, and the machine that backs it.

    Build one with `preset`, `plain` or `from_e820`.

    Attributes
    ----------
    name : str
        As results and figures call it.
    geometry : Geometry
        Format of its table's entries.
    runs : Runs
        Without gaps over [0, covered_pfn).
    n_boot_pages : int
        Pages the domain builder hands over: start_info.nr_pages. A PV guest gives back what lies under a hole
        and finds no place elsewhere.
    max_pages : int
        Pages it may have; of a PV guest no more than ten times boot memory can be ballooned up to.
    end_pfn : int
        End of the memory map; above it (and above the padding) the p2m answers by policy.
    machine : Machine
        Where the mfns come from.
    coincident_pfn : int
        The RAM page whose mfn happens to equal its pfn, or -1 where no RAM page can have one.
    seed : int
        Seed of its machine's layout, and of what is made of it later.
    rows : tuple of Row
        E820 rows that the runs were made of; empty where they were made otherwise.
    built_of : Extents, optional
        What a domain builder has given it, which says no other than the runs; see `extents`.

    Raises
    ------
    BadInputError
        When the parts contradict one another, or a number is beyond what the geometry or the machine has.

    Examples
    --------
    >>> guest = Guest.plain("2049M")
    >>> guest.n_boot_pages, guest.covered_pfn - guest.n_boot_pages
    (524544, 256)
    """

    name: str
    geometry: Geometry
    runs: Runs
    n_boot_pages: int
    max_pages: int
    end_pfn: int
    machine: Machine
    coincident_pfn: int
    seed: int = 1
    rows: tuple[Row, ...] = field(default=(), repr=False)
    built_of: Extents | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Hold every invariant that tables, kernels and raw addresses rely on, however it was made."""
        if not _is_name(self.name):
            raise BadInputError(
                f"a guest's name is a word of up to {_LONGEST_NAME} letters, not {shown(self.name)}"
            )
        for part, kind in ((self.geometry, Geometry), (self.runs, Runs), (self.machine, Machine)):
            if not isinstance(part, kind):
                raise BadInputError(f"{self.name} needs a {kind.__name__}, not {shown(part)}")
        if self.machine.n_frames > (self.geometry.max_machine_frames or MAX_FRAMES):
            raise BadInputError(
                f"a machine of {self.machine.n_frames} frames cannot back {self.name}: entries of"
                f" {self.geometry.name} number {self.geometry.max_machine_frames}"
            )
        if fault := self.runs.fault(self.machine.n_frames):
            raise BadInputError(f"the map of {self.name} cannot be: {fault}")
        covered = self.covered_pfn
        most = {
            "n_boot_pages": covered,
            "max_pages": 2**52,
            "end_pfn": covered,
            "coincident_pfn": covered - 1,
        }
        for what, bound in most.items():
            least = -1 if what == "coincident_pfn" else 1
            object.__setattr__(self, what, whole_number(getattr(self, what), what, least, bound))
        object.__setattr__(self, "seed", checked_seed(self.seed))
        self.geometry.check_map(max(self.max_pages, self.end_pfn), self.max_pages)
        padded = round_up(self.n_boot_pages, self.geometry.leaf_frames)
        n_lost = self.n_boot_pages - int(self.ram.n_frames.sum())
        if not 0 <= n_lost <= self._most_released() or covered != max(self.end_pfn, padded):
            raise BadInputError(
                f"the map of {self.name} cannot be: it is not that of {self.n_boot_pages} pages at boot, to"
                f" pfn {self.end_pfn:#x} in {self.geometry.name}"
            )
        if self.max_pages < self.n_boot_pages:
            raise BadInputError(f"{self.name} boots with more than its maximum, {self.max_pages} pages")
        if not isinstance(self.built_of, Extents | None):
            raise BadInputError(f"{self.name} needs Extents, not {shown(self.built_of)}")
        if self.built_of is not None and not self.runs.consist_of(self.built_of):
            raise BadInputError(f"the map of {self.name} cannot be: its extents say another than its runs")

    def _most_released(self) -> int:
        """Pages that a PV guest may have given back at boot: those of its holes."""
        holes = self.runs.select(Kind.IDENTITY)
        n_frames = np.minimum(holes.end_pfn, self.n_boot_pages) - holes.first_pfn
        is_pv = self.geometry.gap_kind == Kind.IDENTITY
        return int(np.maximum(n_frames, 0).sum()) if is_pv else 0

    @classmethod
    def preset(cls, name: str, seed: int = 1) -> Guest:
        """Build one of the configurations that the source documents tested, or a HAP guest of a builder.

        `PRESETS` and `BUILT_PRESETS` of `p2mperf.guests.presets` list them.

        Raises
        ------
        BadInputError
            When there is no such preset.
        """
        preset = ALL_PRESETS[known("guest", name, ALL_PRESETS)]
        if isinstance(preset, BuiltPreset):
            extents, machine = preset.give(seed)
            return cls.from_extents(extents, preset.geometry, machine, seed=seed, name=name)
        return cls.from_e820(
            preset.rows, preset.boot, preset.maximum, geometry=preset.geometry, seed=seed, name=name
        )

    @classmethod
    def named(cls, name: str, seed: int = 1) -> Guest:
        """Build what results call so: a preset, or a guest with nothing but RAM, as ``pv-64-8g``.

        Raises
        ------
        BadInputError
            When it is neither.
        """
        plain = read_name(name)
        return cls.plain(*plain, seed) if plain else cls.preset(name, seed)

    @classmethod
    def plain(
        cls,
        size: str | int,
        geometry: str = "pv64",
        seed: int = 1,
        name: str = "",
        base: str | int | None = None,
    ) -> Guest:
        """Build a guest with one RAM row of `size` and nothing else.

        Parameters
        ----------
        size : str or int
            Memory, as ``2049M``, or bytes.
        geometry : str
            A name of `p2mperf.guests.geometries`: pv64, pv32, lpae ...
        seed : int
            Seed of the machine.
        name : str
            Default: the size and the kind of guest.
        base : str or int, optional
            Where its RAM begins; default: where the geometry says, 0 or 2 GiB for lpae [bytes].

        Raises
        ------
        BadInputError
            For a size that is none, is not whole pages, or is beyond the width.
        """
        shape = find_geometry(geometry)
        n_bytes = parse_pages(size) << PAGE_SHIFT
        if _is_blank(name):
            name = f"{shape.short_name or shape.name}-{format_size(n_bytes).lower()}"
        base = shape.ram_base_bytes if base is None else base
        start = parse_pages(base) << PAGE_SHIFT if isinstance(base, str) or not is_zero(base) else 0
        rows = [(start, start + n_bytes, "ram")]
        return cls.from_e820(rows, n_bytes, geometry=geometry, seed=seed, name=name)

    @classmethod
    def from_e820(
        cls,
        rows: Sequence[tuple[int | str, int | str, str]],
        boot: str | int,
        maximum: str | int | None = None,
        *,
        geometry: str = "pv64",
        seed: int = 1,
        name: str = "e820",
        machine: Machine | None = None,
    ) -> Guest:
        """Build a guest from E820 rows.

        Parameters
        ----------
        rows : sequence of (start, end, type)
            Bytes or sizes, end exclusive, in order and without overlap; type "ram" is memory, all else and
            every gap is identity.
        boot : str or int
            Memory at boot [bytes].
        maximum : str or int, optional
            Memory it may balloon up to [bytes]; default: as at boot.
        geometry : str
            A name of `p2mperf.guests.geometries`.
        seed : int
            Seed of the machine's layout.
        name : str
            Name for results.
        machine : Machine, optional
            Default: a quarter larger than the guest's maximum.

        Raises
        ------
        BadInputError
            When the map contradicts itself, memory does not fit into it, or it is beyond the width.

        Examples
        --------
        >>> guest = Guest.from_e820([(0, "1029M", "ram"), ("1029M", "2001M", "acpi")], "1G", "1029M")
        >>> [Kind(kind).name for kind in guest.entry_kinds(np.array([0, 262144, 263424]))]
        ['RAM', 'EXTRA', 'IDENTITY']
        """
        shape = find_geometry(geometry)
        n_boot = parse_pages(boot)
        n_max = n_boot if maximum is None else parse_pages(maximum)
        table = checked_rows(rows)
        shape.check_map(max(n_max, table[-1].end >> PAGE_SHIFT), n_max)
        if n_max < n_boot:
            raise BadInputError(f"maximum memory ({n_max} pages) is below boot memory ({n_boot} pages)")
        seed = checked_seed(seed)
        if machine is None:
            machine = Machine.for_guest(n_max, shape, seed)
        elif not isinstance(machine, Machine):
            raise BadInputError(f"{shown(machine)} is no Machine")
        runs, end_pfn, coincident = lay_out(table, n_boot, n_max, shape, machine)
        return cls(name, shape, runs, n_boot, n_max, end_pfn, machine, coincident, seed, tuple(table))

    @classmethod
    def from_extents(
        cls,
        extents: Extents,
        geometry: str = "hap64",
        machine: Machine | None = None,
        *,
        seed: int = 1,
        name: str = "",
    ) -> Guest:
        """Build a guest of what a domain builder has given it, and nothing else.

        Parameters
        ----------
        extents : Extents
            Its memory.
        geometry : str
            A name of `p2mperf.guests.geometries`.
        machine : Machine, optional
            Where the mfns come from; default: the host of a guest of that size, or as large as they ask for.
        seed : int
            Seed of what is made of it later.
        name : str
            Default: the size and the kind of guest.

        Raises
        ------
        BadInputError
            When there are none, or the geometry or the machine does not reach so far.
        """
        shape = find_geometry(geometry)
        if not isinstance(extents, Extents):
            raise BadInputError(f"a guest is built of Extents, not of {shown(extents)}")
        if not len(extents):
            raise BadInputError("a guest is built of at least one extent")
        n_pages, end_gfn = extents.n_frames, extents.end_gfn
        shape.check_map(end_gfn, n_pages)
        runs = Runs.of_extents(extents, max(end_gfn, round_up(n_pages, shape.leaf_frames)))
        if machine is None:
            usual = Machine.for_guest(n_pages, shape, seed)
            highest = int((extents.mfn + extents.sizes).max())
            machine = Machine(max(usual.n_frames, highest), seed)
        if _is_blank(name):
            name = f"{shape.short_name or shape.name}-{format_size(n_pages << PAGE_SHIFT).lower()}"
        return cls(name, shape, runs, n_pages, n_pages, end_gfn, machine, -1, seed, built_of=extents)

    @cached_property
    def extents(self) -> Extents:
        """What its memory consists of: what it was built of, or the largest extents within its runs."""
        return self.runs.as_extents() if self.built_of is None else self.built_of

    @property
    def covered_pfn(self) -> int:
        """End of the runs: the end of the map or of the boot list's padding, whichever is higher."""
        return int(self.runs.end_pfn[-1])

    @property
    def memory_bytes(self) -> int:
        """Memory at boot [bytes]."""
        return self.n_boot_pages << PAGE_SHIFT

    @property
    def is_flat(self) -> bool:
        """Whether its boot list is all of its map: memory from 0 on, and nothing else but padding."""
        kinds = set(self.runs.kind.tolist())
        return kinds <= {Kind.RAM, Kind.MISSING} and self.ram.end_pfn.tolist() == [self.n_boot_pages]

    @cached_property
    def ram(self) -> Runs:
        """RAM as stretches of pfns, whatever their mfns: neighbours joined."""
        runs = self.runs.select(Kind.RAM)
        starts = np.flatnonzero(np.append(True, runs.first_pfn[1:] != runs.end_pfn[:-1]))
        joined = runs.take(starts)
        return Runs(joined.first_pfn, np.add.reduceat(runs.n_frames, starts), joined.kind, joined.first_mfn)

    def entry_kinds(self, pfns: ArrayLike) -> NDArray[np.int8]:
        """`Kind` of each pfn below `covered_pfn`.

        Raises
        ------
        BadInputError
            For anything else.
        """
        frames = frame_numbers(pfns)
        if frames.size and int(frames.max()) >= self.covered_pfn:
            raise BadInputError(f"pfn {int(frames.max()):#x} is beyond the map of {self.name}")
        return self.runs.kind[self.runs.at(frames.astype(np.int64))]

    def entries(self, pfns: ArrayLike, above: str = "identity") -> Words:
        """Tell what every correct p2m of this guest answers: the reference that runs are made of.

        Parameters
        ----------
        pfns : ndarray of uint64
            Frames to translate.
        above : str
            Policy beyond the end: "identity" (Linux 3.18 and later) or "invalid" (up to 3.14).

        Returns
        -------
        ndarray of uint64
            Raw entries, marker bits included; 32-bit entries in the low half.
        """
        shape = self.geometry
        pfns = frame_numbers(pfns)
        run = self.runs.at(np.minimum(pfns, np.uint64(self.covered_pfn - 1)).astype(np.int64))
        first = self.runs.first_pfn[run].astype(np.uint64)
        mfns: Words = (self.runs.first_mfn[run].astype(np.uint64) + (pfns - first)).astype(np.uint64)
        ram = shape.ram_entries(mfns)
        identity = shape.entries_above(pfns, "identity")
        kind = self.runs.kind[run]
        inside = np.where(kind == Kind.RAM, ram, np.where(kind == Kind.IDENTITY, identity, shape.invalid))
        return np.where(pfns >= np.uint64(self.covered_pfn), shape.entries_above(pfns, above), inside)


def require_guest(guest: object) -> None:
    """Refuse what is no guest.

    Raises
    ------
    BadInputError
        Naming it.
    """
    if not isinstance(guest, Guest):
        raise BadInputError(f"tables are built for a Guest, not for {shown(guest)}")


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()


def _is_blank(name: object) -> bool:
    return isinstance(name, str) and not name
