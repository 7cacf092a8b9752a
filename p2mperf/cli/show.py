"""What commands show: data on stdout as text, as a table or as JSON, and talk on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from p2mperf.progress import Line, Progress, say

if TYPE_CHECKING:
    import pandas as pd

    from p2mperf.host.watch import Unrest

__all__ = ["Line", "Progress", "data", "frame_as_json", "note", "say", "text_table", "unrest_line", "write"]


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
