"""Report and site, opened from their files: every link inside leads somewhere, and nothing is fetched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import browser as browser, new_page
from checkout import ROOT
from followed import Followed, follow

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
SITE = ROOT / "docs" / "_build" / "html" / "index.html"


def made_by(*arguments: str, cwd: Path = ROOT) -> None:
    """Run Python, which must come to its end."""
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(browser: Browser) -> Followed:
    made_by("tools/docs.py")
    return follow(browser, SITE)


@pytest.fixture(scope="module")
def report(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Followed:
    here = tmp_path_factory.mktemp("report")  # without results: of all that ships
    made_by("-m", "p2mperf", "report", cwd=here)
    return follow(browser, here / "report" / "index.html")


def counted(name: str, found: Followed) -> str:
    pages = f"{len(found.anchors)} pages, {len(found.links)} links followed"
    return f"{name}: {pages}, {len(found.outside)} outside ones not asked for"


def test_every_link_of_the_site_leads_somewhere(site: Followed, tell: Callable[[object], None]) -> None:
    tell(counted("documentation site", site))
    assert site.broken() == []
    assert site.wrong == []


def test_the_site_has_every_page_and_notebook(site: Followed) -> None:
    pages = {
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/adr/*.md"),
        *ROOT.glob("notebooks/*.ipynb"),
        *ROOT.glob("*.md"),
    }
    wanted = {path.relative_to(ROOT).with_suffix(".html") for path in pages if not path.name.startswith("_")}
    assert [str(path) for path in wanted if (SITE.parent / path).as_uri() not in site.anchors] == []


def test_the_site_can_be_searched(browser: Browser, site: Followed) -> None:
    page = new_page(browser)
    page.goto(SITE.as_uri())
    page.locator("input[name=q]").first.fill("balloon")
    page.locator("input[name=q]").first.press("Enter")
    first = page.locator("ul.search li a").first
    first.wait_for()
    assert "balloon" in page.locator("ul.search").inner_text().lower()
    page.close()


def test_every_link_of_the_report_leads_somewhere(report: Followed, tell: Callable[[object], None]) -> None:
    tell(counted("report", report))
    assert report.broken() == []
    assert report.wrong == []


def test_a_broken_link_is_seen(browser: Browser, tmp_path: Path) -> None:
    first = tmp_path / "index.html"
    first.write_text(
        "<p id='here'>x <a href='#here'>a</a> <a href='#there'>b</a> <a href='gone.csv'>c</a>"
        "<a href='two.html'>d</a> <img src='gone.png'>"
    )
    (tmp_path / "two.html").write_text("<a href='../out.html'>e</a> <a href='https://example.org'>f</a>")
    found = follow(browser, first)
    # Links a to e lead to files; b, c and e lead nowhere, and e leaves the folder. f is not asked for.
    assert [link.rpartition("/")[2].split()[0] for link in map(str.strip, found.links)] == [
        "index.html#here",
        "index.html#there",
        "gone.csv",
        "two.html",
        "out.html",
    ]
    assert [line.split()[0].rpartition("/")[2] for line in found.broken()] == [
        "index.html#there",
        "gone.csv",
        "out.html",
    ]
    assert found.outside == {"https://example.org/"}
    assert any("gone.png is no picture" in line for line in found.wrong)
    assert any("leads out of the folder" in line for line in found.wrong)
