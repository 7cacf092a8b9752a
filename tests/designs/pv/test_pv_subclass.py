"""Nothing hangs on a name or on inheritance: subclasses do as what they derive from, parts stand alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import MethodType

import pytest
from small_guests import small_guest

from p2mperf.designs.pv.linear import PvLinear
from p2mperf.designs.pv.quirks import QUIRKS
from p2mperf.designs.pv.tree import PvTree
from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest


class MyTree(PvTree):
    """The tree under another name."""

    name = "mine-tree"


class MyLinear(PvLinear):
    """The list under another name."""

    name = "mine-linear"


_CHILD = """
import numpy as np

from p2mperf.designs.pv.tree import PvTree
from p2mperf.guests.guest import Guest


class MyTree(PvTree):
    name = "mine-tree"


# RAM at 520 GiB: the three levels of a 64-bit tree end at 512**3 frames = 512 GiB.
guest = Guest.from_e820([(0, "64M", "ram"), ("520G", "521G", "ram")], "64M", "2G")
for kind in (PvTree, MyTree):
    with kind(guest) as p2m:
        assert p2m.set([520 << 18], [7]).tolist() == [False]
        assert p2m.balloon_down([520 << 18]).tolist() == [2**64 - 1]
        assert p2m.end_pfn == 512**3
        p2m.audit()
"""


def test_a_tree_of_another_name_ends_where_the_tree_ends() -> None:
    # In a process of its own: such a write went through memory that was none of the tree's.
    child = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _CHILD],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert child.returncode == 0, child.stderr[-2000:]


@pytest.mark.parametrize(("mine", "layout"), [(MyTree, "tree"), (MyLinear, "list")])
def test_quirks_are_inherited(mine: type[PvTree], layout: str) -> None:
    for name, quirk in QUIRKS.items():
        if layout in quirk.layouts:
            mine(small_guest(64), quirks=(name,)).close()
        else:
            with pytest.raises(BadInputError, match=f"unknown quirk of {mine.name}"):
                mine(small_guest(64), quirks=(name,))


def test_which_guests_it_takes_whole_is_its_own_to_say() -> None:
    # CONFIG_XEN_MAX_DOMAIN_MEMORY: 500 GiB and 64 GiB; a list has addresses for more than any guest.
    for kind, holds in ((PvTree, False), (MyTree, False), (PvLinear, True), (MyLinear, True)):
        assert kind.out_of_reach(Guest.plain("500G")) == ""
        assert (kind.out_of_reach(Guest.plain("501G")) == "") is holds
        assert kind.out_of_reach(Guest.plain("64G", "pv32")) == ""


def held_by(thing: object, seen: dict[int, object]) -> dict[int, object]:
    """Everything that is reached through attributes of objects of the package and of its containers."""
    if id(thing) in seen:
        return seen
    seen[id(thing)] = thing
    if isinstance(thing, dict | list | tuple):
        inside = list(thing.values()) if isinstance(thing, dict) else list(thing)
    elif isinstance(thing, MethodType):
        inside = [thing.__self__]
    else:
        inside = list(vars(thing).values()) if type(thing).__module__.startswith("p2mperf") else []
    for part in inside:
        held_by(part, seen)
    return seen


@pytest.mark.parametrize("kind", [PvTree, PvLinear])
def test_no_part_holds_the_design(kind: type[PvTree]) -> None:
    with kind(small_guest(64), m2p_override=True) as p2m:
        assert p2m.set([12 * 512], [7]).all()
        p2m.tools.read()
        p2m.m2p  # noqa: B018
        held = held_by(p2m.life, {})
        assert id(p2m.store) in held
        assert id(p2m.life.writer) in held
        assert id(p2m) not in held
