"""The generator of README's and the results' tables, and how tests read what it wrote."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text("utf-8")


def load_tool() -> ModuleType:
    if (tools := str(ROOT / "tools")) not in sys.path:  # where its neighbours are, as when it is run
        sys.path.insert(0, tools)
    spec = importlib.util.spec_from_file_location("readme", ROOT / "tools" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def block(text: str, name: str) -> str:
    (found,) = re.findall(f"<!-- begin {name} -->\n(.*?)\n<!-- end {name} -->", text, re.DOTALL)
    return str(found)


def rows(table: str) -> list[list[str]]:
    _, _, *lines = (line for line in table.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
