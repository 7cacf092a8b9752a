"""Which leaves a guest's p2m needs of its own, which it can share, and what stands in them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError
from p2mperf.guests.frames import as_array
from p2mperf.guests.geometry import Entries, Geometry, Kind
from p2mperf.guests.guest import Guest
from p2mperf.guests.runs import Runs
from p2mperf.tables.fill_kernels import fill_runs, mark_kinds

Flags = NDArray[np.bool_]


class Leaf(IntEnum):
    """How a leaf-sized stretch of pfns is stored."""

    PRIVATE = 0
    MISSING = 1  # the shared p2m_missing page
    IDENTITY = 2  # the shared p2m_identity page


@dataclass(frozen=True)
class LeafPlan:
    """The state of every leaf of a p2m, before any memory is taken.

    Attributes
    ----------
    geometry : Geometry
        Entry width and leaf size.
    runs : Runs
        What the leaves contain, without gaps from pfn 0.
    state : ndarray of int8, shape (n_leaves,)
        `Leaf` of each.
    """

    geometry: Geometry
    runs: Runs
    state: NDArray[np.int8]

    @property
    def n_private(self) -> int:
        return int(np.count_nonzero(self.state == Leaf.PRIVATE))

    @property
    def rank(self) -> NDArray[np.int64]:
        """Position of each private leaf among the private ones, in pfn order; meaningless for others."""
        return np.cumsum(self.state == Leaf.PRIVATE) - 1

    def fill(self, out: Entries) -> None:
        """Write the entries of all private leaves, packed one after the other.

        Parameters
        ----------
        out : ndarray of uint64 or uint32, shape (n_private * leaf_frames,)
            Where to; its type is the geometry's.
        """
        segments, first = self._segments()
        invalid = self.geometry.invalid
        ram, identity = segments.kind == Kind.RAM, segments.kind == Kind.IDENTITY
        value = np.where(ram, segments.first_mfn, segments.first_pfn).astype(np.uint64)
        value[identity] |= np.uint64(self.geometry.identity_bit)
        value[~(ram | identity)] = invalid
        step = (ram | identity).astype(out.dtype)
        fill_runs(out, first, segments.n_frames, value.astype(out.dtype), step)

    def _segments(self) -> tuple[Runs, NDArray[np.int64]]:
        """Runs cut to the private leaves, and the packed index where each begins."""
        leaf = self.geometry.leaf_frames
        changes = np.flatnonzero(np.diff((self.state == Leaf.PRIVATE).view(np.int8))) + 1
        ends = np.array([0, self.state.size], np.int64)
        cut = self.runs.cut(np.union1d(changes, ends).astype(np.int64) * leaf)
        inside = cut.first_pfn < self.state.size * leaf
        inside[inside] = self.state[cut.first_pfn[inside] // leaf] == Leaf.PRIVATE
        segments = cut.take(inside)
        packed = self.rank[segments.first_pfn // leaf] * leaf + segments.first_pfn % leaf
        return segments, packed


@dataclass(frozen=True)
class ListedLeaves(LeafPlan):
    """A plan whose leaves are copied from a flat list.

    Attributes
    ----------
    boot_list : ndarray of uint64 or uint32, shape (n_boot,)
        Entries of all memory there is, from pfn 0.
    """

    boot_list: Entries

    def fill(self, out: Entries) -> None:
        out[: self.boot_list.size] = self.boot_list
        out[self.boot_list.size :] = self.geometry.invalid


def copied(plan: LeafPlan, guest: Guest, boot_list: Entries) -> ListedLeaves:
    """Plan the same leaves, copied from a flat list.

    Parameters
    ----------
    plan : LeafPlan
        What the guest's map asks for.
    guest : Guest
        Whose.
    boot_list : ndarray of uint64 or uint32, shape (n_boot_pages,)
        The flat list of the domain builder.

    Returns
    -------
    ListedLeaves
        The plan.

    Raises
    ------
    BadInputError
        When the list does not hold the memory of the guest, in a row.
    """
    array = as_array(boot_list, "entries of a boot list")
    if array.dtype != guest.geometry.dtype or array.shape != (guest.n_boot_pages,) or not guest.is_flat:
        raise BadInputError(
            f"a flat list of {array.size} entries ({array.dtype}) does not hold the memory of "
            f"{guest.name}: it takes {guest.n_boot_pages} of {guest.geometry.entry_bits} bits in a row, "
            "of a guest without holes"
        )
    return ListedLeaves(plan.geometry, plan.runs, plan.state, array)


def kinds_by_leaf(runs: Runs, n_leaves: int, leaf_frames: int) -> NDArray[np.uint8]:
    """Tell which kinds of frames each leaf holds.

    Parameters
    ----------
    runs : Runs
        Without gaps from pfn 0; leaves beyond their end hold nothing.
    n_leaves : int
        How many leaves.
    leaf_frames : int
        Frames a leaf covers.

    Returns
    -------
    ndarray of uint8, shape (n_leaves,)
        Bit ``1 << kind`` set for every `Kind` present.
    """
    found = np.zeros(n_leaves, np.uint8)
    first = np.minimum(runs.first_pfn // leaf_frames, n_leaves)
    end = np.minimum((runs.end_pfn - 1) // leaf_frames + 1, n_leaves)
    mark_kinds(found, first, end, runs.kind)
    return found


def extend_above(runs: Runs, end_pfn: int, above: str) -> Runs:
    """Continue a guest's runs to `end_pfn` with what the policy above the end says.

    Parameters
    ----------
    runs : Runs
        A guest's runs.
    end_pfn : int
        Where the table ends; no-op when the runs already reach it.
    above : str
        "identity" or "invalid".

    Returns
    -------
    Runs
        Runs over [0, max(end_pfn, end of runs)).
    """
    start = int(runs.end_pfn[-1])
    if start >= end_pfn:
        return runs
    kind = Kind.IDENTITY if above == "identity" else Kind.MISSING
    return Runs(
        np.append(runs.first_pfn, start),
        np.append(runs.n_frames, end_pfn - start),
        np.append(runs.kind, np.int8(kind)),
        np.append(runs.first_mfn, 0),
    )
