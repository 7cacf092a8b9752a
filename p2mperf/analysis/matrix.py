"""Verdicts of a summary side by side: a row an operation and stream, a column a guest; and their counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from p2mperf.analysis.labels import design_word, operation_words, preamble_words
from p2mperf.analysis.summary import Pair, pairs_of
from p2mperf.units import format_size

_DESIGNS = ["family", "design", "reference"]
_ASKED = ["operation", "preamble"]
_IN_SHORT = {"equivalent": "same", "not resolved": "?", "no verdict": "-"}


@dataclass(frozen=True)
class Matrix:
    """What is said of two designs, guest by guest.

    Attributes
    ----------
    family, design, reference : str
        The two, and the family that they are of.
    rows : tuple of str
        What was timed: the operation with what comes before it, and the stream; with the page backing and the
        limit of memory where there are several.
    guests : tuple of str
        By width and size.
    cells : mapping of (str, str) to Pair
        What was found, by row and guest. Not every guest has every row.
    """

    family: str
    design: str
    reference: str
    rows: tuple[str, ...]
    guests: tuple[str, ...]
    cells: Mapping[tuple[str, str], Pair]

    def as_frame(self) -> pd.DataFrame:
        """Write each cell as `in_short` has it, "" where nothing was measured."""
        said = {
            guest: [
                in_short(self.cells[row, guest], self.family) if (row, guest) in self.cells else ""
                for row in self.rows
            ]
            for guest in self.guests
        }
        return pd.DataFrame(said, index=pd.Index(self.rows, name="what"))


def matrices(table: pd.DataFrame) -> list[Matrix]:
    """Lay the rows of a summary out, a matrix for each two designs.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a `p2mperf.analysis.summary.summary` of one machine, boot and code, with the verdicts that
        they have among each other.

    Returns
    -------
    list of Matrix
        In the order of the table.
    """
    several = [name for name in ("backing", "limit_bytes") if len(set(table[name])) > 1]
    found = []
    for key, part in table.groupby(_DESIGNS, sort=False):
        family, design, reference = map(str, key)
        ordered = part.sort_values(["entry_bits", "guest_bytes", "guest"], ascending=[False, True, True])
        rows = _rows(ordered, several)
        guests = ordered["guest"].tolist()
        cells = dict(zip(zip(rows, guests, strict=True), pairs_of(ordered), strict=True))
        found.append(Matrix(family, design, reference, _once(_rows(part, several)), _once(guests), cells))
    return found


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """Count the verdicts of a summary.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a summary.

    Returns
    -------
    pandas.DataFrame
        One row a family, two designs, operation and preamble: how many comparisons, in how many the design
        and its reference are faster, how many are equivalent, not resolved and without verdict, how many have
        a mark, and the lowest and highest ratio.
    """
    rows = []
    pairs = (both for _, both in table.groupby(_DESIGNS, sort=False))
    for asked, part in (each for both in pairs for each in both.groupby(_ASKED, sort=False)):
        operation, preamble = map(str, asked)
        family, design, reference = (str(part[name].iloc[0]) for name in _DESIGNS)
        verdicts = part["verdict"]
        rows.append(
            {
                "family": family,
                "design": design,
                "reference": reference,
                "operation": operation,
                "preamble": preamble,
                "n_comparisons": len(part),
                "n_design_faster": int((part["faster"] == design).sum()),
                "n_reference_faster": int((part["faster"] == reference).sum()),
                "n_equivalent": int((verdicts == "equivalent").sum()),
                "n_not_resolved": int((verdicts == "not resolved").sum()),
                "n_no_verdict": int((verdicts == "no verdict").sum()),
                "n_marked": int((part["marks"] != "").sum()),
                "lowest_ratio": part["ratio"].min(),
                "highest_ratio": part["ratio"].max(),
            }
        )
    return pd.DataFrame(rows)


def in_short(pair: Pair, family: str) -> str:
    """Say the ratio of two designs and who is faster, as a cell of a matrix has room for.

    Parameters
    ----------
    pair : Pair
        What was found.
    family : str
        Of the two, which the name of the faster one need not repeat.

    Returns
    -------
    str
        ``1.07 list``; ``same`` where the two are equivalent, ``?`` where that is not resolved, and ``-`` for
        too few processes. A star stands for a mark.
    """
    said = design_word(pair.faster, family) if pair.faster else _IN_SHORT.get(pair.verdict, pair.verdict)
    return f"{pair.ratio:.2f} {said}" + "*" * bool(pair.marks)


def what_words(operation: str, preamble: str, family: str) -> str:
    """Say what was timed, and after what.

    Parameters
    ----------
    operation, preamble, family : str
        As results call them; no preamble is "".

    Examples
    --------
    >>> what_words("entry", "tight", "pv"), what_words("latency", "", "pv")
    ('lookups of a kernel entry, at once', 'lookups one after the other')
    """
    return ", ".join(filter(None, (operation_words(operation), preamble_words(preamble, family))))


def _rows(cells: pd.DataFrame, several: list[str]) -> list[str]:
    """What each cell is of, but for its guest, in words."""
    names = ["operation", "preamble", "family", "stream_label", "backing", "limit_bytes"]
    rows = []
    for operation, preamble, family, stream, backing, limit_bytes in cells[names].itertuples(index=False):
        parts = [what_words(operation, preamble, family), stream]
        if "backing" in several:
            parts.append(f"{backing} pages")
        if "limit_bytes" in several:
            parts.append(f"room up to {format_size(limit_bytes)}" if limit_bytes else "no limit")
        rows.append("; ".join(parts))
    return rows


def _once(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
