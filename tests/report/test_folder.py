"""A report's folder is there whole or not at all, and takes the place of nothing that is not a report."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from p2mperf.errors import BadInputError, ResultsError
from p2mperf.report.folder import MARKER, new_report, require_place

LEFT_OVER = ".p2mperf-report-0123456789abcdef"


def write(place: Path, *names: str) -> None:
    with new_report(place) as folder:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)


def files(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def test_nothing_is_there_before_all_is(tmp_path: Path) -> None:
    place = tmp_path / "new" / "report"
    with new_report(place) as folder:
        (folder / "index.html").write_text("page")
        assert not place.exists()
    assert files(tmp_path) == ["new/report/index.html", f"new/report/{MARKER}"]
    assert json.loads((place / MARKER).read_text())["files"] == ["index.html"]


def test_an_earlier_report_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path / "report", "index.html", "figures/old.svg")
    write(tmp_path / "report", "index.html", "figures/new.svg")
    assert files(tmp_path) == ["report/figures/new.svg", "report/index.html", f"report/{MARKER}"]


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt])
def test_a_report_that_fails_leaves_what_was_there(tmp_path: Path, raised: type[BaseException]) -> None:
    write(tmp_path / "report", "index.html")
    before = files(tmp_path)

    def fail() -> None:
        with new_report(tmp_path / "report") as folder:
            (folder / "half.html").write_text("half")
            raise raised

    with pytest.raises(raised):
        fail()
    assert files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    write(tmp_path / "report", "index.html")
    assert files(tmp_path) == ["report/index.html", f"report/{MARKER}"]


def test_what_is_behind_a_link_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "there", "old.html")
    (tmp_path / "report").symlink_to("there")
    write(tmp_path / "report", "index.html")
    assert (tmp_path / "report").is_symlink()
    assert files(tmp_path / "there") == ["index.html", MARKER]


FOREIGN = {
    "thesis.tex": "mine",
    MARKER: json.dumps({"files": ["index.html"]}),  # of another program
    "index.html": "mine",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_that_is_no_report_is_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("mine")
    (tmp_path / "report" / name).write_text(FOREIGN[name])
    before = {path: (tmp_path / path).read_text() for path in files(tmp_path)}
    with pytest.raises(BadInputError, match=r"no report of p2mperf wrote, as index\.html"):
        write(tmp_path / "report", "index.html")
    assert {path: (tmp_path / path).read_text() for path in files(tmp_path)} == before


def test_what_a_reader_has_put_into_a_report_is_not_lost(tmp_path: Path) -> None:
    write(tmp_path / "report", "index.html")
    (tmp_path / "report" / "notes.txt").write_text("mine")
    with pytest.raises(BadInputError, match=r"wrote, as notes\.txt"):
        write(tmp_path / "report", "index.html")
    assert (tmp_path / "report" / "notes.txt").read_text() == "mine"


def test_what_comes_in_the_meantime_is_not_lost(tmp_path: Path) -> None:

    def write_beside_another() -> None:
        with new_report(tmp_path / "report"):
            (tmp_path / "report").mkdir()
            (tmp_path / "report" / "mine.txt").write_text("mine")

    with pytest.raises(BadInputError, match=r"wrote, as mine\.txt"):
        write_beside_another()
    assert files(tmp_path) == ["report/mine.txt"]


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(BadInputError, match="is a file, and a report is a folder"):
        write(tmp_path / "report")


def test_a_page_is_no_place(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"`--out \S+/old` writes \S+/old/index\.html"):
        require_place(tmp_path / "old.html")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    for place in (Path("/proc/report"), Path("/dev/null/report"), tmp_path / ("x" * 300)):
        with pytest.raises(ResultsError, match=r"cannot write a report to .*; name another --out"):
            write(place)


def test_what_a_killed_report_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed, living = tmp_path / LEFT_OVER, tmp_path / LEFT_OVER.replace("0", "1")
    for folder in (killed, living, tmp_path / ".p2mperf-report-mine"):
        (folder / "figures").mkdir(parents=True)
    descriptor = os.open(living, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as whoever writes it holds it
    write(tmp_path / "report", "index.html")
    os.close(descriptor)
    assert sorted(path.name for path in tmp_path.iterdir()) == [living.name, ".p2mperf-report-mine", "report"]
