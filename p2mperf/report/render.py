"""The page: what a report is made of, put into the template."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from p2mperf.report.content import Page

_TEMPLATES = Path(__file__).with_name("templates")


def render(page: Page) -> str:
    """Write a page as HTML, style sheet included, so that it opens from a file.

    Parameters
    ----------
    page : Page
        What stands on it; texts may hold any characters.

    Returns
    -------
    str
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(page=page)
