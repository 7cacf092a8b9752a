"""The translation layouts of the source documents, by name.

A design of your own joins through an entry point in the group ``p2mperf.designs`` whose value is
``module:Class``; the class derives from `p2mperf.designs.base.Design` and says its `family`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from p2mperf.errors import unknown


@dataclass(frozen=True)
class Entry:
    """A registered design.

    Attributes
    ----------
    target : str
        "module:Class".
    family : str
        Only designs of one family are compared.
    headline : bool
        Takes part in a sweep without being asked for.
    """

    target: str
    family: str
    headline: bool = True


_BUILT_IN = {
    "pv-tree": Entry("p2mperf.designs.pv.tree:PvTree", "pv"),
    "pv-linear": Entry("p2mperf.designs.pv.linear:PvLinear", "pv"),
    "pv-linear-nested": Entry("p2mperf.designs.pv.linear_nested:PvLinearNested", "pv", headline=False),
    "arm-walk": Entry("p2mperf.designs.arm.walk:ArmWalk", "arm"),
    "arm-walk-thrashing": Entry("p2mperf.designs.arm.walk:ArmWalkThrashing", "arm", headline=False),
    "arm-walk-direct": Entry("p2mperf.designs.arm.walk:ArmWalkDirect", "arm"),
    "arm-vlpt": Entry("p2mperf.designs.arm.vlpt:ArmVlpt", "arm"),
}


@cache
def registry() -> dict[str, Entry]:
    """All designs by name, those of entry points included; a user's own design is its own family member."""
    found = dict(_BUILT_IN)
    for point in entry_points(group="p2mperf.designs"):
        family, _, _ = point.name.partition("-")
        found.setdefault(point.name, Entry(point.value, family))
    return found


def find(name: str) -> type[Any]:
    """Import a design's class.

    Raises
    ------
    BadInputError
        When no design has that name.
    """
    if name not in registry():
        raise unknown("design", name, registry())
    module, _, attribute = registry()[name].target.partition(":")
    return getattr(import_module(module), attribute)


class _Room(ModuleType):
    """A package that can also be called.

    Importing it makes it an attribute of `p2mperf`, where ``p2mperf.designs()`` names the designs.

    Examples
    --------
    >>> import p2mperf
    >>> p2mperf.designs()[:2]
    ['pv-tree', 'pv-linear']
    """

    def __call__(self) -> list[str]:
        return list(registry())


sys.modules[__name__].__class__ = _Room
