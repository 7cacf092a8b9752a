"""From a figure's table to a picture and its files: panels, their sizes, the title and the note."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from io import BytesIO
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from p2mperf.interrupts import interrupts_held
from p2mperf.results.files import remove_left_over, replace_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from p2mperf.figures.spec import FigureSpec

STYLE = Path(__file__).with_name("p2mperf.mplstyle")
FORMATS = ("svg", "png", "pdf")
_TITLE_SIZE, _NOTE_SIZE = 14.0, 8.5  # of letters [points]
# Letters of these sizes that an inch holds: of bold ones, and of plain ones.
_TITLE_LETTERS, _NOTE_LETTERS = 7.8, 14.5
_NOTE_INCHES = 0.15  # a line of the note
# A line of the title, a line of a legend, one of its letters, and what stands before a label [inches].
_TITLE_INCHES, _LEGEND_LINE_INCHES, _LEGEND_LETTER_INCHES, _HANDLE_INCHES = 0.27, 0.205, 0.078, 0.6


def lay_out(spec: FigureSpec, table: pd.DataFrame) -> Figure:
    """Draw a figure's table.

    Parameters
    ----------
    spec : FigureSpec
        Whose.
    table : pandas.DataFrame
        What its ``data`` made.

    Returns
    -------
    matplotlib.figure.Figure
        Titled by what the table shows.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = spec.panels(table)
    n_columns = min(len(panels), spec.n_columns)
    sizes = [spec.size_of(part) for _, part in panels]
    widths = [max(size.width for size in sizes[column::n_columns]) for column in range(n_columns)]
    rows = [sizes[first : first + n_columns] for first in range(0, len(sizes), n_columns)]
    # The layout gives axes, not panels, heights of these proportions.
    heights = [max(size.height for size in row) for row in rows]
    around = sum(max(size.around for size in row) for row in rows)
    title = fill(spec.title_of(table), int(_TITLE_LETTERS * sum(widths)))
    title_inches = _TITLE_INCHES * (1 + title.count("\n"))
    note = _broken_note(str(table.attrs.get("note", "")), sum(widths))
    height = sum(heights) + around + title_inches + _NOTE_INCHES * (1 + note.count("\n"))
    with mpl.rc_context(fname=STYLE):
        fig = Figure(figsize=(sum(widths), height), layout="constrained")
        axes = fig.subplots(
            len(rows),
            n_columns,
            squeeze=False,
            gridspec_kw={"width_ratios": widths, "height_ratios": heights},
        )
        for ax, (panel_title, part) in zip(axes.flat, panels, strict=False):
            spec.draw(part, ax)
            if panel_title:
                ax.set_title(panel_title)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        if spec.shared_legend:
            _legend(fig, axes.flat[: len(panels)], title_inches)
        fig.suptitle(title, x=0.01, ha="left", weight="bold", size=_TITLE_SIZE)
        if note:
            fig.supxlabel(note, x=0.01, ha="left", size=_NOTE_SIZE, color="0.35")
    return fig


def _broken_note(note: str, width: float) -> str:
    return "\n".join(fill(line, int(_NOTE_LETTERS * width)) for line in note.split("\n"))


def _legend(fig: Figure, axes: Iterable[Axes], title_inches: float) -> None:
    """One legend for all panels, each label once, in a band of its own between title and panels."""
    found: dict[str, Artist] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            found.setdefault(label, handle)
    # What explains a mark, as "ringed: unsteady" does, stands behind what names a series.
    labels = sorted(found, key=lambda label: ": " in label)
    if not labels:
        return
    width, height = fig.get_size_inches()
    longest = max(len(line) for label in labels for line in label.split("\n"))
    most_columns = max(1, int(width / (_LEGEND_LETTER_INCHES * longest + _HANDLE_INCHES)))
    n_columns = ceil(len(labels) / ceil(len(labels) / most_columns))
    columns = np.array_split([label.count("\n") + 1 for label in labels], n_columns)
    n_lines = max(int(column.sum()) for column in columns)
    band = _LEGEND_LINE_INCHES * n_lines + 0.12
    fig.set_size_inches(width, height + band)
    above = 1 - band / (height + band)
    fig.set_layout_engine("constrained", rect=(0, 0, 1, above))
    place = (0.005, 1 - title_inches / (height + band))
    fig.legend(
        [found[label] for label in labels], labels, loc="upper left", bbox_to_anchor=place, ncols=n_columns
    )


def save(fig: Figure, directory: Path, name: str, formats: tuple[str, ...] = FORMATS) -> list[Path]:
    """Write a figure, the same bytes for the same data.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        From `p2mperf.figure`.
    directory : Path
        Where to.
    name : str
        File name without its ending.
    formats : tuple of str
        "svg", "png" or "pdf".

    Returns
    -------
    list of Path
        One file a format.

    Raises
    ------
    ResultsError
        When one cannot be written; it is then as it was before.
    """
    import matplotlib as mpl

    remove_left_over(directory)
    paths = []
    for kind in formats:
        path, picture = directory / f"{name}.{kind}", BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with interrupts_held():
            with mpl.rc_context(fname=STYLE):
                fig.savefig(picture, format=kind, metadata=metadata)
            replace_file(path, partial(_write, picture), "figures")
        paths.append(path)
    return paths


def _write(picture: BytesIO, path: Path) -> None:
    path.write_bytes(picture.getbuffer())
