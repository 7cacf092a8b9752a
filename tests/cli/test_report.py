"""`report` on the command line: what it says, where it writes, and how it ends."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import record_samples as samples
from command_line import refused
from report_parts import few_parts

from p2mperf.cli import main
from p2mperf.results.journal import Journal


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    with few_parts():
        yield


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results in the working directory."""
    monkeypatch.chdir(tmp_path)
    with Journal.create(tmp_path / "results", samples.run()) as journal:
        journal.append(samples.unit())
        journal.append(samples.cell())
    return tmp_path


def test_it_shows_the_results_that_are_here_and_says_so(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report"]) == 0
    out, err = capsys.readouterr()
    assert out == "report/index.html\n"
    assert err.splitlines()[0] == (
        "p2mperf: These numbers were read from `results`, and measured on another machine than this one."
    )
    assert "8/8" in err
    assert (results / "report" / "figures" / "limit-area.pdf").exists()


def test_quiet_it_says_nothing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--results", "results", "--out", "there", "-q"]) == 0
    assert capsys.readouterr() == ("there/index.html\n", "")


def test_a_part_that_fails_is_named_however_quiet(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(results: object = None) -> pd.DataFrame:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("p2mperf.report.build.claims", fail)
    assert main(["report", "-q"]) == 1
    out, err = capsys.readouterr()
    assert out == "report/index.html\n"
    assert err == "p2mperf: claims failed, all others are there: ZeroDivisionError: by nought\n"
    assert (results / "report" / "figures" / "limit-area.svg").exists()


def test_bad_places_and_results_are_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "mine").mkdir()
    (results / "mine" / "thesis.tex").write_text("mine")
    (results / "empty").mkdir()
    assert "no report of p2mperf wrote, as thesis.tex" in refused(capsys, "report", "--out", "mine")
    assert "`--out old` writes old/index.html" in refused(capsys, "report", "--out", "old.html")
    assert "cannot write a report to /proc/x" in refused(capsys, "report", "--out", "/proc/x", "-q")
    assert "sweep --out empty` measures some" in refused(capsys, "report", "--results", "empty")
    assert sorted(path.name for path in results.iterdir()) == ["empty", "mine", "results"]


def test_without_jinja_the_line_that_installs_it_is_said(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is imported again takes the package's place in p2mperf as well, and has to give it back.
    monkeypatch.setattr("p2mperf.report", importlib.import_module("p2mperf.report"))
    for name in [name for name in sys.modules if name.startswith(("jinja2", "p2mperf.report"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert "pip install" in refused(capsys, "report")
