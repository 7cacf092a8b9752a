"""Figures by name; each module says how its table is made from results, and how that table is drawn.

A figure module has ``data(frame) -> table`` and ``draw(table, ax)``, and may have ``panels(table) -> list of
(title, part of the table)`` when it takes more than one axes. No figure measures anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2mperf.errors import BadInputError, unknown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("p2mperf.mplstyle")


@dataclass(frozen=True)
class Entry:
    """A registered figure.

    Attributes
    ----------
    module : str
        Where its ``data`` and ``draw`` are.
    question : str
        What it answers; its title.
    measured : bool
        Whether it needs results.
    shipped : str
        The shipped results that have what it shows, as `p2mperf.load` names them.
    """

    module: str
    question: str
    measured: bool = True
    shipped: str = "shipped"


FIGURES = {
    "cost": Entry("lookups.cost", "What a lookup costs against guest size"),
    "ratio": Entry("lookups.ratio", "How much slower a software walk is than its linear view"),
    "footprint": Entry("lookups.footprint", "What each layout takes, by kind of page"),
    "life": Entry("life", "What the life of a p2m costs", shipped="shipped-life"),
    "limit-area": Entry(
        "limits.area", "Virtual area that the list needs, and what limits it", measured=False
    ),
    "limit-map": Entry("limits.map", "Where the list lies in a 32-bit guest's addresses", measured=False),
    "limit-largest": Entry("limits.largest", "Largest guest against vmalloc=", measured=False),
    "arm-shift": Entry("arm.shift", "Why one shift finds a third-level entry", measured=False),
    "arm-find": Entry("arm.find", "What finding a third-level entry takes", measured=False),
    "arm-events": Entry("arm.events", "What one lookup executes on ARM", measured=False),
    "arm-switch": Entry("arm.switch", "When the window pays for a context switch", measured=False),
    "precopy": Entry("arm.precopy", "Pages left after each precopy round", measured=False),
}


def table(name: str, frame: pd.DataFrame | None = None) -> Any:
    """Make the table behind a figure.

    Parameters
    ----------
    name : str
        One of `FIGURES`.
    frame : pandas.DataFrame, optional
        Samples, as `p2mperf.load` gives them; not needed for figures of arithmetic.

    Returns
    -------
    pandas.DataFrame
        Tidy.

    Raises
    ------
    BadInputError
        For an unknown figure, or one that needs results when there are none.
    """
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    if FIGURES[name].measured and (frame is None or not len(frame)):
        raise BadInputError(f"figure {name!r} needs results: run `python -m p2mperf sweep` first")
    return _module(name).data(frame)


def figure(name: str, frame: pd.DataFrame | None = None) -> Figure:
    """Draw a figure.

    Parameters
    ----------
    name, frame
        As `table`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInputError
        As `table`.
    """
    data = table(name, frame)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    module = _module(name)
    panels = module.panels(data) if hasattr(module, "panels") else [("", data)]
    n_columns = min(len(panels), getattr(module, "N_COLUMNS", 2))
    n_rows = ceil(len(panels) / n_columns)
    width, height = getattr(module, "PANEL_INCHES", (7.2, 4.4))
    with mpl.rc_context(fname=STYLE):
        fig = Figure(figsize=(width * n_columns, height * n_rows + 0.5), layout="constrained")
        axes = fig.subplots(n_rows, n_columns, squeeze=False)
        for ax, (title, part) in zip(axes.flat, panels, strict=False):
            module.draw(part, ax)
            if title:
                ax.set_title(title)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        if getattr(module, "SHARED_LEGEND", False):
            _legend(fig, axes.flat[: len(panels)])
        fig.suptitle(FIGURES[name].question, x=0.01, ha="left", weight="bold", size=14)
        note = getattr(data, "attrs", {}).get("note")
        if note:
            fig.supxlabel(note, x=0.01, ha="left", size=8.5, color="0.35")
    return fig


def _legend(fig: Figure, axes: Any) -> None:
    """One legend for all panels, each label once, outside the axes."""
    found: dict[str, Any] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    fig.legend(found.values(), found.keys(), loc="outside right upper")


def save(fig: Figure, directory: Path, name: str, formats: tuple[str, ...] = ("svg", "png")) -> list[Path]:
    """Write a figure, the same bytes for the same data.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        From `figure`.
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
    """
    import matplotlib as mpl

    paths = []
    with mpl.rc_context(fname=STYLE):
        for kind in formats:
            path = directory / f"{name}.{kind}"
            metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
            fig.savefig(path, metadata=metadata)
            paths.append(path)
    return paths


def _module(name: str) -> Any:
    return import_module(f"p2mperf.figures.{FIGURES[name].module}")
