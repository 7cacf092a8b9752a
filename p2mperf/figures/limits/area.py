"""Virtual area that the linear list needs against guest memory, with every limit where it gives out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look, powers_axis
from p2mperf.sizing import Answer, limits, readable_size
from p2mperf.units import GIB, MIB, TIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AREA_UNIT = "virtual area"
SMALLEST_GUEST, LARGEST_GUEST = GIB // 2, 32 * 1024 * TIB
SMALLEST_AREA, LARGEST_AREA = MIB, 128 * TIB
# Okabe-Ito blue and vermilion; lines and markers differ too, so that the figure reads without colour.
LOOKS = {64: Look("#0072B2", "-", "o"), 32: Look("#D55E00", "--", "s")}
# Labels stand in the two empty corners: those of 64 bits left above the lines, those of 32 bits right below;
# factor from a limit's guest to its label, leftmost place of a label, alignment.
LABELS = {64: (2.0**-1.5, 0.0, "right"), 32: (2.0**1.5, 2.0**40.2, "left")}
LABEL_STEP = 1.35  # powers of two between two labels


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Compute the needs and the limits; nothing measured is used.

    Returns
    -------
    DataFrame
        Rows of part "need" (guest_bytes, area_bytes, entry_bits) and of part "limit", whose guest_bytes is
        the largest guest the limit alone lets be and whose name, unit and available_bytes describe it.
    """
    rows: list[AreaRow] = []
    for width in LOOKS:
        size = SMALLEST_GUEST
        # Doubling past the width would be bad input.
        while size <= min(LARGEST_GUEST, limits(entry_bits=width).on("entry-width").available_bytes):
            rows.append(_need(width, limits(size, entry_bits=width)))
            size *= 2
        rows += _limits(width)
    table = pd.DataFrame(rows)
    beyond = [f"{row.name} of {row.entry_bits} bits" for row in rows if row.guest_bytes > LARGEST_GUEST]
    table.attrs["note"] = (
        f"computed, nothing is measured; beyond the right edge: {', '.join(beyond) or 'no limit'}"
    )
    return table


class AreaRow(NamedTuple):
    """A row of the table, as `data` describes it."""

    part: str
    entry_bits: int
    name: str
    unit: str
    guest_bytes: int
    area_bytes: int
    available_bytes: int


def _need(width: int, answer: Answer) -> AreaRow:
    return AreaRow(
        "need", width, "", AREA_UNIT, answer.guest_bytes, answer.area_bytes, answer.available_bytes
    )


def _limits(width: int) -> list[AreaRow]:
    """Every limit of a width, under whichever hypervisor it exists."""
    hypervisors = ("compat", "native") if width == 32 else ("native",)
    answers = [limits(entry_bits=width, hypervisor=hypervisor) for hypervisor in hypervisors]
    verdicts = {verdict.limit: verdict for answer in answers for verdict in answer.verdicts}
    return [
        AreaRow(
            "limit",
            width,
            verdict.limit,
            verdict.unit,
            verdict.largest_guest_bytes,
            limits(verdict.largest_guest_bytes, entry_bits=width).area_bytes,
            verdict.available_bytes,
        )
        for verdict in verdicts.values()
    ]


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw what `data` computed."""
    # Sizes as Python floats: 64-bit limits exceed int64.
    table = table.astype(dict.fromkeys(("guest_bytes", "area_bytes", "available_bytes"), float))
    for width, look in LOOKS.items():
        of_width = table[table["entry_bits"] == width]
        need = of_width[of_width["part"] == "need"]
        ax.plot(
            need["guest_bytes"],
            need["area_bytes"],
            label=f"{width}-bit entries",
            markersize=3.5,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
        )
        limit = of_width[(of_width["part"] == "limit") & (of_width["guest_bytes"] <= LARGEST_GUEST)]
        _draw_limits(limit, ax, look.colour)
        _draw_labels(limit, ax, width)
    ax.plot(
        [], [], color="0.3", linestyle=":", linewidth=0.9, label="a limit, at the largest guest it allows"
    )
    _draw_axes(ax)


def _draw_limits(table: pd.DataFrame, ax: Axes, colour: str) -> None:
    for row in table.to_dict("records"):
        guest, area = row["guest_bytes"], row["area_bytes"]
        is_area = row["unit"] == AREA_UNIT
        x, y = ((SMALLEST_GUEST, guest), (area, area)) if is_area else ((guest, guest), (SMALLEST_AREA, area))
        ax.plot(x, y, color=colour, linestyle=":", linewidth=0.9, zorder=1)


def _draw_labels(table: pd.DataFrame, ax: Axes, width: int) -> None:
    factor, leftmost, align = LABELS[width]
    places = table.groupby(["guest_bytes", "area_bytes"], sort=True)["name"].agg(", ".join).reset_index()
    heights = _spread([float(area) for area in places["area_bytes"]], LABEL_STEP, upwards=width == 64)
    for (guest, area, name), height in zip(places.itertuples(index=False), heights, strict=True):
        ax.annotate(
            f"{name}: {readable_size(int(guest))}",
            (guest, area),
            (max(guest * factor, leftmost), height),
            color=LOOKS[width].colour,
            horizontalalignment=align,
            verticalalignment="center",
            fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            arrowprops={
                "arrowstyle": "-",
                "color": LOOKS[width].colour,
                "linewidth": 0.7,
                "relpos": (0 if align == "left" else 1, 0.5),
            },
        )


def _spread(values: list[float], step: float, upwards: bool) -> list[float]:
    """Move labels apart by at least `step` powers of two, keeping their order."""
    factor = 2.0**step
    spread: list[float] = []
    for value in values if upwards else reversed(values):
        if spread:
            value = max(value, spread[-1] * factor) if upwards else min(value, spread[-1] / factor)
        spread.append(value)
    return spread if upwards else spread[::-1]


def _draw_axes(ax: Axes) -> None:
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xlim(SMALLEST_GUEST, LARGEST_GUEST)
    ax.set_ylim(SMALLEST_AREA, LARGEST_AREA)
    powers_axis(ax.xaxis, range(30, 56, 5))
    powers_axis(ax.yaxis, range(20, 47, 5))
    ax.set_xlabel("guest memory [bytes]")
    ax.set_ylabel("virtual area for the list [bytes]")
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0.9), frameon=False)


def finding(table: pd.DataFrame) -> str:
    """What area a GiB of guest takes, and how far each limit of the area alone lets guests grow."""
    said = []
    for width, rows in table.groupby("entry_bits", sort=False):
        need = rows[rows["part"] == "need"].iloc[-1]
        per_gib = int(need["area_bytes"]) * GIB // int(need["guest_bytes"])
        area = rows[(rows["part"] == "limit") & (rows["unit"] == AREA_UNIT)]
        largest = min(int(n_bytes) for n_bytes in area["guest_bytes"])
        said.append(
            f"{width}-bit entries {readable_size(per_gib)} a GiB of guest, up to {readable_size(largest)}"
        )
    return f"The list's virtual area: {'; '.join(said)}"


FIGURE = FigureSpec(
    name="limit-area",
    question="Virtual area that the list needs, and what limits it",
    data=data,
    draw=draw,
    finding=finding,
    measured=False,
    panel_inches=(9.0, 5.4),
)
