"""What a two-dimensional walk reads, by page sizes of guest and host, and what is published on such walks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look
from p2mperf.model.nested_cases import nested_cases
from p2mperf.model.published import ACCESSES_WITH_CACHES, PUBLISHED
from p2mperf.units import GIB, MIB, PAGE_SIZE, format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Pages of the host, and how they look: Okabe-Ito colours, and hatches that differ too.
HOSTS = {
    PAGE_SIZE: Look("#D55E00", ""),
    2 * MIB: Look("#0072B2", "///"),
    GIB: Look("#009E73", "..."),
}
COUNTED = "Counted: references of one walk, no cache helping"
BY_OTHERS = "Published by others: gains, and accesses of a walk"
_PAGINGS = {"4-level": "4-level", "pae": "PAE", "non-pae": "without PAE"}
_WIDTH = 0.27


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Walk real tables of guest and host; nothing measured is used.

    Returns
    -------
    DataFrame
        Of part "counted" the columns of `p2mperf.model.nested_cases.NestedCase`, of part "published" those of
        `p2mperf.model.published.Published`.
    """
    counted = pd.DataFrame(nested_cases()).assign(part="counted")
    mixed = counted[counted["host_tables_bytes"] != counted["host_data_bytes"]]
    split, whole = (int(n) for n in mixed.sort_values("host_tables_bytes")["n_counted"])
    table = pd.concat([counted, pd.DataFrame(PUBLISHED).assign(part="published")], ignore_index=True)
    table.attrs["note"] = (
        "left: computed for a guest of 1 GiB and counted by walking real tables, nothing is measured; the"
        f" guest's tables in split regions and its data on 2 MiB: {split}, the reverse: {whole}\n"
        "right: each result against a baseline of its own, on its own machine or simulator"
    )
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """What is counted, and beside it what is published."""
    return [
        (COUNTED, table[table["part"] == "counted"].dropna(axis=1)),
        (BY_OTHERS, table[table["part"] == "published"].dropna(axis=1)),
    ]


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw counts as bars, the formula as marks on them; what is published is text."""
    if table["part"].iloc[0] == "published":
        _draw_published(table, ax)
        return
    table = table[table["host_tables_bytes"] == table["host_data_bytes"]]
    kinds = table.drop_duplicates(["guest_paging", "guest_page_bytes"])
    names = [_name(*kind) for kind in zip(kinds["guest_paging"], kinds["guest_page_bytes"], strict=True)]
    for number, (n_bytes, look) in enumerate(HOSTS.items()):
        part = table[table["host_data_bytes"] == n_bytes]
        places = [place + _WIDTH * (number - 1) for place in range(len(part))]
        bars = ax.bar(
            places,
            part["n_counted"],
            _WIDTH,
            label=f"host on {format_size(n_bytes)}",
            color=look.colour,
            hatch=look.line,
            edgecolor="white",
        )
        ax.bar_label(bars, fmt="{:.0f}", fontsize=8.5, padding=2)
        is_last = number == len(HOSTS) - 1
        ax.plot(
            places, part["n_computed"], "_k", ms=12, mew=2, label="(g + 1)(h + 1) - 1" if is_last else None
        )
        ax.plot(
            places,
            part["n_lines"],
            "ok",
            mfc="white",
            ms=4.5,
            label="distinct cache lines" if is_last else None,
        )
    paged = kinds["n_guest_levels"].to_numpy()
    paged = paged[paged > 0]
    ax.plot(range(len(paged)), paged, "Dk", mfc="white", ms=5, label="without nesting: g")
    ax.plot(
        [-0.45, 2.45],  # of guests with four levels
        [ACCESSES_WITH_CACHES] * 2,
        color="k",
        ls=(0, (1, 2)),
        lw=1.8,
        label=f"published: {ACCESSES_WITH_CACHES} on average, with walk caches",
    )
    ax.set_xticks(range(len(names)), names, fontsize="small")
    ax.set_ylim(0, 27)
    ax.grid(axis="x", visible=False)
    ax.set_xlabel("the guest's paging, and its page")
    ax.set_ylabel("references")
    ax.legend(fontsize="small")


def _name(paging: str, page_bytes: float) -> str:
    return f"{_PAGINGS[paging]}\n{format_size(int(page_bytes))}" if page_bytes else "no\npaging"


def _draw_published(table: pd.DataFrame, ax: Axes) -> None:
    """Write each result: its number, what it is of and against what, and who says so."""
    ax.axis("off")
    columns = (table[name].astype(str) for name in ("value", "what", "against", "source"))
    for row, (value, what, against, source) in enumerate(zip(*columns, strict=True)):
        top = 0.99 - row / len(table)
        ax.text(0, top, value, weight="bold", size=9.5, va="top", color="0.2")
        ax.text(0.2, top, f"{what} (against {against})", size=9, va="top", color="0.2")
        ax.text(0.2, top - 0.038, source, size=7.5, va="top", color="0.4")


def finding(table: pd.DataFrame) -> str:
    """What the longest walk reads, and the same guest's on the host's largest pages."""
    counted = table[(table["part"] == "counted") & (table["host_tables_bytes"] == table["host_data_bytes"])]
    most = counted.sort_values("n_counted", kind="stable").iloc[-1]
    alike = (counted["guest_paging"] == most["guest_paging"]) & (
        counted["guest_page_bytes"] == most["guest_page_bytes"]
    )
    least = counted[alike].sort_values("n_counted", kind="stable").iloc[0]
    sizes = [format_size(int(row["host_data_bytes"])) for row in (most, least)]
    return (
        f"A two-dimensional walk reads {most['n_counted']:.0f} entries with the host on {sizes[0]} pages and"
        f" {least['n_counted']:.0f} with it on {sizes[1]} pages, where one without nesting reads"
        f" {most['n_guest_levels']:.0f}"
    )


FIGURE = FigureSpec(
    name="hap-nested",
    question="What a two-dimensional walk reads",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    measured=False,
    panel_inches=(8.4, 5.2),
)
