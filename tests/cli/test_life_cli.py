"""`life` from the command line: its table, its JSON, and what it says when a step goes wrong."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

import p2mperf
from p2mperf import api
from p2mperf.cli import main
from p2mperf.errors import AuditError, BadInputError, DoesNotFitError

SMALL = ("--guest", "domu-32-512m")


def test_the_table_has_a_line_for_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["life", *SMALL, "--scenario", "balloon", "--design", "pv-tree"]) == 0
    out, err = capsys.readouterr()
    # On a machine that is busy it tells after a while how long it takes.
    assert err.splitlines()[0] == "p2mperf: domu-32-512m, balloon, pv-tree"
    head, *lines, note = out.splitlines()
    assert note.endswith("not results: compare designs by `sweep`")
    assert head.split() == [
        *("guest", "scenario", "design", "step", "frames", "pages", "mappings", "leaves", "mids", "ms"),
        *("outcome", "audit"),
    ]
    assert all(line.split()[:3] == ["domu-32-512m", "balloon", "pv-tree"] for line in lines)
    # An eighth of 512 MiB is 64 MiB = 16384 frames = 16 leaves of 1024, in the one mid the guest has.
    hotplug = next(line for line in lines if "  hotplug 64M above the map  " in line).split()
    assert hotplug[8:-3] == ["16384", "134", "->", "150", "0", "->", "0", "16", "0"]
    assert float(hotplug[-3]) > 0
    assert [line.split()[-2:] for line in lines] == [["done", "holds"]] * 6 + [["refused", "holds"]]


def test_every_guest_scenario_and_design_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["life", "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    steps = json.loads(out)
    # 7 + 5 + 3 steps for each of two guests and two designs, the designs of a scenario side by side.
    assert len(steps) == 15 * 2 * 2
    names = list(dict.fromkeys((step["guest"], step["scenario"], step["design"]) for step in steps))
    assert names == [
        (guest, scenario, design)
        for guest in ("domu-64-8g", "domu-32-8g")
        for scenario in ("balloon", "save-restore", "passthrough")
        for design in ("pv-tree", "pv-linear")
    ]
    assert {step["what"] for step in steps if not step["done"]} == {
        "hotplug across the limit",
        "write while it is saved",
    }


def test_what_is_repeated_is_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    guests = (*SMALL, "--guest", "domu-64-2049m")
    assert main(["life", *guests, "--scenario", "save-restore", "--limit", "3G", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert (out.count("outcome"), len(out.splitlines())) == (1, 1 + 2 * 2 * 5 + 1)


def test_of_all_scenarios_one_that_a_guest_is_too_small_for_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = "passthrough needs memory from 3 to 4 GiB, which domu-32-512m has not"
    assert main(["life", *SMALL, "-q"]) == 0
    out, err = capsys.readouterr()  # what cannot be is said once, for both designs
    assert {line.split()[1] for line in out.splitlines()[1:-1]} == {"balloon", "save-restore"}
    assert err == f"p2mperf: passthrough is left out: {small}\n"
    # Asked for by name it is refused.
    assert main(["life", *SMALL, "--design", "pv-tree", "-q", "--scenario", "passthrough"]) == 2
    assert capsys.readouterr() == ("", f"p2mperf: {small}\n")


def test_a_step_that_went_otherwise_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    true_life = api.life

    def life(*arguments: Any) -> pd.DataFrame:
        steps = true_life(*arguments)
        return steps.assign(done=~steps["done"])

    monkeypatch.setattr(api, "life", life)
    assert main(["life", *SMALL, "--scenario", "save-restore", "--design", "pv-tree", "-q"]) == 1
    out, err = capsys.readouterr()
    assert [line.split()[-2] for line in out.splitlines()[1:-1]] == ["refused"] * 2 + ["done"] + [
        "refused"
    ] * 2
    assert err.splitlines()[1:3] == [
        "p2mperf: domu-32-512m, pv-tree: save: wrongly refused",
        "p2mperf: domu-32-512m, pv-tree: write while it is saved: wrongly done",
    ]


def test_an_audit_that_does_not_hold_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def audit(p2m: Any) -> None:
        raise AuditError("pv-tree of domu-32-512m: page counts differ")

    p2mperf.life("domu-32-512m", "balloon", "pv-tree")  # rehearsed, and audited
    monkeypatch.setattr("p2mperf.designs.pv.tree.PvTree.audit", audit)
    assert main(["life", *SMALL, "--design", "pv-tree", "-q"]) == 1
    assert capsys.readouterr() == ("", "p2mperf: pv-tree of domu-32-512m: page counts differ\n")


def test_a_life_that_does_not_fit_is_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    from p2mperf.host import memory

    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 8 << 20)
    with pytest.raises(DoesNotFitError, match=r"save-restore of pv-64-16m needs 12M and 8M are available"):
        # 1 GiB of limit are 262144 frames, 48 bytes each
        p2mperf.life(p2mperf.Guest.plain("16M"), "save-restore", "pv-tree", limit="1G")


def test_scenarios_are_for_pv_guests() -> None:
    with pytest.raises(BadInputError, match="pv-tree is for PV guests, and arm-64m is one of geometry lpae"):
        p2mperf.life(p2mperf.Guest.plain("64M", "lpae"), "balloon", "pv-tree")
