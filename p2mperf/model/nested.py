"""Two-dimensional walks: what a processor reads to translate a page of a guest that has page tables itself.

Each of the guest's tables lies at a guest frame, and that frame goes through the host's table first, as the
frame of the data does last. Counted are the references of one walk that no cache shortens, without the access
that it is made for: what the architecture asks for at most, and no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.hap.walk import HapWalk, HapWalk2m, HapWalk4k
from p2mperf.errors import BadInputError, known, shown
from p2mperf.guests.frames import frame_numbers, word
from p2mperf.guests.hap import HAP64, HAP_NONPAE, HAP_PAE, P2mBit
from p2mperf.units import PAGE_SHIFT, whole_number

WalkedP2m = HapWalk | HapWalk2m | HapWalk4k
# How a guest may have its own tables: x86's formats, which p2m tables have too. Without paging it has none.
PAGINGS = {
    "4-level": HAP64,
    "pae": HAP_PAE,
    "non-pae": HAP_NONPAE,
    "off": replace(HAP64, name="off", orders=(0,), n_levels=0),
}
_MOST_LEVELS = 16
_LINE_BYTES = 64


def references(n_guest_levels: int, n_host_levels: int) -> int:
    """Compute the references of a walk where the host has one page size under everything.

    Parameters
    ----------
    n_guest_levels : int
        Tables of the guest that are read; 0 where its paging is off.
    n_host_levels : int
        Tables of the host that are read for each frame; 0 where nothing is nested.

    Returns
    -------
    int
        (g + 1)(h + 1) - 1.

    Raises
    ------
    BadInputError
        For what is no number of levels.

    Examples
    --------
    >>> references(4, 4), references(4, 3), references(5, 5), references(4, 0)
    (24, 19, 35, 4)
    """
    n_guest = whole_number(n_guest_levels, "levels of the guest", 0, _MOST_LEVELS)
    return mixed_references([n_host_levels] * n_guest, n_host_levels)


def mixed_references(n_for_tables: Sequence[int], n_for_data: int) -> int:
    """Compute the references of a walk where the host's page sizes differ from frame to frame.

    Parameters
    ----------
    n_for_tables : sequence of int
        For each of the guest's tables, how many tables of the host are read for its frame.
    n_for_data : int
        How many are read for the frame of the data.

    Returns
    -------
    int
        Sum of h + 1 over the guest's tables, and h for the data.

    Raises
    ------
    BadInputError
        For what is no number of levels.

    Examples
    --------
    Tables of the guest in split regions and the data on 2 MiB, and the reverse:

    >>> mixed_references([4, 4, 4, 4], 3), mixed_references([3, 3, 3, 3], 4)
    (23, 20)
    """
    *n_tables, n_data = (
        whole_number(n, "levels of the host", 0, _MOST_LEVELS) for n in (*n_for_tables, n_for_data)
    )
    return sum(n + 1 for n in n_tables) + n_data


class Reference(NamedTuple):
    """One read of a two-dimensional walk.

    Attributes
    ----------
    dimension : str
        Whose table is read: "host" or "guest".
    level : str
        Level of that table: "l1" has the entries of 4 KiB.
    towards : str
        What is being looked for: a table of the guest, "l4" to "l1", or "data".
    address : int
        Machine address [bytes].
    """

    dimension: str
    level: str
    towards: str
    address: int


class NestedWalk(NamedTuple):
    """What one walk has found, and read.

    Attributes
    ----------
    page : int
        Page of the guest's virtual addresses; without paging, its frame.
    mfn : int or None
        Machine frame; None where the guest or the host has nothing, and the walk ends there.
    references : tuple of Reference
        Every read, in order.
    """

    page: int
    mfn: int | None
    references: tuple[Reference, ...]

    @property
    def n_references(self) -> int:
        return len(self.references)

    @property
    def n_lines(self) -> int:
        """Cache lines that are touched, each once."""
        return len({reference.address // _LINE_BYTES for reference in self.references})


class _Entry(NamedTuple):
    """What the guest has written into one of its tables."""

    gfn: int
    is_leaf: bool


class GuestTables:
    """Page tables that a guest has made in frames of its own, and the walk through both dimensions.

    What they hold lies by machine frame, as it does in a machine: where the p2m changes under a table, the
    walk finds what is there then.

    Parameters
    ----------
    p2m : HapWalk, HapWalk2m or HapWalk4k
        The guest's p2m, which the processor walks.
    paging : str
        One of `PAGINGS`.
    frames : array_like of int
        Guest frames that may become tables, in this order; the first is the root.

    Raises
    ------
    BadInputError
        For another p2m or paging, and for frames that are given twice, without memory, or out of reach.

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with HapWalk2m(Guest.plain("4M", geometry="hap64")) as p2m:
    ...     tables = GuestTables(p2m, "4-level", [1, 2, 3, 4])
    ...     tables.map(0x12345, 600)
    ...     walk = tables.walk(0x12345)
    ...     walk.n_references, tables.predict(0x12345), walk.mfn == int(p2m.lookup(600)) >> 12
    (19, 19, True)
    """

    def __init__(self, p2m: WalkedP2m, paging: str = "4-level", frames: Any = ()) -> None:
        if not isinstance(p2m, WalkedP2m):
            raise BadInputError(
                f"a processor walks the tables of hap-walk and its variants, not {shown(p2m)}"
            )
        self.p2m, self.paging = p2m, PAGINGS[known("paging", paging, PAGINGS)]
        free = frame_numbers(frames, "frames for tables").ravel().tolist()
        if len(set(free)) != len(free):
            raise BadInputError("a frame can be one table only: frames for tables are given twice")
        self._free: Iterator[int] = iter(free)
        self._memory: dict[int, NDArray[np.unsignedinteger[Any]]] = {}
        # By level, and by the part of a page's number that leads to the entry.
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._root = self._new_table() if self.paging.n_levels else -1

    def map(self, page: int, gfn: int, order: int = 0) -> None:
        """Let a page, or 2**order of them, be guest frames; tables on the way are made.

        Parameters
        ----------
        page : int
            First page of virtual addresses.
        gfn : int
            First guest frame: what the guest writes is its own business, and need not have memory.
        order : int
            Size, one of the format's [log2 pages].

        Raises
        ------
        BadInputError
            For a size that the format has not, pages out of reach, misaligned or mapped already, and where no
            frame is left for a table.
        """
        page, gfn, shape = self._page(page), word(gfn, "a guest frame"), self.paging
        order = whole_number(order, "an order", 0, 18)
        if not shape.n_levels or order not in shape.orders:
            raise BadInputError(f"a guest whose paging is {shape.name} cannot map pages of order {order}")
        if (page | gfn) & (1 << order) - 1:
            raise BadInputError(f"page {page:#x} and frame {gfn:#x} are not both aligned to order {order}")
        self._require_reach(gfn)
        last, table = order // shape.index_bits + 1, self._root
        for level in range(shape.n_levels, last, -1):
            entry = self._entries.get(self._key(level, page))
            if entry is None:
                entry = _Entry(self._new_table(), False)
                self._write(table, level, page, entry)
            if entry.is_leaf:
                raise BadInputError(f"page {page:#x} is mapped already, in a larger one")
            table = entry.gfn
        if self._key(last, page) in self._entries:
            raise BadInputError(f"page {page:#x}, or one that follows it, is mapped already")
        self._write(table, last, page, _Entry(gfn, True))

    def walk(self, page: int) -> NestedWalk:
        """Translate a page as the processor does, and record every read.

        Raises
        ------
        BadInputError
            For a page out of reach.
        ClosedError
            When the p2m was closed.
        """
        page, shape = self._page(page), self.paging
        reads: list[Reference] = []
        gfn = self._root if shape.n_levels else page
        for level in range(shape.n_levels, 0, -1):
            mfn = self._through_host(gfn, f"l{level}", reads)
            if mfn is None:
                return NestedWalk(page, None, tuple(reads))
            index = self._index(level, page)
            address = (mfn << PAGE_SHIFT) + index * shape.entry_bytes
            reads.append(Reference("guest", f"l{level}", f"l{level}", address))
            entry = int(self._memory[mfn][index]) if mfn in self._memory else 0
            if not entry & P2mBit.PRESENT:
                return NestedWalk(page, None, tuple(reads))
            gfn = (entry & shape.address_mask) >> PAGE_SHIFT
            if entry & P2mBit.SUPERPAGE:
                gfn += self._inside(level, page)
                break
        return NestedWalk(page, self._through_host(gfn, "data", reads), tuple(reads))

    def predict(self, page: int) -> int:
        """Compute what `walk` will count, from the page sizes under the guest's tables and the data.

        Raises
        ------
        BadInputError
            For a page that is not mapped, and where there is no memory under a table or the data.
        """
        page = self._page(page)
        *tables, data = (self._n_host_levels(gfn) for gfn in self._way(page))
        return mixed_references(tables, data)

    def _way(self, page: int) -> Iterator[int]:
        """Guest frames of the tables that lead to a page, and of the page."""
        yield self._root if self.paging.n_levels else page
        for level in range(self.paging.n_levels, 0, -1):
            entry = self._entries.get(self._key(level, page))
            if entry is None:
                raise BadInputError(f"page {page:#x} is not mapped")
            if entry.is_leaf:
                yield entry.gfn + self._inside(level, page)
                return
            yield entry.gfn

    def _n_host_levels(self, gfn: int) -> int:
        host = self.p2m.plan.shape
        order = int(self.p2m.page_orders(gfn)[0])
        if order < 0:
            raise BadInputError(f"guest frame {gfn:#x} has no memory")
        return host.n_levels - order // host.index_bits

    def _through_host(self, gfn: int, towards: str, reads: list[Reference]) -> int | None:
        """Translate a guest frame, and record what that reads."""
        found, host = self.p2m.lookup_path(gfn), self.p2m.guest
        for step in found.steps:
            # The host's own pages lie above the guest's machine memory.
            page = (host.machine.n_frames + step.frame) << PAGE_SHIFT
            address = page + step.index * host.geometry.entry_bytes
            reads.append(Reference("host", step.level, towards, address))
        return self._mfn(found.entry)

    def _mfn(self, entry: int) -> int | None:
        return self.p2m.explain(entry)["mfn"]

    def _new_table(self) -> int:
        gfn = next(self._free, None)
        if gfn is None:
            raise BadInputError("no frame is left for a table: give the guest more frames")
        self._require_reach(gfn)
        mfn = self._mfn(int(self.p2m.lookup(gfn)))
        if mfn is None:
            raise BadInputError(f"guest frame {gfn:#x} has no memory for a table")
        self._memory[mfn] = np.zeros(self.paging.leaf_frames, self.paging.dtype)
        return gfn

    def _require_reach(self, gfn: int) -> None:
        if gfn << PAGE_SHIFT & ~self.paging.address_mask:
            raise BadInputError(f"no entry of {self.paging.name} can hold frame {gfn:#x}")

    def _write(self, table: int, level: int, page: int, entry: _Entry) -> None:
        """Write an entry, into memory and into what is known of it.

        It says that it is present, and no more: the kernel's to read, which all formats allow at all levels.
        """
        mfn = self._mfn(int(self.p2m.lookup(table)))
        if mfn is None or mfn not in self._memory:
            raise BadInputError(f"guest frame {table:#x} is no table any more: the p2m has changed under it")
        flags = P2mBit.PRESENT | (P2mBit.SUPERPAGE if entry.is_leaf and level > 1 else 0)
        self._memory[mfn][self._index(level, page)] = entry.gfn << PAGE_SHIFT | flags
        self._entries[self._key(level, page)] = entry

    def _page(self, page: int) -> int:
        page, shape = word(page, "a page"), self.paging
        if shape.n_levels and page >> shape.index_bits * (shape.n_levels - 1) >= shape.n_top:
            raise BadInputError(f"page {page:#x} is beyond what {shape.name} translates")
        return page

    def _key(self, level: int, page: int) -> tuple[int, int]:
        return level, page >> self.paging.index_bits * (level - 1)

    def _index(self, level: int, page: int) -> int:
        return self._key(level, page)[1] & self.paging.leaf_frames - 1

    def _inside(self, level: int, page: int) -> int:
        """Pages from the first one of an entry of a level to this one."""
        return page & (1 << self.paging.index_bits * (level - 1)) - 1
