"""The generator of README's and the results' tables, and how tests read what it wrote."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import checkout
from checkout import ROOT

README = (ROOT / "README.md").read_text("utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text("utf-8")


def load_tool() -> ModuleType:
    if (tools := str(ROOT / "tools")) not in sys.path:  # where its neighbours are, as when it is run
        sys.path.insert(0, tools)
    return checkout.load_tool("readme")


def block(text: str, name: str) -> str:
    (found,) = re.findall(f"<!-- begin {name} -->\n(.*?)\n<!-- end {name} -->", text, re.DOTALL)
    return str(found)


def rows(table: str) -> list[list[str]]:
    _, _, *lines = (line for line in table.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
