"""The stage-2 table of an ARM guest, as Xen builds it, and what its designs have in common.

LPAE: entries of 8 bytes, two concatenated root pages (40-bit guest addresses), second- and third-level pages
of 512 entries, leaves of 4 KiB only (xen/arch/arm/p2m.c as of November 2013; both root pages are used from
4.4 on). Entries that point to tables are without the write bit, as from 4.4 on: taken for a stage-1
descriptor, which is what the virtual-linear table does, that bit would mean read-only.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.arm.event_kernels import Recorder
from p2mperf.designs.arm.layout import (
    ADDRESS_MASK,
    DOMAIN_FRAMES,
    ENTRIES,
    N_ROOT_PAGES,
    REGION_FRAMES,
    SECOND_SHIFT,
    check_options,
    plan_tables,
    region_pages,
    scattered,
    third_frames,
)
from p2mperf.designs.backing import BACKINGS, Backing, backing as find_backing
from p2mperf.designs.base import Design, Footprint, Load
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Kind
from p2mperf.guests.guest import Guest
from p2mperf.guests.lpae import Stage2
from p2mperf.kernels import trace
from p2mperf.memory import vm
from p2mperf.memory.pool import Frames, PagePool
from p2mperf.tables.fill_kernels import fill_runs
from p2mperf.units import HUGE_SIZE, PAGE_SHIFT, PAGE_SIZE, round_up


class ArmDesign(Design):
    """A guest's stage-2 table in pool pages, and one way to its third-level entries.

    Parameters
    ----------
    guest : Guest
        A guest of geometry lpae.
    backing : str or Backing
        Page sizes of the views.
    domid : int
        Which stretch of machine memory its tables stand in, 0 to 63: domains that share a window differ.
    run_frames : int
        0: second- and third-level pages stand in address order; otherwise in runs of this length in random
        order [frames].
    n_regions : int
        Third-level pages are dealt over so many stretches of memory 2 GiB apart, so that neighbours have one
        home among the map slots. From 3 on, walks keep taking a slot from each other.
    like : ArmDesign, optional
        A design of the same guest whose tables to use: another way to the same entries, not to a copy. The
        options above are then its.
    **options
        None: any other name is refused.

    Raises
    ------
    BadInputError
        For a guest of another geometry, or options that make no sense.
    DoesNotFitError
        When memory, address space or mappings give out; nothing is kept then.
    """

    family: ClassVar[str] = "arm"
    options: ClassVar[frozenset[str]] = frozenset({"domid", "run_frames", "n_regions", "like"})
    follows: ClassVar[str] = "Xen/ARM, November 2013"
    extra_pages: ClassVar[dict[str, int]] = {}
    pool: PagePool
    extra_pool: PagePool
    third: Frames
    second: Frames
    root: int

    def __init__(
        self,
        guest: Guest,
        backing: str | Backing = "kernel",
        *,
        domid: int = 0,
        run_frames: int = 0,
        n_regions: int = 1,
        like: ArmDesign | None = None,
        **options: Any,
    ) -> None:
        if options:
            raise BadInputError(f"{self.name} has no option {', '.join(options)}")
        super().__init__(guest, backing if isinstance(backing, Backing) else find_backing(backing))
        check_options(self.name, guest, domid, n_regions)
        start = perf_counter_ns()
        self.layout = plan_tables(guest)
        self.like = like
        try:
            if like is None:
                self.domid, self.machine_base = domid, domid * DOMAIN_FRAMES
                self._build_tables(run_frames, n_regions)
            else:
                self._adopt(like)
            self._build()
        except BaseException:
            self.close()
            raise
        self.build_ns = perf_counter_ns() - start

    def _adopt(self, like: ArmDesign) -> None:
        """Take another design's tables; what this one needs beside them stands in a pool of its own."""
        if like.closed or like.guest is not self.guest:
            raise BadInputError(f"{self.name} can only be like an open design of the same guest")
        self.pool, self.domid, self.machine_base = like.pool, like.domid, like.machine_base
        self.third, self.second, self.root = like.third, like.second, like.root
        self.extra_pool = PagePool(max(1, sum(self.extra_pages.values())))

    @classmethod
    def predict_pages(cls, guest: Guest) -> dict[str, int]:
        """Pool pages by kind, by arithmetic on the guest."""
        layout = plan_tables(guest)
        n_third = int(np.count_nonzero(layout.has_third))
        n_second = int(np.count_nonzero(layout.has_second))
        return {"third": n_third, "second": n_second, "root": N_ROOT_PAGES, **cls.extra_pages}

    @classmethod
    def predict_footprint(
        cls, guest: Guest, backing: Backing = BACKINGS["kernel"], n_regions: int = 1, **options: Any
    ) -> Footprint:
        pages = cls.predict_pages(guest)
        memory = sum(round_up(n * PAGE_SIZE, HUGE_SIZE) for n in region_pages(pages, n_regions))
        return Footprint(pages, 0, memory, memory // backing.direct_bytes * 8)

    def _build(self) -> None:
        """Build what the design has beside the guest's tables, and set `tables`."""
        raise NotImplementedError

    def _build_tables(self, run_frames: int, n_regions: int) -> None:
        pages = self.predict_pages(self.guest)
        first, *others = region_pages(pages, n_regions)
        spare = len(others) * REGION_FRAMES + max(others, default=0)
        self.pool = self.extra_pool = PagePool(first, n_spare=spare, page_bytes=self.backing.direct_bytes)
        self.third = third_frames(self.guest, run_frames, n_regions)
        self._take_third(pages["third"], n_regions)
        self.second = scattered(self.pool.allocate(pages["second"], "second"), run_frames, self.guest.seed)
        self.root = int(self.pool.allocate(N_ROOT_PAGES, "root")[0])
        start = perf_counter_ns()
        self._write_third()
        self.mfn_generation_ns = perf_counter_ns() - start
        words = self.pool.pages(np.uint64)
        slots = np.zeros(self.layout.has_third.size, np.uint64)
        slots[self.layout.has_third] = self.encode(self.third)
        words[self.second] = slots.reshape(-1, ENTRIES)[self.layout.has_second]
        root = self.root_words()
        root[np.flatnonzero(self.layout.has_second)] = self.encode(self.second)

    def _take_third(self, n_pages: int, n_regions: int) -> None:
        """Third-level pages; the first ones stand 2 MiB-aligned so that a window can have 2 MiB pages."""
        for region in range(n_regions):
            n_part = len(range(region, n_pages, n_regions))
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
        rank = np.cumsum(self.layout.has_third) - 1
        first = rank[ram.first_pfn >> SECOND_SHIFT] * ENTRIES + (ram.first_pfn & (ENTRIES - 1))
        entries = self.guest.geometry.ram_entries(ram.first_mfn.astype(np.uint64))
        step = np.full(entries.size, PAGE_SIZE, np.uint64)
        if (np.diff(self.third) == 1).all():
            fill_runs(self.third_words(), first, ram.n_frames, entries, step)
            return
        packed = np.zeros(self.third.size * ENTRIES, np.uint64)
        fill_runs(packed, first, ram.n_frames, entries, step)
        self.pool.pages(np.uint64)[self.third] = packed.reshape(-1, ENTRIES)

    def third_words(self) -> NDArray[np.uint64]:
        """View the third level as one array, where its pages stand in one piece."""
        return self.pool.words(int(self.third[0]), np.uint64, self.third.size)

    def third_tables(self) -> list[NDArray[np.uint64]]:
        """View the third level as few long arrays: one where its pages follow each other in memory."""
        frames = np.sort(self.third)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(frames) != 1) + 1])
        ends = np.append(starts[1:], frames.size)
        words = self.pool.words
        return [words(int(frames[a]), np.uint64, int(b - a)) for a, b in zip(starts, ends, strict=True)]

    def root_words(self) -> NDArray[np.uint64]:
        """View the concatenated root, shape (1024,)."""
        return self.pool.words(self.root, np.uint64, N_ROOT_PAGES)

    def encode(self, frames: Frames) -> NDArray[np.uint64]:
        """Entries that point to table pages: machine address and the bits of a stage-2 table entry."""
        machine = (frames + self.machine_base).astype(np.uint64)
        return (machine << np.uint64(PAGE_SHIFT)) | np.uint64(Stage2.POINTS)

    def decode(self, entries: NDArray[np.uint64]) -> Frames:
        """Pool frames that table entries point to; -1 where one is no table entry."""
        points = (entries & np.uint64(3)) == 3
        frames = ((entries & ADDRESS_MASK) >> np.uint64(PAGE_SHIFT)).astype(np.int64) - self.machine_base
        return np.where(points, frames, -1)

    @property
    def direct_base(self) -> int:
        """Added to a machine address to make an address of this process, modulo 2**64."""
        return (self.pool.base - (self.machine_base << PAGE_SHIFT)) % 2**64

    def close(self) -> None:
        super().close()
        if hasattr(self, "extra_pool"):
            self.extra_pool.close()

    @property
    def pages(self) -> dict[str, int]:
        """Pages by kind, counted; tables that belong to another design are its pages, not ours."""
        return self.extra_pool.kinds

    def footprint(self) -> Footprint:
        return Footprint(self.pages, 0, self.extra_pool.memory_bytes, self.page_table_bytes())

    def views(self) -> dict[str, int]:
        return {"direct": self.pool.direct_page_bytes}

    def step_at(self, address: int) -> Load:
        for pool in (self.pool, self.extra_pool):
            frame = pool.frame_at(address)
            kind = pool.kind(frame) if frame >= 0 else ""
            if kind:
                return Load(kind, "direct", frame, (address & 0xFFF) // 8, address)
        raise BadInputError(f"address {address:#x} belongs to no page of this {self.name}")

    def explain(self, entry: int) -> dict[str, Any]:
        """Read a raw entry: ``kind`` is "ram", "ram, write-protected for tracing" or "missing"."""
        if entry & Stage2.VALID == 0:
            return {"kind": "missing", "mfn": None}
        traced = ", write-protected for tracing" if entry & Stage2.LOG_DIRTY else ""
        return {"kind": f"ram{traced}", "mfn": int((entry & int(ADDRESS_MASK)) >> PAGE_SHIFT)}

    def frames(self, pfns: Any) -> NDArray[np.uint64]:
        """Check frame numbers as `lookup` does, and give them as the compiled loops take them."""
        return self._frames(pfns)

    def require_ready(self) -> None:
        """Refuse to hand out entries where there is a state in which none can be found.

        Raises
        ------
        BadInputError
            When something must be prepared first.
        """

    def switch_to(self) -> None:
        """Do what a context switch to this domain takes; nothing, where tables are not shared."""

    def events(self, pfn: int) -> dict[str, int]:
        """Look one frame up and count everything that Xen would execute for it.

        Parameters
        ----------
        pfn : int
            Frame.

        Returns
        -------
        dict of str to int
            Events of `p2mperf.designs.arm.event_kernels.EVENTS` that happened.

        Raises
        ------
        BadInputError, ClosedError
            As `lookup`.
        """
        recorder = Recorder.empty()
        trace(self.tables, self.state, recorder, self._frames([pfn])[0])
        return recorder.counts()

    def read_back(self) -> Frames:
        """Read back from memory, root down, which third-level page maps each 2 MiB; -1 for none."""
        words = self.pool.pages(np.uint64)
        second = self.decode(self.root_words())
        third = np.full((N_ROOT_PAGES * ENTRIES, ENTRIES), -1, np.int64)
        third[second >= 0] = self.decode(words[second[second >= 0]])
        return third.ravel()

    def audit(self) -> None:
        found = self.read_back()
        expected = np.full(found.size, -1, np.int64)
        expected[: self.layout.has_third.size][self.layout.has_third] = self.third
        self._require(found == expected, "a second-level entry points to another page than the map asks for")
        pages = self.predict_pages(self.guest) if self.like is None else self.extra_pages
        self._require(self.pages == pages, "page counts differ")
        seconds = self.decode(self.root_words())[: self.layout.has_second.size]
        self._require(seconds[self.layout.has_second] == self.second, "a root entry points elsewhere")
        self._require((self.root_words() & np.uint64(Stage2.WRITE)) == 0, "a root entry has the write bit")
        self._audit_entries()

    def _audit_entries(self) -> None:
        entries = self.pool.pages(np.uint64)[self.third].ravel()
        valid = (entries & np.uint64(3)) == 3
        self._require(entries[~valid] == 0, "an entry without memory is not 0")
        mfns = (entries[valid] & ADDRESS_MASK) >> np.uint64(PAGE_SHIFT)
        n_ram = self.guest.n_boot_pages
        self._require(mfns.size == n_ram, f"{mfns.size} frames have memory where {n_ram} should")
        n_machine = self.guest.machine.n_frames
        self._require(mfns < n_machine, f"an mfn lies beyond the machine's {n_machine} frames")
        seen = np.zeros(n_machine, np.bool_)
        seen[mfns.astype(np.int64)] = True
        self._require(int(np.count_nonzero(seen)) == n_ram, "one mfn backs two frames")
