"""Figures by name: each is one `FigureSpec`, which its module declares.

A figure of your own joins through an entry point in the group ``p2mperf.figures`` whose value is
``module:FIGURE``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import quote

from p2mperf.errors import BadInputError, known
from p2mperf.families import families
from p2mperf.figures.drawing import FORMATS, lay_out, save
from p2mperf.figures.spec import FigureSpec
from p2mperf.interrupts import interrupts_held
from p2mperf.plugins import foreign, import_target, load, offered
from p2mperf.results.samples import as_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Where each is declared: listing them imports neither pandas nor matplotlib.
_SHIPPED = {
    "map": "lookups.map",
    "ratio": "lookups.ratio",
    "cost": "lookups.cost",
    "entry": "lookups.entry",
    "footprint": "lookups.footprint",
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

__all__ = ["FORMATS", "FigureSpec", "drawn", "figure", "figures", "find", "pictures", "save", "table"]


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


def table(name: str, frame: object = None, family: str | None = None) -> pd.DataFrame:
    """Make the table behind a figure.

    Parameters
    ----------
    name : str
        One of `figures`.
    frame : pandas.DataFrame, or what the figure's source takes; optional
        Samples, as `p2mperf.load` gives them; not needed for figures that are computed. Figures of a kernel
        build take recordings, replays, or what `p2mperf.kernel_build` gives; default: what is shipped.
    family : str, optional
        Whose samples alone are taken, for a figure that shows the designs of one family; default: all.

    Returns
    -------
    pandas.DataFrame
        Tidy.

    Raises
    ------
    BadInputError
        For an unknown figure, one that needs results when there are none, what is no samples, and a family
        that these are not of.
    """
    spec = find(name)
    given = _given(spec, frame)
    return _table(spec, given if family is None else _of_family(spec, given, family))


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


def _of_family(spec: FigureSpec, given: object, family: str) -> pd.DataFrame:
    """The samples of one family."""
    if not spec.by_family:
        raise BadInputError(f"figure {spec.name!r} is not drawn by families: leave the family out")
    samples = cast("pd.DataFrame", given)
    return samples[samples["family"] == known("family", family, _families_in(samples))]


def _families_in(samples: pd.DataFrame) -> list[str]:
    """Families that samples are of, as they are declared; then, by name, what is no family here."""
    there = {str(name) for name in samples["family"].dropna()}
    declared = [name for name in families() if name in there]
    return [*declared, *sorted(there.difference(declared))]


def _table(spec: FigureSpec, given: object) -> pd.DataFrame:
    with _answered_for(spec.name):
        return spec.data(given)


def figure(name: str, frame: object = None, family: str | None = None) -> Figure:
    """Draw a figure.

    Parameters
    ----------
    name, frame
        As `table`.
    family : str, optional
        Whose designs to show, for a figure that shows those of one family; default: the first family that
        the samples have something to show of.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInputError
        As `table`, and when there is nothing to draw.
    """
    return next(iter(_by_family(name, frame, family, only_first=True).values())).figure


def drawn(name: str, frame: object = None, family: str | None = None) -> dict[str, Figure]:
    """Draw a figure of each family that the samples have something to show of.

    Parameters
    ----------
    name, frame
        As `table`.
    family : str, optional
        The only one whose designs are shown.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        By the names of their files, without an ending: ``ratio`` where there is one figure, and where there
        are several ``ratio-pv``, ``ratio-arm`` ...

    Raises
    ------
    BadInputError
        As `figure`.
    """
    return {file: picture.figure for file, picture in pictures(name, frame, family).items()}


class Picture(NamedTuple):
    """A figure and the table that it shows."""

    figure: Figure
    table: pd.DataFrame


def pictures(name: str, frame: object = None, family: str | None = None) -> dict[str, Picture]:
    """Draw as `drawn` does, and keep the table behind each figure, which need not be made twice.

    Parameters
    ----------
    name, frame, family
        As `drawn`.

    Returns
    -------
    dict of str to Picture
        By the names of their files, without an ending.

    Raises
    ------
    BadInputError
        As `figure`.
    """
    found = _by_family(name, frame, family)
    # A family of somebody else's results may have any name, and a file may not.
    return {name if len(found) == 1 else f"{name}-{quote(one, safe='')}": each for one, each in found.items()}


def _by_family(name: str, frame: object, family: str | None, only_first: bool = False) -> dict[str, Picture]:
    """Figures by family; one, by no name, where a figure does not ask for families."""
    spec = find(name)
    given = _given(spec, frame)
    if family is not None:
        return {family: _figure(spec, _of_family(spec, given, family))}
    if not spec.by_family:
        return {"": _figure(spec, given)}
    samples = cast("pd.DataFrame", given)
    found: dict[str, Picture] = {}
    refusals = []
    there = _families_in(samples)
    for one in there:
        others = [other for other in there if other != one] if only_first else []
        try:
            found[one] = _figure(spec, samples[samples["family"] == one], others)
        except BadInputError as refusal:  # a family of which there is nothing that this figure shows
            refusals.append(refusal)
        if found and only_first:
            break
    if not found:
        raise refusals[0] if refusals else BadInputError("nothing to draw: no cell is of any family")
    return found


def _figure(spec: FigureSpec, given: object, others: Sequence[str] = ()) -> Picture:
    """Draw what is given; the note names families of which there are samples too."""
    from p2mperf.figures.style import as_written, plainly

    if spec.source is None:
        given = as_written(cast("pd.DataFrame", given))
    data = _table(spec, given)
    if others:
        not_shown = f"not shown: samples of {plainly(', '.join(others))}"
        data.attrs["note"] = "; ".join(filter(None, (data.attrs.get("note"), not_shown)))
    with _answered_for(spec.name), interrupts_held():
        return Picture(lay_out(spec, data), data)
