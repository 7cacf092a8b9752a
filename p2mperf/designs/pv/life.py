"""The parts of a p2m that can be written, put together."""

from __future__ import annotations

from typing import Protocol

from p2mperf.designs.pv.ballooning import Ballooning
from p2mperf.designs.pv.breaking import Breaking
from p2mperf.designs.pv.covering import NoCovering, TreeCovering
from p2mperf.designs.pv.foreign import Foreign
from p2mperf.designs.pv.passthrough import Passthrough
from p2mperf.designs.pv.quirks import QuirkyWrites
from p2mperf.designs.pv.reading import Readable
from p2mperf.designs.pv.saving import Saving
from p2mperf.designs.pv.showing import Showing
from p2mperf.designs.pv.store import LeafStore
from p2mperf.designs.pv.tools import Tools
from p2mperf.designs.pv.way_back import WayBack
from p2mperf.designs.pv.writer import Writer
from p2mperf.memory.owned import Owned


class Life(Owned):
    """The parts of a p2m that can be written; each takes the store and those it needs, none the design.

    Parameters
    ----------
    store : LeafStore
        The p2m's leaves.
    way_back : WayBack
        From machine frames to the guest's.
    quirks : frozenset of str
        Deviations to reproduce.
    showing : Showing
        Where readers look for leaves beside the table.
    covering : type of TreeCovering, optional
        What can be identity without pages of its own; None for nothing.
    list_address : int
        Virtual address of a linear list; 0 without one.
    tools_end : int
        As `ToolsView`.
    """

    def __init__(
        self,
        store: LeafStore,
        way_back: WayBack,
        quirks: frozenset[str],
        showing: Showing,
        covering: type[TreeCovering] | None = None,
        list_address: int = 0,
        tools_end: int = 0,
    ) -> None:
        self.tools = Tools(store, quirks, list_address, tools_end)
        self.breaking = Breaking(store, showing, self.tools, quirks)
        cover = covering(store, self.breaking, self.tools) if covering else NoCovering()
        self.quirks = QuirkyWrites(store, quirks, cover.widen)
        self.writer = Writer(store, self.breaking, self.quirks, way_back)
        self.ballooning = Ballooning(store, self.writer, way_back)
        self.foreign = Foreign(store, self.writer, way_back)
        self.passthrough = Passthrough(store, self.breaking, self.writer, cover)
        self.saving = Saving(store, self.tools, way_back)


class Living(Readable, Protocol):
    """A design that can be written.

    Attributes
    ----------
    life : Life
        Its parts.
    """

    life: Life
