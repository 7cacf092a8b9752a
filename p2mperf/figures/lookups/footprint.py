"""What each layout takes: its pages by kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from p2mperf.analysis.labels import design_word
from p2mperf.analysis.samples import host_note, of_designs, refuse_empty
from p2mperf.analysis.summary import SHOWN_AXES, references_of
from p2mperf.analysis.words import sentence
from p2mperf.figures.spec import FigureSpec, PanelSize
from p2mperf.figures.style import room_note
from p2mperf.results.fields import CELL_AXES, RECORDS
from p2mperf.units import GIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What tells tables apart: all that a cell is but what is done with them.
_DONE_WITH_THEM = set(CELL_AXES) - {*RECORDS["unit"], *RECORDS["design"]}
KEYS = [*(axis for axis in SHOWN_AXES if axis not in _DONE_WITH_THEM), "design"]
_COLUMN = re.compile(r"footprint_(.+)_pages")
_ROW_INCHES, _FRAME_INCHES = 0.23, 0.9


class _Fill(NamedTuple):
    """What tells one kind of pages from another, with colour and without."""

    colour: str
    hatch: str = ""


# Leaves grey; what the software walk needs in warm, what the MMU's view needs in cold colours. Neighbours in
# a bar differ in how light they are, and have hatches of their own.
_FILLS = {
    "leaf": _Fill("#D0D0D0"),
    "leaf_shared": _Fill("#F4F4F4", "...."),
    "mid": _Fill("#D55E00"),
    "mid_shared": _Fill("#F6C58A", "////"),
    "top": _Fill("#FFF2A8", "xxxx"),
    "pte": _Fill("#0072B2"),
    "pte_shared": _Fill("#A8D8F2", "\\\\\\\\"),
    "pmd": _Fill("#006B50", "----"),
    "pud": _Fill("#C9EBDD", "||||"),
    "pgd": _Fill("#E3B5D0", "oo"),
    "hole_window": _Fill("#333333", "++"),
}
_OTHER = _Fill("#882255")
ALL, OTHERS = "All pages, in proportion to the guest", "Pages other than private leaves, by kind"


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Count pages by kind for each guest and design.

    Returns
    -------
    pandas.DataFrame
        What tells units apart, ``design``, ``kind`` and ``n_pages``: counted, not predicted.
    """
    columns = [column for column in frame.columns if _COLUMN.fullmatch(column)]
    built = of_designs(frame[frame["build_ns"].notna()]).drop_duplicates(KEYS)
    long = built.melt(KEYS, columns, "column", "n_pages").dropna(subset="n_pages")
    long["kind"] = long["column"].str.extract(_COLUMN.pattern, expand=False)
    table = long.drop(columns="column").reset_index(drop=True)
    table.attrs["note"] = f"{host_note(frame)}; pages are counted, not predicted"
    return table


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """All pages in proportion to the guest, and of which kinds those are that are no private leaves."""
    refuse_empty(table, "no design was built")
    table = _distinct(table)
    share = table.assign(value=table["n_pages"].astype(float) * 4 / (table["guest_bytes"] / GIB))
    # Where nothing is left, values of the whole table would come in as rows of their own.
    others = table[table["kind"] != "leaf"]
    total = others.groupby(KEYS, sort=False)["n_pages"].transform("sum").astype(float)
    count = others.assign(value=100 * others["n_pages"].astype(float) / total.clip(lower=1))
    share.attrs["label"], count.attrs["label"] = "KiB for each GiB of guest", "share [%]; right of it: pages"
    rows = _rows(table)
    share.attrs["rows"] = count.attrs["rows"] = rows
    count.attrs["totals"] = others.groupby(KEYS, sort=False)["n_pages"].sum().astype(int).to_dict()
    return [(ALL, share), (OTHERS, count)]


def _rows(table: pd.DataFrame) -> dict[tuple[object, ...], str]:
    """Names of what is shown by what tells it apart, in the order in which it is read."""
    order = table.drop_duplicates(KEYS).assign(_narrow=-table["entry_bits"])
    first = ["family", "_narrow", "guest_bytes", "guest", "design"]
    order = order.sort_values(list(dict.fromkeys([*first, *KEYS])))
    return {
        tuple(key): f"{row.guest}, {design_word(str(row.design), str(row.family))}{room_note(table, row)}"
        for key, row in zip(order[KEYS].itertuples(index=False), order.itertuples(), strict=True)
    }


def size(part: pd.DataFrame) -> PanelSize:
    """As high as there are tables."""
    return PanelSize(6.2, _ROW_INCHES * max(4, len(part.attrs["rows"])), _FRAME_INCHES)


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Lay the kinds of pages of each guest and design end to end."""
    rows = table.attrs["rows"]
    places = {key: place for place, key in enumerate(rows)}
    left = np.zeros(len(places))
    for kind in sorted(set(table["kind"]), key=_rank):
        widths = np.zeros(len(places))
        part = table[table["kind"] == kind]
        for key, value in zip(part[KEYS].itertuples(index=False), part["value"], strict=True):
            widths[places[tuple(key)]] = value
        look = _FILLS.get(kind, _OTHER)
        ax.barh(
            range(len(places)),
            widths,
            0.78,
            left,
            color=look.colour,
            hatch=look.hatch,
            edgecolor="0.25",
            linewidth=0.4,
            label=kind.replace("_", " "),
        )
        left += widths
    for key, n_pages in table.attrs.get("totals", {}).items():
        ax.annotate(f"{n_pages}", (101.5, places[tuple(key)]), va="center", size=8, annotation_clip=False)
    ax.set_yticks(range(len(places)), rows.values(), size=8.5)
    ax.set_ylim(len(places) - 0.4, -0.6)
    ax.set_xlabel(table.attrs.get("label", ""))
    ax.grid(visible=False, axis="y")


def _distinct(table: pd.DataFrame) -> pd.DataFrame:
    """The same without the units whose tables differ from another's by no page, but by the pages' backing."""
    counts = table.pivot_table("n_pages", KEYS, "kind", aggfunc="first").reset_index()
    counts = counts.drop_duplicates([name for name in counts if name != "backing"])
    return table.merge(counts[KEYS], on=KEYS)


def _rank(kind: str) -> tuple[int, str]:
    """Kinds as they stand among the fills, then the others by name: never as a set happens to hold them."""
    return (list(_FILLS).index(kind) if kind in _FILLS else len(_FILLS), kind)


def finding(table: pd.DataFrame) -> str:
    """How many pages a family's reference takes beside another design: over all guests, and where most."""
    family = str(table["family"].iloc[0])
    totals = table.groupby(KEYS, sort=False)["n_pages"].sum().astype(float).reset_index()
    reference = next(iter(references_of(family, sorted(set(totals["design"]))).values()), "")
    of_guest = [key for key in KEYS if key != "design"]
    both = totals.merge(totals[totals["design"] == reference], on=of_guest, suffixes=("", "_reference"))
    both = both[both["design"] != reference]
    if not len(both):
        return ""
    both = both.assign(factor=both["n_pages_reference"] / both["n_pages"].clip(lower=1))
    both = both.sort_values("factor", kind="stable")
    least, most = both.iloc[0], both.iloc[-1]
    one, other = (design_word(str(most[name]), family) for name in ("design_reference", "design"))
    ends = [f"{row['factor']:.2f}" for row in (least, most)]
    if ends[0] == ends[1]:
        return sentence(f"the {one} takes {ends[0]} times the pages of the {other} in every guest")
    where = f"most in {most['guest']}"
    return sentence(f"the {one} takes {' to '.join(ends)} times the pages of the {other}: {where}")


FIGURE = FigureSpec(
    name="footprint",
    question="What each layout takes, by kind of page",
    data=data,
    draw=draw,
    panels=panels,
    finding=finding,
    by_family=True,
    panel_size=size,
    shared_legend=True,
)
