"""Pages left after each precopy round, for the rates at which migration ends, drags on, or never does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look
from p2mperf.guests.guest import Guest
from p2mperf.migration.precopy import RULES, recurrence
from p2mperf.migration.writers import Sequential

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEMORY = "1G"
# Dirty rate [pages/s], bandwidth [bytes/s], how it looks.
CASES = (
    (2_000, 125e6, Look("#009E73", "-", "o")),
    (20_000, 125e6, Look("#0072B2", "--", "s")),
    (20_000, 12.5e6, Look("#D55E00", ":", "^")),
)


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Follow the recurrence under both stop rules; nothing measured is used.

    Returns
    -------
    pandas.DataFrame
        Rows case, rule, number, n_sent, n_left [pages], seconds (so far) [s], downtime_seconds (if it stopped
        here) [s], and stopped_by, set in a rule's last row.
    """
    guest = Guest.plain(MEMORY, geometry="lpae")
    rows = []
    for rate, bandwidth, _ in CASES:
        for rule in (RULES["legacy"], RULES["later"]):
            found = recurrence(Sequential(guest), rate, bandwidth, rule)
            seconds = 0.0
            for done in found.rounds:
                seconds += done.seconds
                rows.append(
                    {
                        "case": _case(rate, bandwidth),
                        "rule": rule.name,
                        "number": done.number,
                        "n_sent": done.n_sent,
                        "n_left": done.n_left,
                        "seconds": seconds,
                        "downtime_seconds": done.n_left * 4096 / bandwidth,
                        "stopped_by": found.stopped_by if done is found.rounds[-1] else "",
                    }
                )
    table = pd.DataFrame(rows)
    table.attrs["note"] = f"computed for a guest of {MEMORY} whose writer never writes a page twice a round"
    return table


def _case(rate: float, bandwidth: float) -> str:
    return f"{rate:,.0f} pages/s over {bandwidth / 1e6:g} MB/s"


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw pages left over rounds; a cross marks where the later rule would stop."""
    looks = {_case(rate, bandwidth): look for rate, bandwidth, look in CASES}
    for case, part in table.groupby("case", sort=False):
        legacy, later = (part[part["rule"] == name] for name in ("legacy", "later"))
        last = legacy.iloc[-1]
        outcome = f"{len(legacy)} rounds, {int(last['n_left'])} left, {last['downtime_seconds']:.2g} s down"
        label = f"{case}: {outcome}"
        look = looks[str(case)]
        ax.plot(
            legacy["number"],
            legacy["n_left"],
            label=label,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
        )
        end = later.iloc[-1]
        ax.plot(end["number"], end["n_left"], "x", color="black", markersize=9)
    ax.axhline(RULES["legacy"].few_pages, color="0.4", linewidth=0.9, linestyle=":")
    ax.plot([], [], "x", color="black", label="where the later rule (5 rounds) stops")
    ax.set_xticks(range(1, int(table["number"].max()) + 1, 2))
    ax.set_yscale("log")
    ax.set_xlabel("round")
    ax.set_ylabel("pages left")
    ax.legend(fontsize="small")


def finding(table: pd.DataFrame) -> str:
    """In how many cases precopy converges, and what is left in the worst one."""
    last = table[(table["rule"] == "legacy") & (table["stopped_by"] != "")]
    n_ended = int((last["n_left"] < RULES["legacy"].few_pages).sum())
    worst = last.sort_values("n_left", kind="stable").iloc[-1]
    few = RULES["legacy"].few_pages
    return (
        f"Precopy leaves less than {few} pages in {n_ended} of {len(last)} cases, and in the worst"
        f" {int(worst['n_left'])} pages, which take {worst['downtime_seconds']:.0f} s to send"
    )


FIGURE = FigureSpec(
    name="precopy",
    question="Pages left after each precopy round",
    data=data,
    draw=draw,
    finding=finding,
    measured=False,
    panel_inches=(8.4, 4.8),
)
