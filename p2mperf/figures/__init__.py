"""Figures by name: each is one `FigureSpec`, which its module declares.

A figure of your own joins through an entry point in the group ``p2mperf.figures`` whose value is
``module:FIGURE``.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from p2mperf.errors import BadInputError, known
from p2mperf.figures.spec import FigureSpec
from p2mperf.interrupts import interrupts_held
from p2mperf.plugins import foreign, import_target, load, offered
from p2mperf.results.samples import as_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("p2mperf.mplstyle")
# Where each is declared: listing them imports neither pandas nor matplotlib.
_SHIPPED = {
    "cost": "lookups.cost",
    "ratio": "lookups.ratio",
    "footprint": "lookups.footprint",
    "entry": "lookups.entry",
    "life": "life",
    "path": "path",
    "limit-area": "limits.area",
    "limit-map": "limits.map",
    "limit-largest": "limits.largest",
    "arm-shift": "arm.shift",
    "arm-find": "arm.find",
    "arm-events": "arm.events",
    "arm-switch": "arm.switch",
    "precopy": "arm.precopy",
    "hap-survival": "hap.survival",
    "hap-footprint": "hap.footprint",
    "hap-orders": "hap.orders",
    "hap-window": "hap.window",
    "hap-nested": "hap.nested",
    "build-translations": "kernel_build.translations",
    "build-locality": "kernel_build.locality",
    "build-cold": "kernel_build.cold",
    "build-seconds": "kernel_build.seconds",
    "build-tornado": "kernel_build.tornado",
}

__all__ = ["FigureSpec", "figure", "figures", "find", "save", "table"]


def figures() -> dict[str, str]:
    """Where each figure is declared, by its name; those of other packages included, and none imported."""
    found = {name: f"p2mperf.figures.{module}:FIGURE" for name, module in _SHIPPED.items()}
    for point in offered("p2mperf.figures"):
        found.setdefault(point.name, point.value)
    return found


def find(name: str) -> FigureSpec:
    """Import a figure's declaration.

    Raises
    ------
    BadInputError
        When there is no figure of that name.
    PluginError
        When the package that offers it is broken, or offers something else by that name.
    """
    there = figures()
    name = known("figure", name, there)
    if name in _SHIPPED:
        return cast(FigureSpec, import_target(there[name]))
    return cast(FigureSpec, load("figure", name, there[name], lambda spec: _wrong(name, spec)))


def _wrong(name: str, spec: object) -> str:
    """What is wrong with what another package offers, or ""."""
    if not isinstance(spec, FigureSpec):
        return "is no FigureSpec"
    return "" if spec.name == name else f"calls itself {spec.name}"


def _answered_for(name: str) -> AbstractContextManager[None]:
    """What a figure of another package raises is its own; what one of ours raises is ours."""
    return nullcontext() if name in _SHIPPED else foreign("figure", name, figures()[name])


def table(name: str, frame: object = None) -> pd.DataFrame:
    """Make the table behind a figure.

    Parameters
    ----------
    name : str
        One of `figures`.
    frame : pandas.DataFrame, or what the figure's source takes; optional
        Samples, as `p2mperf.load` gives them; not needed for figures that are computed. Figures of a kernel
        build take recordings, replays, or what `p2mperf.kernel_build` gives; default: what is shipped.

    Returns
    -------
    pandas.DataFrame
        Tidy.

    Raises
    ------
    BadInputError
        For an unknown figure, one that needs results when there are none, and what is no samples.
    """
    spec = find(name)
    return _table(spec, _given(spec, frame))


def _given(spec: FigureSpec, frame: object) -> object:
    """What a figure's table is made from."""
    if spec.source is None:
        return _samples(spec, frame)
    with _answered_for(spec.name):
        return spec.source.take(frame)


def _samples(spec: FigureSpec, frame: object) -> pd.DataFrame:
    """Samples that a figure is made from; none where it needs none and is given none."""
    import pandas as pd

    from p2mperf.analysis.samples import refuse_mixture

    if frame is None or (isinstance(frame, pd.DataFrame) and not len(frame)):
        if spec.measured:
            raise BadInputError(f"figure {spec.name!r} needs results: run `python -m p2mperf sweep` first")
        return pd.DataFrame()
    samples = as_samples(frame)
    if spec.measured:
        refuse_mixture(samples)
    return samples


def _table(spec: FigureSpec, frame: object) -> pd.DataFrame:
    with _answered_for(spec.name):
        return spec.data(frame)


def figure(name: str, frame: object = None) -> Figure:
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
    from p2mperf.figures.style import as_written

    spec = find(name)
    given = _given(spec, frame)
    if spec.source is None:
        given = as_written(cast("pd.DataFrame", given))
    data = _table(spec, given)
    with _answered_for(name), interrupts_held():
        return _drawn(spec, data)


def _drawn(spec: FigureSpec, data: pd.DataFrame) -> Figure:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = spec.panels(data)
    n_columns = min(len(panels), spec.n_columns)
    n_rows = ceil(len(panels) / n_columns)
    width, height = spec.panel_inches
    with mpl.rc_context(fname=STYLE):
        fig = Figure(figsize=(width * n_columns, height * n_rows + 0.5), layout="constrained")
        axes = fig.subplots(n_rows, n_columns, squeeze=False)
        for ax, (title, part) in zip(axes.flat, panels, strict=False):
            spec.draw(part, ax)
            if title:
                ax.set_title(title)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        if spec.shared_legend:
            _legend(fig, axes.flat[: len(panels)])
        fig.suptitle(spec.question, x=0.01, ha="left", weight="bold", size=14)
        if note := data.attrs.get("note"):
            fig.supxlabel(note, x=0.01, ha="left", size=8.5, color="0.35")
    return fig


def _legend(fig: Figure, axes: Iterable[Axes]) -> None:
    """One legend for all panels, each label once, outside the axes."""
    found: dict[str, Artist] = {}
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
    for kind in formats:
        path, picture = directory / f"{name}.{kind}", BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with interrupts_held():
            with mpl.rc_context(fname=STYLE):
                fig.savefig(picture, format=kind, metadata=metadata)
            path.write_bytes(picture.getbuffer())
        paths.append(path)
    return paths
