"""What building a p2m that can be written is told, and what it needs of its design, whatever the layout."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import ClassVar, NamedTuple, Protocol, TypedDict

from p2mperf.designs.backing import Backing
from p2mperf.designs.pv.life import Life
from p2mperf.designs.pv.reading import Readable
from p2mperf.guests.geometry import Entries


class LeafOptions(TypedDict, total=False):
    """What it may be built with; what each is by default, and means, says `pv.tree.PvTree`."""

    above: str
    run_frames: int
    boot_list: Entries | None
    quirks: Iterable[str]
    n_spare: int | None
    m2p_override: bool
    limit: str | int


class Growing(Readable, Protocol):
    """A design while it is built, and what its doors find afterwards.

    Attributes
    ----------
    tables : NamedTuple
        What the compiled loops take.
    life : Life
        What can be done to it.
    known_quirks : tuple of str
        Deviations that it can reproduce.
    """

    tables: NamedTuple
    life: Life
    known_quirks: ClassVar[tuple[str, ...]]

    @classmethod
    def backing_of(cls, backing: str | Backing) -> Backing:
        """Page sizes of its views."""
        ...

    @classmethod
    def check_options(cls, options: Iterable[str]) -> None:
        """Refuse what it cannot be built with."""
        ...

    def building(self) -> AbstractContextManager[None]:
        """Keep nothing when building fails."""
        ...

    def page_table_bytes(self) -> int:
        """Page tables that this process has grown since the design was begun [bytes]."""
        ...
