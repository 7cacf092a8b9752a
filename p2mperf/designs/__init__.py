"""The translation layouts of the source documents, by name.

Those of `p2mperf.families`; a design of your own joins through an entry point in the group
``p2mperf.designs`` whose value is ``module:Class``. The class derives from `p2mperf.designs.base.Design` and
says its `family`: it is compared with the designs of that family.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from p2mperf.errors import BadInputError, unknown
from p2mperf.families import FAMILIES, DesignSpec, families, find_family
from p2mperf.plugins import load, offered

if TYPE_CHECKING:
    from p2mperf.designs.base import Design


def registry() -> dict[str, DesignSpec]:
    """All designs by name, those of entry points included; none of them is imported."""
    found = {spec.name: spec for family in families().values() for spec in family.designs}
    for point in offered("p2mperf.designs"):
        found.setdefault(point.name, DesignSpec(point.name, point.value))
    return found


def find(name: str) -> type[Design]:
    """Import a design's class.

    Raises
    ------
    BadInputError
        When no design has that name, or another package offers something else by it.
    """
    known = registry()
    if name not in known:
        for reason in FAMILIES.broken():
            raise BadInputError(f"unknown design {name!r}, and {reason}")
        raise unknown("design", name, known)
    target = known[name].target
    kind = load("design", name, target)
    if wrong := _wrong(kind):
        raise BadInputError(f"design {name} is declared as {target}, which {wrong}")
    family = _declared_family(name)
    if family not in ("", kind.family):
        raise BadInputError(f"design {name} is declared in family {family}, and says family {kind.family}")
    return kind


def _wrong(kind: object) -> str:
    """What is wrong with the class that a declaration names, or ""."""
    from p2mperf.designs.base import Design

    if not (isinstance(kind, type) and issubclass(kind, Design)):
        return "is no class derived from p2mperf.designs.base.Design"
    if missing := sorted(kind.__abstractmethods__):
        return f"does not define {', '.join(missing)}"
    if not kind.family:
        return "says no family"
    try:
        find_family(kind.family)
    except BadInputError as error:
        return f"says a family that there is not: {error}"
    return ""


def _declared_family(name: str) -> str:
    for family in families().values():
        if any(spec.name == name for spec in family.designs):
            return family.name
    return ""


def family_of(name: str) -> str:
    """Family of a design: the one that declares it, or what its class says.

    Raises
    ------
    BadInputError
        As `find`.
    """
    return _declared_family(name) or find(name).family


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
