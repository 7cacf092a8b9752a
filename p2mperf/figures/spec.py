"""What a figure module declares: one `FigureSpec`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class PanelSize(NamedTuple):
    """Room that a panel takes.

    Attributes
    ----------
    width : float
        Of all of it [inches].
    height : float
        Of the axes [inches].
    around : float
        Height of what stands above and below the axes: title, ticks, labels [inches].
    """

    width: float
    height: float
    around: float = 0.0


def one_panel(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Show the whole table in one panel without a title of its own."""
    return [("", table)]


@dataclass(frozen=True)
class Source:
    """What a figure is drawn from, where that is no samples.

    Attributes
    ----------
    kind : str
        As commands call it.
    take : callable
        Takes what somebody handed over, or None for what ships with p2mperf, and gives what the figure's
        ``data`` takes; raises BadInputError for anything else.
    """

    kind: str
    take: Callable[[object], object]


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """A figure: how its table is made from results, and how that table is drawn. None measures anything.

    Attributes
    ----------
    name : str
        As users call it.
    question : str
        What it answers.
    data : callable
        Takes samples, as `p2mperf.load` gives them, or what `source` gives, and makes the table behind the
        figure. Samples of a figure that is computed may be an empty frame. The table's ``attrs["note"]``
        stands under the figure.
    draw : callable
        Draws one panel of the table into an axes.
    panels : callable
        Cuts the table into panels, each with a title.
    finding : callable, optional
        Takes the table and says in one sentence what it shows: the title. Without it the question is.
    measured : bool
        Whether it needs samples.
    by_family : bool
        Whether it shows the designs of one family; samples of several families are several figures.
    source : Source, optional
        What it is drawn from instead of samples.
    shipped : str
        The shipped results that have what it shows, as `p2mperf.load` names them.
    n_columns : int
        Panels side by side.
    panel_inches : tuple of float
        Width and height of one panel [inches].
    panel_size : callable, optional
        Takes a panel's part of the table and gives the room that it takes, where panels differ.
    shared_legend : bool
        One legend for all panels, outside of them.
    """

    name: str
    question: str
    data: Callable[[Any], pd.DataFrame]  # what it takes is its source's to say
    draw: Callable[[pd.DataFrame, Axes], None]
    panels: Callable[[pd.DataFrame], list[tuple[str, pd.DataFrame]]] = one_panel
    finding: Callable[[pd.DataFrame], str] | None = None
    measured: bool = True
    by_family: bool = False
    source: Source | None = None
    shipped: str = "shipped"
    n_columns: int = 2
    panel_inches: tuple[float, float] = (7.2, 4.4)
    panel_size: Callable[[pd.DataFrame], PanelSize] | None = None
    shared_legend: bool = False

    def title_of(self, table: pd.DataFrame) -> str:
        """What a table of this figure shows, or what it is asked, where it says nothing."""
        return (self.finding(table) if self.finding else "") or self.question

    def size_of(self, part: pd.DataFrame) -> PanelSize:
        """Room that the panel takes which shows a part of the table."""
        return self.panel_size(part) if self.panel_size else PanelSize(*self.panel_inches)
