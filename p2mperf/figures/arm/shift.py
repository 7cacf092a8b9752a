"""Why one shift finds an entry: the guest's walk above, Xen's walk of the window below, page under page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.guests.guest import Guest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEMORY = "3G"
FIRST, SECOND, THIRD = 3, 5, 7  # indices of the frame that is looked up, one a level
ROWS = {"guest": 1.0, "xen": 0.0}
SHARED = "#CFE3F2"
OWN = "#F2F2F2"


@dataclass(frozen=True)
class Box:
    """A page that a walk reads, as `data` describes it."""

    walk: str
    column: int
    page: str
    pool_frame: int
    index: int
    entry: int

    @property
    def is_shared(self) -> bool:
        return self.pool_frame >= 0


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Build a guest's tables and its window, and follow one frame through both, reading their memory.

    Returns
    -------
    pandas.DataFrame
        Rows walk ("guest", "xen"), column (place in the drawing), page (what is read), pool_frame (of a page
        that both walks read, else -1), index, entry (the word read), shared, gfn.
    """
    import numpy as np

    from p2mperf.designs.arm.vlpt import ArmVlpt

    gfn = FIRST << 18 | SECOND << 9 | THIRD
    with ArmVlpt(Guest.plain(MEMORY, geometry="lpae")) as p2m:
        words = p2m.pool.pages(np.uint64)
        root = int(p2m.root_words()[FIRST])
        slot = int(p2m.window.second[64 + FIRST])
        second = int(p2m.table.decode(p2m.window.second[64 + FIRST : 65 + FIRST])[0])
        third = int(p2m.table.decode(words[second, SECOND : SECOND + 1])[0])
        entries = (root, int(words[second, SECOND]), int(p2m.lookup([gfn])[0]))
    boxes = [
        Box("guest", 1, "guest's root", -1, FIRST, entries[0]),
        Box("guest", 2, "guest's second level", second, SECOND, entries[1]),
        Box("guest", 3, "guest's third level", third, THIRD, entries[2]),
        Box("xen", 0, "Xen's root", -1, 0, 0),
        Box("xen", 1, "xen_second", -1, 64 + FIRST, slot),
        Box("xen", 2, "guest's second level", second, SECOND, entries[1]),
        Box("xen", 3, "guest's third level", third, THIRD, entries[2]),
    ]
    table = pd.DataFrame(boxes)
    table["shared"] = table["pool_frame"] >= 0
    table["gfn"] = gfn
    table.attrs["note"] = "read from tables built for this drawing; the last page Xen reads is data to it"
    return table


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw both walks as boxes, one page under the other where they read the same page."""
    for row in table.drop(columns=["shared", "gfn"]).itertuples(index=False, name=None):
        _draw_box(Box(*row), ax)
    for walk, height in ROWS.items():
        columns = table[table["walk"] == walk]["column"]
        for column in range(int(columns.min()), int(columns.max())):
            ax.annotate(
                "",
                (column + 0.59, height),
                (column + 0.41, height),
                arrowprops={"arrowstyle": "->", "color": "0.25"},
            )
    gfn = int(table["gfn"].iloc[0])
    address = 0x08000000 + 8 * gfn
    ax.text(-0.42, 1.0, f"guest's walk\ngfn {gfn:#x}", va="center")
    ax.text(0.0, 0.5, f"Xen's walk of\n{address:#010x} = window + 8 gfn", va="center", ha="center")
    ax.set_xlim(-0.5, 3.5)
    ax.set_ylim(-0.45, 1.45)
    ax.set_axis_off()


def _draw_box(box: Box, ax: Axes) -> None:
    height = ROWS[box.walk]
    ax.barh(
        height,
        0.8,
        0.5,
        box.column - 0.4,
        color=SHARED if box.is_shared else OWN,
        edgecolor="0.3",
        linewidth=0.8,
    )
    last = box.walk == "xen" and box.column == 3
    where = f"offset 8 * {box.index}" if last else f"entry {box.index}"
    word = f"\n{box.entry:#x}" if box.entry else ""
    page = f" (page {box.pool_frame})" if box.is_shared else ""
    ax.text(box.column, height, f"{box.page}{page}\n{where}{word}", ha="center", va="center", size=8.5)


def finding(table: pd.DataFrame) -> str:
    """Whether the window's last page is the one that the guest's own walk ends in, and says the same."""
    ends = table[table["column"] == table["column"].max()].set_index("walk")
    guest, xen, gfn = ends.loc["guest"], ends.loc["xen"], int(table["gfn"].iloc[0])
    is_same = guest["pool_frame"] == xen["pool_frame"] and guest["entry"] == xen["entry"]
    reads = "the very word that the guest's walk ends at" if is_same else "another word than the guest's walk"
    return f"The address window + 8 * {gfn:#x} reads {reads}" + (
        ": one shift finds the entry" if is_same else ""
    )


FIGURE = FigureSpec(
    name="arm-shift",
    question="Why one shift finds a third-level entry",
    data=data,
    draw=draw,
    finding=finding,
    measured=False,
    panel_inches=(11.0, 4.6),
)
