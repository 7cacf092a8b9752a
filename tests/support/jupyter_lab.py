"""JupyterLab as `./run lab` opens it, over copies of the notebooks, with settings and windows of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING

import nbformat
from browsing import Complaints, new_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

# What a widget may take to show something else before it is taken to show nothing else.
MOVE_SECONDS = 60
OPTIONS = ("--no-browser", "--allow-root", "--expose-app-in-browser")
TOKEN_URL = re.compile(r"http://127\.0\.0\.1:\d+/lab\S*\?token=\w+")
# Lab asks whether it may look for news, and looks: neither is the notebooks' business.
SETTINGS = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    # All cells are in the page, whether they are in sight or not.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
SHOWN_PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
CODE_CELLS = f"{SHOWN_PANEL} .jp-CodeCell"
ERRORS = f"{CODE_CELLS} [data-mime-type='application/vnd.jupyter.error']"
# Cells are numbered as they end, which folded ones do not show; after an error those to come never are.
HAVE_RUN = """errors => document.querySelector(errors) !== null ||
    window.jupyterapp.shell.currentWidget.content.widgets.every(
        cell => cell.model.type !== 'code' || cell.model.executionCount !== null)"""
# Pictures, tables and text of a cell, without the sliders and menus that stand among them.
SHOWN = """cell => {
    const copy = cell.querySelector('.jp-Cell-outputArea').cloneNode(true);
    copy.querySelectorAll('.widget-slider, .widget-dropdown, .widget-text, .widget-toggle-buttons')
        .forEach(each => each.remove());
    return copy.innerHTML;
}"""
# What its own room, or that of anything around it, shows only in part.
CLIPPED = """shown => shown.filter(each => {
    const right = each.getBoundingClientRect().right;
    for (let box = each.parentElement; box; box = box.parentElement)
        if (getComputedStyle(box).overflowX !== 'visible' && box.getBoundingClientRect().right < right - 1)
            return true;
    return each.scrollWidth > each.clientWidth + 1;
}).map(each => each.value ?? each.textContent)"""


@contextmanager
def jupyter_lab(folder: Path, kept: Path) -> Iterator[str]:
    """Run Lab over a folder.

    Parameters
    ----------
    folder : Path
        With notebooks.
    kept : Path
        A folder for what Lab itself keeps: settings, windows, tokens.

    Yields
    ------
    str
        Its address as Lab prints it, token included.
    """
    for name, settings in SETTINGS.items():
        path = kept / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    own = {
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
    }
    environment = {**os.environ, **{name: str(kept / place) for name, place in own.items()}}
    environment.pop("MPLBACKEND", None)  # tests have one without a display; a notebook shows its figures
    with subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *OPTIONS, str(folder)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        url = _told(process.stderr)
        # What Lab says later is read, that it need not wait, and is lost.
        reader = Thread(target=deque, args=(process.stderr, 0))
        reader.start()
        try:
            yield url
        finally:
            process.terminate()
            reader.join()


def _told(stream: IO[str]) -> str:
    """Read what Lab says until it names its address."""
    lines = []
    for line in stream:
        lines.append(line)
        if found := TOKEN_URL.search(line):
            return found.group()
    raise AssertionError("JupyterLab did not start:\n" + "".join(lines))


def put(notebook: Path, folder: Path, parameters: Sequence[str] = ()) -> None:
    """Copy a notebook without what it shows, so that what is seen was made here.

    Parameters
    ----------
    notebook : Path
        To be copied.
    folder : Path
        Where to.
    parameters : sequence of str, optional
        Lines that its parameters cell gets.
    """
    found = nbformat.read(notebook, as_version=4)
    for cell in found.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    (cell,) = [cell for cell in found.cells if "parameters" in cell.metadata.get("tags", [])]
    cell.source = "\n".join([cell.source, *parameters])
    nbformat.write(found, folder / notebook.name)


class OpenNotebook:
    """A notebook in a Lab that was opened by its token.

    Parameters
    ----------
    browser : Browser
        Which shows it.
    url : str
        Of a Lab that has it in its folder, token included.
    name : str
        Of its file.
    seconds : float
        What all of its cells may take before something is taken to hang.
    """

    def __init__(self, browser: Browser, url: str, name: str, seconds: float) -> None:
        self.page: Page = new_page(browser, seconds)
        self.complaints = Complaints(self.page)
        self.page.goto(f"{url}&reset")  # without the windows of the notebook before
        self.page.locator(".jp-DirListing-item", has_text=name).dblclick()
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Wait for a kernel that has nothing to do; before there is one, Lab asks which it should be."""
        self.page.locator("#jp-main-statusbar", has_text=re.compile(r"Python 3 .*\| Idle")).wait_for()

    def run_all(self) -> None:
        """Choose Run All Cells from the menu, and wait for the last cell, or for an error."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(HAVE_RUN, arg=ERRORS)
        self.wait_until_idle()

    @property
    def n_code_cells(self) -> int:
        n_cells: int = self.page.locator(CODE_CELLS).count()
        return n_cells

    def errors(self) -> list[str]:
        """Tracebacks, and widgets that cannot be shown."""
        lost = self.page.locator(f"{CODE_CELLS} .jp-OutputArea-output", has_text="Error displaying widget")
        return [*self.page.locator(ERRORS).all_inner_texts(), *lost.all_inner_texts()]

    def widget_cells(self) -> list[Locator]:
        """Cells that show something to move."""
        moved = ".noUi-handle, .widget-dropdown select, .widget-toggle-button"
        cells: list[Locator] = self.page.locator(CODE_CELLS, has=self.page.locator(moved)).all()
        return cells

    def move(self, cell: Locator) -> None:
        """Move the first slider or menu of a cell by one, and wait for what the cell shows to change."""
        before = cell.evaluate(SHOWN)
        slider, menu = cell.locator(".noUi-handle").first, cell.locator(".widget-dropdown select").first
        if slider.count():
            at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
            slider.press("ArrowLeft" if at_end else "ArrowRight")
        else:
            chosen, n_options = menu.evaluate("menu => [menu.selectedIndex, menu.options.length]")
            menu.select_option(index=(chosen + 1) % n_options)
        self.page.wait_for_function(
            f"([cell, before]) => ({SHOWN})(cell) !== before",
            arg=[cell.element_handle(), before],
            timeout=MOVE_SECONDS * 1000,
        )
        self.wait_until_idle()

    def clipped(self) -> list[str]:
        """Read-outs of sliders, and menus, of which a part is hidden."""
        read = f"{CODE_CELLS} .widget-readout, {CODE_CELLS} .widget-dropdown select"
        found: list[str] = self.page.locator(read).evaluate_all(CLIPPED)
        return found

    def close(self) -> None:
        """Leave without keeping what was shown."""
        self.page.close()
