"""What one lookup executes on ARM, by event and by way to the entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.model.arndale import CHAIN, EVENTS, WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVENT_TITLES = {
    "entry_load": "loads of the guest's entries",
    "mmu_load": "loads of Xen's own page walk",
    "slot_load": "loads of map slots",
    "slot_store": "stores to map slots",
    "map": "map_domain_page",
    "unmap": "unmap_domain_page",
    "dsb": "DSB",
    "tlbi": "TLB invalidations",
    "isb": "ISB",
    "irq_save": "interrupts saved and restored",
    "lock": "locks",
}
CHAIN_NAME = "loads that wait for each other"


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Count the events of a lookup in steady state; nothing measured is used.

    Returns
    -------
    pandas.DataFrame
        Rows way, event, n_events.
    """
    rows = [
        {"way": way, "event": name, "n_events": EVENTS[way].get(event, 0)}
        for way in WAYS
        for event, name in EVENT_TITLES.items()
    ]
    rows += [{"way": way, "event": CHAIN_NAME, "n_events": CHAIN[way]} for way in WAYS]
    table = pd.DataFrame(rows)
    table.attrs["note"] = "counted by arithmetic on the code; tests hold the compiled walks to it"
    return table


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw a grid of counts, the larger the darker."""
    grid = table.set_index(["event", "way"])["n_events"].unstack()  # noqa: PD010 -- nothing to aggregate
    grid = grid.loc[list(dict.fromkeys(table["event"])), list(dict.fromkeys(table["way"]))]
    counts = grid.to_numpy(float)
    places = [np.arange(n + 1) - 0.5 for n in counts.shape]
    # No colour where nothing is executed, and no pale one that could be taken for none.
    ax.pcolormesh(
        places[1],
        places[0],
        np.ma.masked_equal(counts, 0),
        cmap="Blues",
        vmin=-counts.max() / 3,
        vmax=counts.max(),
        edgecolors="0.85",
    )
    for (row, column), n_events in np.ndenumerate(counts):
        colour = "white" if n_events > counts.max() / 2 else ("black" if n_events else "0.6")
        ax.text(column, row, f"{n_events:.0f}", ha="center", va="center", color=colour)
    ax.set_xticks(range(len(grid.columns)), list(grid.columns))
    ax.set_yticks(range(len(grid.index)), list(grid.index))
    ax.xaxis.tick_top()
    ax.set_ylim(*places[0][[-1, 0]])
    ax.tick_params(length=0)
    ax.grid(visible=False)


def finding(table: pd.DataFrame) -> str:
    """What keeps the longest way waiting, and what the shortest one."""
    counts = table.set_index(["way", "event"])["n_events"]
    waits = table[table["event"] == CHAIN_NAME].set_index("way")["n_events"]
    said = []
    for way in (str(waits.idxmax()), str(waits.idxmin())):
        stops = {name: int(counts[way, EVENT_TITLES[name]]) for name in ("dsb", "tlbi")}
        waited = f"{waits[way]} load{'s in a row' if waits[way] > 1 else ''}"
        said.append(f"{waited}, {stops['dsb']} DSBs and {stops['tlbi']} TLB invalidations by {way}")
    return f"Finding an entry takes {'; '.join(said)}"


FIGURE = FigureSpec(
    name="arm-events",
    question="What one lookup executes on ARM",
    data=data,
    draw=draw,
    finding=finding,
    measured=False,
    panel_inches=(8.4, 4.8),
)
