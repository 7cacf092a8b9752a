"""The page and its files: whole, opened from a file, and with a sentence in the place of what failed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
import record_samples as samples
from figure_frames import CARD, LARGE, SMALL, cell
from report_parts import FIGURES, few_parts

import p2mperf.figures
from p2mperf.errors import BadInputError
from p2mperf.progress import Progress
from p2mperf.report.build import write_report
from p2mperf.report.content import Trouble
from p2mperf.report.sources import numbers
from p2mperf.results.journal import Journal


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    with few_parts():
        yield


def results(directory: Path, **run: Any) -> str:
    """Six processes over two guests: the tree takes 1.5 times as long, and in the larger one two thirds."""
    run = {"machine": CARD} | run
    records = [
        cell(guest, number, times, backing="kernel")
        for number in range(6)
        for guest, times in ((SMALL, (2000, 3000, 2040)), (LARGE, (3000, 2000, 3000)))
    ]
    with Journal.create(directory, samples.run(n_cells=len(records) + 1, **run)) as journal:
        for record in samples.with_units(*records):
            journal.append(
                record | {"boot": run.get("boot", "b001")} if record["record"] == "unit" else record
            )
        journal.append(samples.failed(**LARGE, replicate=7, error="signal 7 <here>"))
    return str(directory)


class Elements(HTMLParser):
    """The elements of a page, and the text of each kind."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def values(self, *names: str) -> Iterator[str]:
        for _, attributes in self.tags:
            yield from (value for name in names if (value := attributes.get(name)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with results in `here`, and a report on them."""
    directory = tmp_path_factory.mktemp("report")
    written, failures = write_report(numbers([results(directory / "here")]), directory / "report")
    assert (written, failures) == (directory / "report" / "index.html", [])
    return directory


@pytest.fixture
def page(place: Path) -> Path:
    return place / "report" / "index.html"


def test_all_that_the_page_names_is_beside_it(page: Path) -> None:
    elements = Elements(page)
    addresses = [value for value in elements.values("href", "src") if not value.startswith("#")]
    assert addresses
    for address in addresses:
        assert ":" not in address  # nothing is fetched
        assert (page.parent / unquote(address)).exists(), address
    named = {unquote(address) for address in addresses}
    files = {path.relative_to(page.parent).as_posix() for path in page.parent.rglob("*") if path.is_file()}
    assert files - named == {"index.html", "report.json"}
    ids = list(elements.values("id"))
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in elements.values("href") if value.startswith("#")} <= set(ids)
    assert "http" not in page.read_text()


def test_the_page_begins_with_the_machine_and_what_went_wrong_there(page: Path) -> None:
    heads = re.findall(r"<h2[^>]*>(.*?)</h2>", page.read_text())
    assert heads == [
        "Machine, date, load and warnings",
        "What was found",
        "What the documents claim",
        "How to read the verdicts",
        "Results",
        "Computed figures",
        "How to reproduce this",
    ]
    text = Elements(page).text
    assert "2026-11-21 10:00" in text
    assert "Example 9000" in text
    # Two guests in six processes were measured, and one cell failed; texts of others are shown as they are.
    assert "12 measured, 1 not measured" in text
    assert "1 cell of pv-64-1g failed: signal 7 <here>." in text
    assert "A thread <2013>" in text


def test_tables_say_what_was_measured(page: Path) -> None:
    text = Elements(page).text
    # 3000 / sqrt(2000 * 2040), as the list's two builds are the list: 1.485; and 2000 / 3000.
    assert "1.49 list*" in text
    assert "0.67 tree" in text
    assert "In RAM the list is faster in 1 of 2 comparisons, the tree in 1." in text
    table = pd.read_csv(page.parent / "tables" / "comparisons-pv-tree-over-pv-linear.csv")
    assert table["ratio"].tolist() == pytest.approx([3000 / (2000 * 2040) ** 0.5, 2 / 3])
    # The control of the smaller guest is 2 % off, that of the larger one not at all.
    (floor,) = pd.read_csv(page.parent / "tables" / "noise-floor.csv").to_dict("records")
    assert (floor["median_percent"], floor["largest_percent"]) == pytest.approx((1.0, 2.0))
    matrix = pd.read_csv(page.parent / "tables" / "verdicts-pv-tree-over-pv-linear.csv")
    assert matrix.to_numpy().tolist() == [["lookups one after the other; uniform", "1.49 list*", "0.67 tree"]]


def test_samples_are_a_result_that_can_be_reported_again(place: Path) -> None:
    again = numbers([str(place / "report" / "samples.parquet")])
    pd.testing.assert_frame_equal(again.frame, numbers([str(place / "here")]).frame)


def test_several_machines_are_chapters_behind_what_they_say_together(tmp_path: Path) -> None:
    here = results(tmp_path / "here")
    there = results(
        tmp_path / "there", run="0dd0", machine_key="0dd", machine=CARD | {"cpu_model": "Odd <b>"}
    )
    page, failures = write_report(numbers([here, there]), tmp_path / "report")
    assert failures == []
    heads = re.findall(r"<h2[^>]*>(.*?)</h2>", page.read_text())
    assert heads[3:7] == [
        "Whether machines and boots agree",
        "How to read the verdicts",
        "Machine fee1, Example 9000, boot b001, code c0de",
        "Machine 0dd, Odd &lt;b&gt;, boot b001, code c0de",
    ]
    # Both say the same of both guests.
    assert "Whether they agree: 2 agree" in Elements(page).text
    assert (page.parent / "figures" / "2" / "ratio.svg").exists()
    ids = list(Elements(page).values("id"))
    assert len(ids) == len(set(ids))


def broken(name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a figure fail."""

    def fail(frame: object) -> pd.DataFrame:
        raise error

    spec = replace(p2mperf.figures.find(name), data=fail)
    monkeypatch.setattr(FIGURES[name].replace(":", "."), spec)


def test_a_part_that_fails_is_named_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken("ratio", ZeroDivisionError("no <rounds>"), monkeypatch)
    page, failures = write_report(numbers([results(tmp_path / "here")]), tmp_path / "report")
    assert failures == [Trouble("figure ratio", "ZeroDivisionError: no <rounds>", True)]
    text = Elements(page).text
    assert "This report is not whole figure ratio failed: ZeroDivisionError: no <rounds>" in text
    assert (page.parent / "figures" / "limit-area.svg").exists()
    assert "0.67 tree" in text


def test_what_results_have_nothing_for_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken("ratio", BadInputError("nothing to draw: no lookup"), monkeypatch)
    said: list[str] = []
    progress = Progress(say=said.append)
    page, failures = write_report(numbers([results(tmp_path / "here")]), tmp_path / "report", progress)
    assert failures == []
    assert said == ["figure ratio is left out: nothing to draw: no lookup"]
    assert "figure ratio: nothing to draw: no lookup" in Elements(page).text
    assert "This report is not whole" not in Elements(page).text


def test_progress_counts_every_part_once(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    progress = Progress(advance=lambda *row: told.append(row))
    write_report(numbers([results(tmp_path / "here")]), tmp_path / "report", progress)
    # Machine, verdicts, noise, samples and a figure of a chapter; findings, claims and a computed figure.
    assert [n_done for n_done, _, _ in told] == list(range(9))
    assert {n_parts for _, n_parts, _ in told} == {8}
    assert [what for _, _, what in told][:3] == ["machine", "verdicts", "figure ratio"]


def test_a_report_that_is_interrupted_leaves_the_earlier_one(tmp_path: Path) -> None:
    shown, out = numbers([results(tmp_path / "here")]), tmp_path / "report"
    write_report(shown, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def interrupt(n_done: int, n_parts: int, what: str) -> None:
        if n_done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(shown, out, Progress(advance=interrupt))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "report"]
