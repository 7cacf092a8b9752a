"""What a p2m is asked in the course of a recording: the stream of translations, entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

# Set in an item that asks the m2p: for the frame whose machine frame is looked up there, and then, as Linux
# verifies it, in the p2m. Its p2m lookup is part of the item and no item of its own.
M2P_ITEM = 1 << 31
FRAME_MASK = M2P_ITEM - 1


class Entered(IntEnum):
    """Why the kernel was entered."""

    ANONYMOUS_WRITE = 0
    ZERO_READ = 1
    PRIVATE_FILE_WRITE = 2
    FILE_READ = 3
    ZERO_PAGE_WRITE = 4
    COPY_ON_WRITE = 5
    REUSE = 6
    UNCLASSIFIED = 7
    FORK = 8
    EXEC = 9
    EXIT = 10
    MUNMAP = 11
    MPROTECT = 12
    SWITCH = 13


@dataclass(frozen=True)
class TranslationStream:
    """Translations of one CPU's entries into the kernel, in their order.

    Attributes
    ----------
    items : ndarray of uint32, shape (n_items,)
        Frame of the guest, with `M2P_ITEM` for a lookup of the m2p (and its verification in the p2m).
    starts : ndarray of int64, shape (n_entries + 1,)
        Where the items of each entry begin; the last is n_items.
    entered : ndarray of uint8, shape (n_entries,)
        An `Entered`.
    gaps_ns : ndarray of uint32, shape (n_entries,)
        Time since the entry before on the same CPU began, at most 2**32 - 1 [ns].
    n_guest_frames : int
        Frames of the guest that it is for.
    thp : bool
        Whether the kernel is one with CONFIG_TRANSPARENT_HUGEPAGE.
    """

    items: NDArray[np.uint32]
    starts: NDArray[np.int64]
    entered: NDArray[np.uint8]
    gaps_ns: NDArray[np.uint32]
    n_guest_frames: int
    thp: bool

    @property
    def n_entries(self) -> int:
        """Entries into the kernel."""
        return int(self.entered.size)

    @property
    def n_m2p(self) -> int:
        """Lookups of the m2p."""
        return int(np.count_nonzero(self.items & np.uint32(M2P_ITEM)))

    @property
    def n_p2m(self) -> int:
        """Lookups of the p2m, those that verify what the m2p says included."""
        return int(self.items.size)
