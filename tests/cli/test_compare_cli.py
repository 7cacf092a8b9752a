"""`compare` from the command line: its forms, its sides, its exit codes."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest
from compared_results import N_PROCESSES, after as after, before as before, measured

from p2mperf.cli import main as command, show
from p2mperf.cli.compare import main
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.results.export import export


def test_the_table_goes_to_stdout_and_the_talk_to_stderr(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(before), str(after)]) == 0
    output, talk = capsys.readouterr()
    header, *lines = output.splitlines()
    assert header.split()[:4] == ["guest", "design", "stream", "operation"]
    assert [line.split()[1] for line in lines] == ["pv-linear", "pv-tree"]
    # Six processes of six against six: 2 of the 924 ways to deal them say as much.
    assert " ".join(lines[1].split()[4:]) == "3.000 3.600 B 20.0 % slower [20.0, 20.0] p = 0.0022"
    assert "A: run 0123456789ab, host alpha, plan quick, code c0de" in talk
    assert "B: run beef" in talk
    assert "in all rows: geometry pv32, guest_pages 131072, backing 4k" in talk
    assert "highest ratio: 1.200 [1.200, 1.200] for domu-32-512m, 4k, pv-tree, uniform, latency" in talk


def test_json_has_the_same_rows(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(before), str(after), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["design"] for row in rows] == ["pv-linear", "pv-tree"]
    assert rows[1]["ratio"] == pytest.approx(1.2)
    assert rows[1]["guest_pages"] == 131072


def test_csv_has_the_same_rows(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(before), str(after), "--csv"]) == 0
    read = pd.read_csv(io.StringIO(capsys.readouterr().out)).set_index("design")
    assert read.loc["pv-tree", "ratio"] == pytest.approx(1.2)
    assert read.loc["pv-tree", "guest_pages"] == 131072
    assert read.loc["pv-tree", "in_words"] == "B 20.0 % slower [20.0, 20.0]"


def test_markdown_is_a_table(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(before), str(after), "--markdown"]) == 0
    heads, rule, *lines = capsys.readouterr().out.splitlines()
    assert heads.startswith("| guest | design | stream | operation | cost_a_ns | cost_b_ns | ratio | ")
    assert set(rule) == set("|- ")
    assert lines[1].endswith(" | resolved | B 20.0 % slower [20.0, 20.0] |")
    assert len({line.count("|") for line in (heads, rule, *lines)}) == 1


def test_a_bar_in_a_name_does_not_break_a_markdown_table(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(pd.DataFrame({"name": ["a|b\nc"], "cost": [math.nan]}), "markdown")
    assert capsys.readouterr().out.splitlines()[2] == r"| a\|b c | - |"


def test_two_forms_at_once_are_refused() -> None:
    with pytest.raises(BadInputError, match="--csv: not allowed with argument --json"):
        main(["a", "b", "--json", "--csv"])


def test_several_results_a_side(
    before: Path, after: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = measured(tmp_path / "again", *[(2000, 3600)] * N_PROCESSES, run="feed")
    (exported, _) = export(again, tmp_path / "exported")
    arguments = ["--before", str(before), "--after", str(after), str(exported)]
    assert main([*arguments, "--json", "--fail-above", "1.10"]) == 3
    output, talk = capsys.readouterr()
    assert [row["n_processes_b"] for row in json.loads(output)] == [2 * N_PROCESSES] * 2
    assert "B: run beef, feed, host alpha" in talk
    # an option may be repeated as well
    assert main(["--after", str(after), "--before", str(before), "--after", str(exported), "--json"]) == 0
    assert capsys.readouterr().out == output


@pytest.mark.parametrize(
    "arguments",
    [(), ("a",), ("a", "b", "c"), ("--before", "a"), ("--after", "b"), ("a", "b", "--before", "c")],
)
def test_sides_that_are_not_two(arguments: tuple[str, ...]) -> None:
    with pytest.raises(
        BadInputError, match="compare: give two results, A and B, or the results of each side"
    ):
        main(list(arguments))


def test_a_run_that_is_named_twice_is_refused(before: Path, after: Path, tmp_path: Path) -> None:
    (exported, _) = export(before, tmp_path / "exported")
    with pytest.raises(ResultsError, match="run 0123456789ab of host alpha is in two of these results"):
        main(["--before", str(before), str(exported), "--after", str(after)])


def test_one_run_on_both_sides_is_told(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(before), str(before)]) == 0
    assert "A and B hold the same run, 0123456789ab, which intervals take for two" in capsys.readouterr().err
    assert main([str(before), str(after)]) == 0
    assert "the same run" not in capsys.readouterr().err


def test_exit_codes_of_the_whole_command(before: Path, after: Path, tmp_path: Path) -> None:
    other = measured(tmp_path / "other", (1000, 1500), run="bead", machine_key="bead")
    for arguments, code in (
        ((before, after), 0),
        ((before, after, "--fail-above", "1.1"), 3),
        ((before, other), 2),
        ((before, other, "--force"), 0),
        ((before, tmp_path / "none"), 2),
    ):
        assert command(["compare", *map(str, arguments)]) == code


def test_json_has_null_where_there_is_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = measured(tmp_path / "a", (1000, 1000))
    assert main([str(a), str(a), "--json"]) == 0
    assert [row["ratio_low"] for row in json.loads(capsys.readouterr().out)] == [None, None]


@pytest.mark.parametrize(("limit", "code"), [("1.10", 3), ("1.25", 0)])
def test_a_regression_has_its_exit_code(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str], limit: str, code: int
) -> None:
    assert main([str(before), str(after), "--fail-above", limit]) == code
    talk = capsys.readouterr().err
    assert ("slower than 1.1: 1.200 [1.200, 1.200] for domu-32-512m" in talk) == (code == 3)
    # the other way round the tree became faster
    assert main([str(after), str(before), "--fail-above", limit]) == 0


def test_files_are_taken_too(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (journal_a,), (journal_b,) = before.glob("*.jsonl"), after.glob("*.jsonl")
    assert main([str(journal_a), str(journal_b), "--fail-above", "1.10"]) == 3
    assert "pv-tree" in capsys.readouterr().out


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "ten"])
def test_a_limit_that_is_no_ratio(limit: str) -> None:
    said = f"'{limit}' is not a ratio: give a positive number such as 1.10"
    with pytest.raises(BadInputError, match=re.escape(said)):
        main(["a", "b", f"--fail-above={limit}"])


def test_where_there_are_no_results(before: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no results in"):
        main([str(before), str(tmp_path / "missing")])


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert (
        "python -m p2mperf compare results-before results-after --fail-above 1.10" in capsys.readouterr().out
    )
