"""How Sphinx makes the site: ``./run docs``.

The site is the checkout as it is: README is its first page, and pages and notebooks lie as they do in the
repository, so that a link that works there works here. Nothing is fetched, neither while it is made nor
while it is read.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]

project = PROJECT["name"]
author = PROJECT["authors"][0]["name"]
version = release = PROJECT["version"]
language = "en"
smartquotes = False  # what is written is shown: some of it is to be typed

extensions = ["myst_nb"]
root_doc = "README"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "data/README.md",
    "docs/*.md",
    "docs/adr/*.md",
    "notebooks/*.ipynb",
]
exclude_patterns = [".*", "**/.*", "**/_*"]

myst_heading_anchors = 4  # as GitHub has them, so that one link leads to a heading here and there
myst_enable_extensions = ["html_image"]
nb_execution_mode = "off"  # outputs are those that the notebooks are kept with
nb_render_markdown_format = "myst"  # what cells say has tables and links too
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # would be fetched; beside each widget stands a figure
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "top_of_page_buttons": []
}  # they would lead to where the repository is, which we do not know
html_show_copyright = False  # LICENSE says whose it is
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_domain_indices = False


# What stands beside every page. GitHub would show it as a block of code, so it is added here.
CONTENTS = {root_doc: "/docs/_contents.md", "docs/adr/README": "/docs/adr/_contents.md"}


def _with_contents(app: Sphinx, name: str, source: list[str]) -> None:
    if name in CONTENTS:
        source[0] += f"\n```{{include}} {CONTENTS[name]}\n```\n"


def _folders_as_text(app: Sphinx, page: nodes.document) -> None:
    """Show links to folders, which the repository has and the site has not, as their text."""
    for link in list(page.findall(addnodes.pending_xref)):
        path = link["reftarget"]
        if link.get("refdomain") is None and path and Path(app.env.relfn2path(path)[1]).is_dir():
            link.replace_self(link.children)


def _with_first_page(app: Sphinx, error: Exception | None) -> None:
    """Put README also where a browser looks for the first page."""
    if error is None and app.builder.name == "html":
        shutil.copy(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    """Tell Sphinx what it does beyond its own."""
    app.connect("source-read", _with_contents)
    app.connect("doctree-read", _folders_as_text)
    app.connect("build-finished", _with_first_page)
