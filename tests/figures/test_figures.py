"""Every figure can be drawn, is the same bytes for the same data, and may come from another package."""

from __future__ import annotations

import errno
import hashlib
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import kernel_builds
import numpy as np
import pandas as pd
import pytest
import record_samples as samples
from figure_frames import LARGE, SMALL, cell, changes, entered, frame as frame, frame_of, lookups, points_of
from matplotlib.figure import Figure

import p2mperf
from p2mperf.analysis import samples as analysed
from p2mperf.analysis.summary import SUMMARY_COLUMNS
from p2mperf.cli import main
from p2mperf.cli.sweep import as_text
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.figures import FigureSpec, drawn, figure, figures, find, save, style, table
from p2mperf.figures.drawing import FORMATS, lay_out
from p2mperf.figures.lookups import cost
from p2mperf.units import GIB


@pytest.fixture
def everything(tmp_path: Path) -> pd.DataFrame:
    """The same, a p2m's life, entries, and a guest with superpages: of what there is a figure."""
    return frame_of(tmp_path / "everything", *lookups(), *changes(), *entered(), *superpaged())


def superpaged() -> list[dict[str, Any]]:
    """Lookups of a HAP guest by walk and window, of the builder's leaves and of 4 KiB."""
    guest = {"guest": "hap-1g", "geometry": "hap64", "entry_bits": 64, "guest_pages": 262144, "family": "hap"}
    order = ("hap-walk", "hap-linear", "hap-walk-4k", "hap-linear-4k")
    block = samples.block(2000, 1000, 6000, 4000, order=order)
    return [samples.cell(**guest, replicate=number, rounds=[block] * 2) for number in (0, 1)]


# ---- all ----


MEASURED = [name for name in figures() if find(name).measured]


def given_to(name: str, everything: pd.DataFrame) -> object:
    source = find(name).source
    return kernel_builds.GIVEN[source.kind]() if source else everything


@pytest.mark.parametrize("name", figures())
def test_every_figure_is_drawn_in_every_format_and_twice_the_same(
    name: str, everything: pd.DataFrame, tmp_path: Path
) -> None:
    spec, given = find(name), given_to(name, everything)
    family = "pv" if spec.by_family else None
    shown = table(name, given, family)
    pictures, written = [*drawn(name, given, family).values(), lay_out(spec, shown)], []
    for number, fig in enumerate(pictures):
        assert [ax for ax in fig.axes if ax.get_visible()]
        directory = tmp_path / str(number)
        directory.mkdir()
        # All of a figure stands in its SVG; what PNG and PDF add to that is the same for all.
        formats = FORMATS if number == 0 or name in ("map", "life") else FORMATS[:1]
        written.append([(path.name, path.read_bytes()) for path in save(fig, directory, name, formats)])
    assert [path for path, _ in written[0]] == [f"{name}.svg", f"{name}.png", f"{name}.pdf"]
    for magic, (_, content) in zip((b"<?xml", b"\x89PNG", b"%PDF"), written[0], strict=True):
        assert content.startswith(magic)
    one, other = ([hashlib.sha256(content).hexdigest() for _, content in files] for files in written)
    assert one[: len(other)] == other
    # The title says what is shown, and other data have another.
    title = pictures[0].get_suptitle().replace("\n", " ")
    assert title == spec.title_of(shown)
    assert title != spec.question
    assert any(letter.isdigit() for letter in title)


def test_the_designs_of_two_families_are_two_figures(everything: pd.DataFrame) -> None:
    assert list(drawn("ratio", everything)) == ["ratio-pv", "ratio-hap"]
    # Of HAP nothing but lookups was measured.
    assert list(drawn("life", everything)) == ["life"]
    assert list(drawn("ratio", everything, "hap")) == ["ratio"]
    first, other = figure("ratio", everything), figure("ratio", everything, family="hap")
    assert rows_of(first) == {"pv-64-256m", "pv-64-1g"}
    assert {row.partition("\n")[0] for row in rows_of(other)} == {"hap-1g"}
    assert first.get_supxlabel().endswith("not shown: samples of hap")
    assert "not shown" not in other.get_supxlabel()
    assert set(table("ratio", everything)["family"]) == {"pv", "hap"}
    assert set(table("ratio", everything, family="hap")["family"]) == {"hap"}


def rows_of(fig: Figure) -> set[str]:
    return {label.get_text() for ax in fig.axes for label in ax.get_yticklabels()}


def test_a_family_that_is_none_of_theirs_is_one_sentence(everything: pd.DataFrame) -> None:
    with pytest.raises(BadInputError, match="unknown family 'harp': did you mean 'hap'"):
        figure("ratio", everything, family="harp")
    with pytest.raises(BadInputError, match="figure 'limit-map' is not drawn by families"):
        figure("limit-map", family="pv")


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("rows", [None, 0])
def test_a_measured_figure_needs_results(name: str, rows: int | None, frame: pd.DataFrame) -> None:
    with pytest.raises(BadInputError, match=f"figure '{name}' needs results: run `python -m p2mperf sweep`"):
        figure(name, None if rows is None else frame.head(rows))


def test_an_unknown_figure_is_answered_with_the_nearest(frame: pd.DataFrame) -> None:
    for ask in (figure, table, p2mperf.figure):
        with pytest.raises(BadInputError, match="unknown figure 'foot-print': did you mean 'footprint'"):
            ask("foot-print", frame)


@pytest.mark.parametrize("name", MEASURED)
def test_a_frame_without_a_measured_cell_is_no_figure(name: str, tmp_path: Path) -> None:
    frame = frame_of(tmp_path, samples.skipped(**SMALL), samples.failed(**LARGE))
    with pytest.raises(BadInputError, match=f"figure '{name}' needs results|nothing to draw: no "):
        figure(name, frame)


def test_one_design_alone_has_costs_and_no_ratios(tmp_path: Path) -> None:
    blocks = [samples.block(3000, order=("pv-tree",))]
    designs = {"pv-tree": samples.design()}
    frame = frame_of(tmp_path, samples.unit(designs, **SMALL), samples.cell(**SMALL, rounds=blocks))
    assert len(cost.data(frame)) == 1
    assert tuple(p2mperf.summary(frame).columns) == SUMMARY_COLUMNS
    assert as_text(p2mperf.summary(frame)) == "no cell has two designs to compare"
    with pytest.raises(BadInputError, match="nothing to draw: no lookup was measured with two designs"):
        figure("ratio", frame)


def test_one_cell_is_drawn_whole_above_its_note(tmp_path: Path) -> None:
    # A layout that finds no room for axes is a warning, and so an error here.
    drawing = figure("map", frame_of(tmp_path, cell(SMALL, 0, (1000, 1500), (1000, 1500))))
    drawing.draw_without_rendering()
    note = drawing._supxlabel.get_window_extent()
    assert note.y0 >= 0
    # The cell, 0.3 inches high: no less than its figures take.
    first, *_ = drawing.axes
    assert first.get_window_extent().height / drawing.dpi > 0.2
    assert all(ax.get_window_extent().y0 >= note.y1 for ax in drawing.axes)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_is_as_it_was_where_a_figure_cannot_be_written(
    kind: str, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "figures"
    there.mkdir()
    (there / f"cost.{kind}").write_text("before")

    def is_full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", is_full)
    with pytest.raises(
        ResultsError, match=r"cannot write figures to .*: No space left on device; name a directory"
    ):
        save(figure("cost", frame), there, "cost", (kind,))
    assert [(path.name, path.read_text()) for path in there.iterdir()] == [(f"cost.{kind}", "before")]


def test_pairs_and_backings_have_rows_of_their_own(tmp_path: Path) -> None:
    order = ("pv-linear", "pv-tree", "pv-linear-nested")
    cells = [
        samples.cell(**guest, backing=backing, rounds=[samples.block(2000, 3000, 4000, order=order)])
        for guest in (SMALL, LARGE)
        for backing in ("kernel", "huge")
    ]
    (ax,) = figure("ratio", frame_of(tmp_path, *cells)).axes
    rows = [label.get_text() for label in ax.get_yticklabels()]
    # The kernel's layout before the other, small guests before large ones.
    assert rows == [
        f"{guest}, {backing} pages\n{pair} / list"
        for pair in ("nested list", "tree")
        for backing in ("kernel", "huge")
        for guest in ("pv-64-256m", "pv-64-1g")
    ]
    found = points_of(ax)
    assert found == {row: pytest.approx(1.5 if "\ntree" in row else 2) for row in rows}


# ---- figures of other packages ----


def offer(monkeypatch: pytest.MonkeyPatch, thing: object) -> None:
    """Offers `thing` as figure "toy", as an installed package would."""
    module = ModuleType("another_package")
    module.__dict__["FIGURE"] = thing
    monkeypatch.setitem(sys.modules, module.__name__, module)
    point = EntryPoint("toy", "another_package:FIGURE", "p2mperf.figures")
    monkeypatch.setattr("p2mperf.figures.offered", lambda group: (point,) * (group == "p2mperf.figures"))


def toy(name: str) -> FigureSpec:
    return FigureSpec(
        name=name,
        question="How many samples are there?",
        data=lambda frame: pd.DataFrame({"n": [len(frame)]}),
        draw=lambda table, ax: ax.set_title(f"{table['n'].iloc[0]} samples"),
    )


def test_a_figure_of_ones_own_is_drawn_like_any_other(
    monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame
) -> None:
    offer(monkeypatch, toy("toy"))
    assert list(figures())[-1] == "toy"
    assert table("toy", frame)["n"].tolist() == [len(frame)]
    (ax,) = figure("toy", frame).axes
    assert ax.get_title(loc="left") == f"{len(frame)} samples"
    with pytest.raises(BadInputError, match="figure 'toy' needs results"):
        figure("toy")


@pytest.mark.parametrize(
    ("thing", "wrong"),
    [(toy, "is no FigureSpec"), (None, "is no FigureSpec"), (toy("toi"), "calls itself toi")],
)
def test_a_figure_that_is_none_is_refused_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    thing: object,
    wrong: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    offer(monkeypatch, thing)
    sentence = f"figure toy is declared as another_package:FIGURE, which {wrong}"
    with pytest.raises(BadInputError, match=f"^{sentence}$"):
        find("toy")
    # Whoever asks for all others gets them.
    assert find("cost").name == "cost"
    monkeypatch.setattr("p2mperf.figures._SHIPPED", {"limit-map": "limits.map"})
    assert main(["plot", "all", "--out", str(tmp_path), "--format", "svg"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}/limit-map.svg\n"
    assert err == f"p2mperf: toy is left out: {sentence}\n"
    assert main(["plot", "toy", "--out", str(tmp_path)]) == 2


@pytest.mark.parametrize("name", figures())
def test_every_figure_declares_what_it_is_registered_as(name: str) -> None:
    assert find(name).name == name
    assert find(name).question


# ---- what they share ----


@pytest.mark.parametrize(
    ("facts", "label"),
    [
        ({"stream": "zipf", "hole_fraction": 0.0, "identity_fraction": 0.0}, "zipf"),
        ({"stream": "uniform", "hole_fraction": 0.0, "identity_fraction": 0.25}, "uniform, 25 % identity"),
        (
            {"stream": "uniform", "hole_fraction": 0.125, "identity_fraction": 0.5},
            "uniform, 12.5 % holes, 50 % identity",
        ),
        (
            {"stream": "zipf", "hole_fraction": 0.25, "identity_fraction": 0.0, "hole_pattern": "runs"},
            "zipf, 25 % holes in runs",
        ),
    ],
)
def test_labels_of_streams(facts: dict[str, Any], label: str) -> None:
    assert analysed.stream_label(**facts) == label


def test_narrow_entries_look_different() -> None:
    wide, narrow = style.design_look("pv-tree", 64), style.design_look("pv-tree", 32)
    assert wide.colour == narrow.colour
    assert (wide.line, narrow.line) == ("-", "--")
    assert wide.face != narrow.face == "white"


def test_sizes_that_crowd_share_a_tick() -> None:
    ax = Figure().subplots()
    style.size_axis(ax, np.array([1, 1.5, 4, 16, 17]) * GIB)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1G", "4G", "16G"]


def test_a_frame_without_a_run_has_no_machine(frame: pd.DataFrame) -> None:
    bare = frame.copy()
    bare.attrs = {}
    assert analysed.host_note(bare) == "measured by p2mperf"
    assert analysed.knees_of(bare) == []


def test_plot_writes_a_file_a_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "footprint", "--results", "shipped", "--out", str(tmp_path), "--format", "svg"]) == 0
    families = sorted(p2mperf.load("shipped")["family"].dropna().unique())
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"footprint-{name}.svg" for name in families]
    assert len(families) > 1
    assert main(["plot", "limit-map", "--family", "pv", "--out", str(tmp_path)]) == 2
    assert "figure 'limit-map' is not drawn by families" in capsys.readouterr().err
