"""What a figure module declares: one `FigureSpec`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def one_panel(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Show the whole table in one panel without a title of its own."""
    return [("", table)]


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """A figure: how its table is made from results, and how that table is drawn. None measures anything.

    Attributes
    ----------
    name : str
        As users call it.
    question : str
        What it answers; its title.
    data : callable
        Takes samples, as `p2mperf.load` gives them, and makes the table behind the figure. Those of a figure
        that is computed may be an empty frame. The table's ``attrs["note"]`` stands under the figure.
    draw : callable
        Draws one panel of the table into an axes.
    panels : callable
        Cuts the table into panels, each with a title.
    measured : bool
        Whether it needs samples.
    shipped : str
        The shipped results that have what it shows, as `p2mperf.load` names them.
    n_columns : int
        Panels side by side.
    panel_inches : tuple of float
        Width and height of one panel.
    shared_legend : bool
        One legend for all panels, outside of them.
    """

    name: str
    question: str
    data: Callable[[pd.DataFrame], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Axes], None]
    panels: Callable[[pd.DataFrame], list[tuple[str, pd.DataFrame]]] = one_panel
    measured: bool = True
    shipped: str = "shipped"
    n_columns: int = 2
    panel_inches: tuple[float, float] = (7.2, 4.4)
    shared_legend: bool = False
