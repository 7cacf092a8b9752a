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


def test_its_files_are_there() -> None:
    named = set(
        re.findall(
            r"(?:`|\()((?:p2mperf|docs|tools|tests|benchmarks)/[\w./-]*|\.[\w-]+(?:/run|\.yaml))", PAGE
        )
    )
    assert "p2mperf/results/fields.py" in named
    assert [name for name in sorted(named) if "NAME" not in name and not (ROOT / name).exists()] == []


def test_it_takes_ten_lines() -> None:
    block = PAGE.split("```sh\n")[1].split("```")[0]
    assert len(block.splitlines()) == 10


def test_the_readme_leads_there() -> None:
    assert "(CONTRIBUTING.md)" in (ROOT / "README.md").read_text("utf-8")
