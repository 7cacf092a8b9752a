"""Where the frames of a recording stand in a guest: block by block of 2 MiB, whose pages stay neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, known
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.guests.machine import checked_seed
from p2mperf.streams import seeded_draws
from p2mperf.units import HUGE_SHIFT, PAGE_SHIFT
from p2mperf.workload.events import Event
from p2mperf.workload.faults import Faults
from p2mperf.workload.recording import Recording
from p2mperf.workload.steps import WINDOW_SHIFT
from p2mperf.workload.translation_stream import FRAME_MASK

PLACEMENTS = ("spread", "recorded")
_BLOCK_SHIFT = HUGE_SHIFT - PAGE_SHIFT
_BLOCK_FRAMES = 1 << _BLOCK_SHIFT
_RUN_FRAMES = 1 << WINDOW_SHIFT
_RUNS_PER_BLOCK = _BLOCK_FRAMES // _RUN_FRAMES
# x86 has 52 bits of physical address.
_MOST_FRAMES = 1 << 40
# What the recording does not tell stands in these: pages and tables from before it began.
_UNKNOWN_BLOCKS = 16
_PIECE = 1 << 18
# The kernel's own pages, wherever in its image they are: the page of zeroes, the table behind the vsyscall
# page, and the root that has no user's half.
_ZERO_PLACE, _VSYSCALL_PLACE, _SWAPPER_PLACE = 0x100, 0x123, 0x145

Frames = NDArray[np.uint32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Placed:
    """Frames of the guest that stand for those of a recording.

    Attributes
    ----------
    data : ndarray of uint32, shape (n_faults,)
        Of the page that each fault brought.
    tables : ndarray of uint32, shape (n_tables,)
        Of each page of a page table.
    cached : ndarray of uint32, shape (n_cached,)
        Of each page that entered the page cache.
    runs : ndarray of uint32, shape (n_runs, 16)
        Of pages of files, before any of them enters the page cache.
    unknown : ndarray of uint32
        For what the recording does not tell: a power of two.
    zero, vsyscall, swapper : int
        The kernel's own.
    """

    data: Frames
    tables: Frames
    cached: Frames
    runs: Frames
    unknown: Frames
    zero: int
    vsyscall: int
    swapper: int


def nowhere(recording: Recording, faults: Faults, n_runs: int) -> Placed:
    """Frames for those who only count: all are 0.

    Parameters
    ----------
    recording : Recording
        What was recorded.
    faults : Faults
        Its faults.
    n_runs : int
        Runs of pages of files in it.
    """
    n_cached = int(np.count_nonzero(recording.event == Event.CACHE_ADD))
    return Placed(
        data=np.zeros(faults.n_faults, np.uint32),
        tables=np.zeros(faults.table_at.size, np.uint32),
        cached=np.zeros(n_cached, np.uint32),
        runs=np.zeros((n_runs, _RUN_FRAMES), np.uint32),
        unknown=np.zeros(1, np.uint32),
        zero=0,
        vsyscall=0,
        swapper=0,
    )


def place(
    recording: Recording, faults: Faults, n_runs: int, guest: Guest, seed: int, placement: str
) -> Placed:
    """Give each frame of a recording a frame of the guest.

    Parameters
    ----------
    recording : Recording
        What was recorded.
    faults : Faults
        Its faults.
    n_runs : int
        Runs of 16 pages of files in it.
    guest : Guest
        Whose RAM.
    seed : int
        Of what is drawn.
    placement : str
        One of `PLACEMENTS`: blocks of 2 MiB anywhere in the guest, drawn, or each recorded frame less the
        lowest one's block.

    Returns
    -------
    Placed

    Raises
    ------
    BadInputError
        When there is no such placement, frames cannot be, or the guest has too few blocks of RAM.

    Notes
    -----
    A page of a file that enters the page cache while recording stands where it was put then. Others are taken
    for read once, in windows of read-ahead: runs of 16 frames, packed in blocks of their own, in drawn order.
    """
    require_guest(guest)
    seed, placement = checked_seed(seed), known("placement", placement, PLACEMENTS)
    if guest.covered_pfn > FRAME_MASK:
        raise BadInputError(f"{guest.name} has more frames than an item of a stream can name: {FRAME_MASK}")
    cached = recording.value[recording.event == Event.CACHE_ADD]
    columns = [faults.frame, recording.value[faults.table_at], cached]
    for column in columns:
        if column.size and not -1 <= int(column.min()) <= int(column.max()) < _MOST_FRAMES:
            wrong = int(column.min()) if int(column.min()) < -1 else int(column.max())
            raise BadInputError(f"the recording names frame {wrong:#x}, which no machine has")
    blocks = _blocks(columns)
    n_files = -(-n_runs // _RUNS_PER_BLOCK)
    chosen = _chosen(blocks, 1 + _UNKNOWN_BLOCKS + n_files, guest, seed, placement)
    kernel, unknown, files = np.split(chosen[blocks.size :], [1, 1 + _UNKNOWN_BLOCKS])
    strangers = (unknown[:, None] << _BLOCK_SHIFT | np.arange(_BLOCK_FRAMES)).ravel().astype(np.uint32)
    data, tables, cached_frames = (
        _mapped(column, blocks, chosen[: blocks.size], int(strangers[0])) for column in columns
    )
    base = int(kernel[0]) << _BLOCK_SHIFT
    return Placed(
        data=data,
        tables=tables,
        cached=cached_frames,
        runs=_runs(files, n_runs, seed),
        unknown=strangers,
        zero=base + _ZERO_PLACE,
        vsyscall=base + _VSYSCALL_PLACE,
        swapper=base + _SWAPPER_PLACE,
    )


def _pieces(column: Numbers) -> Iterator[tuple[int, Numbers]]:
    """A column piece by piece, so that what is made of one is small."""
    for start in range(0, column.size, _PIECE):
        yield start, column[start : start + _PIECE]


def _blocks(columns: list[Numbers]) -> Numbers:
    """Distinct blocks of frames, in order; a frame of -1 is none."""
    distinct = [np.unique(piece >> _BLOCK_SHIFT) for column in columns for _, piece in _pieces(column)]
    blocks = np.unique(np.concatenate([np.empty(0, np.int64), *distinct]))
    return blocks[blocks >= 0]


def _mapped(column: Numbers, blocks: Numbers, chosen: Numbers, none: int) -> Frames:
    mapped = np.full(column.size, none, np.uint32)
    for start, piece in _pieces(column):
        known = np.flatnonzero(piece >= 0)
        rank = np.searchsorted(blocks, piece[known] >> _BLOCK_SHIFT)
        mapped[start + known] = chosen[rank] << _BLOCK_SHIFT | piece[known] & (_BLOCK_FRAMES - 1)
    return mapped


def _chosen(blocks: Numbers, n_more: int, guest: Guest, seed: int, placement: str) -> Numbers:
    """Blocks of the guest for those of the recording, in their order, and for others behind them."""
    from p2mperf.populating.heap_kernels import choose

    ram, n_needed = guest.ram, blocks.size + n_more
    first, end = -(-ram.first_pfn >> _BLOCK_SHIFT), ram.end_pfn >> _BLOCK_SHIFT
    there = np.concatenate([np.arange(*each) for each in zip(first.tolist(), end.tolist(), strict=True)])
    if there.size < n_needed:
        raise BadInputError(
            f"the recording's pages lie in {n_needed} blocks of 2 MiB, and {guest.name} has {there.size} of"
            " RAM: take a larger guest, or a sample"
        )
    if placement == "spread":
        numbers = np.arange(there.size, dtype=np.uint64)
        choose(numbers, np.uint64(n_needed), seeded_draws("blocks of a recording", (seed,)))
        return there[numbers[:n_needed].astype(np.int64)].astype(np.int64)
    moved = blocks - blocks[:1].sum()
    if not np.isin(moved, there).all():
        raise BadInputError(
            f"the recording's frames reach over {int(moved[-1] + 1) << _BLOCK_SHIFT} pages, and not all of"
            f" them are RAM of {guest.name}: spread them, or take a larger guest"
        )
    return np.concatenate([moved, np.setdiff1d(there, moved)[:n_more]]).astype(np.int64)


def _runs(files: Numbers, n_runs: int, seed: int) -> Frames:
    from p2mperf.populating.heap_kernels import choose

    places = np.arange(files.size * _RUNS_PER_BLOCK, dtype=np.uint64)
    choose(places, np.uint64(n_runs), seeded_draws("files of a recording", (seed,)))
    place = places[:n_runs].astype(np.int64)
    first = files[place // _RUNS_PER_BLOCK] << _BLOCK_SHIFT | place % _RUNS_PER_BLOCK << WINDOW_SHIFT
    return (first[:, None] + np.arange(_RUN_FRAMES)).astype(np.uint32)
