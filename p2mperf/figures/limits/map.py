"""The 32-bit address space of some guests, to scale: where the list lies and what stands beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.sizing import address_space, limits, readable_size
from p2mperf.units import GIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# From the guest to read first, at the top, to the last.
CASES: tuple[dict[str, str], ...] = (
    {"guest_memory": "512M", "split": "3:1"},
    {"guest_memory": "64G", "split": "3:1"},
    {"guest_memory": "64G", "split": "3:1", "vmalloc": "512M"},
    {"guest_memory": "64G", "split": "2:2"},
)
# Okabe-Ito colours, and hatches for those who do not see them.
LOOKS = {
    "user": ("#EEEEEE", None),
    "low memory": ("#56B4E9", None),
    "guard": ("#000000", None),
    "linear list": ("#D55E00", "//"),
    "rest of vmalloc": ("#F0E442", None),
    "fixmap and pkmap": ("#CC79A7", "xx"),
    "Xen": ("#009E73", ".."),
}
NARROWEST_LABEL = 0.045  # of the width shown; below that the size stands in the legend


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Compute the regions; nothing measured is used.

    Returns
    -------
    DataFrame
        Columns view ("whole" or "kernel"), case, region, start_bytes, end_bytes.
    """
    rows = []
    for options in CASES:
        answer = limits(**options, entry_bits=32)
        views = ("whole", "kernel") if options["split"] == "3:1" else ("whole",)
        vmalloc = f", vmalloc={options['vmalloc']}" if "vmalloc" in options else ""
        rows += [
            {
                "view": view,
                "case": f"{options['guest_memory']} guest, {options['split']}{vmalloc}",
                "region": region.name,
                "start_bytes": region.start_bytes,
                "end_bytes": region.end_bytes,
            }
            for view in views
            for region in address_space(answer.parameters, answer.guest_bytes)
            if view == "whole" or region.name != "user"
        ]
    table = pd.DataFrame(rows)
    table.attrs["note"] = (
        "computed, nothing is measured; whether a guest fits is another question than where things lie"
    )
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The whole address space, and the kernel's part of it at a larger scale."""
    titles = {"whole": "All 4 GiB, to scale", "kernel": "The kernel's last GiB at a 3:1 split, to scale"}
    return [(title, table[table["view"] == view]) for view, title in titles.items()]


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw one view as a bar for each case."""
    cases = list(dict.fromkeys(table["case"]))
    start, end = int(table["start_bytes"].min()), int(table["end_bytes"].max())
    for row in table.to_dict("records"):
        n_bytes, height = row["end_bytes"] - row["start_bytes"], cases.index(row["case"])
        colour, hatch = LOOKS[row["region"]]
        ax.barh(
            height,
            n_bytes,
            0.62,
            row["start_bytes"],
            edgecolor="black",
            linewidth=0.4,
            facecolor=colour,
            hatch=hatch,
        )
        if n_bytes > NARROWEST_LABEL * (end - start):
            _label(ax, row["start_bytes"] + n_bytes / 2, height, readable_size(n_bytes))
    ax.set_xlim(start, end)
    ax.set_yticks(range(len(cases)), cases)
    ax.invert_yaxis()
    ax.grid(visible=False)
    _draw_addresses(ax, start, end)
    _draw_legend(table, ax)


def _label(ax: Axes, x: float, y: float, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    ax.text(x, y, text, horizontalalignment="center", verticalalignment="center", fontsize="small", bbox=box)


def _draw_addresses(ax: Axes, start: int, end: int) -> None:
    step = GIB if end - start > GIB else GIB // 4
    ticks = range(start, end + 1, step)
    ax.set_xticks(list(ticks), [f"{tick:#010x}" for tick in ticks])
    ax.set_xlabel("address")


def _draw_legend(table: pd.DataFrame, ax: Axes) -> None:
    from matplotlib.patches import Patch

    shown = table.assign(n_bytes=table["end_bytes"] - table["start_bytes"])
    handles = [
        Patch(edgecolor="black", facecolor=colour, hatch=hatch, label=_named(shown, name))
        for name, (colour, hatch) in LOOKS.items()
        if name in set(shown["region"])
    ]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _named(shown: pd.DataFrame, region: str) -> str:
    """Name of a region, with its size where all cases agree."""
    sizes = set(shown.loc[shown["region"] == region, "n_bytes"])
    return f"{region}, {readable_size(int(sizes.pop()))}" if len(sizes) == 1 else region


def finding(table: pd.DataFrame) -> str:
    """What part of the area for vmalloc the largest list takes, in the first case that has it."""
    whole = table[table["view"] == "whole"]
    sizes = (
        (whole["end_bytes"] - whole["start_bytes"])
        .groupby([whole["case"], whole["region"]], sort=False)
        .sum()
    )
    lists = sizes.xs("linear list", level="region")
    case = str(lists.idxmax())
    n_bytes, rest = int(lists[case]), int(sizes.get((case, "rest of vmalloc"), 0))
    area = f"{readable_size(n_bytes)} of the {readable_size(n_bytes + rest)} that vmalloc has"
    return f"The list of a {case.replace(' guest, ', ' guest takes, at a split of ')}, {area}"


FIGURE = FigureSpec(
    name="limit-map",
    question="Where the list lies in a 32-bit guest's addresses",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    measured=False,
    n_columns=1,
    panel_inches=(11.0, 2.9),
)
