"""What users ask any HAP design, passed on to the table that it holds.

It stands beside `Design` among a design's bases and not between the two: it keeps no state and decides
nothing, and without it the same lines would stand in each of the designs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, Protocol, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from p2mperf.designs.backing import Backing, backing as find_backing
from p2mperf.designs.base import Design, Footprint
from p2mperf.designs.capabilities import Translating
from p2mperf.designs.explained import Explained, dump
from p2mperf.designs.hap.layout import Switches, TablePlan, frames_from, plan_tables, predict_pages, shape_of
from p2mperf.designs.hap.table import HapTable
from p2mperf.designs.hap.windows import area_frames, n_mappings
from p2mperf.guests.frames import frame_numbers, word
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.guests.hap import TYPE_SHIFT, Hap, P2mBit, P2mType
from p2mperf.memory.pool import PagePool
from p2mperf.tables import m2p
from p2mperf.units import HUGE_SIZE, PAGE_SHIFT, PAGE_SIZE, round_up

_MISSING = P2mType.MMIO_DM.name.lower()
_DUMP_CHUNK = 1 << 20  # frames at once


class HapOptions(TypedDict, total=False):
    """What a HAP design may be built with, as `p2mperf.designs.hap.walk.HapWalk` says."""

    hap_2mb: bool | None
    hap_1gb: bool | None
    pool_pages: int | None


class _Held(Translating, Protocol):
    """What the door finds in a design."""

    table: HapTable


class HapDoor:
    """What every design over a p2m with superpages answers.

    Attributes
    ----------
    table : HapTable
        The guest's p2m.
    switches : Switches
        Which superpages it has, where that is not asked for.
    has_windows : bool
        Whether it is shown in windows.
    """

    follows: ClassVar[str] = "Xen 4.1"
    family: ClassVar[str] = "hap"
    options: ClassVar[frozenset[str]] = HapOptions.__optional_keys__
    switches: ClassVar[Switches] = Switches()
    has_windows: ClassVar[bool] = False
    table: HapTable

    @classmethod
    def predict_footprint(
        cls,
        guest: Guest,
        backing: str | Backing = "kernel",
        hap_2mb: bool | None = None,
        hap_1gb: bool | None = None,
        **others: object,
    ) -> Footprint:
        """As `Design.predict_footprint`.

        Parameters
        ----------
        guest : Guest
            A guest of a HAP geometry.
        backing : str or Backing
            Page sizes of the views.
        hap_2mb, hap_1gb : bool, optional
            As `Switches`; default: the design's own.
        **others
            Other options change nothing of it.
        """
        found = find_backing(backing, cls.family)
        plan = plan_tables(guest, switches_of(cls.switches, hap_2mb, hap_1gb))
        n_stand_in = plan.shape.leaf_frames if cls.has_windows else 0
        pages = predict_pages(plan, n_stand_in)
        pool_bytes = round_up(sum(pages.values()) * PAGE_SIZE, HUGE_SIZE)
        page_table_bytes, n_vmas = pool_bytes // found.direct_bytes * 8, 0
        if cls.has_windows:
            frames = area_frames(plan, frames_from(plan, pages), sum(pages.values()) - n_stand_in)
            n_vmas = n_mappings(frames)
            page_table_bytes += frames.size * PAGE_SIZE // found.window_bytes * 8
        return Footprint(pages, n_vmas, pool_bytes + m2p.predict_bytes(guest), page_table_bytes)

    @classmethod
    def leaf_orders(cls, guest: Guest) -> tuple[int, ...]:
        """Sizes of the leaves that it makes for a guest unless told otherwise [log2 frames].

        Raises
        ------
        BadInputError
            For a guest of another geometry.
        """
        return cls.switches.orders(shape_of(guest))

    @property
    def pool(self) -> PagePool:
        """Where the table's pages are."""
        return self.table.pool

    @property
    def plan(self) -> TablePlan:
        """What it was built as."""
        return self.table.plan

    @property
    def m2p(self) -> m2p.M2p:
        """The machine-to-physical table, kept in step, with an entry for each 4 KiB."""
        return self.table.m2p

    @property
    def counts(self) -> dict[str, int]:
        """What was done since it was built: writes of entries, tables taken, splits, flushes of TLBs."""
        return self.table.counts

    @property
    def max_mapped_pfn(self) -> int:
        """The highest guest frame that was ever mapped: above it nothing is looked for."""
        return self.table.max_mapped

    @property
    def end_gfn(self) -> int:
        """First guest frame that the table has no place for."""
        return self.table.plan.end_gfn

    @property
    def allocation(self) -> tuple[int, int]:
        """Pages of the domain's pool that are tables, and those that may still become such."""
        return self.table.allocation

    @property
    def leaves(self) -> dict[int, int]:
        """Leaves by size [log2 frames], counted in the tables."""
        return self.table.leaves()

    def mfn_to_gfn(self: _Held, mfns: ArrayLike) -> Words:
        """Translate machine frames back by the m2p.

        Parameters
        ----------
        mfns : array_like of int
            Machine frames.

        Returns
        -------
        ndarray of uint64
            Guest frames; all ones for a machine frame that is none of the guest's.

        Raises
        ------
        BadInputError
            When `mfns` are not whole, non-negative numbers.
        """
        frames = frame_numbers(mfns, "mfns")
        words = self.table.m2p.words()
        inside = frames < np.uint64(words.size)
        found = words[np.where(inside, frames, 0).astype(np.int64)].astype(np.uint64)
        is_none = ~inside | (found == np.uint64(self.guest.geometry.invalid_m2p))
        return np.where(is_none, np.uint64(2**64 - 1), found)

    def explain(self: _Held, entry: int) -> Explained:
        """Read a raw entry: its ``kind``, a name of `P2mType` in small letters, and its ``mfn`` or None."""
        return explain(word(entry, "an entry"), self.table.plan.shape)

    def kind_runs(self: _Held) -> list[tuple[int, int, str]]:
        """Runs (first gfn, end gfn, kind) over [0, `HapDoor.end_gfn`)."""
        runs: list[tuple[int, int, str]] = []
        for first, end, kind in _pieces(self):
            if runs and runs[-1][2] == kind:
                first = runs.pop()[0]
            runs.append((first, end, kind))
        return runs

    def dump(self: _Held) -> str:
        """Write the p2m as lines ``[0x00000000->0x00040000] ram_rw``, ends exclusive."""
        return dump(self.kind_runs())


def switches_of(usual: Switches, hap_2mb: bool | None, hap_1gb: bool | None) -> Switches:
    """Take the switches that were asked for, or else a design's own.

    Parameters
    ----------
    usual : Switches
        The design's own.
    hap_2mb, hap_1gb : bool, optional
        What was asked for.
    """
    return Switches.of(
        usual.hap_2mb if hap_2mb is None else hap_2mb, usual.hap_1gb if hap_1gb is None else hap_1gb
    )


def hold_table(
    design: Design,
    usual: Switches,
    *,
    hap_2mb: bool | None = None,
    hap_1gb: bool | None = None,
    pool_pages: int | None = None,
    n_stand_in: int = 0,
) -> HapTable:
    """Make the table that a design will hold, to be closed with it.

    Parameters
    ----------
    design : Design
        Who asks for it.
    usual : Switches
        What is not asked for.
    hap_2mb, hap_1gb : bool, optional
        As `Switches`.
    pool_pages : int, optional
        Pages that the domain may have for tables; default: what the toolstack gives [pages].
    n_stand_in : int
        As `HapTable`.

    Returns
    -------
    HapTable

    Raises
    ------
    BadInputError, DoesNotFitError
        As `HapTable`.
    """
    switches = switches_of(usual, hap_2mb, hap_1gb)
    table = HapTable(
        design.name, design.guest, design.backing, switches, pool_size=pool_pages, n_stand_in=n_stand_in
    )
    design.kept.enter_context(table)
    design.mfn_generation_ns = table.mfn_generation_ns
    return table


def explain(entry: int, shape: Hap) -> Explained:
    """Read an entry of 4 KiB: its ``kind`` and its ``mfn``, None where it has none."""
    if not entry & P2mBit.PRESENT:
        return {"kind": _MISSING, "mfn": None}
    kinds = {int(kind): kind.name.lower() for kind in P2mType}
    kind = kinds.get(entry >> TYPE_SHIFT & 7, "unknown")
    return {"kind": kind, "mfn": (entry & shape.address_mask) >> PAGE_SHIFT}


def _pieces(self: _Held) -> Iterator[tuple[int, int, str]]:
    end, shape = self.table.plan.end_gfn, self.table.plan.shape
    said = np.uint64(7 << TYPE_SHIFT | P2mBit.PRESENT)
    for first in range(0, end, _DUMP_CHUNK):
        n_frames = min(_DUMP_CHUNK, end - first)
        entries = self.lookup(np.arange(first, first + n_frames, dtype=np.uint64)) & said
        cuts = [0, *(np.flatnonzero(np.diff(entries)) + 1).tolist(), n_frames]
        for low, high in pairwise(cuts):
            yield first + low, first + high, str(explain(int(entries[low]), shape)["kind"])
