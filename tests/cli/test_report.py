"""The report: one notebook for each machine and boot, behind what they say together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import record_samples as samples

import p2mperf
from p2mperf.cli import main
from p2mperf.cli.report import _by_level
from p2mperf.results.journal import Journal
from p2mperf.results.parquet import read_parquet, write_parquet


def measured(directory: Path, boot: str = "b001", **run: Any) -> Path:
    """Two processes of a run, and a cell that did not fit."""
    with Journal.create(directory, samples.run(**run)) as journal:
        for replicate in (0, 1):
            journal.append(samples.unit(replicate=replicate, boot=boot) | {"boot": boot})
            journal.append(samples.cell(replicate=replicate))
        journal.append(samples.skipped(replicate=2))
    return directory


def test_results_of_one_machine_and_boot_are_one_report(tmp_path: Path) -> None:
    monday, tuesday = measured(tmp_path / "mon", run="a001"), measured(tmp_path / "tue", run="a002")
    frame = p2mperf.load([monday, tuesday])
    ((title, part),) = _by_level(frame)
    assert title == "Machine fee1, an unnamed processor, boot b001, code c0de"
    pd.testing.assert_frame_equal(part, frame)
    assert part.attrs == frame.attrs


def test_a_machine_a_boot_and_a_code_have_reports_of_their_own(tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [
        {"run": "a001"},
        {"run": "a002", "boot": "b002"},
        {"run": "a003", "code": "c0da"},
        {"run": "a004", "machine_key": "fa2", "machine": {"cpu_model": "Other <1>", "key": "fa2"}},
    ]
    frame = p2mperf.load([measured(tmp_path / way["run"], **way) for way in ways])
    parts = dict(_by_level(frame))
    assert list(parts) == [
        "Machine fee1, an unnamed processor, boot b001, code c0de",
        "Machine fee1, an unnamed processor, boot b002, code c0de",
        "Machine fee1, an unnamed processor, boot b001, code c0da",
        "Machine fa2, Other <1>, boot b001, code c0de",
    ]
    for part, n_runs in zip(parts.values(), (2, 2, 1, 1), strict=True):
        # Of a cell that was not measured it is not known in which boot: it stands with each of its machine.
        assert len(part) == 8 + n_runs
        assert len({run["run"] for run in part.attrs["runs"]}) == n_runs
        # Each part is a file that p2mperf reads.
        write_parquet(part, tmp_path / "part.parquet")
        pd.testing.assert_frame_equal(read_parquet(tmp_path / "part.parquet"), part)


def test_what_was_not_measured_cannot_be_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal.create(tmp_path / "none", samples.run()) as journal:
        journal.append(samples.skipped())
    code = main(["report", "--results", str(tmp_path / "none"), "--out", str(tmp_path / "report.html")])
    assert code == 2
    assert "nothing of these results was measured: there is nothing to report" in capsys.readouterr().err


def test_two_machines_are_reported_with_what_they_say_together(tmp_path: Path) -> None:
    pytest.importorskip("nbconvert")
    here, there = tmp_path / "here", tmp_path / "there"
    p2mperf.sweep(
        "quick",
        sizes=["64M"],
        streams=["uniform"],
        operations=["latency"],
        entry_bits=64,
        designs=["pv-tree", "pv-linear"],
        n_replicates=1,
        out=here,
        quiet=True,
    )
    # The same on another machine, which is all that its run record says.
    (journal,) = here.glob("*.jsonl")
    first, *rest = journal.read_text().splitlines(keepends=True)
    run = json.loads(first)
    other = run | {"run": "0dd0", "machine_key": "0dd", "machine": run["machine"] | {"cpu_model": "Odd <b>"}}
    Journal.create(there, other).close()
    (copy,) = there.glob("*.jsonl")
    copy.write_text("".join([copy.read_text(), *rest]))
    out = tmp_path / "report.html"
    assert main(["report", "--results", str(here), str(there), "--out", str(out)]) == 0
    html = out.read_text()
    heads = [re.sub("<[^>]*>|¶", "", head).strip() for head in re.findall(r"<h1.*?</h1>", html, re.DOTALL)]
    assert heads[0] == "Several machines or boots"
    assert [head.split(",")[0] for head in heads[1::2]] == [f"Machine {run['machine_key']}", "Machine 0dd"]
    assert heads[2::2] == ["Tree or list: what a lookup in the p2m costs"] * 2
    assert "not decided on all of 2 machines" in html
    assert "<b>, boot" not in html
