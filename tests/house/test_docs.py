"""What makes the documentation site, without making it: that is a stage of .ci/run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from checkout import ROOT, load_tool

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")


@pytest.fixture
def tool() -> ModuleType:
    return load_tool("docs")


def test_missing_packages_are_named(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = {"sphinx", "furo"}
    monkeypatch.setattr(tool, "find_spec", lambda name: name if name in there else None)
    assert tool.main([]) == 2
    assert capsys.readouterr().err == "docs: myst-nb is not installed here; ./run docs installs it\n"


@pytest.mark.parametrize("argv", [["pdf"], ["html", "linkcheck"]])
def test_what_it_does_not_make_is_refused(
    tool: ModuleType, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(argv) == 2
    assert "takes html or linkcheck, or nothing" in capsys.readouterr().err


def test_a_warning_is_an_error(tool: ModuleType) -> None:
    assert "--fail-on-warning" in tool.arguments("html")


def test_a_word_is_explained_once() -> None:
    words = re.findall(r"^### (.+)$", GLOSSARY, re.M)
    assert len(words) == len(set(map(str.lower, words)))


# ---- a browser test is not skipped ----


@pytest.mark.parametrize(("mark", "outcome"), [("", "1 skipped"), ("@pytest.mark.browser\n", "1 failed")])
def test_a_browser_test_that_is_skipped_has_failed(tmp_path: Path, mark: str, outcome: str) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    browser\n")
    (tmp_path / "test_it.py").write_text(
        f"import pytest\n\n{mark}def test_it():\n    pytest.skip('not here')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "unskipped", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "support")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout, done.stdout + done.stderr
