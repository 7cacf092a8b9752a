"""Decisions: each has its number, its parts and its row in the index, and what was rejected has its price."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
from checkout import ROOT, commits_before, require_history

DOCS = ROOT / "docs"
ADR = DOCS / "adr"
# Beside them lie their index, and what lists them in the site.
DECISIONS = sorted(path for path in ADR.glob("*.md") if path.name not in ("README.md", "_contents.md"))
PARTS = ["Context", "Decision", "Rejected", "Consequences"]
MAX_WORDS = 300
ROW = re.compile(r"^\| \[(\d{4})\]\((.+?)\) \| (\S+) \| (.+) \|$", re.M)


def problems(name: str, text: str) -> list[str]:
    """What is wrong with the text of a decision, in sentences."""
    number = name[:4]
    found = []
    head = re.match(r"# (\d{4})\. (.+)\n\nDate: (\S+), commit [0-9a-f]{7}\. Status: (.+)\.\n", text)
    if not re.fullmatch(r"\d{4}-[a-z0-9]+(-[a-z0-9]+)*\.md", name):
        found.append(f"{name}: a decision's file is called NNNN-what-was-decided.md")
    if head is None:
        found.append(
            f"{name}: begins with '# {number}. Title', an empty line, 'Date: YYYY-MM-DD, commit ...'"
        )
    elif head[1] != number:
        found.append(f"{name}: calls itself {head[1]}")
    if (parts := re.findall(r"^## (.+)$", text, re.M)) != PARTS:
        found.append(f"{name}: has the parts {parts}, not {PARTS}")
    elif not re.search(r"\d|[Nn]ot measured", text.split("## Rejected")[1].split("## ")[0]):
        found.append(f"{name}: what was rejected has no number, and is not said to be 'not measured'")
    if (n_words := len(text.split())) > MAX_WORDS:
        found.append(f"{name}: {n_words} words; a decision has at most {MAX_WORDS}")
    return found


@pytest.mark.parametrize("path", DECISIONS, ids=[path.name for path in DECISIONS])
def test_a_decision_has_its_parts(path: Path) -> None:
    assert problems(path.name, path.read_text("utf-8")) == []


RIGHT = """# 0001. We do so

Date: 2026-11-21, commit 0123abc. Status: holds.

## Context

## Decision

## Rejected

The other: 3 % slower.

## Consequences
"""


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("one.md", RIGHT, "is called NNNN-what-was-decided.md"),
        ("0002-so.md", RIGHT, "calls itself 0001"),
        ("0001-so.md", RIGHT.replace("Date: ", ""), "begins with"),
        ("0001-so.md", RIGHT.replace("## Context\n", ""), "not ['Context', 'Decision'"),
        ("0001-so.md", RIGHT.replace("3 %", "somewhat"), "no number"),
        ("0001-so.md", RIGHT + "word " * MAX_WORDS, "at most"),
    ],
)
def test_a_wrong_decision_is_seen(name: str, text: str, problem: str) -> None:
    assert any(problem in sentence for sentence in problems(name, text))


def test_a_right_decision_passes() -> None:
    assert problems("0001-so.md", RIGHT) == []
    assert problems("0001-so.md", RIGHT.replace("3 % slower", "not measured")) == []


def test_numbers_are_unique_and_have_no_gap() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{n:04d}" for n in range(1, len(DECISIONS) + 1)]


def test_the_index_has_each_once_with_its_title_and_date() -> None:
    expected = []
    for path in DECISIONS:
        title, dated = path.read_text("utf-8").split("\n")[:3:2]
        expected.append((path.name[:4], path.name, dated.split()[1].rstrip(","), title[len("# 0000. ") :]))
    assert ROW.findall((ADR / "README.md").read_text("utf-8")) == expected
    assert all(date.fromisoformat(day) for _, _, day, _ in expected)


def test_each_date_is_that_of_its_commit() -> None:
    require_history()
    texts = [path.read_text("utf-8") for path in DECISIONS]
    said = [pair for text in texts for pair in re.findall(r"^Date: (\S+), commit (\w+)\.", text, re.M)]
    days = commits_before()
    for day, commit in said:
        assert [days[name] for name in days if name.startswith(commit)] == [day], commit


def test_the_design_links_there_and_keeps_none() -> None:
    page = (DOCS / "design.md").read_text("utf-8")
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    assert "(adr/README.md)" in sections["Decisions"]
    assert "**" not in sections["Decisions"]
    # How it is built is said there; why, and how it was before, is a decision's.
    for name in ("Seams", "Streams", "How a cell is measured", "On which pages", "Results"):
        assert re.search(r"\]\(adr/\d{4}-", sections[name]), f"{name} links to no decision"
    assert not re.search(r"\b(earlier versions|rejected alternative)\b", page, re.I)


def test_links_between_decisions_are_not_broken() -> None:
    for path in (*DECISIONS, ADR / "README.md", DOCS / "design.md"):
        for target in re.findall(r"\]\(((?:adr/)?\d{4}-[^)]+)\)", path.read_text("utf-8")):
            assert (path.parent / target).is_file(), f"{path.name} links to {target}, which is not there"
