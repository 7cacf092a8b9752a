"""What other packages declare under a name, or over a geometry, that is taken: it replaces nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from p2mperf import plugins
from p2mperf.cli import main
from p2mperf.designs import broken as broken_designs, family_of, find, is_shipped, registry
from p2mperf.designs.pv.tree import PvTree
from p2mperf.errors import BadInputError
from p2mperf.families import FAMILIES, DesignSpec, Family, families, family_of_geometry, find_family
from p2mperf.guests.geometries import GEOMETRIES, find_geometry
from p2mperf.guests.geometry import Geometry
from p2mperf.measure.operations.registry import OPERATIONS, find_operation
from p2mperf.sizing.registry import LIMITS, broken as broken_limits, every_limit

Offer = Callable[..., None]


class MineTree(PvTree):
    name = "mine-tree"


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Offers objects in a group, as installed packages would."""
    points: list[EntryPoint] = []
    monkeypatch.setattr(
        plugins, "offered", lambda group: tuple(point for point in points if point.group == group)
    )
    monkeypatch.setattr("p2mperf.designs.offered", plugins.offered)
    for kept in ("_unimportable", "_passed", "_refused"):
        monkeypatch.setattr(plugins, kept, {}, raising=False)

    def add(group: str, package: str = "another_package", **things: object) -> None:
        module = sys.modules.get(package) or ModuleType(package)
        monkeypatch.setitem(sys.modules, package, module)
        for name, thing in things.items():
            setattr(module, name, thing)
            points.append(EntryPoint(name.replace("_", "-"), f"{package}:{name}", f"p2mperf.{group}"))
        points.sort(key=lambda point: (point.name, point.value))

    return add


def family(name: str, geometry: str, *designs: str) -> Family:
    specs = tuple(DesignSpec(design, f"another_package:{name}_of") for design in designs)
    return Family(name, (geometry,), designs[0], specs)


@pytest.fixture(autouse=True)
def geometries_of_ones_own(offer: Offer) -> None:
    offer("geometries", toy=Geometry("toy", 64, "t"), joy=Geometry("joy", 64, "j"))


def test_a_family_takes_no_design_of_a_shipped_one(offer: Offer, capsys: pytest.CaptureFixture[str]) -> None:
    offer("families", evil=family("evil", "toy", "evil-tree", "pv-tree"))
    assert find("pv-tree") is PvTree
    assert (family_of("pv-tree"), is_shipped("pv-tree")) == ("pv", True)
    said = (
        "family evil is declared as another_package:evil, which declares design pv-tree, "
        "which is of family pv"
    )
    with pytest.raises(BadInputError, match=f"^{said}$"):
        find_family("evil")
    assert FAMILIES.broken() == [said]
    assert "evil-tree" not in registry()
    assert main(["sweep", "--size", "16M", "--design", "evil-tree", "--dry-run"]) == 2
    assert said in capsys.readouterr().err


def test_a_family_takes_neither_design_nor_geometry_of_another_package(offer: Offer) -> None:
    offer("families", fa=family("fa", "toy", "both"), fb=family("fb", "joy", "both"))
    offer("families", fc=family("fc", "toy", "its-own"), fd=family("fd", "joy", "twice", "twice"))
    assert list(families()) == ["pv", "arm", "hap", "fa"]
    assert (family_of("both"), registry()["both"].target) == ("fa", "another_package:fa_of")
    assert family_of_geometry("toy").name == "fa"
    for name, message in (
        ("fb", "declares design both, which is of family fa"),
        ("fc", "takes geometry toy, which is of family fa"),
        ("fd", "declares design twice, which is of family fd"),
    ):
        with pytest.raises(BadInputError, match=message):
            find_family(name)
    assert len(FAMILIES.broken()) == 3


def test_a_family_that_is_left_out_takes_nothing(offer: Offer) -> None:
    offer("families", fa=replace(family("fa", "toy", "both"), reference="none"))
    offer("families", fb=family("fb", "toy", "both"))
    assert list(families()) == ["pv", "arm", "hap", "fb"]


def test_many_broken_families_are_each_checked_once(offer: Offer) -> None:
    asked: list[str] = []

    class Counted(Family):
        @property  # type: ignore[override]
        def sizes(self) -> dict[str, object]:
            asked.append(self.name)
            raise KeyError("sizes")

        @sizes.setter
        def sizes(self, value: object) -> None: ...

    for at in range(24):
        one = object.__new__(Counted)
        for field, value in vars(family(f"f{at:02}", "toy", f"d{at}")).items():
            if field != "sizes":
                object.__setattr__(one, field, value)
        offer("families", **{f"f{at:02}": one})
    assert len(FAMILIES.broken()) == 24
    assert sorted(asked) == [f"f{at:02}" for at in range(24)]


@pytest.mark.parametrize(
    ("group", "name", "of_ours", "reasons"),
    [
        ("families", "pv", lambda: find_family("pv") is FAMILIES.shipped["pv"], FAMILIES.broken),
        (
            "geometries",
            "pv64",
            lambda: find_geometry("pv64") is GEOMETRIES.shipped["pv64"],
            GEOMETRIES.broken,
        ),
        (
            "operations",
            "latency",
            lambda: find_operation("latency").target.startswith("p2mperf."),
            OPERATIONS.broken,
        ),
        ("limits", "tree_top", lambda: every_limit()["tree-top"] is LIMITS["tree-top"], broken_limits),
        ("designs", "pv_tree", lambda: find("pv-tree") is PvTree, broken_designs),
    ],
)
def test_what_has_the_name_of_a_shipped_one_is_left_out_with_a_sentence(
    offer: Offer, group: str, name: str, of_ours: Callable[[], bool], reasons: Callable[[], list[str]]
) -> None:
    offer(group, **{name: object()})
    assert of_ours()
    (reason,) = reasons()
    assert f" {name.replace('_', '-')} is declared as another_package:{name}, and there is one" in reason
    assert reason.endswith("of that name, p2mperf's own")


def test_of_two_packages_with_one_name_one_is_left_out_with_a_sentence(offer: Offer) -> None:
    offer("designs", mine_tree=MineTree)
    offer("designs", "yet_another", mine_tree=object())
    assert find("mine-tree") is MineTree
    assert broken_designs() == [
        "design mine-tree is declared as yet_another:mine_tree, and there is one of that name, "
        "declared as another_package:mine_tree"
    ]


def test_so_is_a_design_that_a_family_declares_otherwise(offer: Offer) -> None:
    offer("families", toys=family("toys", "toy", "toy-tree"))
    offer("designs", toy_tree=MineTree)
    assert registry()["toy-tree"].target == "another_package:toys_of"
    assert any(
        reason.endswith("there is one of that name, declared as another_package:toys_of")
        for reason in broken_designs()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "pv-tree"}, "which calls itself 'pv-tree'"),
        ({"name": ["mine"]}, "which does not say its name"),
        ({"name": ""}, "which does not say its name"),
        ({"follows": None}, "which does not say its follows"),
    ],
)
def test_a_design_says_its_name(offer: Offer, changes: dict[str, object], message: str) -> None:
    # Everything that is told of a design, errors included, calls it what its class says.
    offer("designs", mine=type("Mine", (PvTree,), {"name": "mine", **changes}))
    with pytest.raises(BadInputError, match=f"^design mine is declared as another_package:mine, {message}$"):
        find("mine")
