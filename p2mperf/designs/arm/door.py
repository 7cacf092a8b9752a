"""The door of an ARM design: what users call, passed on to the table that the design holds.

It stands beside `Design` among a design's bases and not between the two: it keeps no state and decides
nothing, and without it the same dozen lines would stand in each of the four designs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Protocol, TypedDict, Unpack

from numpy.typing import ArrayLike

from p2mperf.designs.arm.event_kernels import Recorder
from p2mperf.designs.arm.stage2 import Stage2Options, Stage2Table, explain, predict_footprint
from p2mperf.designs.backing import Backing, backing as find_backing
from p2mperf.designs.base import Design, Footprint, Load, Stretch
from p2mperf.designs.explained import Explained
from p2mperf.errors import BadInputError, shown
from p2mperf.guests.frames import word
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.kernels import trace
from p2mperf.memory.pool import PagePool
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, round_up


class _Held(Protocol):
    """What the door finds in a design."""

    table: Stage2Table
    tables: NamedTuple
    state: tuple[object, ...]

    def page_table_bytes(self) -> int: ...

    def _require(self, holds: ArrayLike, invariant: str) -> None: ...

    def _frames(self, pfns: ArrayLike) -> Words: ...


class ArmOptions(Stage2Options, total=False):
    """What an ARM design may be built with, as `p2mperf.designs.arm.walk.ArmWalk` says."""

    like: Stage2Door | None


class OtherOptions(TypedDict, total=False):
    """What changes no footprint but that of the window, which takes the same by name."""

    domid: int
    run_frames: int
    checks: str
    window: object


class Stage2Door:
    """What every design over a stage-2 table answers, by asking the table.

    Attributes
    ----------
    table : Stage2Table
        The guest's table.
    extra_pages : dict of str to int
        Pages that the design has beside the table, by kind.
    n_regions : int
        How the table's pages are dealt out, where that is not asked for.
    """

    follows: ClassVar[str] = "Xen/ARM, November 2013"
    family: ClassVar[str] = "arm"
    options: ClassVar[frozenset[str]] = ArmOptions.__optional_keys__
    extra_pages: ClassVar[dict[str, int]] = {}
    n_regions: ClassVar[int] = 1
    table: Stage2Table

    @classmethod
    def predict_footprint(
        cls,
        guest: Guest,
        backing: str | Backing = "kernel",
        n_regions: int | None = None,
        *,
        like: Stage2Door | None = None,
        **others: Unpack[OtherOptions],
    ) -> Footprint:
        """As `Design.predict_footprint`.

        Parameters
        ----------
        guest : Guest
            An ARM guest.
        backing : str or Backing
            Page sizes of the views.
        n_regions : int, optional
            As `Stage2Table`.
        like : ARM design, optional
            Whose tables it takes: they are there already.
        **others
            Other options change nothing of it.
        """
        found = find_backing(backing, cls.family)
        if like is None:
            n_regions = cls.n_regions if n_regions is None else n_regions
            return predict_footprint(guest, found, cls.extra_pages, n_regions)
        memory = round_up(max(1, sum(cls.extra_pages.values())) * PAGE_SIZE, HUGE_SIZE)
        return Footprint(dict(cls.extra_pages), 0, memory, memory // found.direct_bytes * 8)

    @property
    def pool(self) -> PagePool:
        """Where the table's pages are."""
        return self.table.pool

    def footprint(self: _Held) -> Footprint:
        """As `Design.footprint`."""
        return self.table.footprint(0, self.page_table_bytes())

    def views(self) -> dict[str, int]:
        """As `Design.views`."""
        return {"direct": self.table.pool.direct_page_bytes}

    def stretches(self) -> tuple[Stretch, ...]:
        """As `Design.stretches`: all pages of the table."""
        pools = dict.fromkeys((self.table.pool, self.table.extra_pool))
        return tuple(Stretch("direct", *part) for pool in pools for part in pool.stretches())

    def step_at(self, address: int) -> Load:
        """As `Design.step_at`."""
        return self.table.step_at(word(address, "an address"))

    def explain(self, entry: int) -> Explained:
        """Read a raw entry: ``kind`` is "ram", "ram, write-protected for tracing" or "missing"."""
        return explain(word(entry, "an entry"))

    def audit(self: _Held) -> None:
        """As `Design.audit`."""
        self.table.audit(self._require)

    def frames(self: _Held, pfns: ArrayLike) -> Words:
        """Check frame numbers as `lookup` does, and give them as the compiled loops take them."""
        return self._frames(pfns)

    def third_tables(self) -> list[Words]:
        """View the third level as few long arrays: one where its pages follow each other in memory."""
        return self.table.third_tables()

    def third_words(self) -> Words:
        """View the third level as one array, where its pages stand in one piece."""
        return self.table.third_words()

    def root_words(self) -> Words:
        """View the concatenated root, shape (1024,)."""
        return self.table.root_words()

    def require_ready(self) -> None:
        """Refuse to hand out entries where there is a state in which none can be found.

        Raises
        ------
        BadInputError
            When something must be prepared first.
        """

    def switch_to(self) -> None:
        """Do what a context switch to this domain takes; nothing, where tables are not shared."""

    def events(self: _Held, pfn: int) -> dict[str, int]:
        """Look one frame up and count everything that Xen would execute for it.

        Parameters
        ----------
        pfn : int
            Frame.

        Returns
        -------
        dict of str to int
            Events of `p2mperf.designs.arm.event_kernels.EVENT_NAMES` that happened.

        Raises
        ------
        BadInputError, ClosedError
            As `lookup`.
        """
        recorder = Recorder.empty()
        trace(self.tables, self.state, recorder, self._frames([word(pfn)])[0])
        return recorder.counts()


def hold_table(
    design: Design,
    extra_pages: Mapping[str, int],
    *,
    like: Stage2Door | None = None,
    **options: Unpack[Stage2Options],
) -> Stage2Table:
    """Make the table that a design will hold, to be closed with it.

    Parameters
    ----------
    design : Design
        Who asks for it.
    extra_pages : mapping of str to int
        As `Stage2Table`.
    like : ARM design, optional
        Whose table's pages to use.
    **options
        As `Stage2Table`.

    Returns
    -------
    Stage2Table

    Raises
    ------
    BadInputError, DoesNotFitError
        As `Stage2Table`.
    """
    if not isinstance(like, Stage2Door | None):
        raise BadInputError(f"{design.name} can be like an ARM design, not {shown(like)}")
    other = like.table if like is not None else None
    table = Stage2Table(design.name, design.guest, design.backing, extra_pages, like=other, **options)
    design.kept.enter_context(table)
    table.door = design.in_use()
    if table.source is not table:
        table.door.lead_on(table.source.door)
    design.mfn_generation_ns = table.mfn_generation_ns
    return table
