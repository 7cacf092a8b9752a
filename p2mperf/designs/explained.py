"""What every design tells of a raw entry."""

from __future__ import annotations

from typing import TypedDict


class Explained(TypedDict):
    """What an entry says.

    Attributes
    ----------
    kind : str
        As the design's family calls it: "ram", "missing", "identity" ...
    mfn : int or None
        Machine frame; None where it maps none.
    """

    kind: str
    mfn: int | None
