"""The page table of a list's area, and the window that shows the area."""

from __future__ import annotations

import numpy as np

from p2mperf.designs.base import Load
from p2mperf.designs.pv.area import AREA, N_PTES, WRITE_FLAG, page_table_shape, pages_per_mid
from p2mperf.designs.pv.leaf_plan import Leaf
from p2mperf.designs.pv.linear_kernels import ListKind, WriteLinear32, WriteLinear64
from p2mperf.designs.pv.quirks import BugError
from p2mperf.designs.pv.store import LeafStore
from p2mperf.designs.pv.way_back import WayBack
from p2mperf.guests.geometry import above_mask
from p2mperf.memory.owned import Mapped, Owned
from p2mperf.memory.pool import Frames
from p2mperf.memory.smaps import mappings
from p2mperf.memory.window import Window
from p2mperf.tables.radix import Sharing, covered_by
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE


class ListTables(Owned):
    """What finds the leaves of a list: the MMU in the window, software in the page table.

    Parameters
    ----------
    store : LeafStore
        The leaves; takes the page table.
    window_bytes : int
        Page size wanted for the window [bytes].
    numbers : ndarray of int64, optional
        Page number that stands in an entry for each frame; default: addresses of this process, or offsets.
    base : int, optional
        Added to a page address of an entry to make an address of this process; default: as it must be.

    Attributes
    ----------
    window : Window
        One page a leaf.

    Raises
    ------
    DoesNotFitError
        When memory, address space or mappings give out; the window is not kept then.
    """

    def __init__(
        self, store: LeafStore, window_bytes: int, numbers: Frames | None = None, base: int | None = None
    ) -> None:
        shape = store.guest.geometry
        labels = (store.missing_leaf, store.identity_leaf)
        sharing = Sharing(labels, pages_per_mid(shape), write_flag=WRITE_FLAG)
        store.build_table(page_table_shape(shape), sharing, numbers)
        self._store = store
        offset = 0 if shape.entry_bits == 64 else store.pool.base
        self._base = offset if base is None else base
        self.window = Window(store.pool, store.leaves.size, page_bytes=window_bytes)
        self._addressed: Mapped | None = Mapped.of(self.window)
        try:
            self.window.map(0, self._shown(), store.plan.state == Leaf.PRIVATE)
            self.window.populate()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> ListTables:
        return self

    def __exit__(self, *exc: object) -> None:
        self.window.close()
        self._addressed = None

    def _covered(self) -> Frames:
        """Label whose shared page covers each page-table page, else negative."""
        return covered_by(self._store.leaves, self._store.table.shape, self._store.sharing)

    def _shown(self) -> Frames:
        """Frame behind each page of the window: shared extents where a whole mid is a hole."""
        store = self._store
        shown = store.leaves.copy()
        covered = np.repeat(self._covered(), N_PTES)
        for label in store.sharing.labels:
            wide = np.flatnonzero(covered == label)
            if wide.size:
                extent = store.pool.allocate(store.guest.geometry.leaf_frames, "hole_window")
                store.pool.pages(np.uint64)[extent] = np.uint64(2**64 - 1)
                shown[wide] = extent[wide % extent.size]
        return shown

    def unlink_second_halves(self, can_free: bool) -> None:
        """Leave out the page-table pages that a stride of 512 entries instead of a PMD's reach never met.

        A kernel faults there; here the area goes on reading INVALID. When a mid is broken its first page is
        replaced and its second freed, for no slot has it: the half stays as it is.

        Parameters
        ----------
        can_free : bool
            Whether that can be done while booting.

        Raises
        ------
        BugError
            When something is written to such a mid at boot, and the kernel stops.
        """
        store, guest = self._store, self._store.guest
        # What the list was made from: all is identity beyond the boot list, whatever is written there later.
        state = store.plan.state.copy()
        state[-(-guest.n_boot_pages // guest.geometry.leaf_frames) :] = Leaf.IDENTITY
        labels = Sharing((Leaf.MISSING, Leaf.IDENTITY), store.group)
        covered = covered_by(state, store.table.shape, labels)
        pages = np.flatnonzero(np.arange(covered.size) % store.group)
        store.unlinked = pages[covered[pages] >= 0]
        written = np.unique(store.page_of(np.flatnonzero(store.leaf_state == Leaf.PRIVATE)))
        if np.isin(store.unlinked, written).any():
            raise BugError("memory at boot is in the half of a mid that was never linked: BUG")
        if not can_free and np.isin(store.unlinked - 1, written).any():
            raise BugError("a page-table page that was not linked cannot be freed while booting: BUG")
        upper = store.table.shape.levels[1]
        positions = store.unlinked + upper.first_slot
        holders = store.table.frames[upper.name][positions // upper.fanout]
        store.pool.pages(np.uint64)[holders, positions % upper.fanout] = 0

    def walk_tables(
        self, kinds: tuple[type[ListKind], type[ListKind]], above: str, m2p_base: int = 0
    ) -> ListKind:
        """What a walk takes.

        Parameters
        ----------
        kinds : tuple of NamedTuple types
            For 64 and for 32 bits.
        above : str
            What a pfn beyond the area reads: "identity" or "invalid".
        m2p_base : int
            Address of the machine-to-physical table; 0 where no walk reads it.

        Returns
        -------
        NamedTuple
            One of `kinds`.
        """
        store, shape = self._store, self._store.guest.geometry
        values = (
            self.window.base,
            store.end_pfn,
            int(above_mask(shape, above)),
            AREA[shape.entry_bits],
            store.pool.address(store.table.root),
            store.pool.address(store.identity_leaf),
            self._base % 2**64,
            m2p_base,
        )
        return kinds[shape.entry_bits == 32](*map(np.uint64, values))

    def write_tables(self) -> WriteLinear64 | WriteLinear32:
        """What `locate_leaf` takes."""
        store, shape = self._store, self._store.guest.geometry
        kind = WriteLinear64 if shape.entry_bits == 64 else WriteLinear32
        shared = [store.pool.address(f) - self._base for f in (store.missing_leaf, store.identity_leaf)]
        root = store.pool.address(store.table.root)
        return kind(*map(np.uint64, (self.window.base, AREA[shape.entry_bits], root, *shared, self._base)))

    @property
    def n_vmas(self) -> int:
        """Mappings of the window, counted."""
        return len(mappings(self.window.base, self.window.n_pages << PAGE_SHIFT))

    def load_at(self, address: int, way_back: WayBack) -> Load:
        """Say what stands at an address that a walk has read, be it of the window or not."""
        store, entry_bytes = self._store, self._store.guest.geometry.entry_bytes
        page = self.window.page_at(address)
        if page >= 0:
            frame = int(self.window.frames[page])
            index = (address % PAGE_SIZE) // entry_bytes
            return Load(store.pool.kind(frame), "window", frame, index, address)
        offset = way_back.offset_of(address)
        if offset >= 0:
            return Load("m2p", "direct", -1, offset // entry_bytes, address)
        return store.load_at(address)
