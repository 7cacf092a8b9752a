"""A guest's p2m as Xen builds it, in pool pages: what both HAP designs hold."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Footprint, Load
from p2mperf.designs.hap.build_kernels import fill_l1
from p2mperf.designs.hap.layout import Switches, plan_tables, pool_pages, radix_of
from p2mperf.designs.hap.operation_kernels import count_leaves
from p2mperf.designs.hap.store_kernels import (
    COUNTS,
    FRESH,
    FRESH_END,
    MAX_MAPPED,
    N_PRESENT,
    NONE,
    PATIENT,
    POOL_LEFT,
    Store,
)
from p2mperf.designs.hap.view_kernels import Shown
from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest
from p2mperf.host.memory import require_memory
from p2mperf.memory.owned import Mapped, Owned
from p2mperf.memory.pool import PagePool, page_runs
from p2mperf.memory.raw import Counted
from p2mperf.tables.m2p import M2p
from p2mperf.tables.radix import RadixTable, build
from p2mperf.units import HUGE_SIZE, PAGE_SHIFT, PAGE_SIZE, round_up

Flags = NDArray[np.bool_]
_CHUNK = HUGE_SIZE // PAGE_SIZE  # pages that are made ready at once


class HapTable(Owned):
    """The p2m of one guest, its m2p, and the pages that may be taken for tables.

    Parameters
    ----------
    name : str
        Design that an error names.
    guest : Guest
        A guest of a HAP geometry.
    backing : Backing
        Page sizes of the views.
    switches : Switches
        Which superpages there may be.
    pool_size : int, optional
        Pages that the domain may have for tables; default: what the toolstack gives [pages].
    n_stand_in : int
        Pages to have for windows, which stand in for guest RAM [pages].

    Attributes
    ----------
    plan : TablePlan
        What it was built as.
    pool : PagePool
        Where its pages are.
    radix : RadixTable
        Its levels above L1, as they were built.
    m2p : M2p
        The way back, kept in step, with an entry for each 4 KiB whatever the p2m has.
    stand_in : int
        First of the pages that stand in for guest RAM; -1 without any.
    levels : ndarray of uint8, shape (n_frames,)
        For each frame of the pool: 1 for an L1 table, 2 for an L2 table ..., 0 for what is no table.
    tally : ndarray of uint64, shape (len(COUNTS),)
        What `p2mperf.designs.hap.store_kernels.COUNTS` names.
    store : Store
        What compiled code changes, these included.
    views : () or Views
        What windows there are, as compiled code changes them.
    count_maps : callable
        Counts anew how many mappings windows may take, and says whether those are more; there are none.
    lock : RLock
        Held by who changes it.
    mfn_generation_ns : int
        Time to write L1 and the m2p [ns].

    Raises
    ------
    BadInputError
        For a guest of another geometry, or a pool that is too small.
    DoesNotFitError
        When memory or address space gives out; nothing is kept then.
    """

    def __init__(
        self,
        name: str,
        guest: Guest,
        backing: Backing,
        switches: Switches,
        *,
        pool_size: int | None = None,
        n_stand_in: int = 0,
    ) -> None:
        self.name, self.guest = name, guest
        self.plan = plan_tables(guest, switches)
        self.pages_built = self.plan.pages
        n_tables = sum(self.pages_built.values())
        self._pool_pages = pool_pages(guest, pool_size, n_tables)
        n_pages = n_tables + n_stand_in
        require_memory(n_pages << PAGE_SHIFT, f"the p2m of {guest.name}", "take a smaller guest")
        self.lock = RLock()
        self.views: Shown = ()
        self.count_maps: Callable[[], bool] = lambda: False
        self.stand_in = -1
        self.m2p: M2p
        n_spare = self.plan.most_pages - n_tables
        self.pool = PagePool(n_pages, n_spare=n_spare, page_bytes=backing.direct_bytes)
        self._addressed: list[Mapped] = [Mapped.of(self.pool)]
        try:
            self._build(n_stand_in)
        except BaseException:
            self.__exit__()
            raise

    def _build(self, n_stand_in: int) -> None:
        plan, shape = self.plan, self.plan.shape
        l1 = self.pool.allocate(plan.n_l1, "l1")
        start = perf_counter_ns()
        self._fill_l1()
        self.m2p = M2p(self.guest)
        self._addressed.append(Mapped.of(self.m2p))
        self.mfn_generation_ns = perf_counter_ns() - start
        # Tables stand where the guest's machine has no memory for it, as Xen's own pages do.
        origin = self.guest.machine.n_frames
        targets, leaves = plan.targets(l1), plan.leaves
        self.radix: RadixTable = build(
            self.pool, targets, radix_of(shape), origin=origin << PAGE_SHIFT, leaves=leaves
        )
        if n_stand_in:
            self.stand_in = int(self.pool.allocate(n_stand_in, "stand_in")[0])
        self.levels = np.zeros(self.pool.n_frames, np.uint8)
        self.levels[l1] = 1
        for number in range(2, shape.n_levels + 1):
            frames = self.radix.frames[f"l{number}"]
            self.levels[frames[frames >= 0]] = number
        counts = dict.fromkeys(COUNTS, 0)
        counts |= {f"free_l{number}": int(NONE) for number in range(1, 5)}
        counts |= {f"n_{name}": n for name, n in self.pages_built.items()}
        counts["pool_left"] = self._pool_pages - sum(self.pages_built.values())
        counts["present"] = self.guest.extents.n_frames
        counts["max_mapped"] = self.guest.extents.end_gfn - 1
        self.tally = np.array([counts[name] for name in COUNTS], np.uint64)
        self._next_free = np.full(self.pool.n_frames, NONE, np.uint64)
        self.store = Store(
            np.uint64(self.pool.address(self.radix.root)),
            np.uint64((self.pool.base - (origin << PAGE_SHIFT)) % 2**64),
            np.uint64(origin),
            np.uint64(shape.index_bits),
            np.uint64(shape.n_levels - 1),
            np.uint64(len(shape.orders) - 1),
            shape.entry_bits == 64,
            np.uint64(self.pool.n_frames),
            *(np.uint64(array.ctypes.data) for array in (self.levels, self._next_free, self.tally)),
        )

    def _fill_l1(self) -> None:
        if not self.plan.n_l1:
            return
        extents = self.guest.extents
        fill_l1(
            extents.gfn,
            extents.mfn,
            extents.order,
            self.plan.levels,
            np.uint64(self.plan.shape.index_bits),
            np.cumsum(self.plan.has_l1) - 1,
            self.pool.words(0, self.plan.shape.dtype, self.plan.n_l1),
        )

    def __enter__(self) -> HapTable:
        return self

    def __exit__(self, *exc: object) -> None:
        # All pages, and the addresses of them. There is no `close`: the design that lives on it has one.
        if "m2p" in vars(self):
            self.m2p.close()
        self.pool.close()
        self._addressed.clear()

    def require_open(self) -> None:
        """Refuse to go on where its pages were given back meanwhile, or belong to another process.

        Raises
        ------
        ClosedError
            When they were, or do.
        """
        self.pool.words(0, np.uint8)

    @property
    def sizes(self) -> np.uint64:
        """Bit 1 << level for each level at which leaves are set; those that are there count at any."""
        return np.uint64(sum(1 << order // self.plan.shape.index_bits for order in self.plan.orders))

    @property
    def counts(self) -> dict[str, int]:
        """What was done since it was built: writes of entries, tables taken, splits, flushes of TLBs."""
        return {name: self.count(name) for name in ("writes", "tables", "splits", "flushes")}

    def count(self, name: str) -> int:
        """One of `p2mperf.designs.hap.store_kernels.COUNTS`."""
        return int(self.tally[COUNTS.index(name)])

    @property
    def max_mapped(self) -> int:
        """The highest guest frame that was ever mapped."""
        return int(self.tally[MAX_MAPPED])

    @property
    def n_present(self) -> int:
        """Guest frames that are mapped."""
        return int(self.tally[N_PRESENT])

    @property
    def pages(self) -> dict[str, int]:
        """Pages by kind, counted; "reserve" are those that were made ready for tables, or have been such."""
        marked = np.bincount(self.levels, minlength=self.plan.shape.n_levels + 1)
        pages = {f"l{level}": int(marked[level]) for level in range(1, self.plan.shape.n_levels + 1)}
        kinds = self.pool.kinds
        if n_stand_in := kinds.get("stand_in", 0):
            pages["stand_in"] = n_stand_in
        if n_reserve := sum(kinds.values()) - sum(pages.values()):
            pages["reserve"] = n_reserve
        return pages

    @property
    def allocation(self) -> tuple[int, int]:
        """Pages of the domain's pool that are tables, and those that may still become such."""
        return self._pool_pages - int(self.tally[POOL_LEFT]), int(self.tally[POOL_LEFT])

    def set_allocation(self, n_pages: int) -> None:
        """Let the domain have another number of pages for tables: hap_set_allocation.

        Raises
        ------
        BadInputError
            When more are tables already.
        """
        with self.lock:
            n_used, _ = self.allocation
            if n_pages < n_used:
                raise BadInputError(f"{n_used} pages are tables of {self.guest.name}: {n_pages} are too few")
            self._pool_pages = n_pages
            self.tally[POOL_LEFT] = n_pages - n_used

    def change(self, kernel: Callable[..., Counted], n: int, *arguments: object) -> Flags:
        """Let compiled code make changes one after the other, with pages at hand as it wants them.

        Parameters
        ----------
        kernel : callable
            Takes the store, the views, `arguments`, where to begin, and flags to set; returns where it
            stopped.
        n : int
            How many changes.
        *arguments
            What they are.

        Returns
        -------
        ndarray of bool, shape (n,)
            Whether each was made; one that was not has changed no translation.

        Raises
        ------
        ClosedError
            As `require_open`.
        """
        at: Counted
        done, at, counts = np.zeros(n, np.bool_), 0, self.tally
        self.require_open()
        with self.lock:
            counts[PATIENT] = 1
            while at < n:
                at = kernel(self.store, self.views, *arguments, at, done)
                if at < n:
                    counts[PATIENT] = self._replenish()
        return done

    def _replenish(self) -> bool:
        """Make pages ready where there are none, or else count mappings anew; whether there is more now."""
        is_used_up = self.tally[FRESH] == self.tally[FRESH_END]
        return (is_used_up and self.make_ready(1) > 0) or self.count_maps()

    def make_ready(self, n_pages: int) -> int:
        """Have memory behind pages that tables may be made of, so that taking one does not touch it first.

        Parameters
        ----------
        n_pages : int
            How many at least; whole stretches of 2 MiB are made ready, as far as there are pages.

        Returns
        -------
        int
            How many there are more [pages].
        """
        with self.lock:
            n_taken = self.pool.n_taken
            n_more = min(round_up(n_taken + n_pages, _CHUNK), self.pool.n_frames) - n_taken
            if n_more > 0:
                frames, counts = self.pool.allocate(n_more, "reserve"), self.tally
                # The pool hands out its frames in order, so that these continue those that are left.
                counts[FRESH] = frames[0] if counts[FRESH] == counts[FRESH_END] else counts[FRESH]
                counts[FRESH_END] = frames[-1] + 1
            return n_more

    def leaves(self) -> dict[int, int]:
        """Leaves by size [log2 frames], counted in the tables."""
        self.require_open()
        shape = self.plan.shape
        counts = np.zeros(shape.n_levels, np.uint64)
        count_leaves(self.store, counts)
        return {shape.index_bits * level: int(n) for level, n in enumerate(counts) if n}

    def footprint(self, n_vmas: int, page_table_bytes: int) -> Footprint:
        """Count what it takes; the two numbers are what only its holder knows."""
        memory_bytes = self.pool.memory_bytes + self.m2p.memory_bytes
        return Footprint(self.pages, n_vmas, memory_bytes, page_table_bytes)

    def stretches(self) -> list[tuple[int, int]]:
        """Where tables are in the direct map: address and length of each stretch [bytes]."""
        return [(self.pool.base + start, n_bytes) for start, n_bytes in page_runs(self.levels > 0)]

    def step_at(self, address: int) -> Load:
        """Say what stands at an address of the direct map that a walk has read."""
        frame = self.pool.frame_at(address)
        level = int(self.levels[frame]) if frame >= 0 else 0
        if not level:
            raise BadInputError(f"address {address:#x} belongs to no table of this {self.name}")
        return Load(f"l{level}", "direct", frame, (address & 0xFFF) // self.plan.shape.entry_bytes, address)
