"""`kernel-build` on the command line: what it prints, what it refuses, and two environments really run."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from made_recordings import build
from predicted_builds import COSTS, replay, replays

import p2mperf
from p2mperf.analysis.kernel_build.replay_file import write_replays
from p2mperf.analysis.kernel_build.words import sentence
from p2mperf.cli import main
from p2mperf.errors import BadInputError
from p2mperf.workload.recording import CpuCount
from p2mperf.workload.recording_file import write_recording


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert main(["kernel-build", *arguments]) == code
    said = capsys.readouterr()
    return said.out, said.err


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A recording and replays, both made by hand."""
    directory = tmp_path_factory.mktemp("build")
    recording, costs = directory / "build.parquet", directory / "replays.json"
    made = build()
    about = replace(made.about, cpus={0: CpuCount(made.n_events, 0, 0)})
    write_recording(replace(made, about=about), recording)
    replayed = tuple(replay(*key, {**each, "FILE_READ": 90.0}) for key, each in COSTS.items())
    write_replays(replays(replays=replayed), costs)
    return str(recording), str(costs)


# A prediction.


def test_the_table_comes_first_and_the_verdict_last(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    recording, costs = files
    out, err = asked(capsys, recording, "--replays", costs, "-q")
    assert err == ""
    found = p2mperf.kernel_build(recording, costs, quiet=True)
    lines = out.splitlines()
    assert lines[0].startswith("made: 330 page faults, ")
    assert "182 million faults (published: 31.49 million faults" in lines[1]
    heads = "published, one run each predicted: cold replay here predicted: counts x latencies"
    assert " ".join(lines[3].split()) == heads
    assert " ".join(lines[5].split()).startswith("System: 18:07 -> 17:47 (-20 s +- 33) 18:07 -> ")
    assert found.verdict.sentence in lines
    assert lines[-1].startswith("note: the replays are of another recording")


def test_json_is_what_the_call_gives(capsys: pytest.CaptureFixture[str], files: tuple[str, str]) -> None:
    recording, costs = files
    found = p2mperf.kernel_build(recording, costs, n_faults=1e8, quiet=True)
    out, _ = asked(capsys, recording, "--replays", costs, "--faults", "1e8", "--json", "-q")
    (said,) = json.loads(out)["builds"]
    assert said == {**found.to_dict(), "sentence": sentence(found)}
    assert said["faults"]["origin"] == "given"


def test_several_recordings_come_one_after_the_other(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    recording, costs = files
    out, _ = asked(capsys, recording, recording, "--replays", costs, "-q")
    assert out.count("made: 330 page faults") == 2


def test_guest_and_kernel_must_be_those_of_the_replays(
    capsys: pytest.CaptureFixture[str], files: tuple[str, str]
) -> None:
    recording, costs = files
    _, err = asked(capsys, recording, "--replays", costs, "--guest-memory", "1G", "-q", code=2)
    assert "unknown guest of these replays 'pv-64-1g'" in err
    _, err = asked(capsys, recording, "--replays", costs, "--no-thp", "-q", code=2)
    assert "these replays are of a kernel with CONFIG_TRANSPARENT_HUGEPAGE: replay anew" in err
    with pytest.raises(BadInputError, match="replays are given as Replays or as their file, not as 5"):
        p2mperf.kernel_build(recording, 5, quiet=True)  # type: ignore[arg-type]


def test_a_dry_run_reads_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = asked(capsys, "nowhere.parquet", "--dry-run")
    assert out == (
        "recordings: 'nowhere.parquet'\nreplays: measured now, at 8G, a minute or so for each recording\n"
    )
    out, _ = asked(capsys, "--shipped", "--dry-run")
    assert out == "recordings: shipped-defconfig, shipped-tinyconfig\nreplays: as shipped\n"


# Two environments.


def test_a_dry_run_says_the_order_and_runs_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    options = [
        "--real-ab",
        "--a",
        "env X=1",
        "--b",
        "env X=2",
        "--pairs",
        "7",
        "--dry-run",
        "--out",
        str(tmp_path / "j"),
    ]
    out, _ = asked(capsys, *options, "--", "touch", str(mark))
    assert "14 runs, in pairs: ab ba ba ab ab ba ..." in out
    assert "a: 'env X=1 sh -s'" in out
    assert list(tmp_path.iterdir()) == []


def test_both_sides_are_shown_beside_what_is_published(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, err = asked(
        capsys,
        "--real-ab",
        "--a",
        "env X=1",
        "--pairs",
        "2",
        "--directory",
        str(tmp_path),
        "-q",
        "--",
        "echo $X >> log",
    )
    assert (tmp_path / "log").read_text().split() == ["1", "1"]  # b's are empty lines
    lines = out.splitlines()
    assert lines[1].startswith("Elapsed time:  32:50 -> 32:35 (-15 s)")
    assert lines[2].startswith("System:        18:07 -> 17:47 (-20 s)")
    assert all(line.endswith(", 2 pairs)") for line in lines[1:4])
    # one kernel twice: nothing but noise
    assert f"both environments ran kernel {os.uname().release}" in err


def test_json_has_every_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    journal = tmp_path / "pairs.jsonl"
    options = ["--real-ab", "--pairs", "1", "--out", str(journal), "--json", "-q", "--", "true"]
    first, second = (json.loads(asked(capsys, *options)[0]) for _ in range(2))
    assert first == second  # it was run once
    assert [run["side"] for run in first["runs"]] == ["a", "b"]
    (elapsed, _, _) = first["times"]
    assert elapsed["change_s"]["estimate"] == pytest.approx(elapsed["b_s"] - elapsed["a_s"])
    assert elapsed["change_s"]["n"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--real-ab"], "--real-ab lacks the command to run: give it after --"),
        (["--real-ab", "--pairs", "0", "--", "true"], "pairs of runs are 1 to 10000, not 0"),
        (["--real-ab", "file", "--", "true"], "kernel-build: FILE goes not with --real-ab"),
        (["--real-ab", "--shipped", "--", "true"], "kernel-build: --shipped goes not with --real-ab"),
        (["--real-ab", "--no-thp", "--", "true"], "kernel-build: --no-thp goes not with --real-ab"),
        (["--", "true"], "kernel-build: a command after -- goes with --real-ab only"),
        (["--prepare", "make clean"], "kernel-build: --prepare goes with --real-ab only"),
        (["--a", "ssh x"], "kernel-build: --a goes with --real-ab only"),
        (["--shipped", "--replays", "x"], "not allowed with argument"),
        (["--guest-memory", "8Q"], "'8Q' is not a size"),
        (["--guest-memory", "1000T"], "1000T"),
        (["--faults", "many"], "--faults takes a number, as 182000000, not 'many'"),
        (["--faults", "0"], "page faults of a build are 1 to 1e+12, not 0.0"),
        (["--faults", "nan"], "page faults of a build are 1 to 1e+12, not nan"),
        (["--replays", "/no/such/file"], "cannot read /no/such/file: No such file"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    _, err = asked(capsys, *arguments, code=2)
    assert err.startswith("p2mperf: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_run_that_fails_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = asked(capsys, "--real-ab", "-q", "--pairs", "1", "--", "echo no >&2; exit 7", code=1)
    assert err == "p2mperf: run a of pair 1 failed with code 7: no\n"


def test_help_has_examples_and_no_number_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["kernel-build", "--help"])
    out = capsys.readouterr().out
    assert "kernel-build --shipped" in out
    # (33.1 / 20)**2 = 2.7 and (33.1 / 10)**2 = 11.0
    assert "By published noise 3 pairs show 20 s of system time, and 11 pairs show half of that." in " ".join(
        out.split()
    )
