"""Largest 32-bit guest against vmalloc=: the area grows, low memory shrinks, and fixed caps lie between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from p2mperf.figures.spec import FigureSpec
from p2mperf.figures.style import Look, powers_axis
from p2mperf.sizing import limits, readable_size
from p2mperf.units import GIB, MIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe-Ito blue and vermilion, and lines that differ too.
SPLITS = {"3:1": Look("#0072B2"), "2:2": Look("#D55E00", "--")}
ALL = "all limits"
HIGHEST_VMALLOC = 2048 * MIB
LOWEST_GUEST, HIGHEST_GUEST = GIB // 4, 256 * GIB
NAMED_AT = 16 * MIB  # where the names of curves stand
ABOVE, BELOW = (4, 4), (12, -12)  # offsets of a name, the latter for a rising curve [points]


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Search the largest guests; nothing measured is used.

    Returns
    -------
    DataFrame
        Columns split, vmalloc_bytes, limit (a name, or "all limits" for the guest that passes every one) and
        guest_bytes.
    """
    rows = []
    for split in SPLITS:
        for vmalloc in _vmallocs():
            answer = limits(entry_bits=32, vmalloc=vmalloc, split=split)
            each = {verdict.limit: verdict.largest_guest_bytes for verdict in answer.verdicts}
            rows += [
                {"split": split, "vmalloc_bytes": vmalloc, "limit": name, "guest_bytes": guest}
                for name, guest in (each | {ALL: answer.largest_guest_bytes}).items()
            ]
    table = pd.DataFrame(rows)
    table.attrs["note"] = "computed for a 32-bit guest on a 64-bit hypervisor; nothing is measured"
    return table


def _vmallocs() -> list[int]:
    """Every MiB where the granules show as steps, then ever wider."""
    values, value = [], 1
    while value * MIB <= HIGHEST_VMALLOC:
        values.append(value * MIB)
        value += max(1, value // 64)
    return values


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw what `data` found."""
    single = table[table["limit"] != ALL]
    for name, part in single.groupby("limit", sort=False):
        if len(set(part["guest_bytes"])) == 1:
            _draw_cap(ax, str(name), int(part["guest_bytes"].iloc[0]))
        else:
            _draw_curves(ax, str(name), part)
    for split, look in SPLITS.items():
        best = table[(table["limit"] == ALL) & (table["split"] == split) & (table["guest_bytes"] > 0)]
        label = f"all limits, {split} split"
        ax.step(
            best["vmalloc_bytes"],
            best["guest_bytes"],
            look.line,
            where="post",
            color=look.colour,
            linewidth=2.6,
            label=label,
        )
    _draw_axes(ax)


def _draw_cap(ax: Axes, name: str, guest_bytes: int) -> None:
    if guest_bytes <= HIGHEST_GUEST:
        ax.axhline(guest_bytes, color="0.35", linewidth=0.9, linestyle=":", zorder=1)
        _name(ax, MIB, guest_bytes, f"{name} {readable_size(guest_bytes)}", "0.25", ABOVE)


def _draw_curves(ax: Axes, name: str, part: pd.DataFrame) -> None:
    splits_at: dict[tuple[float, float, bool], list[str]] = {}
    for split, look in SPLITS.items():
        curve = part[(part["split"] == split) & (part["guest_bytes"] > 0)]
        sizes, guests = curve["vmalloc_bytes"].tolist(), curve["guest_bytes"].tolist()
        ax.step(sizes, guests, ":", where="post", linewidth=0.9, color=look.colour)
        place = next(index for index, size in enumerate(sizes) if size >= NAMED_AT)
        splits_at.setdefault((sizes[place], guests[place], guests[-1] > guests[place]), []).append(split)
    for (x, y, rises), splits in splits_at.items():
        colour = SPLITS[splits[0]].colour if len(splits) == 1 else "0.25"
        _name(ax, x, y, f"{name}, {' and '.join(splits)}", colour, BELOW if rises else ABOVE)


def _name(ax: Axes, x: float, y: float, text: str, colour: str, offset: tuple[int, int]) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    ax.annotate(text, (x, y), offset, textcoords="offset points", color=colour, fontsize="small", bbox=box)


def _draw_axes(ax: Axes) -> None:
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xlim(MIB, HIGHEST_VMALLOC)
    ax.set_ylim(LOWEST_GUEST, HIGHEST_GUEST)
    powers_axis(ax.xaxis, range(20, 32))
    powers_axis(ax.yaxis, range(28, 39))
    ax.set_xlabel("vmalloc= [bytes]")
    ax.set_ylabel("largest guest [bytes]")
    ax.legend(loc="lower center")


def finding(table: pd.DataFrame) -> str:
    """The largest guest that passes every limit, and the area that it takes at the least."""
    splits: dict[tuple[int, int], list[str]] = {}
    for split, rows in table[table["limit"] == ALL].groupby("split", sort=False):
        most = int(rows["guest_bytes"].max())
        least = int(rows.loc[rows["guest_bytes"] == most, "vmalloc_bytes"].min())
        splits.setdefault((most, least), []).append(str(split))
    said = [
        f"{readable_size(most)} from vmalloc={readable_size(least)} on at a split of {' or '.join(names)}"
        for (most, least), names in splits.items()
    ]
    return f"The largest 32-bit guest has {'; '.join(said)}"


FIGURE = FigureSpec(
    name="limit-largest",
    question="Largest guest against vmalloc=",
    data=data,
    draw=draw,
    finding=finding,
    measured=False,
    panel_inches=(9.0, 5.4),
)
