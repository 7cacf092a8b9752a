"""What the p2m designs of Linux PV guests have in common: entries, leaves, dump and the way back.

Markers and helpers: arch/x86/include/asm/xen/page.h (3.18 and 3.19).
"""

from __future__ import annotations

from abc import abstractmethod
from time import perf_counter_ns
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.backing import Backing, backing as find_backing
from p2mperf.designs.base import Design, Load
from p2mperf.designs.pv import entries
from p2mperf.designs.pv.audit_kernels import count_entries
from p2mperf.designs.pv.leaf_plan import Leaf, LeafPlan, ListedLeaves
from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest
from p2mperf.memory.pool import Frames, PagePool
from p2mperf.tables.m2p import M2p
from p2mperf.units import round_up

_SHARED = ("missing_leaf", "identity_leaf")


class PvDesign(Design):
    """A p2m of a PV guest: private leaves in a pool, two shared ones for holes, and what finds them.

    Parameters
    ----------
    guest : Guest
        What to build for.
    backing : str or Backing
        Page sizes of the views.
    above : str
        What a pfn beyond the table reads: "identity" (Linux 3.18 and later) or "invalid" (up to 3.14).
    run_frames : int
        0: leaves stand in the pool in pfn order, as boot-time allocation leaves them; otherwise pool frames
        come in runs of this length in random order [frames].
    boot_list : ndarray of uint64 or uint32, shape (n_boot_pages,), optional
        The flat list of the domain builder: leaves are copied from it, as at boot, instead of being written
        from the map. (A 32-bit kernel leaves them where they are; here they are copied at either width.)

    Raises
    ------
    BadInputError
        For an unknown backing or policy, a guest of another geometry, or a `boot_list` that does not hold all
        of the guest's memory.
    DoesNotFitError
        When memory, address space or mappings give out; nothing is kept then.
    """

    family: ClassVar[str] = "pv"
    options: ClassVar[frozenset[str]] = frozenset({"above", "run_frames", "boot_list"})
    plan: LeafPlan
    pool: PagePool
    leaves: Frames  # behind each leaf-sized stretch, shared ones repeated
    leaf_state: NDArray[np.int8]  # `Leaf` of each; starts as the plan's, and follows what is written

    def __init__(
        self,
        guest: Guest,
        backing: str | Backing = "kernel",
        *,
        above: str = "identity",
        run_frames: int = 0,
        boot_list: NDArray[Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(guest, backing if isinstance(backing, Backing) else find_backing(backing))
        start = perf_counter_ns()
        self.above = above
        self.layout_options = options
        self.plan = self.plan_leaves(guest, above=above, **options)
        if boot_list is not None:
            self.plan = self._plan_copies(boot_list)
        n_frames = sum(self.count_plan(self.plan, guest, options).values())
        self.pool = PagePool(
            n_frames,
            n_spare=self._spare_frames(),
            page_bytes=self.backing.direct_bytes,
            run_frames=run_frames,
            seed=guest.seed,
        )
        self._m2p: M2p | None = None
        try:
            self._build_leaves()
            self._build()
        except BaseException:
            self.close()
            raise
        self.build_ns = perf_counter_ns() - start

    @classmethod
    @abstractmethod
    def plan_leaves(cls, guest: Guest, above: str = "identity", **options: Any) -> LeafPlan:
        """Decide which leaves are private and what stands in them."""

    def _plan_copies(self, boot_list: NDArray[Any]) -> LeafPlan:
        """Plan the same leaves, copied from a flat list."""
        guest, plan = self.guest, self.plan
        array = np.asarray(boot_list)
        if array.dtype != guest.geometry.dtype or array.shape != (guest.n_boot_pages,) or not guest.is_flat:
            raise BadInputError(
                f"a flat list of {array.size} entries ({array.dtype}) does not hold the memory of "
                f"{guest.name}: it takes {guest.n_boot_pages} of {guest.geometry.entry_bits} bits in a row, "
                "of a guest without holes"
            )
        return ListedLeaves(plan.geometry, plan.runs, plan.state, boot_list)

    @classmethod
    @abstractmethod
    def count_plan(cls, plan: LeafPlan, guest: Guest, options: dict[str, Any]) -> dict[str, int]:
        """Pool pages by kind that a plan asks for.

        Parameters
        ----------
        plan : LeafPlan
            From `plan_leaves`.
        guest : Guest
            Whose.
        options : dict
            What the design is built with.

        Returns
        -------
        dict of str to int
            Pages by kind.
        """

    @classmethod
    def predict_pages(cls, guest: Guest, above: str = "identity", **options: Any) -> dict[str, int]:
        """Pool pages by kind, by arithmetic on the guest."""
        return cls.count_plan(cls.plan_leaves(guest, above=above, **options), guest, options)

    @abstractmethod
    def _build(self) -> None:
        """Build what finds the leaves, and set `tables`."""

    def _spare_frames(self) -> int:
        """Address space for pages that only writing will take [frames]."""
        return 0

    def _build_leaves(self) -> None:
        dtype = self.guest.geometry.dtype
        # First of all, so that they stand 2 MiB-aligned and a window over them can have 2 MiB pages.
        frames = self.pool.allocate(self.plan.n_private, "leaf")
        shared = self.pool.allocate(2, "leaf_shared")
        self.missing_leaf, self.identity_leaf = shared.tolist()
        for frame in shared.tolist():
            self.pool.words(frame, dtype)[:] = self.guest.geometry.invalid
        start = perf_counter_ns()
        self._write_leaves(frames, dtype)
        self.mfn_generation_ns = perf_counter_ns() - start
        self.leaf_state = self.plan.state.copy()
        self.leaves = self._shared_targets()
        self.leaves[self.leaf_state == Leaf.PRIVATE] = frames

    def _shared_targets(self) -> Frames:
        """Frame that each leaf shares; meaningless for private ones."""
        return np.array([0, self.missing_leaf, self.identity_leaf])[self.leaf_state]

    @property
    def leaf_frames(self) -> Frames:
        """Frames of the private leaves, in pfn order."""
        return self.leaves[self.leaf_state == Leaf.PRIVATE]

    def _write_leaves(self, frames: Frames, dtype: Any) -> None:
        if frames.size == 0:
            return
        if frames[-1] - frames[0] == frames.size - 1 and (np.diff(frames) == 1).all():
            self.plan.fill(self.pool.words(int(frames[0]), dtype, frames.size))
            return
        packed = np.empty(frames.size * self.guest.geometry.leaf_frames, dtype)
        self.plan.fill(packed)
        self.pool.pages(dtype)[frames] = packed.reshape(frames.size, -1)

    def close(self) -> None:
        super().close()
        if hasattr(self, "pool"):
            self.pool.close()
        if getattr(self, "_m2p", None) is not None:
            self._m2p.close()  # type: ignore[union-attr]

    @property
    def m2p(self) -> M2p:
        """The machine-to-physical table, built when first asked for."""
        if self._m2p is None:
            self._m2p = M2p(self.guest)
        return self._m2p

    def pfn_to_mfn(self, pfns: Any) -> NDArray[np.uint64]:
        """Translate frames and strip the markers, as pfn_to_mfn of asm/xen/page.h does.

        Parameters
        ----------
        pfns : array_like of int
            Frames.

        Returns
        -------
        ndarray of uint64
            Machine frames; all ones (at the entry's width) where there is none.
        """
        return entries.without_markers(self.lookup(pfns), self.guest.geometry)

    def mfn_to_pfn(self, mfns: Any) -> NDArray[np.uint64]:
        """Translate machine frames back, verified by the p2m, as mfn_to_pfn of asm/xen/page.h does.

        Parameters
        ----------
        mfns : array_like of int
            Machine frames.

        Returns
        -------
        ndarray of uint64
            Guest frames; the mfn itself where the p2m says identity; all ones (at the entry's width) for
            foreign and unknown frames.

        Raises
        ------
        BadInputError
            When `mfns` are not whole, non-negative numbers.
        """
        shape = self.guest.geometry
        invalid = np.uint64(shape.invalid)
        frames = self._frames(mfns)
        inside = frames < np.uint64(self.m2p.n_frames)
        pfns = self.m2p.words()[np.where(inside, frames, 0).astype(np.int64)].astype(np.uint64)
        pfns[~inside] = invalid
        astray = self.lookup(pfns) != frames
        pfns[astray] = self._override(frames[astray])
        identity = self.lookup(frames) == (frames | np.uint64(shape.identity_bit))
        return np.where((pfns == invalid) & identity, frames, pfns)

    def _override(self, mfns: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Frames of mfns that the p2m disowns: none, since m2p_override is gone."""
        return np.full(mfns.shape, self.guest.geometry.invalid, np.uint64)

    def explain(self, entry: int) -> dict[str, Any]:
        return entries.explain(entry, self.guest.geometry)

    def dump(self) -> str:
        """Write the p2m as runs of one kind, as debugfs' mmu/p2m did.

        Returns
        -------
        str
            Lines ``[0x00000000->0x00040000] pfn`` over [0, end of the map rounded up to a mid), end
            exclusive; kinds are pfn, missing, identity and foreign.
        """
        return entries.dump(self.kind_runs())

    def kind_runs(self) -> list[tuple[int, int, str]]:
        """Runs (first pfn, end pfn, kind) over [0, end of the map rounded up to a mid)."""
        end = round_up(self.guest.covered_pfn, self.guest.geometry.mid_frames)
        return entries.kind_runs(self.lookup, end, self.guest.geometry)

    def audit_leaves(self) -> None:
        """Check the leaves themselves: see `audit`."""
        shape, dtype = self.guest.geometry, self.guest.geometry.dtype
        for frame, name in zip((self.missing_leaf, self.identity_leaf), _SHARED, strict=True):
            shared = self.pool.words(frame, dtype)
            self._require(shared == shape.invalid, f"the shared {name} page is not INVALID throughout")
        pages = self.pool.pages(dtype)[self.leaf_frames]
        first = np.flatnonzero(self.leaf_state == Leaf.PRIVATE).astype(np.uint64)
        marks = np.array([shape.invalid, shape.identity_bit, shape.foreign_bit], np.uint64)
        seen = np.zeros(self.guest.machine.n_frames // 64 + 1, np.uint64)
        n_machine = np.uint64(self.guest.machine.n_frames)
        counts = count_entries(pages, first * np.uint64(shape.leaf_frames), marks, n_machine, seen)
        n_ram, _, _, n_foreign, n_astray, n_beyond, n_twice = counts.tolist()
        written = self._written_counts()
        self._require(n_astray == written[2], f"{n_astray} identity entries name another frame")
        self._require(n_foreign == written[1], f"{n_foreign} frames are foreign where {written[1]} should")
        self._require(n_beyond == 0, f"{n_beyond} mfns lie beyond the machine's {n_machine} frames")
        self._require(n_twice == 0, f"{n_twice} mfns back two frames")
        expected = self._n_ram_expected() + written[0]
        self._require(n_ram == expected, f"{n_ram} frames have memory where {expected} should")

    def _written_counts(self) -> tuple[int, int, int]:
        """What writing has added: plain mfns, foreign entries, identity of another frame."""
        return 0, 0, 0

    def _n_ram_expected(self) -> int:
        return self.guest.n_boot_pages

    def direct_step(self, address: int) -> Load:
        """Describe a word of the direct map."""
        frame = self.pool.frame_at(address)
        kind = self.pool.kind(frame) if frame >= 0 else ""
        if not kind:
            raise BadInputError(f"address {address:#x} belongs to no page of this {self.name}")
        return Load(kind, "direct", frame, (address & 0xFFF) // self._word_bytes(kind), address)

    def _word_bytes(self, kind: str) -> int:
        return self.guest.geometry.entry_bytes
