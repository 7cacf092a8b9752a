"""A folder of pages as a reader walks it: every page opened, every link looked after."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urlsplit

from browsing import Complaints, new_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# What a page leads to, where a link into it may lead, and pictures that are not there.
READ_PAGE = """() => ({
    links: [...document.links].map(link => link.href),
    anchors: [...document.querySelectorAll('[id], a[name]')].map(each => each.id || each.name),
    unseen: [...document.images].filter(image => !image.naturalWidth).map(image => image.src),
})"""


@dataclass
class Followed:
    """What was met on the way.

    Attributes
    ----------
    anchors : dict of str to set of str
        Of each page that was opened, what a link may name in it.
    links : dict of str to str
        Each link that stays in the folder, by where it leads, and a page that has it.
    outside : set of str
        Links to elsewhere; none of them is asked for.
    wrong : list of str
        Pictures that are not there, complaints of scripts, and whatever was fetched from elsewhere.
    """

    anchors: dict[str, set[str]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def broken(self) -> list[str]:
        """Links that lead nowhere, each with a page that has it."""
        return [f"{link} (in {page})" for link, page in self.links.items() if not self._leads_somewhere(link)]

    def _leads_somewhere(self, link: str) -> bool:
        target, anchor = urldefrag(link)
        if target in self.anchors:
            return not anchor or unquote(anchor) in self.anchors[target]
        path = path_of(target)
        return path.is_file() and path.stat().st_size > 0


def path_of(url: str) -> Path:
    """Where the file of a file: address is."""
    return Path(unquote(urlsplit(url).path))


def follow(browser: Browser, first: Path) -> Followed:
    """Open a page from its file, and whatever it leads to in its folder.

    Parameters
    ----------
    browser : Browser
        Which opens the pages.
    first : Path
        The first page.

    Returns
    -------
    Followed
        Pages, links and what is wrong.
    """
    folder = first.resolve().parent
    found = Followed()
    page = new_page(browser)
    complaints = Complaints(page)
    page.on("request", lambda request: _note_request(request.url, found))
    waiting = deque([first.resolve().as_uri()])
    while waiting:
        url = waiting.popleft()
        if url in found.anchors:
            continue
        page.goto(url)
        seen: dict[str, Any] = page.evaluate(READ_PAGE)
        found.anchors[url] = set(seen["anchors"])
        found.wrong += [f"{picture} is no picture (in {url})" for picture in seen["unseen"]]
        found.wrong += [f"{said} (in {url})" for said in complaints.said]
        complaints.said.clear()
        for link in seen["links"]:
            target = urldefrag(link).url
            if not target.startswith("file:"):
                found.outside.add(link)
                continue
            found.links.setdefault(link, url)
            path = path_of(target)
            if not path.is_relative_to(folder):
                found.wrong.append(f"{link} leads out of the folder (in {url})")
            elif path.suffix == ".html" and path.is_file():
                waiting.append(target)
    page.close()
    return found


def _note_request(url: str, found: Followed) -> None:
    if urlsplit(url).scheme not in ("file", "data", "blob"):
        found.wrong.append(f"{url} is fetched")
