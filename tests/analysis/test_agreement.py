"""Machines and boots side by side: on simulated ones, whose truth is known, and on the command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from math import exp, isnan, log
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import record_samples as samples

import p2mperf
from p2mperf.analysis.agreement import Agreement, Place, agreement, over_places
from p2mperf.analysis.statistics import ratio_interval
from p2mperf.cli import main
from p2mperf.errors import BadInputError
from p2mperf.figures import table
from p2mperf.results.export import load
from p2mperf.results.journal import Journal

N_PROCESSES = 6
MACHINES = ("1e1e", "a3d0", "a43a")


def place(ratio: float, machine: str = "m", boot: str = "b", half: float = 0.01) -> Place:
    """A ratio of a design over `list`, which is resolved where its interval excludes 1."""
    low, high = ratio * (1 - half), ratio * (1 + half)
    faster = "list" if low > 1 else "tree" if high < 1 else ""
    verdict = "resolved" if faster else "equivalent" if half < 0.02 else "not resolved"
    return Place(machine, boot, ratio, low, high, verdict, faster)


@pytest.mark.parametrize(
    ("places", "kind", "verdict", "faster", "words"),
    [
        ([place(1.1)], "one", "resolved", "list", "measured in one boot of one machine"),
        (
            [place(1.10), place(1.12, boot="c")],
            *("agree", "resolved", "list", "list faster on all of 2 boots; ratios 1.100 to 1.120"),
        ),
        (
            [place(1.0), place(1.004, "n")],
            *("agree", "equivalent", "", "equivalent on all of 2 machines; ratios 1.000 to 1.004"),
        ),
        (
            [place(1.10), place(0.9, "n"), place(0.91, "n", "c")],
            *("oppose", "not resolved", ""),
            "verdicts oppose on 3 boots of 2 machines: list faster on 1, tree faster on 2; "
            "ratios 0.900 to 1.100",
        ),
        (
            [place(1.10), place(1.32, "n")],
            *("differ", "resolved", "list"),
            "ratios differ by 20.0 % on 2 machines, more than their intervals explain: list faster on 2; "
            "ratios 1.100 to 1.320",
        ),
        (
            [place(1.0, half=0.2), place(1.1, "n", half=0.05)],
            *("differ", "not resolved", ""),
            "ratios differ by 10.0 % on 2 machines, within their intervals: list faster on 1, "
            "no faster one on 1; ratios 1.000 to 1.100",
        ),
        (
            [place(1.02, half=0.05), place(1.03, boot="c")],
            *("open", "not resolved", ""),
            "not decided on all of 2 boots: list faster on 1, no faster one on 1; ratios 1.020 to 1.030",
        ),
    ],
)
def test_what_several_places_say_together(
    places: list[Place], kind: str, verdict: str, faster: str, words: str
) -> None:
    said = over_places(places)
    assert (said.agreement, said.verdict, said.faster, said.in_words) == (kind, verdict, faster, words)
    assert (said.lowest, said.highest) == (min(p.ratio for p in places), max(p.ratio for p in places))


def test_an_interval_takes_six_machines_or_six_boots_of_one() -> None:
    boots = [place(1.1 + 0.01 * number, boot=str(number)) for number in range(6)]
    assert isnan(over_places(boots[:5]).low)
    assert over_places(boots).level == "boots"
    assert over_places(boots).low == pytest.approx(1.1)
    # Six boots of two machines are two machines.
    two = [place(one.ratio, machine=str(number % 2), boot=one.boot) for number, one in enumerate(boots)]
    assert isnan(over_places(two).low)
    assert over_places(two).level == "machines"
    # A machine counts once, however many boots it has: the medians of its boots are 1.1, 1.11 ... 1.15
    six = [place(one.ratio, machine=one.boot) for one in boots]
    many = six + [place(1.1, machine="0", boot=f"again {number}") for number in range(20)]
    assert over_places(many).ratio == pytest.approx(over_places(six).ratio)
    assert over_places(many).high == pytest.approx(over_places(six).high)


# ---- simulated machines ----


def simulated(
    rng: np.random.Generator, truths: Sequence[float], spread_of_processes: float = 0.01
) -> list[Place]:
    """A place a machine: six processes around its own true ratio, and the interval that they give."""
    places = []
    for number, truth in enumerate(truths):
        ratio = ratio_interval(rng.normal(log(truth), spread_of_processes, N_PROCESSES))
        faster = "list" if ratio.low > 1 else "tree" if ratio.high < 1 else ""
        verdict = "resolved" if faster else "not resolved"
        places.append(Place(str(number), "b", ratio.estimate, ratio.low, ratio.high, verdict, faster))
    return places


def counted(seed: int, truths: Sequence[float], n_draws: int = 300, **options: float) -> Counter[str]:
    rng = np.random.default_rng(seed)
    return Counter(over_places(simulated(rng, truths, **options)).agreement for _ in range(n_draws))


def test_what_is_so_is_said() -> None:
    """With processes 1 % apart the ratio of a machine is known to a half per cent, and the words follow."""
    assert counted(1, (1.10, 1.10))["agree"] == 300
    assert counted(2, (1.10, 0.90))["oppose"] == 300
    assert counted(3, (1.10, 1.25))["differ"] == 300
    # None is faster: that both are said to be, and in opposite directions, takes two errors at once.
    assert counted(4, (1.0, 1.0))["oppose"] <= 3
    # As the truths near 5 %, half of the draws are on either side.
    assert 75 < counted(5, (1.10, 1.155))["differ"] < 225


def test_the_interval_over_machines_covers_what_that_of_one_does_not() -> None:
    """Ratios of machines spread by 5 % around 1.05; each is known well, and none of them is the truth."""
    rng = np.random.default_rng(6)
    covered, one_covered, n_draws = 0, 0, 1000
    for _ in range(n_draws):
        places = simulated(rng, np.exp(rng.normal(log(1.05), 0.05, 9)).tolist())
        over = over_places(places)
        covered += over.low <= 1.05 <= over.high
        one_covered += places[0].low <= 1.05 <= places[0].high
    assert covered / n_draws == pytest.approx(0.955, abs=0.02)
    assert one_covered / n_draws < 0.3


# ---- frames ----


def measured(
    directory: Path,
    ratio: float,
    machine: str = MACHINES[0],
    boot: str | None = "b001",
    card: Any = None,
    **run: Any,
) -> Path:
    """Six processes in which the tree takes `ratio` times what the list does, a thousandth apart."""
    number = len(list(directory.parent.iterdir()))
    named = {"run": f"{number:04x}", "machine_key": machine, "machine": card or samples.MACHINE} | run
    with Journal.create(directory, samples.run(**named)) as journal:
        for replicate in range(N_PROCESSES):
            tree = round(2_000_000 * ratio * (1 + 0.001 * replicate))
            unit = samples.unit(replicate=replicate)
            journal.append(unit if boot is None else unit | {"boot": boot})
            journal.append(samples.cell(replicate=replicate, rounds=[samples.block(2_000_000, tree)] * 3))
    return directory


def said(*results: Path) -> dict[str, Any]:
    (row,) = agreement(load(results)).to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_machines_and_boots_are_told_apart(tmp_path: Path) -> None:
    near = measured(tmp_path / "near", 1.2)
    again = measured(tmp_path / "again", 1.21)
    other_boot = measured(tmp_path / "boot", 1.22, boot="b002")
    far = measured(tmp_path / "far", 1.23, MACHINES[1], boot="b003")
    assert said(near)["agreement"] == "one"
    # Runs of one boot are one set of processes.
    assert (said(near, again)["agreement"], said(near, again)["n_boots"]) == ("one", 1)
    both = said(near, other_boot)
    assert (both["agreement"], both["n_machines"], both["n_boots"]) == ("agree", 1, 2)
    assert both["faster"] == "pv-linear"
    all_of_them = said(near, again, other_boot, far)
    assert (all_of_them["n_machines"], all_of_them["n_boots"]) == (2, 3)
    assert all_of_them["in_words"].startswith("pv-linear faster on all of 3 boots of 2 machines; ratios 1.2")


def test_runs_of_an_unknown_boot_stand_for_themselves(tmp_path: Path) -> None:
    frame = load([measured(tmp_path / name, 1.2, boot=None) for name in ("a", "b")])
    table = agreement(frame)
    assert table["agreement"].tolist() == ["agree"]
    assert "on all of 2 runs" in table["in_words"].item()
    assert table.attrs["places"] == [(MACHINES[0], "of run 0000"), (MACHINES[0], "of run 0001")]


def test_a_summary_has_a_row_for_each_boot(tmp_path: Path) -> None:
    frame = load([measured(tmp_path / name, 1.2, boot=f"b00{name}") for name in "12"])
    assert p2mperf.summary(frame)["boot"].tolist() == ["b001", "b002"]
    assert p2mperf.agreement(frame).equals(agreement(frame))


def test_what_is_doubtful_in_a_place_is_said_beside_its_ratio(tmp_path: Path) -> None:
    """A design that differs from its own copy there."""
    order = ("pv-linear", "control:pv-linear", "pv-tree")
    with Journal.create(tmp_path / "biased", samples.run(run="b1a5")) as journal:
        for replicate in range(N_PROCESSES):
            rounds = [samples.block(2000, 2200 + replicate, 3000, order=order)] * 3
            journal.append(samples.unit(replicate=replicate) | {"boot": "b00b"})
            journal.append(samples.cell(replicate=replicate, rounds=rounds))
    ratios = said(measured(tmp_path / "sound", 1.4), tmp_path / "biased")["ratios"].split("; ")
    assert ratios[0].startswith("1: 1.40")
    assert ratios[0].endswith("]")
    assert ratios[1].startswith("2: 1.4")
    assert ratios[1].endswith("] (biased)")


def test_a_figure_shows_one_machine(tmp_path: Path) -> None:
    """Its points are medians over processes, and those of two machines have none in common."""
    frame = load([measured(tmp_path / machine, 1.2, machine) for machine in MACHINES[:2]])
    with pytest.raises(
        BadInputError, match=r"shows one machine.* of 2: choose one, as frame\[.* == '1e1e'\]"
    ):
        table("cost", frame)
    assert len(table("cost", frame[frame["machine"] == MACHINES[0]]))
    assert p2mperf.summary(frame).attrs["note"].startswith("measured on 2 machines until 2026-11-21")


def test_what_other_code_has_measured_is_another_thing(tmp_path: Path) -> None:
    frame = load([measured(tmp_path / "a", 1.2), measured(tmp_path / "b", 1.2, MACHINES[1], code="c0da")])
    assert agreement(frame)["agreement"].tolist() == ["one", "one"]
    (row,) = agreement(frame, force=True).to_dict("records")
    assert (row["agreement"], row["n_machines"]) == ("agree", 2)
    assert "code" not in row
    with pytest.raises(BadInputError, match="force"):
        agreement(frame, force=cast(bool, "yes"))


def test_the_command_puts_other_code_beside_when_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [str(measured(tmp_path / "a", 1.2)), str(measured(tmp_path / "b", 1.2, MACHINES[1], code="c0da"))]
    assert main(["compare", "--verdicts", *both]) == 2
    assert "or --force to compare different code" in capsys.readouterr().err
    assert main(["compare", "--verdicts", "--force", *both]) == 0
    output, talk = capsys.readouterr()
    assert "agree" in output
    assert "measured by 2 versions of the code" in talk


def test_only_samples_are_taken() -> None:
    with pytest.raises(BadInputError, match="samples are a DataFrame"):
        agreement(cast("pd.DataFrame", "shipped"))


def test_shipped_data_says_no_more_than_it_can() -> None:
    """Cells of several files are put side by side only where they are the same cells."""
    frame = p2mperf.load(["shipped", "shipped-backings", "shipped-life"])
    table = agreement(frame[frame["guest"] == "pv-64-128g"])
    assert set(table.loc[table["n_boots"] == 1, "agreement"]) == {"one"}
    assert table["low"].isna().all()  # of fewer than six machines and boots there is no interval


# ---- the command ----


@pytest.fixture
def opposed(tmp_path: Path) -> list[str]:
    return [
        str(measured(tmp_path / name, ratio, machine, card=samples.MACHINE | {"cpu_model": f"CPU {name}"}))
        for name, ratio, machine in zip("abc", (1.2, 0.8, 0.82), MACHINES, strict=True)
    ]


def test_the_command_says_who_opposes_whom(opposed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--verdicts", *opposed]) == 0
    output, talk = capsys.readouterr()
    assert "verdicts oppose on 3 machines: pv-linear faster on 1, pv-tree faster on 2" in output
    assert output.count("1: 1.2") == output.count("2: 0.8") == output.count("3: 0.82") == 1
    assert "2: machine a3d0, CPU b, boot b001" in talk
    assert "an interval over machines takes 6 of them; those shown cover processes" in talk
    assert "pairs of designs: 1 oppose" in talk


def test_its_forms_have_the_numbers(opposed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--verdicts", *opposed, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["agreement"], row["n_machines"], row["low"]) == ("oppose", 3, None)
    assert row["highest"] == pytest.approx(1.2, rel=0.01)
    assert main(["compare", "--verdicts", *opposed, "--csv"]) == 0
    assert "oppose" in capsys.readouterr().out.splitlines()[1]
    assert main(["compare", "--verdicts", *opposed, "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| guest |")


@pytest.mark.parametrize("arguments", [[], ["a", "--fail-above", "1.1"], ["--before", "a", "--after", "b"]])
def test_what_verdicts_do_not_take(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--verdicts", *arguments]) == 2
    assert "compare: --verdicts takes results, of any machines" in capsys.readouterr().err


def test_one_place_has_nobody_to_agree_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--verdicts", str(measured(tmp_path / "a", 1.2))]) == 2
    assert "no cell was measured by the same code on two machines or in two boots" in capsys.readouterr().err


def test_every_field_of_an_agreement_is_a_column(tmp_path: Path) -> None:
    table = agreement(load(measured(tmp_path / "a", 1.2)))
    assert set(Agreement.__dataclass_fields__) <= set(table.columns)
    assert isinstance(table, pd.DataFrame)
    assert exp(log(table["ratio"].item())) == pytest.approx(1.2, rel=0.01)
