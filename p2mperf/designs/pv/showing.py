"""How readers find the leaves beside the table: through nothing else, or in a window that must follow."""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

import numpy as np

from p2mperf.memory.pool import Frames
from p2mperf.memory.window import Window


class Showing(Protocol):
    """Where readers look for a leaf, if not in the table; it is changed before the table is."""

    def count_room(self, leaves: Frames) -> int:
        """How many of these leaves, in this order, can still be shown."""
        ...

    def show(self, leaves: Frames, frames: Frames) -> None:
        """Show other frames for leaves in rising order.

        Raises
        ------
        DoesNotFitError
            When that cannot be; nothing has changed then.
        """
        ...


class InTable:
    """A tree's leaves are found through its table alone."""

    def count_room(self, leaves: Frames) -> int:
        """All of them."""
        return leaves.size

    def show(self, leaves: Frames, frames: Frames) -> None:
        """There is nothing to change."""


class InWindow:
    """A list's leaves stand in a window, page by page.

    Parameters
    ----------
    window : Window
        One page a leaf.
    """

    def __init__(self, window: Window) -> None:
        self._window = window

    def count_room(self, leaves: Frames) -> int:
        """As many as the process may still make mappings for."""

        def lacks_room(n_leaves: int) -> bool:
            return not self._window.has_room_for(_stretches(leaves[:n_leaves]))

        if not leaves.size or not lacks_room(leaves.size):
            return leaves.size
        return bisect_right(range(1, leaves.size), False, key=lacks_room)

    def show(self, leaves: Frames, frames: Frames) -> None:
        """Map the frames where the leaves are."""
        self._window.remap(leaves, frames)


def _stretches(leaves: Frames) -> int:
    """Stretches of neighbours among leaves: each is one mapping of its own."""
    return 1 + int(np.count_nonzero(np.diff(np.sort(leaves)) != 1))
