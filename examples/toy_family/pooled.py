"""What the toys have in common: their pages come from one pool, and are read through its direct map."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design, Footprint, Load, Stretch
from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest
from p2mperf.memory.pool import PagePool
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, round_up


class Pooled(Design):
    """A design over pages of one pool; who derives from it says which, and fills them.

    Parameters
    ----------
    guest, backing, **options
        As `Design`.

    Attributes
    ----------
    pool : PagePool
        Where its pages are.
    """

    family = "toy"
    follows = "nobody"

    def __init__(self, guest: Guest, backing: str | Backing = "kernel", **options: object) -> None:
        if guest.geometry.name != "toy64":
            raise BadInputError(f"{self.name} is for guests of geometry toy64, not {guest.geometry.name}")
        super().__init__(guest, backing, **options)
        with self.building():
            pages = self.pages_of(guest)
            pool = PagePool(sum(pages.values()), page_bytes=self.backing.direct_bytes)
            # Given back by close(), or where building fails.
            self.pool = self.kept.enter_context(pool)
            first = {kind: int(self.pool.allocate(n_pages, kind)[0]) for kind, n_pages in pages.items()}
            self.tables = self.fill(first)

    @classmethod
    @abstractmethod
    def pages_of(cls, guest: Guest) -> dict[str, int]:
        """Pages by kind that a guest takes."""

    @abstractmethod
    def fill(self, first: Mapping[str, int]) -> NamedTuple:
        """Write the pages, of which the first of each kind is given, and return `tables`."""

    @classmethod
    def predict_footprint(
        cls, guest: Guest, backing: str | Backing = "kernel", **options: object
    ) -> Footprint:
        """As `Design.predict_footprint`.

        Parameters
        ----------
        guest, backing, **options
            As there.
        """
        pages = cls.pages_of(guest)
        memory_bytes = round_up(sum(pages.values()) * PAGE_SIZE, HUGE_SIZE)
        return Footprint(pages, 0, memory_bytes, memory_bytes // cls.backing_of(backing).direct_bytes * 8)

    def footprint(self) -> Footprint:
        return Footprint(self.pool.kinds, 0, self.pool.memory_bytes, self.page_table_bytes())

    def step_at(self, address: int) -> Load:
        frame = self.pool.frame_at(address)
        return Load(self.pool.kind(frame), "direct", frame, address % PAGE_SIZE // 8, address)

    def views(self) -> dict[str, int]:
        return {"direct": self.pool.direct_page_bytes}

    def stretches(self) -> tuple[Stretch, ...]:
        return tuple(Stretch("direct", *stretch) for stretch in self.pool.stretches())
