"""What a translated guest's memory consists of: extents of machine frames, each of a power of two.

A domain builder asks for extents; a HAP p2m keeps a leaf for each, or several where it has none so large.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.errors import BadInputError, in_a_row, shown
from p2mperf.guests.frames import as_array, frame_numbers
from p2mperf.guests.geometry import Words
from p2mperf.guests.machine import MAX_FRAMES
from p2mperf.units import whole_number

Orders = NDArray[np.uint8]
Column = TypeVar("Column", bound=NDArray[Any])

MAX_ORDER = 18  # MAX_ORDER of Xen's allocator on x86 since 4.0: 1 GiB
INVALID_MFN = 2**64 - 1

# A bitmap of up to so many frames is cheap however few extents there are: 32 MiB for 1 TiB of machine.
_SMALL_MACHINE = 1 << 28


@dataclass(frozen=True, eq=False)
class Extents:
    """Extents of a guest, sorted by gfn: 2**order frames each, aligned to that in guest and machine.

    Attributes
    ----------
    gfn, mfn : ndarray of uint64, shape (n_extents,)
        First guest frame and first machine frame of each.
    order : ndarray of uint8, shape (n_extents,)
        Size of each [log2 frames], up to `MAX_ORDER`.

    Raises
    ------
    BadInputError
        When an extent is misaligned, of no order, or out of reach, when they are not in the order of their
        gfns, or when two have a frame in common.

    Notes
    -----
    Arrays that nobody can write to are kept, others copied; none can be written to here.

    Examples
    --------
    >>> extents = Extents([0, 512], [7, 1024], [0, 9])
    >>> extents.n_frames, extents.n_by_order
    (513, {0: 1, 9: 1})
    >>> extents.entries([0, 1, 513]).tolist() == [7, INVALID_MFN, 1025]
    True
    """

    gfn: Words
    mfn: Words
    order: Orders

    def __post_init__(self) -> None:
        """Hold what tables and compiled loops rely on, however it was made."""
        object.__setattr__(self, "gfn", _kept(frame_numbers(self.gfn, "gfns of extents")))
        object.__setattr__(self, "mfn", _kept(frame_numbers(self.mfn, "mfns of extents")))
        object.__setattr__(self, "order", _kept(_orders(self.order)))
        if any(column.ndim != 1 or column.size != self.gfn.size for column in self._columns):
            shapes = ", ".join(str(column.shape) for column in self._columns)
            raise BadInputError(f"gfns, mfns and orders of extents must be three equal columns, not {shapes}")
        if fault := self._fault():
            raise BadInputError(f"extents cannot be: {fault}")

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int]]) -> Extents:
        """Build from rows (gfn, mfn, order).

        Raises
        ------
        BadInputError
            For what are no such rows, and as the class does.
        """
        table = as_array(in_a_row("extents", rows), "extents")
        if not table.size:
            table = np.zeros((0, 3), np.uint64)
        if table.ndim != 2 or table.shape[1] != 3:
            raise BadInputError(f"extents are rows of gfn, mfn and order, not {shown(rows)}")
        return cls(*table.T)

    def _fault(self) -> str:
        from p2mperf.guests.extents_kernels import first_fault

        at = int(first_fault(self.gfn, self.mfn, self.order, np.uint64(MAX_FRAMES)))
        if at < 0:
            at = self._first_shared()
            return f"{self._named(at)} has machine frames of another one" if at >= 0 else ""
        gfn, mfn, order = (int(column[at]) for column in self._columns)
        if (gfn | mfn) % (1 << order):
            return f"{self._named(at)} is not aligned to its order"
        if max(gfn, mfn) >= MAX_FRAMES:
            return f"{self._named(at)} is beyond the {MAX_FRAMES} frames that there can be"
        return f"{self._named(at)} begins before {self._named(at - 1)} ends"

    def _first_shared(self) -> int:
        """Index of an extent with machine frames of another, or -1."""
        from p2mperf.guests.extents_kernels import first_shared

        n_machine_frames = int(self.mfn.max(initial=0)) + (1 << MAX_ORDER)
        if n_machine_frames <= max(_SMALL_MACHINE, 64 * self.gfn.size):
            seen = np.zeros(n_machine_frames // 64, np.uint64)
            return int(first_shared(self.mfn, self.order, seen))
        by_mfn = np.argsort(self.mfn, kind="stable")
        begins, ends = self.mfn[by_mfn], self.mfn[by_mfn] + self.sizes[by_mfn]
        shared = np.flatnonzero(begins[1:] < ends[:-1])
        return int(by_mfn[shared[0] + 1]) if shared.size else -1

    def _named(self, at: int) -> str:
        gfn, mfn, order = (int(column[at]) for column in self._columns)
        return f"the one of order {order} at gfn {gfn:#x}, mfn {mfn:#x}"

    @property
    def _columns(self) -> tuple[NDArray[Any], ...]:
        return self.gfn, self.mfn, self.order

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Extents) and all(
            np.array_equal(ours, its) for ours, its in zip(self._columns, other._columns, strict=True)
        )

    def __hash__(self) -> int:
        return hash(tuple(column.tobytes() for column in self._columns))

    def __len__(self) -> int:
        return self.gfn.size

    @property
    def sizes(self) -> Words:
        """Frames of each extent."""
        return np.left_shift(np.uint64(1), self.order, dtype=np.uint64)

    @cached_property
    def n_by_order(self) -> dict[int, int]:
        """How many extents there are of each order; orders that none has are left out."""
        from p2mperf.guests.extents_kernels import count_orders

        counts = np.zeros(MAX_ORDER + 1, np.int64)
        count_orders(self.order, counts)
        return {int(order): int(counts[order]) for order in np.flatnonzero(counts)}

    @property
    def n_frames(self) -> int:
        """Frames that they cover."""
        return sum(count << order for order, count in self.n_by_order.items())

    @property
    def end_gfn(self) -> int:
        """One above the highest gfn; 0 where there is none."""
        return int(self.gfn[-1]) + (1 << int(self.order[-1])) if len(self) else 0

    def at(self, frames: ArrayLike) -> NDArray[np.intp]:
        """Extent that each guest frame lies in.

        Parameters
        ----------
        frames : array_like of unsigned int
            Guest frame numbers.

        Returns
        -------
        ndarray of intp
            Indices, in the shape of `frames`; -1 for a frame that no extent covers.

        Raises
        ------
        BadInputError
            For what are no frames.
        """
        gfns = frame_numbers(frames)
        if not len(self):
            return np.full(gfns.shape, -1, np.intp)
        at = np.searchsorted(self.gfn, gfns, side="right") - 1
        first = np.maximum(at, 0)
        covered = (at >= 0) & ((gfns - self.gfn[first]) >> self.order[first] == 0)
        return np.where(covered, at, -1)

    def entries(self, frames: ArrayLike) -> Words:
        """Tell what every correct table of them answers.

        Parameters
        ----------
        frames : array_like of unsigned int
            Guest frame numbers.

        Returns
        -------
        ndarray of uint64
            Machine frames, in the shape of `frames`; `INVALID_MFN` for a frame that no extent covers.

        Raises
        ------
        BadInputError
            For what are no frames.
        """
        gfns, at = frame_numbers(frames), self.at(frames)
        if not len(self):
            return np.full(gfns.shape, INVALID_MFN, np.uint64)
        return np.where(at >= 0, self.mfn[at] + (gfns - self.gfn[at]), np.uint64(INVALID_MFN))

    def cut(self, orders: Collection[int]) -> Extents:
        """Cut each extent into pieces of the largest of some orders that is not above its own.

        Parameters
        ----------
        orders : collection of int
            Orders that pieces may have, as a table has leaves for; 0 is always one of them.

        Returns
        -------
        Extents

        Raises
        ------
        BadInputError
            For what is no order.

        Examples
        --------
        >>> Extents.of([(0, 7, 0), (1024, 2048, 10)]).cut([0, 9]).n_by_order
        {0: 1, 9: 2}
        """
        given = in_a_row("orders", orders)
        allowed = [0, *(whole_number(order, "an order of leaves", 0, MAX_ORDER) for order in given)]
        largest = [max(each for each in allowed if each <= order) for order in range(MAX_ORDER + 1)]
        return pieces(self.gfn, self.mfn, self.order, np.array(largest, np.uint8)[self.order])


def pieces(gfn: Words, mfn: Words, order: Orders, piece: Orders) -> Extents:
    """Cut extents that need not be aligned into pieces that are.

    Parameters
    ----------
    gfn, mfn : ndarray of uint64, shape (n_extents,)
        First frames, sorted by gfn.
    order, piece : ndarray of uint8, shape (n_extents,)
        Their sizes, and those of the pieces of each, which are not larger [log2 frames].

    Returns
    -------
    Extents
        Where nothing has to be cut, of the same arrays, if nobody can write to them.

    Raises
    ------
    BadInputError
        When the pieces are no `Extents`.
    """
    from p2mperf.guests.extents_kernels import cut_into

    if np.array_equal(piece, order):
        return Extents(gfn, mfn, order)
    n_pieces = np.left_shift(1, order - piece, dtype=np.int64)
    cut_gfn, cut_mfn = (np.empty(int(n_pieces.sum()), np.uint64) for _ in range(2))
    cut_into(gfn, mfn, order, piece, cut_gfn, cut_mfn)
    return Extents(sealed(cut_gfn), sealed(cut_mfn), sealed(np.repeat(piece, n_pieces)))


def sealed(array: Column) -> Column:
    """Let nobody write to an array that nobody else has: `Extents` then keeps it as it is."""
    array.flags.writeable = False
    return array


def _kept(array: Column) -> Column:
    """The array itself when nobody can write to it, or else a copy."""
    owner: object = array
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    return array if owner is None else sealed(array.copy())


def _orders(orders: ArrayLike) -> Orders:
    array = as_array(orders, "orders of extents")
    if array.size == 0:
        return np.zeros(array.shape, np.uint8)
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > MAX_ORDER:
        raise BadInputError(f"orders of extents must be whole, from 0 to {MAX_ORDER}, not {shown(orders)}")
    return array.astype(np.uint8, copy=False)
