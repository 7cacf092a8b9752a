"""Rows of comparisons by guest: their order and their names, for figures that have a row a guest."""

from __future__ import annotations

from typing import Any

import pandas as pd

from p2mperf.analysis.labels import design_word
from p2mperf.designs.backing import KERNEL
from p2mperf.figures.style import room_note

Key = tuple[Any, ...]
# What one row is of.
ROW_KEYS = ["family", "design", "reference", "geometry", "guest", "backing", "limit_bytes"]


def by_guest(table: pd.DataFrame) -> pd.DataFrame:
    """Put comparisons into the order in which they are read, and name the row of each.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a `p2mperf.analysis.summary.summary`.

    Returns
    -------
    pandas.DataFrame
        The kernel's layout first, then wide entries before narrow ones and small guests before large ones;
        with a column ``row``, the guest and what else there are several of.
    """
    pairs = list(dict.fromkeys(table[["design", "reference"]].itertuples(index=False, name=None)))
    place = [pairs.index(pair) for pair in table[["design", "reference"]].itertuples(index=False, name=None)]
    table = table.assign(_pair=place, _other=table["backing"] != KERNEL, _narrow=-table["entry_bits"])
    order = ["_pair", "_other", "backing", "_narrow", "geometry", "guest_bytes", "guest", "limit_bytes"]
    table = table.sort_values(order, kind="stable", ignore_index=True)
    note = {key: room_note(table, row) for key, row in _first_rows(table)}
    keys = list(table[ROW_KEYS].itertuples(index=False, name=None))
    is_one = len(pairs) == 1
    names = [key[4] + note[key] + ("" if is_one else "\n" + pair_words(*key[:3])) for key in keys]
    return table.assign(row=_distinct(names, keys)).drop(columns=["_pair", "_other", "_narrow"])


def _first_rows(table: pd.DataFrame) -> list[tuple[Key, Any]]:
    first = table.drop_duplicates(ROW_KEYS)
    return list(zip(first[ROW_KEYS].itertuples(index=False, name=None), first.itertuples(), strict=True))


def pair_words(family: str, design: str, reference: str) -> str:
    """Call a comparison by its two designs.

    Parameters
    ----------
    family, design, reference : str
        As a summary has them.
    """
    return f"{design_word(design, family)} / {design_word(reference, family)}"


def _distinct(names: list[str], keys: list[Key]) -> list[str]:
    """The same names, with the geometry behind those that two rows would share."""
    rows: dict[str, set[Key]] = {}
    for name, key in zip(names, keys, strict=True):
        rows.setdefault(name, set()).add(key)
    return [
        name if len(rows[name]) == 1 else f"{name}, {key[3]}" for name, key in zip(names, keys, strict=True)
    ]
