"""`limits` on the command line: what it prints, as text and as JSON, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from p2mperf.cli import limits as command, main
from p2mperf.sizing import LIMITS, QUESTIONS, limits
from p2mperf.sizing.proof import Proof
from p2mperf.units import GIB, MIB, TIB


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["limits", *arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def run_text(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["limits", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_400g_at_64_bits(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run_json(capsys, "--guest-memory", "400G", "--entry-bits", "64", "--vmalloc", "1M")
    # 400 GiB / 4 KiB x 8 bytes = 800 MiB of list, a multiple of 2 MiB, of 32 TiB; 500 GiB is the first cap.
    assert answer["fits"]
    assert answer["guest_bytes"] == 400 * GIB
    assert answer["list_bytes"] == answer["area_bytes"] == 800 * MIB
    assert answer["available_bytes"] == 32 * TIB
    assert answer["largest_guest_bytes"] == 500 * GIB
    assert answer["next_guest_bytes"] == 501 * GIB  # a granule of 2 MiB / 8 bytes x 4 KiB more
    assert answer["next_refused_by"] == answer["binds"] == ["max-domain-memory"]
    assert any("ignored" in note for note in answer["notes"])
    assert [question["name"] for question in answer["questions"]] == ["vmalloc-1m-64bit"]


def test_400g_at_32_bits(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run_json(capsys, "--guest-memory", "400G", "--entry-bits", "32", "--vmalloc", "1M")
    # 400 GiB / 4 KiB x 4 bytes = 400 MiB of 1 MiB.
    assert not answer["fits"]
    assert answer["area_bytes"] == 400 * MIB
    assert answer["available_bytes"] == 1 * MIB
    assert answer["refused_by"][0] == "vmalloc-area"
    assert "max-domain-memory" in answer["refused_by"]
    assert "pkmap and fixmap" in answer["kernel_behaviour"]
    assert [question["name"] for question in answer["questions"]] == ["vmalloc-1m-32bit"]
    assert sum(region["end_bytes"] - region["start_bytes"] for region in answer["address_space"]) == 4 * GIB
    for verdict in answer["limits"]:
        assert verdict["fits"] == (verdict["needed_bytes"] <= verdict["available_bytes"])
        assert verdict["limit"] in verdict["reason"]


def test_text_names_each_limit_that_applies(capsys: pytest.CaptureFixture[str]) -> None:
    out = run_text(capsys, "--guest-memory", "43G", "--entry-bits", "32")
    for verdict in limits("43G", entry_bits=32).verdicts:
        assert verdict.limit in out
    assert "44M of 120M" in out  # 43 MiB of list in granules of 4 MiB, of the default area
    assert "No source says why 43 GB" in out


def test_without_a_guest_the_largest_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_json(capsys, "--entry-bits", "32", "--vmalloc", "32M")["guest_bytes"] == 32 * GIB
    assert {question["name"] for question in run_json(capsys)["questions"]} == set(QUESTIONS)
    assert "--question NAME" in run_text(capsys)


def test_no_guest_fits(capsys: pytest.CaptureFixture[str]) -> None:
    # 855 MiB of kernel addresses less 1 GiB of vmalloc leave no low memory.
    assert "no guest fits" in run_text(capsys, "--entry-bits", "32", "--vmalloc", "1G")


def test_all_questions(capsys: pytest.CaptureFixture[str]) -> None:
    replies = run_json(capsys, "--question", "all")
    assert [found["name"] for found in replies] == list(QUESTIONS)
    assert all(found["answer"] and found["cases"] for found in replies)
    out = run_text(capsys, "--question", "64g-32bit", "--question", "43g-32bit")
    assert "64M, not 128M" in out
    assert "No source says why" in out
    assert "2049" not in out


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_json(capsys, "--table", "2049M", "43G")
    assert [(row["entry_bits"], row["area_bytes"] // MIB) for row in rows] == [
        (64, 6),
        (32, 4),
        (64, 86),
        (32, 44),
    ]
    (narrow,) = run_json(capsys, "--table", "43G", "--entry-bits", "32", "--vmalloc", "40M")
    assert (narrow["fits"], narrow["limits"]) == (False, ["vmalloc-area"])  # 44 MiB do not fit into 40
    lines = run_text(capsys, "--table").splitlines()
    assert len(lines) == 1 + 2 * len(command.TABLE_SIZES)
    assert run_json(capsys, "--table")  # the usual range
    beyond = run_json(capsys, "--table", "5T")[1]
    assert "entry-width" in beyond["limits"]


def test_arm_window(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run_json(
        capsys, "--design", "arm-vlpt", "--guest-memory", "62G", "--without", "arm32-frametable"
    )
    assert answer["fits"]
    assert answer["binds"] == ["vlpt-window"]
    # A window of 64 MiB is 32 GiB from 0, so 30 GiB of RAM from 2 GiB on.
    smaller = run_json(capsys, "--design", "arm-vlpt", "--window", "64M", "--without", "arm32-frametable")
    assert smaller["largest_guest_bytes"] == 30 * GIB


def test_proof(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run_json(capsys, "--entry-bits", "32", "--vmalloc", "8M", "--prove")
    # 8 MiB / 4 bytes = 2 Mi entries; two granules of 4 MiB, and a third is refused.
    proof = answer["proof"]
    assert proof["holds"]
    assert proof["n_entries_read"] == 2 * MIB
    assert proof["refused_bytes"] == 12 * MIB
    assert proof["refusal"] == "ENOMEM"
    assert "proof holds" in run_text(capsys, "--entry-bits", "32", "--vmalloc", "8M", "--prove")


def test_a_failed_proof_is_exit_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: dict[str, Any] = dict.fromkeys(Proof.__dataclass_fields__, 0)
    failed = Proof(**numbers | {"built": True, "build_error": "", "budget_error": "", "refusal": ""})
    monkeypatch.setattr(command, "prove", lambda answer: failed)
    assert main(["limits", "--entry-bits", "32", "--prove"]) == 1
    assert "proof FAILS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("--vmalloc 0 --entry-bits 32", "vmalloc=0"),
        ("--vmalloc 5G --entry-bits 32", "4G"),
        ("--guest-memory 5T --entry-bits 32", "beyond the width"),
        ("--split 1:3 --entry-bits 32", "3:1"),
        ("--split 2:2", "split"),
        ("--hypervisor compat", "compat"),
        ("--design arm-vlpt --split 2:2", "split"),
        ("--design arm-vlpt --table", "--table"),
        ("--table 1G --guest-memory 1G", "contradict"),
        ("--table --prove", "contradict"),
        ("--question all --prove", "contradict"),
        ("--question all --vmalloc 1M", "--vmalloc"),
        ("--question all --entry-bits 32", "--entry-bits"),
        ("--question 43", "43g-32bit"),
        ("--without tree", "tree-top"),
        ("--guest-memory 12Q", "12Q"),
        ("--entry-bits 16", "16"),
        ("--table --entry-bits 64 --split 2:2", "split"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    capsys: pytest.CaptureFixture[str], arguments: str, word: str
) -> None:
    assert main(["limits", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("p2mperf: ")
    assert err.count("\n") == 1
    assert word in err


def test_help_names_all_limits_and_questions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["limits", "--help"])
    assert caught.value.code == 0
    # argparse breaks lines at dashes too.
    out = "".join(capsys.readouterr().out.split())
    for name in [*LIMITS, *QUESTIONS]:
        assert name in out


def test_as_a_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "p2mperf", "limits", "--guest-memory", "64G", "--entry-bits", "32", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["area_bytes"] == 64 * MIB
    assert done.stderr == ""
