"""Generated blocks of README, docs/results.md and its neighbours: their generator, and what they say."""

from __future__ import annotations

import re
from types import ModuleType

import pandas as pd
import pytest
from checkout import ROOT
from readme_tool import README, RESULTS, block, load_tool, rows

import p2mperf
from p2mperf.analysis.findings import on_pages
from p2mperf.analysis.life.costs import life_titles
from p2mperf.measure.operations.registry import find_operation, operations_of


@pytest.fixture(scope="module")  # what it has found once, it keeps
def tool() -> ModuleType:
    return load_tool()


def test_readme_says_what_the_scenarios_do(tool: ModuleType) -> None:
    page = (ROOT / tool.CONFIGURATIONS_PAGE).read_text("utf-8")
    assert tool.rewritten(page, tool.CONFIGURATIONS_PAGE) == page, "run python tools/readme.py"
    written = block(page, "life-configurations")
    # Two widths, three scenarios, two designs; every step as it must be.
    assert len(rows(written)) == 2 * 3 * 2
    assert {row[3] for row in rows(written)} == {"7 of 7", "5 of 5", "3 of 3"}


def test_a_row_is_the_sum_of_its_steps(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of two steps the second was refused where it had to be done; frames 10 + 5, leaves 1 + 2, mids 0 + 1.
    numbers = {
        "done": [True, False],
        "wanted": [True, True],
        "n_frames": [10, 5],
        "pages_before": [7, 8],
        "pages_after": [8, 11],
        "mappings_before": [2, 3],
        "mappings_after": [3, 1],
        "n_leaves_broken": [1, 2],
        "n_mids_broken": [0, 1],
    }
    monkeypatch.setattr(p2mperf, "life", lambda *names: pd.DataFrame(numbers), raising=False)
    expected = ["1 of 2", "15", "7 -> 11", "2 -> 1", "3", "1", "holds"]
    assert [row[3:] for row in rows(tool.counted_page.life_configurations())] == [expected] * 12


def test_only_what_is_between_the_marks_is_rewritten(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = {"one": lambda: "new\nlines", "two": lambda: "2"}
    monkeypatch.setattr(tool, "PAGES", {"README.md": blocks})
    text = "a\n<!-- begin {0} -->\nold\n<!-- end {0} -->\nb\n"
    before = text.format("two") + text.format("one")
    after = tool.rewritten(before)
    assert after == before.replace("old", "2", 1).replace("old", "new\nlines")
    assert tool.rewritten(after) == after
    with pytest.raises(SystemExit, match="no block 'one'"):
        tool.rewritten(text.format("two"))


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "docs/configurations.md"])
def test_every_block_of_a_page_is_generated(tool: ModuleType, page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert sorted(re.findall("<!-- begin (.*?) -->", text)) == sorted(tool.PAGES[page])


MEASURED = [
    *(("README.md", name) for name in ("found", "findings")),
    *(("docs/results.md", name) for name in ("machine", "results", "holes", "pages", "machines")),
    *(("docs/results.md", name) for name in ("kernel-build", "life", "life-growth", "arm", "hap")),
]


@pytest.mark.parametrize(("page", "name"), MEASURED)
def test_measured_blocks_are_those_of_the_shipped_data(tool: ModuleType, page: str, name: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert block(text, name) == tool.PAGES[page][name](), "run python tools/readme.py"


def test_readme_is_short_and_leads_on(tool: ModuleType) -> None:
    # What a reader opens first: its own words, without tables that are made and without code.
    prose = re.sub("<!-- begin .*?<!-- end .*? -->|```.*?```", "", README, flags=re.DOTALL)
    assert len(prose.split()) < 700
    assert len(rows(block(README, "findings"))) <= 8
    links = re.findall(r"\]\(([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_results_are_of_the_layout_that_a_kernel_has(tool: ModuleType) -> None:
    # Six guests of 64 bits and three of 32: lookups one after the other, overlapping, and in entries.
    lines = rows(tool.results_page.results())
    assert [line[0] for line in lines] == [
        *(f"pv-64-{size}" for size in ("512m", "2049m", "8g", "43g", "128g", "400g")),
        *(f"pv-32-{size}" for size in ("512m", "8g", "43g")),
    ]
    assert all(len(line) == 4 for line in lines)
    frame = p2mperf.load("shipped")
    assert set(frame["backing"]) == {"kernel"}
    pv = frame[(frame["family"] == "pv") & (frame["status"] == "done")]
    assert set(pv["view_page_bytes"].dropna()) == {4096}


def test_every_pattern_of_holes_is_shown_at_both_widths(tool: ModuleType) -> None:
    lines = rows(tool.results_page.holes())
    labels = ["uniform", "uniform, 50 % holes", "uniform, 50 % holes in runs", "uniform, 50 % identity"]
    assert sorted((line[0], line[1]) for line in lines) == sorted(
        (guest, label) for guest in ("dom0-64-e820", "dom0-32-e820") for label in labels
    )


def test_pages_are_compared_within_a_process(tool: ModuleType) -> None:
    shown = on_pages(p2mperf.load("shipped-backings"))
    pairs = {(row.design, row.reference) for row in shown.itertuples()}
    assert pairs == {("pv-linear-4k", "pv-linear-2m"), ("pv-tree-4k", "pv-tree-2m")}
    assert set(shown["guest"]) == {"pv-64-8g", "pv-64-128g", "pv-64-400g"}
    assert set(shown["n_processes"]) == {9}
    frame = p2mperf.load("shipped-backings")
    on = {
        name: frame.loc[frame["design"] == name, "view_page_bytes"].unique()
        for pair in pairs
        for name in pair
    }
    assert {name: list(sizes) for name, sizes in on.items()} == {
        "pv-linear-4k": [4096],
        "pv-linear-2m": [2 << 20],
        "pv-tree-4k": [4096],
        "pv-tree-2m": [2 << 20],
    }


def test_three_machines_are_three(tool: ModuleType) -> None:
    table = tool.results_page.on_machines()
    assert set(table["n_machines"]) == {3}
    numbers = re.findall(r"\b\d+\b(?!\s%)", tool.results_page.machines())
    n_cells, n_machines, n_same, n_apart, n_oppose = map(int, numbers[:5])
    assert n_machines == 3
    assert n_cells == len(table) > 60
    assert (n_same, n_apart, n_oppose) == (
        (table["faster"] != "").sum(),
        (table["agreement"] == "differ").sum(),
        (table["agreement"] == "oppose").sum(),
    )


@pytest.mark.parametrize("name", ["results", "holes", "pages", "life"])
def test_a_table_of_verdicts_says_what_they_cover(tool: ModuleType, name: str) -> None:
    *_, empty, note = tool.results_page.BLOCKS[name]().splitlines()
    assert empty == ""
    assert "96.1 % Wilcoxon intervals; verdicts hold among these " in note
    assert "intervals cover processes, not boots or machines" in note
    assert ("unsteady: " in note) == ("unsteady" in block(RESULTS, name).partition("\n\n")[0])


def test_the_table_of_life_cycle_costs_is_whole(tool: ModuleType) -> None:
    # Nine operations on guests of 8, 43 (32-bit), 128 and 400 GiB; each cell with its interval and verdict.
    lines = rows(tool.results_page.life_costs())
    of_life = {name for name in operations_of("life") if "Superpaged" not in find_operation(name).needs}
    titles = [title for (operation, _), title in life_titles().items() if operation in of_life]
    assert len(titles) == 9
    assert [line[0] for line in lines] == titles
    assert all(len(line) == 5 for line in lines)
    verdicts = "list faster|tree faster|equivalent|not resolved"
    marks = r"( \((biased|unsteady|biased, unsteady)\))?"
    cell = re.compile(rf"\S+ [num]?s, \S+ [num]?s: [\d.]+ \[[\d.]+, [\d.]+\], ({verdicts}){marks}")
    assert [text for line in lines for text in line[1:] if not cell.fullmatch(text)] == []


# ---- docs/hap.md ----


def test_every_block_of_the_page_on_hap_is_generated(tool: ModuleType) -> None:
    page = (ROOT / tool.HAP_PAGE).read_text("utf-8")
    assert sorted(re.findall("<!-- begin (.*?) -->", page)) == sorted(tool.hap_page.BLOCKS)
    assert tool.rewritten(page, tool.HAP_PAGE) == page, "run python tools/readme.py"


def test_windows_are_shown_for_all_leaves_and_sizes(tool: ModuleType) -> None:
    lines = rows(tool.hap_page.windows())
    whole = {
        (leaves, f"hap-{size}") for leaves in ("1 GiB", "2 MiB", "4 KiB") for size in ("1g", "16g", "64g")
    }
    assert whole <= {(line[0], line[1]) for line in lines}
    assert "hvm-16g-broken60" in {line[1] for line in lines}
    assert all(len(line) == 6 for line in lines)
    # Splits, memory added and removed, types, each over neighbours and alone; 4 KiB cannot be split.
    changes = rows(tool.hap_page.changes())
    assert len(changes) == 8
    assert [line[3] == "-" for line in changes] == ["split" in line[0] for line in changes]


def test_findings_on_windows_count_what_the_table_shows(tool: ModuleType) -> None:
    shown = [cell for line in rows(tool.hap_page.windows()) for cell in line[2:]]
    *by_leaves, sequential, smaller = tool.hap_page.findings().replace("\n  ", " ").splitlines()
    counts = [
        list(map(int, re.findall(r"(\d+) of (\d+) comparisons, the walk in (\d+)", one)[0]))
        for one in by_leaves
    ]
    windows, cells, walks = map(sum, zip(*counts, strict=True))
    assert cells == len(shown)
    assert windows == sum("windows faster" in cell for cell in shown)
    assert walks == sum("walk faster" in cell for cell in shown)
    assert "sequential" in sequential
    assert "Published is 1.15" in smaller
