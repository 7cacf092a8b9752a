"""Each notebook in JupyterLab: opened by the address that Lab prints, run, and its widgets moved.

One of them measures; the others show what is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import browser as browser
from checkout import ROOT
from jupyter_lab import OpenNotebook, jupyter_lab, put

import p2mperf
from p2mperf.units import MIB

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# The one that measures, for some seconds, and keeps what it measured.
MEASURES = "07_your_own.ipynb"
KEPT = "kept"
TINY = (
    'data = "measure"',
    'only = {"sizes": ["64M"], "streams": ["uniform"], "n_replicates": 1}',
    f'keep = "{KEPT}"',
)
# What one notebook may take before it is taken to hang; those of the suite have a minute.
SECONDS = 150.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebooks")
    for path in NOTEBOOKS:
        put(path, folder, TINY if path.name == MEASURES else ())
    return folder


@pytest.fixture(scope="module")
def lab(browser: Browser, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with jupyter_lab(folder, tmp_path_factory.mktemp("lab")) as url:
        yield url


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_and_its_widgets_move(
    browser: Browser, lab: str, path: Path, folder: Path, tmp_path: Path, tell: Callable[[object], None]
) -> None:
    notebook = OpenNotebook(browser, lab, path.name, SECONDS)
    notebook.run_all()
    notebook.page.screenshot(path=tmp_path / f"{path.stem}.png")
    assert notebook.errors() == []
    cells = notebook.widget_cells()
    assert bool(cells) == ("ipywidgets" in path.read_text("utf-8"))
    assert notebook.clipped() == []
    for cell in cells:
        notebook.move(cell)
    notebook.page.screenshot(path=tmp_path / f"{path.stem}-moved.png")
    assert notebook.errors() == []
    assert notebook.complaints.said == []
    tell(f"{path.stem}: {notebook.n_code_cells} cells run, {len(cells)} of them with a widget that was moved")
    notebook.close()
    if path.name == MEASURES:
        assert set(p2mperf.load(folder / KEPT)["guest_bytes"]) == {64 * MIB}
