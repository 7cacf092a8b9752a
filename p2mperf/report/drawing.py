"""Figures into the folder of a report: SVG and PDF of each, and the table behind it as CSV."""

from __future__ import annotations

from urllib.parse import unquote

from p2mperf.figures import find, pictures, save
from p2mperf.report.content import Drawing
from p2mperf.report.files import Files

_FORMATS = ("svg", "pdf")
# What computed figures are about, by the beginning of their names.
_SUBJECTS = {
    "limit": "How large the list may be",
    "arm": "ARM: the window against the walk",
    "precopy": "ARM: moving a guest",
    "hap": "HAP: superpages and two-dimensional walks",
    "build": "The kernel build of the 2014 commit",
}


def draw(name: str, frame: object, files: Files, key: str = "") -> list[Drawing]:
    """Draw a figure, one for each family that it shows, and write the table behind it.

    Parameters
    ----------
    name : str
        One of `p2mperf.figures.figures`.
    frame : pandas.DataFrame, optional
        Samples; None for a figure that is computed, or drawn from what ships.
    files : Files
        Where to.
    key : str
        Chapter that it belongs to; begins the names of its files.

    Returns
    -------
    list of Drawing

    Raises
    ------
    BadInputError
        When there is nothing to draw.
    """
    spec = find(name)
    origin = "Drawn from recordings and replays that ship with p2mperf." if spec.source else ""
    found = []
    for file, (figure, table) in pictures(name, frame).items():
        csv = files.csv(f"figure-{file}", table, key)
        svg, pdf = (files.relative(path) for path in save(figure, files.figures(key), file, _FORMATS))
        title = " ".join(figure.get_suptitle().split())
        family = unquote(file.removeprefix(name).removeprefix("-"))
        found.append(Drawing(file, title, spec.question, origin, svg, pdf, csv, family))
    return found


def subject(name: str) -> str:
    """What a computed figure is about."""
    return _SUBJECTS.get(name.partition("-")[0], "Other figures")
