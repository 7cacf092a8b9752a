"""`sweep` and `plot` from the command line: what they show, what they write, how they end."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL
from sweeping import Units

from p2mperf.cli import main
from p2mperf.errors import P2mperfError
from p2mperf.results.runs import find_runs
from p2mperf.study.executors import local
from p2mperf.units import MIB

pytestmark = pytest.mark.usefixtures("somewhere_else")


# ---- sweep ----


def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SMALL, "--backing", "small", "--dry-run", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    # A PV kernel has its tables on small pages: that is one measurement, of one name.
    assert (row["guest"], row["backing"], row["guest_pages"]) == ("pv-64-16m", "kernel", 4096)
    assert row["designs"] == ["pv-tree", "pv-linear"]
    assert [(c["stream"], c["operation"]) for c in row["cells"]] == [
        (stream, operation) for stream in ("sequential", "uniform") for operation in ("latency", "throughput")
    ]
    assert row["need_bytes"] > 4 * MIB
    assert row["need_maps"] > 0
    assert row["fits"] is True
    # A process takes more than half a second, and nobody waits a minute for one so small.
    assert 5e8 < row["estimated_ns"] < 60e9
    assert os.listdir() == []


def test_a_dry_run_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--size", "16M", "--size", "400G", "--stream", "zipf", "--dry-run"]) == 0
    head, names, small, large, time = capsys.readouterr().out.splitlines()
    # 9 replicates of 2 guests, with both kinds of lookups and entries after two preambles: 2 * 9 * 4.
    assert head == "plan default: 72 cells in 18 units, 9 replicates of each of"
    assert names.split() == ["guest", "backing", "cells", "needs", "fits"]
    assert small.split()[:3] == ["pv-64-16m", "kernel", "4"]
    assert small.split()[-1] == "yes"
    assert large.split()[0] == "pv-64-400g"
    about = r"\d+ (s|min)"
    parts = rf"\d+ processes {about}, building {about}, cells {about}, the machine's ladder {about}"
    assert re.fullmatch(rf"about {about}: {parts}", time)


def test_a_sweep_shows_its_table_and_files(capsys: pytest.CaptureFixture[str], units: Units) -> None:
    arguments = ["--stream", "uniform", "--operation", "latency", "--out", "results"]
    assert main(["sweep", *SMALL, *arguments]) == 0
    out, err = capsys.readouterr()
    # The cell of cardboard: 1000 lookups took the list 2000 and 2200 ns, and the tree 3000 and 3300 ns.
    pair, head, row, _, *notes = out.splitlines()
    assert pair == "pv-tree / pv-linear [no interval]"
    assert notes[:3] == [
        "all on page backing kernel",
        "ratios are of paired rounds, not quotients of the costs",
        "intervals cover processes, not boots or machines",
    ]
    assert head.split() == ["guest", "stream", "operation", "pv-linear", "pv-tree", "ratio", "verdict"]
    assert row.split() == [
        *("pv-64-16m", "uniform", "latency"),
        *("2.100", "ns", "3.150", "ns", "1.500"),
        *("no", "verdict:", "1", "process:", "an", "interval", "of", "95", "%", "takes", "6"),
    ]
    (info,) = find_runs("results")
    files = {info.path.name, *(path.name for path in Path("results").glob("*.parquet"))}
    assert len(files) == 2
    assert all(name in err for name in files)
    *_, plot, _, report, _, lab, notebooks = err.splitlines()
    assert plot == "  python -m p2mperf plot --results results"
    assert report == "  python -m p2mperf report --results results"
    # Here is another directory than the checkout, whose ./run has the lab.
    assert re.fullmatch(r"  \S+/run lab", lab)
    assert f'data = "{os.path.realpath("results")}"' in notebooks


def test_a_quiet_sweep_gives_only_its_table(capsys: pytest.CaptureFixture[str], units: Units) -> None:
    assert main(["sweep", *SMALL, "--stream", "uniform", "--operation", "latency", "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (row,) = json.loads(out)
    assert (row["design"], row["reference"], row["ratio"]) == ("pv-tree", "pv-linear", pytest.approx(1.5))
    assert (row["cost_ns"], row["reference_ns"]) == (pytest.approx(3.15), pytest.approx(2.1))


def test_a_sweep_says_that_it_goes_on(capsys: pytest.CaptureFixture[str], units: Units) -> None:
    def spoil(number: int, record: Any) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return record

    units.spoil = spoil
    assert main(["sweep", *SMALL]) == 130
    assert capsys.readouterr().err.endswith(
        "p2mperf: interrupted; every finished cell is kept: the same command goes on\n"
    )
    units.spoil = lambda number, record: record
    assert main(["sweep", *SMALL]) == 0
    (info,) = find_runs("results")
    assert f"p2mperf: resuming {info.path.name}: 1 of 4 cells are there" in capsys.readouterr().err


def test_a_sweep_of_which_nothing_fits_ends_with_4(
    capsys: pytest.CaptureFixture[str], units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "available_memory_bytes", lambda: 1 * MIB)
    assert main(["sweep", *SMALL, "-q"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("p2mperf: nothing of plan quick fits this machine")


def test_a_sweep_with_failed_cells_ends_with_1(capsys: pytest.CaptureFixture[str], units: Units) -> None:
    def spoil(number: int, record: Any) -> Any:
        raise P2mperfError("the unit's process was killed by signal 11")

    units.spoil = spoil
    assert main(["sweep", *SMALL, "-q"]) == 1
    assert "4 of 4 cells failed" in capsys.readouterr().err


def test_options_reach_the_process_that_measures(units: Units) -> None:
    options = ["--design", "pv-tree", "--backing", "huge", "--stream", "uniform:identity=0.5", "--control"]
    assert (
        main(["sweep", "--plan", "quick", "--guest", "dom0-64-e820", "--replicates", "2", "-q", *options])
        == 0
    )
    for order, replicate in zip(units.orders, (0, 1), strict=True):
        assert order["guest"]["name"] == "dom0-64-e820"
        assert (order["designs"], order["backing"], order["replicate"]) == (("pv-tree",), "huge", replicate)
        assert {cell["identity_fraction"] for cell in order["cells"]} == {0.5}
        assert order["settings"]["control"] is True


# ---- plot ----


@pytest.fixture
def results(units: Units, capsys: pytest.CaptureFixture[str]) -> Path:
    assert (
        main(["sweep", "--plan", "quick", "--size", "16M", "--size", "64M", "--replicates", "2", "-q"]) == 0
    )
    capsys.readouterr()
    return Path("results")


def test_figures_are_written_and_named(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    names = ["cost", "ratio", "footprint"]
    assert main(["plot", *names, "--results", "results", "--out", "a/b", "--format", "svg", "png"]) == 0
    out, err = capsys.readouterr()
    expected = [f"a/b/{name}.{kind}" for name in names for kind in ("svg", "png")]
    assert out.splitlines() == expected
    assert all(Path(name).stat().st_size > 1000 for name in expected)
    assert err == "p2mperf: figures are drawn from results\n"


def test_equal_results_give_equal_files(results: Path) -> None:
    for out in ("one", "two"):
        assert main(["plot", "ratio", "--out", out, "--format", "svg"]) == 0
    assert Path("one/ratio.svg").read_bytes() == Path("two/ratio.svg").read_bytes()


def test_files_of_figures_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "limit-map", "limit-area", "--format", "svg", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"figure": name, "files": [f"figures/{name}.svg"]} for name in ("limit-map", "limit-area")
    ]


def test_figures_of_arithmetic_need_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "limit-map", "--format", "svg"]) == 0
    assert capsys.readouterr() == ("figures/limit-map.svg\n", "")


def test_a_single_journal_can_be_plotted(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    (info,) = find_runs(results)
    assert main(["plot", "footprint", "--results", str(info.path), "--format", "png"]) == 0
    assert capsys.readouterr().out == "figures/footprint.png\n"
