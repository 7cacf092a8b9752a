"""What a p2m is asked in the course of a recording: the stream of translations, entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, shown

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


_COLUMNS = {"items": np.uint32, "starts": np.int64, "entered": np.uint8, "gaps_ns": np.uint32}


def check_stream(stream: TranslationStream, n_frames: int) -> None:
    """Refuse what compiled code could not go through, or what asks for frames that a guest does not have.

    Parameters
    ----------
    stream : TranslationStream
        Whatever it is; one without entries is one.
    n_frames : int
        Frames of the guest.

    Raises
    ------
    BadInputError
        Saying what cannot be.
    """
    if not isinstance(stream, TranslationStream):
        raise BadInputError(f"translations come in a TranslationStream, not in {shown(stream)}")
    for name, dtype in _COLUMNS.items():
        column = getattr(stream, name)
        if not isinstance(column, np.ndarray) or column.dtype != dtype or column.ndim != 1:
            raise BadInputError(f"{name} of a stream must be an array of {np.dtype(dtype).name}, in one row")
    items, starts, entered = stream.items, stream.starts, stream.entered
    if starts.size != entered.size + 1 or stream.gaps_ns.size != entered.size:
        raise BadInputError(
            f"a stream of {entered.size} entries has {starts.size} starts and {stream.gaps_ns.size} gaps"
        )
    if starts[0] != 0 or starts[-1] != items.size or (np.diff(starts) < 0).any():
        raise BadInputError("the entries of the stream do not divide its items in their order")
    if entered.size and entered.max() >= len(Entered):
        raise BadInputError(f"the stream has an entry of class {entered.max()}, and there are {len(Entered)}")
    if not 0 < n_frames <= FRAME_MASK + 1:
        raise BadInputError(f"a guest of a stream has 1 to {FRAME_MASK + 1} frames, not {shown(n_frames)}")
    if items.size and (highest := int((items & np.uint32(FRAME_MASK)).max())) >= n_frames:
        raise BadInputError(
            f"the stream asks for frame {highest:#x}, and the guest has {n_frames:#x}: take a larger guest"
        )
