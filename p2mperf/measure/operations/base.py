"""What is timed: a pass of lookups, or of what happens to a p2m over its life.

An operation makes a pass ready, untimed; gives what is timed; and afterwards, untimed again, checks it and
puts back what it changed, so that the next pass meets the same p2m. Only breaking leaves cannot be put back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import Design, Footprint
from p2mperf.errors import P2mperfError
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.kernels import throughput

StreamMaker = Callable[[int], Words]
R = TypeVar("R")  # what a timed call returns


class Operation(Generic[R]):
    """One kind of timed pass; made anew for every cell.

    Attributes
    ----------
    n_fixed : int
        Loop count of a pass; 0 where it is to be chosen so that a pass takes long enough.
    n_rehearsed : int
        The same of a rehearsal, whose guest is small; 0 where it is not less.
    repeats : bool
        Whether a visit has as many passes of a fixed amount as it has slices; else one, and one untimed.
    settles : bool
        Whether untimed passes come before timed ones.
    distinct : bool
        Whether no frame may come twice in a pass.
    has_empty_pass : bool
        Whether a pass over no frames is the bare call, whose time is taken off.
    kernel : dispatcher
        The loop by which designs are found to agree before anything is timed.
    """

    n_fixed: int = 0
    n_rehearsed: ClassVar[int] = 0
    repeats: ClassVar[bool] = False
    settles: ClassVar[bool] = True
    distinct: ClassVar[bool] = False
    has_empty_pass: ClassVar[bool] = False
    kernel: ClassVar[Any] = staticmethod(throughput)

    @classmethod
    def why_not(cls, kind: type[Design], guest: Guest) -> str:
        """Say why this cannot be done to a guest by a design that has what it needs; "" where it can."""
        return ""

    @classmethod
    def check_room(cls, guest: Guest, limit_bytes: int) -> None:
        """Refuse a guest whose tables are too small for all passes of a sweep.

        Parameters
        ----------
        guest : Guest
            Whose tables.
        limit_bytes : int
            Memory that may be hot-plugged later, which they have room for [bytes].

        Raises
        ------
        BadInputError
            Naming the room that is needed.
        """

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        """Get ready for a cell.

        Parameters
        ----------
        designs : mapping of str to Design
            All that will be timed.
        n_frames : int
            The most that one design can be asked for in this cell [frames].
        shuffle : numpy.random.Generator, optional
            Draws the order of what is not given by the stream's frames; None leaves neighbours together.

        Raises
        ------
        P2mperfError
            When a design cannot do that often what is to be timed.
        """

    def prepare(self, design: Design, frames: Words) -> Callable[[], R]:
        """Make one pass ready and return what is timed."""
        raise NotImplementedError

    def timed_ns(self, result: R, elapsed_ns: int) -> int:
        """Time of a pass, for those that time parts of it themselves; else all that went by.

        Parameters
        ----------
        result : object
            What the timed call returned.
        elapsed_ns : int
            Time that went by meanwhile [ns].

        Returns
        -------
        int
            What is recorded [ns].
        """
        return elapsed_ns

    def mark(self, designs: Mapping[str, Design]) -> None:
        """Note how large the designs are before the first timed pass."""
        self._footprints = {id(design): design.footprint() for design in designs.values()}

    def growth(self, design: Design, result: R) -> dict[str, int]:
        """Count the pages and mappings that a pass took; empty for what can take none."""
        before, after = self._footprints[id(design)], design.footprint()
        self._footprints[id(design)] = after
        return difference(before, after)

    def n_done(self, n_frames: int) -> int:
        """How much a pass over so many frames does, of what its cost is told of."""
        return n_frames

    def finish(self, design: Design, frames: Words, result: R) -> None:
        """Check what a pass did, and put back what it changed.

        Parameters
        ----------
        design : Design
            What was timed.
        frames : ndarray of uint64
            What `prepare` was given.
        result : object
            What the timed call returned.

        Raises
        ------
        P2mperfError
            When it did not do all it was asked for.
        """

    def end(self, designs: Mapping[str, Design]) -> bool:
        """Check the designs after a cell; whether they have been written to, and should still agree."""
        return True


def difference(before: Footprint, after: Footprint) -> dict[str, int]:
    """Pages and mappings that came between two footprints."""
    return {"n_pages_grown": after.n_pages - before.n_pages, "n_vmas_grown": after.n_vmas - before.n_vmas}


def require_all(done: NDArray[np.bool_], otherwise: str) -> None:
    """Refuse a pass that did not do all it was asked for.

    Raises
    ------
    P2mperfError
        Beginning with `otherwise`, and how many were not done.
    """
    if not np.all(done):
        raise P2mperfError(f"{otherwise}: {np.count_nonzero(~done)} of {done.size}")
