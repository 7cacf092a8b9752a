"""Windows with holes, hidden pages and frames of several pools, by what the kernel says of them."""

from __future__ import annotations

import ctypes
import os

import numpy as np
import own_process
import pytest

from p2mperf.errors import BadInputError
from p2mperf.memory.pool import PagePool
from p2mperf.memory.window import Window, n_runs
from p2mperf.units import PAGE_SIZE


def is_readable(address: int) -> bool:
    """Whether the kernel can read 8 bytes there for us; a page that traps is refused, not a signal."""
    reader, writer = os.pipe()
    try:
        os.write(writer, (ctypes.c_char * 8).from_address(address))
    except OSError:
        return False
    finally:
        os.close(reader)
        os.close(writer)
    return True


@pytest.mark.parametrize("zero_holes", [True, False])
def test_a_hole_reads_zeros_or_traps(zero_holes: bool) -> None:
    with PagePool(4) as pool, Window(pool, 6, zero_holes=zero_holes) as window:
        frames = pool.allocate(3, "leaf")
        pool.words(int(frames[0]), np.uint64, 3)[:] = 7
        # 0 | hole hole | 1 2 | never mapped. Neighbouring holes are one mapping.
        shown = np.array([frames[0], -1, -1, frames[1], frames[2]])
        window.map(0, shown, np.ones(5, np.bool_))
        assert window.n_vmas == 4
        found, writable = window.shown()
        assert found.tolist() == [*shown.tolist(), -1]
        # A hole is not writable, whatever was asked for.
        assert writable.tolist() == [True, False, False, True, True, False]
        assert [is_readable(window.address(page)) for page in range(6)] == [
            True,
            zero_holes,
            zero_holes,
            True,
            True,
            False,
        ]
        if zero_holes:
            assert window.words(np.uint64)[512 : 3 * 512].tolist() == [0] * 1024
        areas = own_process.areas(window.address(1), 2 * PAGE_SIZE)
        assert {area.rights for area in areas} == {"r--p" if zero_holes else "---p"}


def test_holes_are_one_mapping_and_frames_to_be_shared_are_not() -> None:
    # 4 5 | hole hole | 0 | 7: frame 0 does not continue a hole.
    frames = np.array([4, 5, -1, -1, 0, 7])
    assert n_runs(frames, frames >= 0, holes=True) == 4
    # As stand-ins for one shared frame each is a mapping: 4 5 | -1 | -1 | 0 | 7.
    assert n_runs(frames, frames >= 0) == 5


def test_pages_are_hidden_and_shown_again() -> None:
    with PagePool(4) as pool, Window(pool, 4, zero_holes=True) as window:
        frames = pool.allocate(4, "leaf")
        window.map(0, frames, np.ones(4, np.bool_))
        window.hide(1, 2)
        # Hidden is not a hole that reads zeros: nothing is there.
        assert [is_readable(window.address(page)) for page in range(4)] == [True, False, False, True]
        assert window.frames.tolist() == window.shown()[0].tolist() == [0, -1, -1, 3]
        window.map(1, frames[2:3], np.zeros(1, np.bool_))
        window.populate(0, 2)
        assert window.shown(0, 2)[0].tolist() == [0, 2]
        assert window.shown(0, 2)[1].tolist() == [True, False]


def test_a_window_without_a_pool_shows_those_it_is_given() -> None:
    with PagePool(2) as first, PagePool(2) as second, Window(None, 2) as window:
        for number, pool in enumerate((first, second)):
            frames = pool.allocate(1, "leaf")
            pool.words(int(frames[0]), np.uint64)[:] = 100 + number
            window.map(number, frames, np.ones(1, np.bool_), pool=pool)
        assert window.words(np.uint64)[[0, 512]].tolist() == [100, 101]
        with pytest.raises(BadInputError, match="no pool of its own"):
            window.remap(np.array([0]), np.array([0]))
