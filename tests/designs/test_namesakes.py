"""NamedTuples of one name are told apart, or refused: numba would run the code of one for the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from started import run_started

import p2mperf
from p2mperf.designs.namesakes import refuse_namesakes
from p2mperf.designs.pv import tree_kernels as theirs
from p2mperf.designs.pv.tree import PvTree
from p2mperf.errors import PluginError
from p2mperf.guests.guest import Guest

Tree64 = NamedTuple("Tree64", [(name, np.uint64) for name in theirs.Tree64._fields])  # type: ignore[misc]


class Mine(PvTree):
    """A design whose tables another package has copied."""

    name = "mine"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        with self.building():
            self.tables = Tree64(*self.tables)


def test_another_s_class_of_the_same_name_is_refused() -> None:
    p2mperf.build("pv-tree", Guest.plain("16M")).close()
    with pytest.raises(PluginError) as error:
        Mine(Guest.plain("16M"))
    assert str(error.value) == (
        f"the tables of mine are {__name__}.Tree64, and {theirs.__name__}.Tree64 has the same name and "
        "fields: compiled code would take one for the other; give one of them another name"
    )


def test_a_class_that_is_defined_again_is_refused() -> None:
    def defined() -> Any:
        class Again(NamedTuple):
            base: np.uint64

        return Again(np.uint64(5))

    refuse_namesakes("mine", defined())
    with pytest.raises(PluginError, match="Again, of which the tables of mine are, was defined again: "):
        refuse_namesakes("mine", (5, defined()))


def test_other_fields_are_no_namesakes() -> None:
    class Tree64(NamedTuple):
        top: np.uint64

    refuse_namesakes("mine", (Tree64(np.uint64(0)), 5, "text"))


# A NamedTuple of one name, in one place and in another; what its walk adds is asked for after the first's.
TWO = """
from typing import NamedTuple
import numpy as np
from p2mperf.jit import instance_class, walk_overload
from p2mperf.kernels import translate_into
from p2mperf.tables.walk import walk

def adding(more):
    class Added(NamedTuple):
        base: np.uint64

    @walk_overload(walk)
    def added(tables, state, probe, pfn):
        if instance_class(tables) is not Added:
            return None
        return lambda tables, state, probe, pfn: (pfn + more, state)

    return Added(np.uint64(0))

for more in (1000, 2000):
    out = np.zeros(1, np.uint64)
    translate_into(adding(np.uint64(more)), (), np.array([1], np.uint64), out)
    print(*out)
"""


def test_numba_takes_one_for_the_other() -> None:
    # As long as it does. Where it prints 2001 some day, none of this is needed any more.
    child = run_started(TWO)
    assert child.returncode == 0, child.stderr[-2000:]
    assert child.stdout.split() == ["1001", "1001"]
