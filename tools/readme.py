"""Make what README.md and the pages of docs/ show of the data: no number in it is typed by hand.

``python tools/readme.py`` draws docs/figures and rewrites the blocks between ``<!-- begin NAME -->`` and
``<!-- end NAME -->``;
``--check`` only says whether they are up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import counted_page  # beside this file
import data_page
import hap_page
import kernel_build_page
import results_page
from measured_page import items, table

import p2mperf
from p2mperf.analysis.findings import Finding
from p2mperf.figures import save

ROOT = Path(__file__).resolve().parent.parent
HAP_PAGE, KERNEL_BUILD_PAGE = "docs/hap.md", "docs/kernel-build.md"
RESULTS_PAGE, CONFIGURATIONS_PAGE = "docs/results.md", "docs/configurations.md"
# What stands above README's figure; the rest in its table.
_FIRST = ("Lookups in RAM", "A kernel build", "Lookups in holes")


@cache
def _findings() -> list[Finding]:
    return p2mperf.findings()


def found() -> str:
    """The first three findings."""
    return items(one.said for one in _findings() if one.about in _FIRST)


def findings() -> str:
    """All findings, each with where its tables and its notebook are."""
    rows = [(one.about, one.said, f"[tables](docs/{one.page}), {_notebook(one)}") for one in _findings()]
    return table(("about", "what was found", "more"), rows)


def _notebook(one: Finding) -> str:
    (path,) = (ROOT / "notebooks").glob(f"{one.notebook}_*.ipynb")
    return f"[notebook](notebooks/{path.name})"


BLOCKS = {"found": found, "findings": findings}
PAGES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": BLOCKS,
    RESULTS_PAGE: results_page.BLOCKS,
    CONFIGURATIONS_PAGE: counted_page.BLOCKS,
    HAP_PAGE: hap_page.BLOCKS,
    KERNEL_BUILD_PAGE: kernel_build_page.BLOCKS,
    "data/README.md": data_page.BLOCKS,
}


def draw() -> None:
    """Draw the pages' figures from the shipped sweeps, in a size that a page bears: of PV, but for hap's."""
    frame = p2mperf.load("shipped")
    of_pv = frame[frame["family"] == "pv"]
    pages = dict.fromkeys(("life", "hap-window", "hap-orders", *kernel_build_page.FIGURES))
    for name, shown in (pages | {"map": of_pv, "footprint": of_pv}).items():
        save(p2mperf.figure(name, shown), ROOT / "docs" / "figures", name, ("png",))


def rewritten(text: str, page: str = "README.md") -> str:
    """Make every block of a page anew.

    Parameters
    ----------
    text : str
        The page as it stands.
    page : str
        Its name.

    Returns
    -------
    str
        The page as it should stand.
    """
    for name, make in PAGES[page].items():
        if f"<!-- begin {name} -->" not in text or f"<!-- end {name} -->" not in text:
            raise SystemExit(f"{page} has no block {name!r}")
        head, _, rest = text.partition(f"<!-- begin {name} -->\n")
        _, _, tail = rest.partition(f"<!-- end {name} -->")
        text = f"{head}<!-- begin {name} -->\n{make()}\n<!-- end {name} -->{tail}"
    return text


def main() -> int:
    """Rewrite the pages, or with --check tell whether that would change them."""
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
    wanted = {page: rewritten(text, page) for page, text in texts.items()}
    if "--check" in sys.argv[1:]:
        return int(wanted != texts)
    for page, text in wanted.items():
        (ROOT / page).write_text(text, encoding="utf-8")
    draw()
    return 0


if __name__ == "__main__":
    sys.exit(main())
