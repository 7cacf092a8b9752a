"""What CONTRIBUTING.md names is there."""

from __future__ import annotations

import re

from checkout import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_its_guards_are_tests() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert named <= set(re.findall(r"^def (test_\w+)", sources, re.M))


def test_every_file_of_guards_is_named() -> None:
    named = set(re.findall(r"`(test_\w+)(?:\.py)?`", PAGE))
    files = list((ROOT / "tests" / "house").glob("test_*.py"))
    tests = {path: set(re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)) for path in files}
    unnamed = [path.name for path in files if path.stem not in named and not tests[path] & named]
    assert unnamed == [], "say in CONTRIBUTING.md what they hold the house to"


def test_its_files_are_there() -> None:
    named = set(
        re.findall(
            r"(?:`|\()((?:p2mperf|docs|tools|tests|benchmarks)/[\w./-]*|\.[\w-]+(?:/run|\.yaml))", PAGE
        )
    )
    assert "p2mperf/results/fields.py" in named
    ours = [name for name in sorted(named) if not re.search("NAME|ROOM", name)]
    assert [name for name in ours if not (ROOT / name).exists()] == []


def test_it_takes_ten_lines() -> None:
    block = PAGE.split("```sh\n")[1].split("```")[0]
    assert len(block.splitlines()) == 10


def test_the_readme_leads_there() -> None:
    assert "(CONTRIBUTING.md)" in (ROOT / "README.md").read_text("utf-8")
