"""What a design can do besides being read: protocols of methods, so that a class can be asked.

A design has a capability by having its methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.guests.geometry import Words

if TYPE_CHECKING:
    from p2mperf.designs.base import Design
    from p2mperf.guests.guest import Guest

Kept = TypeVar("Kept")


@runtime_checkable
class Writable(Protocol):
    """Entries can be written while it is read."""

    def set(self, pfns: ArrayLike, entries: ArrayLike) -> NDArray[np.bool_]:
        """Write entries; whether each was written."""


@runtime_checkable
class Ballooned(Protocol):
    """Frames can give up their memory, and have it again."""

    def balloon_down(self, pfns: ArrayLike) -> Words:
        """Give up the memory of frames; the machine frames that they had."""

    def balloon_up(self, pfns: ArrayLike, mfns: ArrayLike) -> NDArray[np.bool_]:
        """Put memory behind frames; whether each took it."""


@runtime_checkable
class HasTools(Protocol):
    """It keeps a tree for the toolstack beside its own tables."""

    def rebuild_tools(self) -> None:
        """Build the tools' tree anew, as a resume does."""


@runtime_checkable
class Hotplugged(Protocol):
    """Frames above the map can be had later, as memory or as identity."""

    def hotplug(self, first: int, n_frames: int) -> bool:
        """Let frames be balloonable; whether all are."""

    def set_identity(self, first: int, n_frames: int) -> int:
        """Let frames be identity; how many are."""

    def unused_mfns(self, n_frames: int) -> Words:
        """Machine frames that nothing stands on, the lowest first."""

    def has_memory(self, entries: ArrayLike) -> NDArray[np.bool_]:
        """Whether there is memory behind each entry."""


@runtime_checkable
class Savable(Protocol[Kept]):
    """It can be saved, and restored on other machine frames."""

    def save(self) -> Kept:
        """Save it."""

    def restore(self, saved: Kept) -> None:
        """Let it go on, on other machine frames."""


@runtime_checkable
class PassesThrough(Protocol):
    """A range can be given to a device, its memory moved elsewhere."""

    def pass_through(self, first: int, n_frames: int, to: int) -> bool:
        """Make a range identity, and put its memory elsewhere; whether all of it.

        Parameters
        ----------
        first, n_frames : int
            The range.
        to : int
            Where its memory stands from now on.
        """


@runtime_checkable
class Shared(Protocol):
    """Leaves beyond the map are shared until they are written to."""

    def shared_leaves_beyond(self) -> NDArray[np.int64]:
        """Leaves beyond the map that can be made private, ascending."""

    def make_ready(self, n_leaves: int) -> None:
        """Have the pages there that making so many leaves private may take, and all who look on."""


@runtime_checkable
class Dumpable(Protocol):
    """Its entries are of kinds that can be listed."""

    def dump(self) -> str:
        """Write it as runs of one kind."""

    def kind_runs(self) -> list[tuple[int, int, str]]:
        """Runs (first pfn, end pfn, kind)."""


class Translating(Dumpable, Protocol):
    """What doors find in a design whichever its family: it looks frames up, and lists kinds of entries.

    Attributes
    ----------
    guest : Guest
        Whose p2m.
    """

    guest: Guest

    def lookup(self, pfns: ArrayLike) -> Words:
        """Translate frames."""
        ...

    def _frames(self, pfns: ArrayLike, what: str = ...) -> Words: ...


@runtime_checkable
class Traceable(Protocol):
    """The guest's writes can be traced: its entries are protected, and faults find them again."""

    def frames(self, pfns: ArrayLike) -> Words:
        """Frames as the compiled loops take them, all within the tables."""

    def third_tables(self) -> Sequence[Words]:
        """Entries of all last-level pages that map memory."""

    def require_ready(self) -> None:
        """Refuse where a fault would not find its entry."""

    def switch_to(self) -> None:
        """Run this guest, so that what is looked up is its."""


@runtime_checkable
class SharesWindow(Protocol):
    """Several guests can share a view that shows one of them at a time."""

    def neighbour(self) -> Design:
        """Build another one that shares the view, and is now what it shows."""

    def restore(self) -> None:
        """Let the view show this one again, as a switch to its guest does."""


@runtime_checkable
class Superpaged(Protocol):
    """Its leaves are of several sizes: what is set, added or removed is so many frames, a power of two."""

    @classmethod
    def leaf_orders(cls, guest: Guest) -> tuple[int, ...]:
        """Sizes of the leaves that it makes for a guest [log2 frames]."""

    def page_orders(self, gfns: ArrayLike) -> NDArray[np.int8]:
        """Size of the leaf that maps each frame [log2 frames]."""

    def set_entry(
        self, gfns: ArrayLike, mfns: ArrayLike, order: ArrayLike = 0, kind: str = "ram_rw"
    ) -> NDArray[np.bool_]:
        """Set entries alone; whether each range was set.

        Parameters
        ----------
        gfns, mfns : array_like of int
            First frames of guest and machine.
        order : int or array_like of int
            Sizes [log2 frames].
        kind : str
            Type of the entries.
        """

    def add(
        self, gfns: ArrayLike, mfns: ArrayLike, order: ArrayLike = 0, kind: str = "ram_rw"
    ) -> NDArray[np.bool_]:
        """Put memory behind frames; whether it is behind each range.

        Parameters
        ----------
        gfns, mfns, order, kind
            As `set_entry`.
        """

    def remove(self, gfns: ArrayLike, order: ArrayLike = 0) -> NDArray[np.bool_]:
        """Take memory away from frames; whether each range has none."""

    def change_type(self, gfns: ArrayLike, old: str, new: str) -> NDArray[np.bool_]:
        """Give single frames another type; whether each has it.

        Parameters
        ----------
        gfns : array_like of int
            Frames.
        old, new : str
            Types.
        """

    def make_ready(self, n_pages: int) -> None:
        """Have pages there that tables may be made of."""


CAPABILITIES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Writable,
        Ballooned,
        HasTools,
        Hotplugged,
        Savable,
        PassesThrough,
        Shared,
        Dumpable,
        Traceable,
        SharesWindow,
        Superpaged,
    )
}


def missing(kind: type[Design], needs: Iterable[str]) -> list[str]:
    """Name the capabilities that a class of designs has not.

    Parameters
    ----------
    kind : type
        The class.
    needs : iterable of str
        Names in `CAPABILITIES`.

    Returns
    -------
    list of str
        In the order of `needs`.
    """
    return [name for name in needs if not issubclass(kind, CAPABILITIES[name])]
