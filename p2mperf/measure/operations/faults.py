"""Dirty-page tracing: write faults, write protection, and the switch between guests that share a window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from p2mperf.designs.base import Design
from p2mperf.designs.capabilities import SharesWindow, Traceable
from p2mperf.errors import P2mperfError
from p2mperf.guests.geometry import Words
from p2mperf.kernels import translate_into
from p2mperf.measure.operations.base import Operation, R
from p2mperf.migration.tracing import (
    empty_bitmap,
    frames_of,
    handle_faults,
    n_protected,
    protect_all,
    restore_all,
)
from p2mperf.migration.writers import frames_at


class _Tracing(Operation[R]):
    """What changes entries for a while: afterwards they are, by their sum, what they were."""

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        self._shuffle = shuffle
        self._n_entries = next(iter(designs.values())).guest.n_boot_pages
        self._sums = {id(design): _sum(design) for design in designs.values()}

    def growth(self, design: Design, result: R) -> dict[str, int]:
        return {}

    def _put_back(self, design: Design) -> None:
        restore_all(_tables(design))
        if _sum(design) != self._sums[id(design)]:
            raise P2mperfError(f"{design.name} of {design.guest.name} was not put back as it was")


class HandleFaults(_Tracing[int]):
    """Handle the write faults of frames that are protected, each of them once.

    Protecting all memory before a pass, and giving it back its write bit after, is not timed.
    """

    distinct = True

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        super().begin(designs, n_frames, shuffle)
        self._writes: dict[int, tuple[Words, int, Words]] = {}

    def prepare(self, design: Design, frames: Words) -> Callable[[], int]:
        assert isinstance(design, Traceable)
        first, dirty = empty_bitmap(design.guest)
        if self._shuffle is not None:
            # A frame that comes twice does not fault twice: as many others, drawn without any again.
            ranks = self._shuffle.choice(self._n_entries, frames.size, replace=False)
            frames = frames_at(design.guest, ranks)
        design.require_ready()
        design.switch_to()
        protect_all(design.third_tables())
        self._writes[id(design)] = frames, first, dirty
        return partial(handle_faults, design, frames, first, dirty)

    def finish(self, design: Design, frames: Words, result: int) -> None:
        written, first, dirty = self._writes.pop(id(design))
        if result != written.size:
            raise P2mperfError(f"{design.name} handled {result} faults of {written.size}")
        if not np.array_equal(frames_of(dirty, first), np.sort(written)):
            raise P2mperfError(f"{design.name} marked other frames than were written to")
        if (n_left := n_protected(_tables(design))) != self._n_entries - written.size:
            raise P2mperfError(f"{design.name} left {n_left} frames protected of {self._n_entries}")
        self._put_back(design)


class ProtectTables(_Tracing[None]):
    """Take the write bit from all entries of a guest, as tracing does when it begins and in every round."""

    n_fixed = 1

    def prepare(self, design: Design, frames: Words) -> Callable[[], None]:
        return partial(protect_all, _tables(design))

    def n_done(self, n_frames: int) -> int:
        return self._n_entries * n_frames

    def finish(self, design: Design, frames: Words, result: None) -> None:
        if (found := n_protected(_tables(design))) != self._n_entries:
            raise P2mperfError(f"{design.name} protected {found} entries of {self._n_entries}")
        self._put_back(design)


class RestoreWindow(Operation[None]):
    """Switch to a guest whose window shows another one.

    The other one has the same memory map, and its entries are protected, so that they can be told apart.
    """

    n_fixed = 1

    def begin(
        self, designs: Mapping[str, Design], n_frames: int, shuffle: np.random.Generator | None
    ) -> None:
        self._neighbours: dict[int, Design] = {}
        for design in {id(design): design for design in designs.values()}.values():
            assert isinstance(design, SharesWindow)
            neighbour = self._neighbours[id(design)] = design.neighbour()
            design.kept.callback(neighbour.close)  # even if the cell fails
            protect_all(_tables(neighbour))

    def prepare(self, design: Design, frames: Words) -> Callable[[], None]:
        neighbour = self._neighbours[id(design)]
        assert isinstance(design, SharesWindow)
        assert isinstance(neighbour, SharesWindow)
        neighbour.restore()
        return design.restore

    def finish(self, design: Design, frames: Words, result: None) -> None:
        ram = design.guest.ram
        ends = np.concatenate([ram.first_pfn, ram.end_pfn - 1]).astype(np.uint64)
        found = np.empty_like(ends)
        translate_into(design.tables, design.state, ends, found)
        if not np.array_equal(found, design.guest.entries(ends)):
            raise P2mperfError(f"{design.name} of {design.guest.name} does not show its own entries again")

    def end(self, designs: Mapping[str, Design]) -> bool:
        for neighbour in self._neighbours.values():
            neighbour.close()
        for design in designs.values():
            design.audit()
        return True


def _tables(design: Design) -> list[Words]:
    assert isinstance(design, Traceable)
    return list(design.third_tables())


def _sum(design: Design) -> int:
    """All entries of a design added up, modulo 2**64."""
    return sum(int(entries.sum()) for entries in _tables(design)) % 2**64
