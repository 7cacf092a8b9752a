"""Chromium, driven by Playwright; and what tests of pages and of JupyterLab ask of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

# As wide as a small laptop's screen; what does not fit there is not seen.
WIDTH, HEIGHT = 1280, 800
NEEDED = {"playwright": "Playwright", "jupyterlab": "JupyterLab", "sphinx": "Sphinx"}


def missing() -> list[str]:
    """Name what browser tests need and this environment has not."""
    names = [name for module, name in NEEDED.items() if find_spec(module) is None]
    return [*names, *([] if shutil.which("chromium") else ["chromium"])]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; the run ends with 2 where there is none."""
    if names := missing():
        pytest.exit(f"browser tests need {', '.join(names)}: ./run browser installs that", returncode=2)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class Complaints:
    """What a page's scripts complain of, as it comes."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.said.append(f"{message.text} ({message.location.get('url', '')})")


def new_page(browser: Browser, seconds: float = 30) -> Page:
    """Open a page of the size of a small laptop's screen, that waits so long for what it is asked for."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.set_default_timeout(seconds * 1000)
    return page
