"""What is asked for and cannot be is refused before anything is taken: one sentence, one code."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

import p2mperf
from p2mperf import Guest
from p2mperf.cli import main
from p2mperf.designs.arm.walk import ArmWalk
from p2mperf.errors import BadInputError, DoesNotFitError
from p2mperf.host import memory
from p2mperf.migration import precopy
from p2mperf.migration.precopy import Sender, recurrence, stop_rule
from p2mperf.migration.tracing import Tracer
from p2mperf.migration.writers import make_writer
from p2mperf.sizing.parameters import SETTINGS
from p2mperf.tables.m2p import M2p
from p2mperf.units import MIB

MIGRATE = ("migrate", "--memory", "64M")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The code and the one sentence of a command line that is refused."""
    code = main(list(arguments))
    said = capsys.readouterr().err
    assert said.startswith("p2mperf: "), said
    assert said.count("\n") == 1, said
    assert len(said) < 600, said
    return code, said


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        (("18446744073709551616", "125M"), "pages are written, of which 4.29e+09 can be traced"),
        (("1" + "0" * 30, "125M"), "can be traced"),
        (("1.5", "0." + "0" * 27 + "1"), "can be traced"),
        (("1.5", "0.00001"), "can be traced"),
        (("1" + "0" * 305, "1"), "more writes than can be counted"),
        (("0", "0." + "0" * 319 + "1"), "more writes than can be counted"),
        (("9" * 400, "125M"), "a dirty rate of inf pages/s is none"),
        (("1", "0"), "a bandwidth of 0.0 bytes/s is none"),
    ],
)
@pytest.mark.parametrize("writer", ["sequential", "uniform", "hot"])
def test_a_migration_whose_writes_never_end_is_refused(
    capsys: pytest.CaptureFixture[str], rates: tuple[str, str], sentence: str, writer: str
) -> None:
    rate, bandwidth = rates
    arguments = (*MIGRATE, "--dirty-rate", rate, "--bandwidth", bandwidth, "--writer", writer)
    code, said = refused(capsys, *arguments)
    assert code == 2
    assert sentence in said


@pytest.mark.parametrize("writer", ["sequential", "uniform"])
def test_writes_in_parts_are_the_same_writes(writer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest.plain("16M", geometry="lpae")

    def rounds() -> list[tuple[float, float, int, int]]:
        with ArmWalk(guest) as p2m:
            sender = Sender(Tracer(p2m), make_writer(writer, guest), 3000.0, 4e6)
            return [
                (r.n_sent, r.n_left, r.n_writes, r.n_faults) for r in sender.run(stop_rule("later")).rounds
            ]

    whole = rounds()
    monkeypatch.setattr(precopy, "MOST_WRITES_AT_ONCE", 1000)
    assert rounds() == whole
    assert whole[0][2] > 10_000


def test_the_recurrence_needs_no_memory_for_writes() -> None:
    guest = Guest.plain("64M", geometry="lpae")
    found = recurrence(make_writer("uniform", guest), 1e18, 125e6, stop_rule("later"))
    assert found.diverges
    with ArmWalk(guest) as p2m, pytest.raises(BadInputError, match="can be traced"):
        Sender(Tracer(p2m), make_writer("uniform", guest), 1e18, 125e6)


@pytest.mark.parametrize("command", [(*MIGRATE, "--dirty-rate", "1", "--bandwidth", "125M"), ("sweep",)])
def test_two_dashes_are_no_value(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    option = "--tracer" if command[0] == "migrate" else "--plan"
    code, said = refused(capsys, *command, f"{option}=--")
    assert code == 2
    assert f"argument {option}: expected one argument" in said


@pytest.mark.parametrize("name", ["x" * 5000, "/dev/null/a\nb"])
def test_a_directory_for_figures_that_cannot_be(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, said = refused(capsys, "plot", "limit-area", "--out", name)
    assert code == 2
    assert said.startswith("p2mperf: cannot write figures to '")


@pytest.mark.parametrize(
    ("name", "sentence"), [("a\0b", "no file is called"), ("x" * 5000, "cannot write a report to '")]
)
def test_a_place_where_no_report_can_be_is_refused(
    capsys: pytest.CaptureFixture[str], name: str, sentence: str
) -> None:
    code, said = refused(capsys, "report", "--out", name)
    assert code == 2
    assert sentence in said


@pytest.mark.parametrize("replicates", ["999999999999", "1" + "0" * 30])
def test_replicates_without_end_are_refused(capsys: pytest.CaptureFixture[str], replicates: str) -> None:
    code, said = refused(capsys, "sweep", "--size", "4M", "--replicates", replicates, "--dry-run")
    assert code == 2
    assert f"{replicates} replicates: more than 10000" in said


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("10T", "limit '10T' is beyond 512G"),
        ("1", "limit '1' is not a whole number of 4 KiB pages"),
        ("nope", "'nope' is not a size"),
    ],
)
def test_a_limit_is_looked_at_before_anything_is_built(
    capsys: pytest.CaptureFixture[str], limit: str, sentence: str
) -> None:
    code, said = refused(capsys, "life", "--scenario", "balloon", "--limit", limit)
    assert code == 2
    assert sentence in said


def leave(n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a control group leave so much."""
    monkeypatch.setattr(memory, "_cgroup_levels", lambda root: iter([(1 << 40, n_bytes)]))


def test_a_life_asks_for_its_memory_before_it_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    leave(700 * MIB, monkeypatch)
    monkeypatch.setattr(p2mperf.api, "build", lambda *_, **__: pytest.fail("something was built"))
    # 64 GiB are 16 Mi entries, and 48 bytes of each are kept at once.
    with pytest.raises(DoesNotFitError, match="balloon of pv-64-1g needs 768M and 700M are available"):
        p2mperf.life(Guest.plain("1G"), "balloon", "pv-tree", "64G")


def test_an_m2p_asks_for_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest.plain("4G")
    with p2mperf.build("pv-tree", guest) as p2m:
        leave(1 * MIB, monkeypatch)
        with pytest.raises(DoesNotFitError, match=f"the m2p of {guest.name} needs .* and 1M are available"):
            p2m.m2p  # noqa: B018
        with pytest.raises(DoesNotFitError):
            M2p(guest)
        leave(1 << 40, monkeypatch)
        assert np.count_nonzero(p2m.m2p.words() != guest.geometry.invalid) == guest.n_boot_pages


HUGE = (
    "9" * 20 + "T",
    "9" * 15 + "T",
    "9" * 20,
    "9" * 400,
    "9" * 400 + "T",
    "0." + "9" * 400 + "T",
    "9" * 5000,
)


@pytest.mark.parametrize("number", HUGE, ids=lambda number: f"{len(number)}-characters")
@pytest.mark.parametrize(
    "bits", [(), ("--entry-bits", "32"), ("--entry-bits", "64"), ("--design", "arm-vlpt")]
)
def test_limits_of_huge_numbers_are_answered_or_refused(
    capsys: pytest.CaptureFixture[str], bits: tuple[str, ...], number: str
) -> None:
    sizes = [setting.name for setting in SETTINGS.values() if not setting.choices]
    for option, form in product(("guest_memory", *sizes), ((), ("--json",))):
        name = f"--{option.replace('_', '-')}"
        code = main(["limits", *bits, name, number, *form])
        answer, said = capsys.readouterr()
        if code == 0:
            assert json.loads(answer) if form else answer
        else:
            assert (code, answer) == (2, "")
            assert said.startswith("p2mperf: ")
            assert said.count("\n") == 1
            assert len(said) < 600


@pytest.mark.parametrize("number", HUGE, ids=lambda number: f"{len(number)}-characters")
@pytest.mark.parametrize(
    "arguments",
    [
        ("dump", "--design", "pv-tree", "--size", "N"),
        ("lookup", "--design", "pv-tree", "--size", "16M", "N"),
        ("lookup", "--design", "pv-tree", "--size", "N", "1"),
        ("lookup", "--design", "pv-linear", "--size", "16M", "--seed", "N", "1"),
        ("sweep", "--dry-run", "--size", "N"),
        ("sweep", "--dry-run", "--size", "16M", "--limit", "N"),
        ("migrate", "--memory", "N", "--dirty-rate", "1", "--bandwidth", "1G"),
        ("migrate", "--memory", "16M", "--dirty-rate", "N", "--bandwidth", "1G"),
        ("life", "--guest", "N"),
        ("compare", "A", "B", "--fail-above", "N"),
    ],
)
def test_huge_numbers_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], number: str
) -> None:
    code, _ = refused(capsys, *(number if word == "N" else word for word in arguments))
    assert code == 2
