"""Commands take the designs that are able, another package's too, and refuse the others with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from p2mperf.cli import main
from p2mperf.designs import able
from p2mperf.designs.arm.vlpt import ArmVlpt
from p2mperf.designs.pv.linear_nested import PvLinearNested
from p2mperf.designs.pv.scenarios import NEEDS
from p2mperf.designs.pv.tree import PvTree


class Tree(PvTree):
    name = "mine"


class Fixed(PvTree):
    name = "mine"
    options = PvTree.options - {"limit"}


class WrittenOnly(PvLinearNested):
    name = "mine"

    def set(self, pfns: Any, entries: Any) -> Any:
        """Write nothing."""


class Window(ArmVlpt):
    name = "mine"


def test_a_design_that_is_able_lives(
    offer_design: Callable[[type], None], capsys: pytest.CaptureFixture[str]
) -> None:
    offer_design(Tree)
    assert able(NEEDS, ["limit"]) == ["pv-tree", "pv-linear", "mine"]
    assert main(["life", "--guest", "domu-32-512m", "--scenario", "save-restore", "-q"]) == 0
    steps = capsys.readouterr().out.splitlines()[1:-1]
    assert [step.split()[2] for step in steps] == ["pv-tree"] * 5 + ["pv-linear"] * 5 + ["mine"] * 5


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Fixed, "it has no option limit"),
        (WrittenOnly, "it is not Ballooned and HasTools and Hotplugged and Savable and PassesThrough"),
    ],
)
def test_one_that_is_not_is_refused_with_the_reason(
    offer_design: Callable[[type], None], capsys: pytest.CaptureFixture[str], kind: type, reason: str
) -> None:
    offer_design(kind)
    assert main(["life", "--design", "mine", "-q"]) == 2
    assert capsys.readouterr() == (
        "",
        f"p2mperf: mine cannot live through a scenario: {reason}: take pv-tree or pv-linear\n",
    )


def test_a_design_that_can_be_traced_migrates(
    offer_design: Callable[[type], None], capsys: pytest.CaptureFixture[str]
) -> None:
    migrate = ["migrate", "--memory", "64M", "--dirty-rate", "20000", "--bandwidth", "125M", "--tracer"]
    offer_design(Window)
    assert main([*migrate, "mine"]) == 0
    assert "traced by mine" in capsys.readouterr().out
    assert main([*migrate, "pv-tree"]) == 2
    assert capsys.readouterr().err == (
        "p2mperf: pv-tree cannot be traced: take one of vlpt, walk, walk-direct, mine\n"
    )
