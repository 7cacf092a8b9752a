"""Nothing hangs on a name: a design of another name derived from a shipped one behaves as that one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
        cwd=Path(__file__).parent.parent,
    )
    assert child.returncode == 0, child.stderr[-2000:]


@pytest.mark.parametrize(("mine", "shipped"), [(MyTree, PvTree), (MyLinear, PvLinear)])
def test_quirks_are_inherited(mine: type[PvTree], shipped: type[PvTree]) -> None:
    for name, quirk in QUIRKS.items():
        if shipped.name in quirk.designs:
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
