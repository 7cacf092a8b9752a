"""From how many faults a time slice on the window pays for the switch to it, against its slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look
from p2mperf.model.arndale import RESIDENCIES, SWITCH_CASES, break_even_faults, switch_ns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SLOTS = (1, 2, 3, 5, 9, 17, 33, 64)
LOOKS = (Look("#009E73", ":", "v"), Look("#0072B2", "-", "o"), Look("#D55E00", "--", "^"))


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Compute the break-even for the board; nothing measured is used.

    Returns
    -------
    pandas.DataFrame
        Rows assumption, residency, n_slots, switch_ns [ns], n_faults (a slice).
    """
    rows = [
        {
            "assumption": name,
            "residency": residency,
            "n_slots": n_slots,
            "switch_ns": switch_ns(n_slots, assumed),
            "n_faults": break_even_faults(n_slots, assumed, residency),
        }
        for name, assumed in SWITCH_CASES.items()
        for residency in RESIDENCIES
        for n_slots in SLOTS
    ]
    table = pd.DataFrame(rows)
    table.attrs["note"] = (
        "computed for the Cortex-A15 at 1.7 GHz: published cache latencies, assumed barriers and\n"
        "invalidations; nothing is measured; bands: entries from L1 to memory"
    )
    return table


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw faults over slots; the band spans where the guest's entries may lie."""
    for look, (name, part) in zip(LOOKS, table.groupby("assumption", sort=False), strict=True):
        spread = part.groupby("n_slots")["n_faults"].agg(["min", "max"])
        middle = part[part["residency"] == "L2"]
        ax.plot(
            middle["n_slots"],
            middle["n_faults"],
            label=f"{name}, entries in L2",
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
        )
        ax.fill_between(spread.index, spread["min"], spread["max"], color=look.colour, alpha=0.12)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(SLOTS, [str(n) for n in SLOTS])
    ax.minorticks_off()
    ax.set_xlabel("slots of the window (GiB of guest-physical space that RAM touches)")
    ax.set_ylabel("faults a slice to break even")
    ax.legend()


def finding(table: pd.DataFrame) -> str:
    """From how many faults on the window pays, with the fewest and with the most slots."""
    middle = table[table["assumption"].str.startswith("middle") & (table["residency"] == "L2")]
    faults = middle.set_index("n_slots")["n_faults"]
    least, most = int(min(faults.index)), int(max(faults.index))
    return (
        f"The window pays for a switch from {faults[least]:.0f} faults a slice on with {least}"
        f" slot{'s' * (least > 1)}, from {faults[most]:.0f} on with {most}, by middling assumptions"
    )


FIGURE = FigureSpec(
    name="arm-switch",
    question="When the window pays for a context switch",
    data=data,
    draw=draw,
    finding=finding,
    measured=False,
    panel_inches=(7.6, 4.6),
)
