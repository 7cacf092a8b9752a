"""What is timed: a pass of lookups, or of what happens to a p2m over its life.

An operation makes a pass ready, untimed; gives what is timed; and afterwards, untimed again, checks it and
puts back what it changed, so that the next pass meets the same p2m. Only breaking leaves cannot be put back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.base import Design, Footprint
from p2mperf.designs.pv.leaf_plan import Leaf
from p2mperf.errors import P2mperfError
from p2mperf.guests.geometry import Words
from p2mperf.kernels import latency, throughput

StreamMaker = Callable[[int], Words]
_ZERO = np.uint64(0)
_NOTHING = Footprint({}, 0, 0, 0)
_CHUNK = 1 << 20


class Operation:
    """One kind of timed pass; made anew for every cell.

    Attributes
    ----------
    n_fixed : int
        Loop count of a pass; 0 where it is to be chosen so that a pass takes long enough.
    settles : bool
        Whether an untimed pass comes before each timed one.
    distinct : bool
        Whether no frame may come twice in a pass.
    repeatable : bool
        Whether a design can be timed against itself: both passes meet the same p2m.
    """

    n_fixed: ClassVar[int] = 0
    settles: ClassVar[bool] = True
    distinct: ClassVar[bool] = False
    repeatable: ClassVar[bool] = True

    def serves(self, design: Design) -> bool:
        """Tell whether a design can do this."""
        return bool(getattr(design, "writable", False))

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

    def prepare(self, design: Design, frames: Words) -> Callable[[], Any]:
        """Make one pass ready and return what is timed."""
        raise NotImplementedError

    def mark(self, designs: Mapping[str, Design]) -> None:
        """Note how large the designs are before the first timed pass."""
        self._footprints = {id(design): design.footprint() for design in designs.values()}

    def growth(self, design: Design, result: Any) -> dict[str, int]:
        """Count the pages and mappings that a pass took; empty for what can take none."""
        before, after = self._footprints[id(design)], design.footprint()
        self._footprints[id(design)] = after
        return _difference(before, after)

    def finish(self, design: Design, frames: Words, result: Any) -> None:
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


class Lookup(Operation):
    """One of the loops of `p2mperf.kernels`.

    Parameters
    ----------
    kernel : dispatcher
        The loop.
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def serves(self, design: Design) -> bool:
        return True

    def prepare(self, design: Design, frames: Words) -> Callable[[], Any]:
        return partial(self.kernel, design.tables, design.state, frames, _ZERO)

    def mark(self, designs: Mapping[str, Design]) -> None:
        """Nothing grows by lookups."""

    def growth(self, design: Design, result: Any) -> dict[str, int]:
        return {}

    def end(self, designs: Mapping[str, Design]) -> bool:
        return False


class SetInPlace(Operation):
    """Write the entry that a frame has: set_phys_to_machine where no leaf is shared."""

    def prepare(self, design: Any, frames: Words) -> Callable[[], Any]:
        # From the map: what was just read would be in the caches when it is written.
        return partial(design.set, frames, design.guest.entries(frames))

    def finish(self, design: Any, frames: Words, result: Any) -> None:
        _require_all(result, f"{design.name} refused to write in place")


class BalloonDown(Operation):
    """Give up the memory of frames; it is put back untimed."""

    distinct = True

    def prepare(self, design: Any, frames: Words) -> Callable[[], Any]:
        return partial(design.balloon_down, frames)

    def finish(self, design: Any, frames: Words, result: Any) -> None:
        _require_all(design.balloon_up(frames, result), f"{design.name} did not take its memory back")


class BalloonUp(Operation):
    """Put memory behind frames that have given it up just before: their entries are in the caches."""

    distinct = True

    def prepare(self, design: Any, frames: Words) -> Callable[[], Any]:
        return partial(design.balloon_up, frames, design.balloon_down(frames))

    def finish(self, design: Any, frames: Words, result: Any) -> None:
        _require_all(result, f"{design.name} did not take its memory back")


class BreakLeaves(Operation):
    """Make shared leaves beyond the map private, by a write of INVALID as hotplug does; tools look on.

    Both designs break the same leaves in the same order: neighbours, or such as stand alone. The pages that
    this takes are there before: what a virtual machine's new memory costs is not the design's.
    """

    n_fixed = 128
    settles = False
    repeatable = False

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        self._left: dict[int, NDArray[np.int64]] = {}
        for name, design in designs.items():
            leaves = _shared_leaves_beyond(design)
            if leaves.size < n_frames:
                raise P2mperfError(
                    f"{name} of {design.guest.name} has {leaves.size} shared leaves beyond its map, and "
                    f"{n_frames} are to be broken: give it room with --limit, as 512G"
                )
            design.tools  # type: ignore[attr-defined]  # noqa: B018  a running guest has its tools' tree
            design.pool.make_ready(4 * n_frames)  # type: ignore[attr-defined]  # a leaf, mids, the tools' mid
            self._left[id(design)] = leaves
        if shuffle is not None:
            order = shuffle.permutation(min(left.size for left in self._left.values()))
            self._left = {key: left[order] for key, left in self._left.items()}

    def prepare(self, design: Any, frames: Words) -> Callable[[], Any]:
        leaves, self._left[id(design)] = np.split(self._left[id(design)], [frames.size])
        shape = design.guest.geometry
        return partial(design.set, leaves.astype(np.uint64) * np.uint64(shape.leaf_frames), shape.invalid)

    def finish(self, design: Any, frames: Words, result: Any) -> None:
        _require_all(result, f"{design.name} could not break a leaf")

    def end(self, designs: Mapping[str, Design]) -> bool:
        for design in designs.values():
            design.audit()
        return True


class RebuildTools(Operation):
    """Build the tools' tree anew, which a resume does first, for all machine frames have changed."""

    n_fixed = 1

    def prepare(self, design: Any, frames: Words) -> Callable[[], Any]:
        return partial(type(design.tools).rebuild, design.tools)


class Build(Operation):
    """Build a p2m from the memory map, beside the one there is.

    The untimed pass before gives back the memory that the timed one takes: in a virtual machine new memory
    comes from the hypervisor, at a cost that is not the design's.
    """

    n_fixed = 1

    def serves(self, design: Design) -> bool:
        return True

    def prepare(self, design: Any, frames: Words) -> Callable[[], Any]:
        return partial(design.again)

    def growth(self, design: Design, result: Any) -> dict[str, int]:
        return _difference(_NOTHING, result.footprint())

    def finish(self, design: Any, frames: Words, result: Any) -> None:
        with result:
            runs = design.guest.runs
            ends = np.concatenate([runs.first_pfn, runs.end_pfn - 1]).astype(np.uint64)
            if not np.array_equal(result.lookup(ends), design.guest.entries(ends)):
                raise P2mperfError(
                    f"{design.name} of {design.guest.name} was built otherwise than its map asks"
                )


class Rebuild(Build):
    """Build a p2m at boot from the flat list that the domain builder left."""

    def serves(self, design: Design) -> bool:
        return bool(getattr(design, "writable", False))

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        design = next(iter(designs.values()))
        guest = design.guest
        self._boot_list = np.empty(guest.n_boot_pages, guest.geometry.dtype)
        for first in range(
            0, guest.n_boot_pages, _CHUNK
        ):  # frames and entries of all would be twice the list
            end = min(first + _CHUNK, guest.n_boot_pages)
            self._boot_list[first:end] = design.lookup(np.arange(first, end, dtype=np.uint64))

    def prepare(self, design: Any, frames: Words) -> Callable[[], Any]:
        return partial(design.again, boot_list=self._boot_list)


OPERATIONS: dict[str, Callable[[], Operation]] = {
    "latency": partial(Lookup, latency),
    "throughput": partial(Lookup, throughput),
    "set": SetInPlace,
    "balloon-down": BalloonDown,
    "balloon-up": BalloonUp,
    "cow": BreakLeaves,
    "tools": RebuildTools,
    "rebuild": Rebuild,
    "build": Build,
}


def _difference(before: Footprint, after: Footprint) -> dict[str, int]:
    return {"n_pages_grown": after.n_pages - before.n_pages, "n_vmas_grown": after.n_vmas - before.n_vmas}


def _require_all(done: Any, otherwise: str) -> None:
    if not np.all(done):
        raise P2mperfError(f"{otherwise}: {np.count_nonzero(~done)} of {done.size}")


def _shared_leaves_beyond(design: Any) -> NDArray[np.int64]:
    leaf_frames = design.guest.geometry.leaf_frames
    first, end = -(-design.guest.covered_pfn // leaf_frames), design.end_pfn // leaf_frames
    shared = np.flatnonzero(design.leaf_state[first:end] != Leaf.PRIVATE)
    return np.asarray(first + shared, np.int64)
