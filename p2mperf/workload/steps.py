"""What a p2m is asked step by step, and for whose frames: numbers that declarations and loops share."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import cast

import numpy as np


class Role(IntEnum):
    """Whose frame a step asks for."""

    DATA = 0
    OLD = auto()
    PTE = auto()
    PMD = auto()
    PUD = auto()
    PGD = auto()
    USER = auto()
    OTHER_PTE = auto()
    OTHER_PMD = auto()
    OTHER_PUD = auto()
    VSYSCALL = auto()
    SWAPPER = auto()


class Step(IntEnum):
    """One piece of the kernel's work, always asking in the same order; `translations.STEPS` says what."""

    WALK_PUD = 0
    WALK_PMD = auto()
    WALK_TEST = auto()
    WALK_PTE = auto()
    NEW_PUD = auto()
    NEW_PMD = auto()
    NEW_PTE = auto()
    ANONYMOUS = auto()
    PRIVATE_FILE = auto()
    FILE_LOCK = auto()
    FILE_PAGE = auto()
    FILE_MISSED = auto()
    COPY = auto()
    REUSE = auto()
    SPURIOUS = auto()
    NEW_PGD = auto()
    MAKE_PUD = auto()
    MAKE_PMD = auto()
    MAKE_PTE = auto()
    FORK_PUD = auto()
    FORK_PMD = auto()
    FORK_TEST = auto()
    FORK_LOCK = auto()
    FORK_PAGE = auto()
    PIN_PUD = auto()
    PIN_PMD = auto()
    PIN_PTE = auto()
    PIN_PGD = auto()
    EXEC_LOOK = auto()
    EXEC_FOUND = auto()
    EXEC_FROM = auto()
    EXEC_TEST = auto()
    EXEC_LOCK = auto()
    EXEC_PAGE = auto()
    EXEC_FREE = auto()
    LOAD_CR3 = auto()
    EXIT_MM = auto()
    UNPIN_PUD = auto()
    UNPIN_PMD = auto()
    UNPIN_PTE = auto()
    UNPIN_PGD = auto()
    ZAP_AREA = auto()
    ZAP_PMD = auto()
    ZAP_PAGE = auto()
    FREE_PUD = auto()
    FREE_PMD = auto()
    FREE_PTE = auto()
    UNMAP_PTE = auto()
    PROTECT_AREA = auto()
    PROTECT_PMD = auto()
    PROTECT_PAGE = auto()


# A page of a page table has so many entries; the kernel maps so many pages around a read fault (64 KiB).
TABLE_SHIFT, WINDOW_SHIFT = 9, 4
# A program's arguments and environment; on the recording host 2.7 pages of them were allocated for each.
ARGUMENT_PAGES = 3


def plain(value: int) -> int:
    """A number as compiled code takes it.

    Of a Python number numba makes a type of its own, and compiles what is called with it once for each.
    """
    return cast(int, np.int64(value))


def span(first: IntEnum | int, last: IntEnum | int) -> tuple[int, ...]:
    """Numbers, or members of an enumeration, from one to another, as compiled code takes them."""
    return tuple(map(plain, range(first, last + 1)))
