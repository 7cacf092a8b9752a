"""A design's name tells a type checker what `build` gives: mypy reads this file as well as pytest."""

from __future__ import annotations

from typing import Literal, assert_type, get_overloads

import pytest

import p2mperf
from p2mperf.building import build
from p2mperf.designs.arm.vlpt import ArmVlpt
from p2mperf.designs.base import Design, Footprint
from p2mperf.designs.hap.walk import HapWalk
from p2mperf.designs.pv.linear import PvLinear
from p2mperf.designs.pv.tree import PvTree
from p2mperf.families import FAMILIES

PV = p2mperf.Guest.plain("8M")
ARM = p2mperf.Guest.plain("8M", geometry="lpae")
HAP = p2mperf.Guest.plain("8M", geometry="hap64")


def test_each_design_that_ships_is_told_by_its_class() -> None:
    told = {each.__annotations__["design"]: each.__annotations__["return"] for each in get_overloads(build)}
    shipped = [spec for family in FAMILIES.shipped.values() for spec in family.designs]
    declared = {f"Literal[{spec.name!r}]": spec.target.partition(":")[2] for spec in shipped}
    # Beside them are some for several names at once.
    assert told.items() >= (declared | {"str": "Design"}).items()


def test_a_name_says_the_class() -> None:
    with p2mperf.build("pv-tree", PV) as tree, tree.again(limit="1G") as grown:
        assert type(assert_type(tree, PvTree)) is PvTree
        assert type(assert_type(grown, PvTree)) is PvTree
        assert tree.balloon_down([0]).size == 1
    with p2mperf.build("hap-walk", HAP) as walk:
        assert type(assert_type(walk, HapWalk)) is HapWalk
        assert walk.remove(0).all()
    assert assert_type(ArmVlpt.predict_footprint(ARM), Footprint).n_vmas > 0


@pytest.mark.parametrize("name", ["pv-tree", "pv-linear"])
def test_one_of_several_names_says_what_they_have_in_common(name: Literal["pv-tree", "pv-linear"]) -> None:
    with p2mperf.build(name, PV) as p2m:
        assert_type(p2m, PvTree | PvLinear)
        assert p2m.balloon_down([0]).size == 1


@pytest.mark.parametrize("name", p2mperf.designs())
def test_any_other_name_gives_a_design(name: str) -> None:
    guest = {"pv": PV, "arm": ARM, "hap": HAP}[name.partition("-")[0]]
    with p2mperf.build(name, guest) as p2m:
        assert isinstance(assert_type(p2m, Design), Design)


def test_what_a_design_cannot_do_is_seen_before_it_runs() -> None:
    # Were it no error to mypy, it would say that there is nothing to ignore.
    with p2mperf.build("arm-vlpt", ARM) as window, pytest.raises(AttributeError):
        window.balloon_down([0])  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        p2mperf.biuld  # type: ignore[attr-defined] # noqa: B018
