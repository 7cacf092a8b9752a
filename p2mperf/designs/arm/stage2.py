"""A guest's stage-2 table as Xen builds it, in pool pages: what every ARM design holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import index
from time import perf_counter_ns
from typing import Any, Self, TypedDict

import numpy as np

from p2mperf.designs.arm.layout import (
    ADDRESS_MASK,
    DOMAIN_FRAMES,
    ENTRIES,
    N_ROOT_PAGES,
    REGION_FRAMES,
    SECOND_SHIFT,
    TABLE_SHAPE,
    check_options,
    plan_tables,
    predict_pages,
    region_pages,
    scattered,
    third_frames,
)
from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Footprint, Load
from p2mperf.designs.explained import Explained
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Kind, Words
from p2mperf.guests.guest import Guest
from p2mperf.guests.lpae import Stage2
from p2mperf.memory import vm
from p2mperf.memory.door import Door
from p2mperf.memory.owned import Mapped, Owned
from p2mperf.memory.pool import Frames, PagePool
from p2mperf.tables.fill_kernels import fill_runs
from p2mperf.tables.radix import RadixTable, build, read_back
from p2mperf.units import HUGE_SIZE, PAGE_SHIFT, PAGE_SIZE, round_up

# Raises where something that must hold does not: `Design` has one.
Require = Callable[[Any, str], None]


class Stage2Options(TypedDict, total=False):
    """How a table of its own is dealt out, as `Stage2Table` says."""

    domid: int
    run_frames: int
    n_regions: int


class Stage2Table(Owned):
    """The stage-2 table of one guest, and the pages that a design has beside it.

    Parameters
    ----------
    name : str
        Design that an error names.
    guest : Guest
        A guest of geometry lpae.
    backing : Backing
        Page sizes of the views.
    extra_pages : mapping of str to int
        Pages to have room for beside the table, by kind.
    domid : int
        Which stretch of machine memory its tables stand in, 0 to 63: domains that share a window differ.
    run_frames : int
        0: second- and third-level pages stand in address order; otherwise in runs of this length in random
        order [frames].
    n_regions : int
        Third-level pages are dealt over so many stretches of memory 2 GiB apart, so that neighbours have one
        home among the map slots. From 3 on, walks keep taking a slot from each other.
    like : Stage2Table, optional
        Another one of the same guest whose pages to use: another way to the same entries, not to a copy. The
        options above are then its. Once it is closed, this one cannot be used any more.

    Attributes
    ----------
    radix : RadixTable
        Its second level and root.
    door : Door
        Of the design that holds it.
    source : Stage2Table
        Whose pages it uses: its own, or those of the one that it is like, or that one is.
    pool, extra_pool : PagePool
        Where the table's pages are, and where those beside it: the same, unless the table is another's.
    machine_base : int
        Machine frame of the pool's frame 0.
    third : ndarray of int64
        Frames of the third-level pages, in order of guest addresses.
    closed : bool
        Whether its pages were given back.
    mfn_generation_ns : int
        Time to write the third level [ns].

    Raises
    ------
    BadInputError
        For a guest of another geometry, or options that make no sense.
    DoesNotFitError
        When memory, address space or mappings give out; nothing is kept then.
    """

    guest: Guest
    closed: bool
    source: Stage2Table
    door: Door
    domid: int
    machine_base: int
    pool: PagePool
    extra_pool: PagePool
    third: Frames
    radix: RadixTable

    def __init__(
        self,
        name: str,
        guest: Guest,
        backing: Backing,
        extra_pages: Mapping[str, int],
        *,
        domid: int = 0,
        run_frames: int = 0,
        n_regions: int = 1,
        like: Stage2Table | None = None,
    ) -> None:
        check_options(name, guest, domid, n_regions)
        domid, n_regions = index(domid), index(n_regions)
        if like is not None and (like.closed or like.source.closed or like.guest is not guest):
            raise BadInputError(f"{name} can only be like an open design of the same guest")
        self.name = name
        self.guest = guest
        self.backing = backing
        self.closed = False
        self.mfn_generation_ns = 0
        self._extra_pages = dict(extra_pages)
        self._like = like
        self._addressed: Mapped | None = None
        self.source = self if like is None else like.source
        if like is not None:
            self.domid, self.machine_base = like.domid, like.machine_base
            self.pool, self.third, self.radix = like.pool, like.third, like.radix
            self.extra_pool = PagePool(max(1, sum(extra_pages.values())))
            self._addressed = Mapped.of(self.extra_pool)
            return
        self.domid, self.machine_base = domid, domid * DOMAIN_FRAMES
        first, *others = region_pages(self._pages_wanted(), n_regions)
        n_spare = len(others) * REGION_FRAMES + max(others, default=0)
        self.pool = self.extra_pool = PagePool(first, n_spare=n_spare, page_bytes=backing.direct_bytes)
        self._addressed = Mapped.of(self.pool)
        try:
            self._build(run_frames, n_regions)
        except BaseException:
            self.__exit__()
            raise

    def _pages_wanted(self) -> dict[str, int]:
        tables = {} if self._like is not None else predict_pages(self.guest)
        return {**tables, **self._extra_pages}

    def _build(self, run_frames: int, n_regions: int) -> None:
        layout = plan_tables(self.guest)
        self.third = third_frames(self.guest, run_frames, n_regions)
        self._take_third(n_regions)
        start = perf_counter_ns()
        self._write_third()
        self.mfn_generation_ns = perf_counter_ns() - start

        def place(n_pages: int, kind: str) -> Frames:
            frames = self.pool.allocate(n_pages, kind)
            return scattered(frames, run_frames, self.guest.seed) if kind == "second" else frames

        targets, origin = layout.targets(self.third), self.machine_base << PAGE_SHIFT
        self.radix = build(self.pool, targets, TABLE_SHAPE, origin=origin, place=place)

    def _take_third(self, n_regions: int) -> None:
        """Third-level pages; the first ones stand 2 MiB-aligned so that a window can have 2 MiB pages."""
        for region in range(n_regions):
            n_part = len(range(region, self.third.size, n_regions))
            first = int(self.pool.allocate(n_part, "third", align=REGION_FRAMES if region else 1)[0])
            if region:
                self._make_ready(self.pool.address(first), n_part * PAGE_SIZE)

    def _make_ready(self, address: int, n_bytes: int) -> None:
        """Do for memory that the pool has spare what it does for the rest: touch it, and on large pages."""
        n_bytes = round_up(n_bytes, HUGE_SIZE)
        vm.populate(address, n_bytes, write=True)
        if self.backing.direct_bytes == HUGE_SIZE:
            vm.advise(address, n_bytes, vm.MADV_COLLAPSE)
            vm.populate(address, n_bytes, write=True)

    def _write_third(self) -> None:
        ram = self.guest.runs.select(Kind.RAM)
        rank = np.cumsum(plan_tables(self.guest).has_third) - 1
        first = rank[ram.first_pfn >> SECOND_SHIFT] * ENTRIES + (ram.first_pfn & (ENTRIES - 1))
        entries = self.guest.geometry.ram_entries(ram.first_mfn.astype(np.uint64))
        step = np.full(entries.size, PAGE_SIZE, np.uint64)
        if (np.diff(self.third) == 1).all():
            fill_runs(self.third_words(), first, ram.n_frames, entries, step)
            return
        packed = np.zeros(self.third.size * ENTRIES, np.uint64)
        fill_runs(packed, first, ram.n_frames, entries, step)
        self.pool.pages(np.uint64)[self.third] = packed.reshape(-1, ENTRIES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        # What is its own. There is no `close`: the design that lives on it has one.
        self.closed = True
        self.extra_pool.close()
        self._addressed = None

    @property
    def root(self) -> int:
        """Frame of the first root page."""
        return self.radix.root

    @property
    def second(self) -> Frames:
        """Frames of the second-level pages, in order of guest addresses."""
        frames = self.radix.frames["second"]
        return frames[frames >= 0]

    @property
    def root_address(self) -> int:
        """Machine address of the first root page."""
        return (self.root + self.machine_base) << PAGE_SHIFT

    @property
    def direct_base(self) -> int:
        """Added to a machine address to make an address of this process, modulo 2**64."""
        return (self.pool.base - (self.machine_base << PAGE_SHIFT)) % 2**64

    def root_words(self) -> Words:
        """View the concatenated root, shape (1024,)."""
        return self.pool.words(self.root, np.uint64, N_ROOT_PAGES)

    def third_words(self) -> Words:
        """View the third level as one array, where its pages stand in one piece."""
        return self.pool.words(int(self.third[0]), np.uint64, self.third.size)

    def third_tables(self) -> list[Words]:
        """View the third level as few long arrays: one where its pages follow each other in memory."""
        frames = np.sort(self.third)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(frames) != 1) + 1])
        ends = np.append(starts[1:], frames.size)
        words = self.pool.words
        return [words(int(frames[a]), np.uint64, int(b - a)) for a, b in zip(starts, ends, strict=True)]

    def decode(self, entries: Words) -> Frames:
        """Pool frames that table entries point to; -1 where one is no table entry."""
        return self.radix.decode(entries)

    def third_behind(self, roots: Words) -> Frames:
        """Third-level page behind every second-level slot that these root entries lead to; -1 for none."""
        pages = self.pool.pages(np.uint64)
        seconds = self.decode(roots)
        found = (seconds >= 0) & (seconds < len(pages))
        frames = np.full((roots.size, ENTRIES), -1, np.int64)
        frames[found] = self.decode(pages[seconds[found]])
        return frames.ravel()

    @property
    def pages(self) -> dict[str, int]:
        """Pages by kind, counted; tables that belong to another design are its pages, not ours."""
        return self.extra_pool.kinds

    def footprint(self, n_vmas: int, page_table_bytes: int) -> Footprint:
        """Count what it takes; the two numbers are what only its holder knows."""
        return Footprint(self.pages, n_vmas, self.extra_pool.memory_bytes, page_table_bytes)

    def step_at(self, address: int) -> Load:
        """Say what stands at an address of the direct map that a walk has read."""
        for pool in (self.pool, self.extra_pool):
            frame = pool.frame_at(address)
            kind = pool.kind(frame) if frame >= 0 else ""
            if kind:
                return Load(kind, "direct", frame, (address & 0xFFF) // 8, address)
        raise BadInputError(f"address {address:#x} belongs to no page of this {self.name}")

    def audit(self, require: Require) -> None:
        """Check every invariant of the table against the memory itself; `require` raises."""
        layout = plan_tables(self.guest)
        found = read_back(self.radix, N_ROOT_PAGES * ENTRIES * ENTRIES)
        expected = np.full(found.size, -1, np.int64)
        expected[: layout.has_third.size] = layout.targets(self.third)
        require(found == expected, "a second-level entry points to another page than the map asks for")
        require(self.pages == self._pages_wanted(), "page counts differ")
        behind = self.radix.frames["second"]
        require(self.decode(self.root_words())[: behind.size] == behind, "a root entry points elsewhere")
        require((self.root_words() & np.uint64(Stage2.WRITE)) == 0, "a root entry has the write bit")
        self._audit_entries(require)

    def _audit_entries(self, require: Require) -> None:
        entries = self.pool.pages(np.uint64)[self.third].ravel()
        valid = (entries & np.uint64(3)) == 3
        require(entries[~valid] == 0, "an entry without memory is not 0")
        mfns = (entries[valid] & ADDRESS_MASK) >> np.uint64(PAGE_SHIFT)
        n_ram = self.guest.n_boot_pages
        require(mfns.size == n_ram, f"{mfns.size} frames have memory where {n_ram} should")
        n_machine = self.guest.machine.n_frames
        require(mfns < n_machine, f"an mfn lies beyond the machine's {n_machine} frames")
        seen = np.zeros(n_machine, np.bool_)
        seen[mfns.astype(np.int64)] = True
        require(int(np.count_nonzero(seen)) == n_ram, "one mfn backs two frames")


def predict_footprint(
    guest: Guest, backing: Backing, extra_pages: Mapping[str, int], n_regions: int
) -> Footprint:
    """Say by arithmetic on the guest what a table of its own will take.

    Parameters
    ----------
    guest : Guest
        An ARM guest.
    backing : Backing
        Page sizes of the views.
    extra_pages : mapping of str to int
        As `Stage2Table`.
    n_regions : int
        As `Stage2Table`.

    Returns
    -------
    Footprint
        Without a window.
    """
    pages = {**predict_pages(guest), **extra_pages}
    memory = sum(round_up(n * PAGE_SIZE, HUGE_SIZE) for n in region_pages(pages, n_regions))
    return Footprint(pages, 0, memory, memory // backing.direct_bytes * 8)


def explain(entry: int) -> Explained:
    """Read a raw entry: ``kind`` is "ram", "ram, write-protected for tracing" or "missing"."""
    if entry & Stage2.VALID == 0:
        return {"kind": "missing", "mfn": None}
    traced = ", write-protected for tracing" if entry & Stage2.LOG_DIRTY else ""
    return {"kind": f"ram{traced}", "mfn": int((entry & int(ADDRESS_MASK)) >> PAGE_SHIFT)}
