"""What the tables of a PV guest take, by arithmetic: what a page of entries covers, how many there are."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from p2mperf.analysis.labels import LIST, TREE
from p2mperf.designs import find
from p2mperf.guests.geometries import find_geometry
from p2mperf.guests.guest import Guest
from p2mperf.units import PAGE_SIZE


def widths() -> pd.DataFrame:
    """Say what a leaf, a mid page and the top page cover, a row a width of entries.

    Returns
    -------
    pandas.DataFrame
        entry_bits, entry_bytes, entries of a page, and leaf_covers_bytes, mid_covers_bytes, top_covers_bytes.
    """
    return pd.DataFrame(
        {
            "entry_bits": shape.entry_bits,
            "entry_bytes": shape.entry_bytes,
            "entries of a page": shape.leaf_frames,
            "leaf_covers_bytes": shape.leaf_frames * PAGE_SIZE,
            "mid_covers_bytes": shape.mid_frames * PAGE_SIZE,
            "top_covers_bytes": shape.max_frames * PAGE_SIZE,
        }
        for shape in map(find_geometry, ("pv64", "pv32"))
    )


def footprints(sizes: Sequence[str]) -> pd.DataFrame:
    """Count the pages of tree and list for 64-bit guests that are all RAM, without building them.

    Parameters
    ----------
    sizes : sequence of str
        Memory of the guests, as "8G".

    Returns
    -------
    pandas.DataFrame
        A row a guest: guest, and private leaves and other pages of either.
    """
    rows = []
    for size in sizes:
        guest = Guest.plain(size)
        counts = {
            name: find(design).predict_footprint(guest) for name, design in (("tree", TREE), ("list", LIST))
        }
        leaves = {f"leaves, {name}": one.pages["leaf"] for name, one in counts.items()}
        others = {f"others, {name}": one.n_pages - one.pages["leaf"] for name, one in counts.items()}
        rows.append({"guest": size, **leaves, **others})
    return pd.DataFrame(rows)
