"""What every design tells of a raw entry, and of all of them."""

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


def dump(runs: list[tuple[int, int, str]]) -> str:
    """Write runs of one kind as lines ``[0x00000000->0x00040000] pfn``, ends exclusive."""
    return "\n".join(f"[{start:#010x}->{end:#010x}] {kind}" for start, end, kind in runs) + "\n"
