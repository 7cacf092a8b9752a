"""What other packages add through entry points: found, compared with its family, and refused when broken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from p2mperf import plugins
from p2mperf.designs import family_of, find, registry
from p2mperf.designs.backing import backing
from p2mperf.designs.base import Design
from p2mperf.designs.pv.tree import PvTree
from p2mperf.errors import BadInputError
from p2mperf.families import DesignSpec, Family, KernelLayout, families, family_of_geometry, find_family
from p2mperf.guests.geometries import find_geometry, geometries
from p2mperf.guests.geometry import Geometry
from p2mperf.guests.guest import Guest
from p2mperf.measure.operations.ability import why_not
from p2mperf.measure.operations.base import Operation
from p2mperf.measure.operations.registry import OperationSpec, find_operation, operations
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan
from p2mperf.study.specs import designs_of
from p2mperf.units import HUGE_SIZE, PAGE_SIZE

Offer = Callable[..., None]


class MineTree(PvTree):
    name = "mine-tree"


class OfNoFamily(PvTree):
    family = ""


class OfStrangeFamily(PvTree):
    family = "mine"


class Unfinished(Design):
    family = "pv"


def not_a_class() -> None: ...


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Offers objects in a group, as an installed package would."""
    module = ModuleType("another_package")
    monkeypatch.setitem(sys.modules, "another_package", module)
    points: list[EntryPoint] = []
    monkeypatch.setattr(
        plugins, "offered", lambda group: tuple(point for point in points if point.group == group)
    )
    monkeypatch.setattr(plugins, "_unimportable", {})
    monkeypatch.setattr(plugins, "_passed", {})
    monkeypatch.setattr(plugins, "_refused", {})
    # Names of a module of designs are bound when it is imported.
    monkeypatch.setattr("p2mperf.designs.offered", plugins.offered)

    def add(group: str, **things: object) -> None:
        for name, thing in things.items():
            setattr(module, name, thing)
            value = f"another_package:{name}"
            points.append(EntryPoint(name.replace("_", "-"), value, f"p2mperf.{group}"))

    return add


# ---- designs ----


def test_a_design_is_of_the_family_that_its_class_says(offer: Offer) -> None:
    offer("designs", mine_tree=MineTree)
    assert "mine-tree" in registry()
    assert find("mine-tree") is MineTree
    assert family_of("mine-tree") == "pv"


def test_a_design_of_ones_own_is_compared_with_those_of_its_family(offer: Offer) -> None:
    # Its name's first part is no family: by that, pv-linear was measured alone, and nothing was said.
    offer("designs", mine_tree=MineTree)
    plan = narrow(make_plan("quick"), designs=["mine-tree", "pv-linear"], sizes=["16M"])
    assert {unit.designs for unit in plan.units()} == {("pv-linear", "mine-tree")}
    assert designs_of("pv", ()) == ("pv-tree", "pv-linear", "mine-tree")


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (OfNoFamily, "design mine is declared as another_package:mine, which says no family"),
        (OfStrangeFamily, "says a family that there is not: unknown family 'mine'"),
        (Unfinished, "which does not define audit, footprint, predict_footprint, step_at, views"),
        (not_a_class, "which is no class derived from p2mperf.designs.base.Design"),
        (str, "which is no class derived from p2mperf.designs.base.Design"),
    ],
)
def test_a_design_that_is_none_is_refused_when_it_is_asked_for(
    offer: Offer, thing: object, message: str
) -> None:
    offer("designs", mine=thing)
    with pytest.raises(BadInputError, match=message):
        find("mine")
    with pytest.raises(BadInputError, match=message):
        narrow(make_plan("quick"), designs=["mine"])
    # Whoever does not ask for it is not disturbed.
    assert designs_of("pv", ()) == ("pv-tree", "pv-linear")
    assert narrow(make_plan("quick"), sizes=["16M"]).guests


def test_a_design_whose_package_does_not_load_is_refused(offer: Offer) -> None:
    offer("designs", mine=MineTree)
    del sys.modules["another_package"]
    with pytest.raises(BadInputError, match="which cannot be used: No module named 'another_package'"):
        find("mine")


def test_what_ships_cannot_be_replaced(offer: Offer) -> None:
    offer("designs", pv_tree=MineTree)
    assert find("pv-tree") is PvTree


# ---- geometries and families ----

TOY = Geometry("toy", 64, "t")


def test_a_geometry_and_a_family_of_ones_own(offer: Offer) -> None:
    toys = Family("toys", ("toy",), "toy-tree", (DesignSpec("toy-tree", "another_package:toy_tree"),))
    offer("geometries", toy=TOY)
    offer("families", toys=toys)
    assert find_geometry("toy") is geometries()["toy"] is TOY
    assert find_family("toys") is families()["toys"] is family_of_geometry("toy") is toys
    assert list(registry())[-1] == "toy-tree"
    assert family_of("toy-tree") == "toys"
    # It does not say on which pages its kernel has its tables: on large ones, but for virtual areas.
    assert backing("kernel", "toys") == ("kernel", HUGE_SIZE, PAGE_SIZE)
    # A family declares its designs by name, and each says the same of itself.
    offer("designs", toy_tree=MineTree)
    with pytest.raises(BadInputError, match="toy-tree is declared in family toys, and says family pv"):
        find("toy-tree")


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (Family("toys", ("toi",), "a", ()), "which names geometry toi, and there is none"),
        (Family("toys", ("pv64",), "a", ()), "which takes geometry pv64, which is of family pv"),
        (Family("toys", ("toy",), "a", ()), "which is compared with a, which is none of its designs"),
        (
            Family("toys", ("toy",), "a", (DesignSpec("a", "b:C"),), kernel_layout=KernelLayout(4096, 1)),
            "which has its kernel's tables on pages of 1 bytes, not of 4096 or 2097152",
        ),
        (Family("pv", (), "a", ()), "which calls itself pv"),
        ("toys", "which is no Family"),
    ],
)
def test_a_family_that_is_none_is_refused_when_it_is_asked_for(
    offer: Offer, family: object, message: str
) -> None:
    offer("geometries", toy=TOY)
    offer("families", toys=family)
    with pytest.raises(BadInputError, match=f"^family toys is declared as another_package:toys, {message}"):
        find_family("toys")
    with pytest.raises(BadInputError, match=message):
        find("toy-tree")  # which may be one of the broken family
    assert list(families()) == ["pv", "arm", "hap"]
    assert registry()


def test_a_geometry_of_another_width_is_refused(offer: Offer) -> None:
    offer("geometries", wide=Geometry("wide", 128))
    with pytest.raises(BadInputError, match="which has entries of 128 bits: they may have 32 or 64"):
        find_geometry("wide")
    assert list(geometries()) == ["pv64", "pv32", "lpae", "hap64", "hap-pae", "hap-nonpae"]


# ---- operations ----


class Nothing(Operation[Any]):
    """Takes no time."""


def spec(**changes: object) -> OperationSpec:
    return OperationSpec(**{"name": "rest", "target": "another_package:nothing", "per": "table", **changes})  # type: ignore[arg-type]


def test_an_operation_of_ones_own(offer: Offer) -> None:
    offer(
        "operations", rest=spec(plans=("quick",), keeps_tables=False, streams=("uniform",)), nothing=Nothing
    )
    assert find_operation("rest").load() is Nothing
    plan = make_plan("quick")
    assert plan.operations == ("latency", "throughput", "rest")
    # What does not keep its tables is done when all else is.
    assert [operation for _, operation in plan.cells(Guest.plain("16M"))][-1] == "rest"


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (spec(per="page"), "which is done per page: take one of lookup, entry, frame, leaf, table"),
        (spec(needs=("Sleepy",)), "which needs Sleepy, which is no capability of designs"),
        (spec(streams=("brook",)), "which is done over brook, which is no stream"),
        (spec(name="sleep"), "which calls itself sleep"),
        (Nothing, "which is no OperationSpec"),
    ],
)
def test_an_operation_that_is_none_is_refused_when_it_is_asked_for(
    offer: Offer, operation: object, message: str
) -> None:
    offer("operations", rest=operation)
    with pytest.raises(
        BadInputError, match=f"^operation rest is declared as another_package:rest, {message}"
    ):
        narrow(make_plan("quick"), operations=["rest"])
    assert "rest" not in operations()
    assert make_plan("quick").operations == ("latency", "throughput")


def test_an_operation_whose_class_is_none_is_refused(offer: Offer) -> None:
    offer("operations", rest=spec(target="another_package:MineTree"))
    offer("designs", MineTree=MineTree)
    with pytest.raises(BadInputError, match=r"which is no class derived from p2mperf\.measure\.operations"):
        find_operation("rest").load()


# ---- one question with a reason as answer ----


@pytest.mark.parametrize(
    ("operation", "design", "guest", "reason"),
    [
        ("latency", "arm-vlpt", Guest.plain("16M", "lpae"), ""),
        ("set", "pv-tree", Guest.plain("16M"), ""),
        ("set", "arm-vlpt", Guest.plain("16M", "lpae"), "arm-vlpt is not Writable"),
        ("set", "pv-linear-nested", Guest.plain("16M"), "pv-linear-nested is not Writable"),
        ("build", "pv-linear", Guest.preset("dom0-64-e820"), ""),
        ("build", "arm-walk", Guest.plain("16M", "lpae"), "arm-walk cannot be built with limit"),
        (
            "rebuild",
            "pv-linear",
            Guest.preset("dom0-64-e820"),
            "the memory of dom0-64-e820 has holes, which no flat list holds",
        ),
    ],
)
def test_what_can_be_done_to_which_guest_by_which_design(
    operation: str, design: str, guest: Guest, reason: str
) -> None:
    assert why_not(find_operation(operation), find(design), guest) == reason
