"""`populate` on the command line: what it prints, as text and as JSON, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from p2mperf.cli import main
from p2mperf.populating.policies import POLICIES
from p2mperf.populating.populate import populate
from p2mperf.units import GIB


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["populate", *arguments, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    found: dict[str, Any] = json.loads(said.out)
    return found


def test_json_is_what_the_call_gives(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--guest-memory", "1G", "--policy", "opportunistic", "--fragmentation", "0.3", "--seed", "7"]
    expected = populate("1G", "opportunistic", fragmentation=0.3, seed=7)
    found = asked(capsys, *options)
    assert found == expected.to_dict()
    assert sum(n << int(order) for order, n in found["leaves"].items()) == found["n_frames"]
    assert found["n_table_pages"] * 4096 == found["table_bytes"]
    assert found["failed_extents"]["9"] > 0
    assert found["n_broken_2mb"] == round(0.3 * (found["machine_bytes"] >> 21))


@pytest.mark.parametrize(
    ("options", "leaves", "tables"),
    [
        ([], {"0": 485, "9": 1023, "18": 2}, {"L1": 2, "L2": 3, "L3": 1, "L4": 1}),
        (["--no-hap-1gb"], {"0": 485, "9": 2047, "18": 0}, {"L1": 2, "L2": 5, "L3": 1, "L4": 1}),
        (
            ["--no-hap-1gb", "--no-hap-2mb"],
            {"0": 1048549, "9": 0, "18": 0},
            {"L1": 2049, "L2": 5, "L3": 1, "L4": 1},
        ),
    ],
)
def test_switches_choose_the_leaves(
    capsys: pytest.CaptureFixture[str], options: list[str], leaves: dict[str, int], tables: dict[str, int]
) -> None:
    found = asked(capsys, "--guest-memory", "4G", *options)
    assert found["leaves"] == found["predicted_leaves"] == leaves
    assert found["tables"] == found["predicted_tables"] == tables


def test_other_options_reach_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    pvh = asked(capsys, "--guest-memory", "1G", "--no-device-model")
    assert pvh["leaves"] == {"0": 5, "9": 0, "18": 1}
    small = asked(capsys, "--guest-memory", "16M", "--policy", "opportunistic", "--demand-4k")
    assert small["allocated_extents"] == {"0": 16 * 256 - 32 + 5, "9": 0, "18": 0}
    broken = ["--fragmentation", "0.25", "--fragmentation-1gb", "0.5", "--machine-memory", "8G"]
    host = asked(capsys, "--guest-memory", "2G", *broken)
    assert (host["machine_bytes"], host["n_broken_1gb"], host["n_broken_2mb"]) == (8 * GIB, 4, 1024)


def test_text_has_leaves_tables_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["populate", "--guest-memory", "66M", "--fragmentation", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    # all 32 extents of 2M failed, in 8 batches of 4: 1 of each was tried
    assert ["2M", "0", "32", "0", "8", "24"] in lines
    assert ["4K", "16869", "485", "16869", "0", "0"] in lines
    # 33 pages of L1 for 33 * 2M and one for the special pages
    assert ["L1", "34", "2"] in lines
    assert ["all", "38", "6"] in lines


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "populate: the following arguments are required: --guest-memory; see"),
        (["--guest-memory", "10Q"], "'10Q' is not a size"),
        (["--guest-memory", "4097"], "guest memory is a whole number of 4 KiB pages"),
        (["--guest-memory", "1G", "--policy", "wei"], "unknown policy 'wei'"),
        (["--guest-memory", "1G", "--fragmentation", "1.1"], "fragmentation must be a share from 0 to 1"),
        (["--guest-memory", "1G", "--fragmentation", "nan"], "fragmentation must be a share from 0 to 1"),
        (["--guest-memory", "1G", "--fragmentation", "x"], "--fragmentation takes a share from 0 to 1"),
        (["--guest-memory", "1G", "--fragmentation-1gb", "x"], "--fragmentation-1gb takes a share"),
        (["--guest-memory", "1G", "--demand-4k"], "demand_4k is a hint to the hypervisor"),
        (["--guest-memory", "1G", "--machine-memory", "512M"], "the machine has 131072 frames"),
        (["--guest-memory", "1G", "--seed", "x"], "populate: argument --seed: invalid int value"),
        (["--guest-memory", "1G", "--seed", "-1"], "a seed must be a whole number from 0 on"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["populate", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("p2mperf: ")
    assert said.err.count("\n") == 1
    assert sentence in said.err


def test_help_has_policies_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["populate", "--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in POLICIES)
    assert "reconstruction" in told
    assert "python -m p2mperf populate --guest-memory 10G" in told
