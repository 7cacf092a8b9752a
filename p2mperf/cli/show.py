"""What commands show: data on stdout as text, as a table or as JSON, and talk on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from p2mperf.progress import Line, Progress, say

if TYPE_CHECKING:
    import pandas as pd

    from p2mperf.host.watch import Unrest

__all__ = [
    "Line",
    "Progress",
    "data",
    "frame_as_json",
    "note",
    "say",
    "table",
    "text_table",
    "unrest_line",
    "write",
]


def write(text: str) -> None:
    """Write lines on stdout."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """Write lines on stderr as they are: what to know about the data on stdout."""
    sys.stderr.write(f"{text}\n")


def data(plain: object) -> None:
    """Write anything that JSON can hold on stdout."""
    write(json.dumps(plain, indent=2))


def frame_as_json(frame: pd.DataFrame) -> None:
    """Write a table on stdout as JSON, one object a row."""
    write(frame.to_json(orient="records", indent=2))


def table(frame: pd.DataFrame, form: str | None = None, quiet: Iterable[str] = ()) -> None:
    """Write a table on stdout for people, or in full for programs.

    Parameters
    ----------
    frame : pandas.DataFrame
        What to write.
    form : str, optional
        json, csv or markdown; default: aligned text. The first two have every column and every digit.
    quiet : iterable of str
        Columns of which text and markdown show none that has one value throughout: it is noted on stderr
        instead.
    """
    if form == "json":
        return data(
            [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]
        )
    if form == "csv":
        return write(frame.to_csv(index=False, lineterminator="\n").rstrip("\n"))
    same = [name for name in quiet if name in frame and len(set(frame[name].astype(str))) == 1]
    values = {name: _brief(frame[name].iloc[0]) for name in same}
    if said := ", ".join(f"{name} {value}" for name, value in values.items() if value not in ("", "-")):
        note(f"in all rows: {said}")
    rest = frame.drop(columns=same)
    rows = [[_brief(value) for value in row] for row in rest.itertuples(index=False, name=None)]
    heads = list(map(str, rest.columns))
    write(_markdown(heads, rows) if form == "markdown" else text_table(heads, rows))


def _plain(value: object) -> object:
    """A value as JSON can hold it: it knows no nan."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _brief(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else "-"
    return str(value)


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    # What has a bar or a line's end in it, as somebody's design may, must not break the table.
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in line)} |"
        for line in lines
    )


def text_table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Lay rows out in columns as wide as their widest cell.

    Parameters
    ----------
    heads : iterable of str
        Names of the columns.
    rows : iterable of iterables
        Cells, shown as `str` does.

    Returns
    -------
    str
        Lines without a final newline.
    """
    lines = [tuple(map(str, line)) for line in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def unrest_line(found: Iterable[Unrest]) -> str:
    """One line on what spoilt the numbers it stands beside.

    Parameters
    ----------
    found : iterable of Unrest
        What was seen.

    Returns
    -------
    str
        Empty for a quiet machine.
    """
    said = "; ".join(one.seen for one in found)
    return f"measured in unrest: {said}; `python -m p2mperf doctor` says what to do" if said else ""
