"""What commands show: data on stdout as text, as a table or as JSON, and talk on stderr."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING

from p2mperf.cli.invocation import as_called, program
from p2mperf.progress import (
    ANY_WIDTH,
    NO_BREAK,
    Line,
    Progress,
    broken,
    say as say_as_it_is,
    stderr_columns,
)

if TYPE_CHECKING:
    import pandas as pd

    from p2mperf.host.watch import Unrest

__all__ = [
    "NO_BREAK",
    "Line",
    "Progress",
    "as_it_is",
    "called",
    "data",
    "frame_as_json",
    "line_width",
    "note",
    "reason_in_short",
    "say",
    "table",
    "terminal_width",
    "text_table",
    "unrest_line",
    "write",
]
# How long lines of prose are at most.
_PROSE_WIDTH = 108
_LEAST_CELL, _LONGEST_WORD = 10, 20
# A first word, and what stands beside it.
_BESIDE = re.compile(r"\s*\S+\s{2,}")


def write(text: str) -> None:
    """Write lines for people on stdout; on a terminal, those that are longer than it is wide are broken."""
    width = terminal_width()
    as_it_is("\n".join(line if len(line) <= width else _broken(line, width) for line in text.split("\n")))


def as_it_is(text: str) -> None:
    """Write lines on stdout that a program reads, or a shell."""
    sys.stdout.write(f"{text}\n")


def _broken(line: str, width: int) -> str:
    """A line in several, which go on below what stands beside its first word, or further in."""
    beside = _BESIDE.match(line)
    indent = beside.end() if beside else len(line) - len(line.lstrip()) + 2
    return broken(line, width, min(indent, width // 2))


def note(text: str) -> None:
    """Write what to know about the data on stdout on stderr; lines further in are commands, kept whole."""
    width = stderr_columns()
    lines = as_called(text).split("\n")
    broken_lines = (line if line.startswith("  ") else broken(line, width, 2) for line in lines)
    sys.stderr.write("\n".join(broken_lines) + "\n")


def say(sentence: str) -> None:
    """Say one sentence on stderr, and who says it; a command in it is named as this one was called."""
    say_as_it_is(as_called(sentence))


def called(arguments: str) -> str:
    """Write a command that somebody can type: as this one was called, with other arguments."""
    return f"{program()} {arguments}"


def data(plain: object) -> None:
    """Write anything that JSON can hold on stdout."""
    as_it_is(json.dumps(plain, indent=2))


def frame_as_json(frame: pd.DataFrame) -> None:
    """Write a table on stdout as JSON, one object a row."""
    as_it_is(frame.to_json(orient="records", indent=2))


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
        return as_it_is(frame.to_csv(index=False, lineterminator="\n").rstrip("\n"))
    same = [name for name in quiet if name in frame and len(set(frame[name].astype(str))) == 1]
    values = {name: _brief(frame[name].iloc[0]) for name in same}
    if said := ", ".join(f"{name} {value}" for name, value in values.items() if value not in ("", "-")):
        note(f"in all rows: {said}")
    rest = frame.drop(columns=same)
    rows = [[_brief(value) for value in row] for row in rest.itertuples(index=False, name=None)]
    heads = list(map(str, rest.columns))
    as_it_is(_markdown(heads, rows) if form == "markdown" else text_table(heads, rows))


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


def text_table(heads: Iterable[str], rows: Iterable[Iterable[object]], width: int | None = None) -> str:
    """Lay rows out in columns as wide as their widest cell, and no wider together than the terminal.

    Parameters
    ----------
    heads : iterable of str
        Names of the columns.
    rows : iterable of iterables
        Cells, shown as `str` does.
    width : int, optional
        Characters that a line may have; default: those of the terminal, and any number elsewhere.

    Returns
    -------
    str
        Lines without a final newline. Where a row does not fit, cells of several words go on in the line
        below; where that does not do either, each row is a block of lines, one a column.

    Examples
    --------
    >>> print(text_table(("name", "what it is"), [("list", "what there is to name")], width=20))
    name  what it is
    list  what there is
          to name
    """
    lines = [tuple(map(str, line)) for line in (heads, *rows)]
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    room = (terminal_width() if width is None else width) - 2 * (len(widths) - 1)
    if sum(widths) > room:
        least = [max(_longest_word(cell) for cell in column) for column in columns]
        if sum(least) > room:
            return _blocks(lines, room + 2 * (len(widths) - 1))
        widths = _narrowed(widths, least, room)
    return "\n".join(text for line in lines for text in _laid_out(line, widths))


def terminal_width() -> int:
    """How many characters a line of stdout may have: those of a terminal, and any number elsewhere."""
    return shutil.get_terminal_size((ANY_WIDTH, 0)).columns


def line_width() -> int:
    """How long lines of prose on stdout are to be."""
    return min(terminal_width(), _PROSE_WIDTH)


def _longest_word(cell: str) -> int:
    """What a column has to be wide for a cell: names are not broken, but paths and ranges may be."""
    return min(max(map(len, cell.split(" "))), _LONGEST_WORD)


def _narrowed(widths: list[int], least: list[int], room: int) -> list[int]:
    """Widths that fit into some room, taken from the widest columns first."""
    widths = list(widths)
    while sum(widths) > room:
        _, at = max((width, at) for at, width in enumerate(widths) if width > least[at])
        widths[at] -= 1
    return widths


def _laid_out(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """One row, in as many lines as its longest cell takes."""
    cells = [
        [cell] if len(cell) <= width else wrap(cell, width, break_on_hyphens=False)
        for cell, width in zip(line, widths, strict=True)
    ]
    for parts in zip_longest(*cells, fillvalue=""):
        line = "  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
        yield line.replace(NO_BREAK, " ")


def _blocks(lines: Sequence[Sequence[str]], width: int) -> str:
    """Each row as lines of a column's name and its cell."""
    heads, *rows = lines
    indent = max(map(len, heads)) + 2
    blocks = []
    for row in rows:
        named = [(head, cell) for head, cell in zip(heads, row, strict=True) if cell]
        texts = (wrap(cell, max(width - indent, _LEAST_CELL), break_on_hyphens=False) for _, cell in named)
        blocks.append(
            "\n".join(
                f"{head if not at else '':{indent}}{part}"
                for (head, _), parts in zip(named, texts, strict=True)
                for at, part in enumerate(parts)
            )
        )
    return "\n\n".join(blocks).replace(NO_BREAK, " ")


def reason_in_short(reason: str) -> str:
    """Shorten a verdict's reason to what a table does not say elsewhere: not its interval, and no rule twice.

    Examples
    --------
    >>> reason_in_short("interval 0.97 to 1.06 holds 1 and reaches beyond 3 %")
    'holds 1 and reaches beyond 3 %'
    """
    said = re.sub(r"^interval \S+ to \S+ (excludes 1, )?", "", reason)
    said = re.sub(r", stays under Benjamini-Hochberg.*? rows?\b", "", said)
    said = re.sub(r"under Benjamini-Hochberg.*? rows?\b", "among all rows", said)
    return re.sub(r"\bp = ", f"p{NO_BREAK}={NO_BREAK}", said)


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
    return f"measured in unrest: {said}; `{called('doctor')}` says what to do" if said else ""
