"""What a kernel has done just before it looks frames up, and what it then asks for; light data."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Preamble:
    """What comes before the lookups of an entry.

    Attributes
    ----------
    name : str
        As users and results call it.
    flush : bool
        Whether the translations of the kernel's own memory are gone: the TLB is flushed.
    work_bytes : int
        Memory that other work reads from [bytes].
    work_touches : int
        Lines of it that are read, three of four in its first eighth.
    source : str
        Where this is known from, or that it is not.
    """

    name: str
    flush: bool
    work_bytes: int
    work_touches: int
    source: str

    @property
    def is_possible(self) -> bool:
        """Whether it can be done on this machine: only of x86 it is known what flushes the whole TLB."""
        return not self.flush or platform.machine() == "x86_64"


@dataclass(frozen=True)
class KernelEntry:
    """What one entry into a kernel asks a p2m for, and what may have come before.

    Attributes
    ----------
    asks : tuple of int
        Its lookups in their order: for each, which of the entry's frames, from 0 without gaps.
    source : str
        Where this is known from.
    preambles : tuple of Preamble
        What may have come before; where it is not known, with and without the flush.
    usual : mapping of str to tuple of str
        For each geometry: names of those that plans measure without being asked, the estimate of what a
        kernel meets first; none where only the full plan measures any.
    """

    asks: tuple[int, ...]
    source: str
    preambles: tuple[Preamble, ...]
    usual: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        """Frames that an entry asks for."""
        return max(self.asks) + 1
