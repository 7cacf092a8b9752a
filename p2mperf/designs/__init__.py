"""The translation layouts of the source documents, by name.

Those of `p2mperf.families`; a design of your own joins through an entry point in the group
``p2mperf.designs`` whose value is ``module:Class``. The class derives from `p2mperf.designs.base.Design` and
says its `family`: it is compared with the designs of that family.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, cast

from p2mperf.errors import BadInputError, PluginError, known, shown
from p2mperf.families import FAMILIES, DesignSpec, families, find_family
from p2mperf.plugins import import_target, load, offered, taken
from p2mperf.units import MIB

if TYPE_CHECKING:
    from p2mperf.designs.base import Design

_TRIAL_BYTES = 16 * MIB


def registry() -> dict[str, DesignSpec]:
    """All designs by name, those of entry points included; none of them is imported."""
    found: dict[str, DesignSpec] = {}
    for spec in (spec for family in families().values() for spec in family.designs):
        found.setdefault(spec.name, spec)
    for point in offered("p2mperf.designs"):
        found.setdefault(point.name, DesignSpec(point.name, point.value))
    return found


def find(name: str) -> type[Design]:
    """Import a design's class.

    Raises
    ------
    BadInputError
        When no design has that name.
    PluginError
        When the package that offers it is broken, or offers something else by that name.
    """
    there = registry()
    try:
        name = known("design", name, there)
    except BadInputError:
        for reason in FAMILIES.broken():
            raise PluginError(f"unknown design {shown(name)}, and {reason}") from None
        raise
    spec = there[name]
    if is_shipped(name):
        return cast("type[Design]", import_target(spec.target))
    return cast("type[Design]", load("design", name, spec.target, lambda kind: _wrong(name, kind)))


def able(needs: Iterable[str], options: Iterable[str] = ()) -> list[str]:
    """Name the designs of a default sweep that can do something; one that is broken is passed over.

    Parameters
    ----------
    needs : iterable of str
        Names in `p2mperf.designs.capabilities.CAPABILITIES`.
    options : iterable of str
        What it must be possible to build them with.
    """
    from p2mperf.designs.capabilities import missing

    needs, options = tuple(needs), set(options)
    found = []
    for name in (name for name, spec in registry().items() if spec.headline):
        with suppress(PluginError):
            kind = find(name)
            found += [name] if options <= kind.options and not missing(kind, needs) else []
    return found


def is_shipped(name: str) -> bool:
    """Tell whether a design comes with p2mperf; no other package can take its place."""
    return any(spec.name == name for family in FAMILIES.shipped.values() for spec in family.designs)


def broken() -> list[str]:
    """What is wrong with each design that cannot be used."""
    reasons = []
    for name in registry():
        try:
            find(name)
        except PluginError as error:
            reasons.append(str(error))
    return [*reasons, *taken("design", "p2mperf.designs", _of_families())]


def _of_families() -> dict[str, str]:
    """Where the designs of families are declared; "" for those that come with p2mperf."""
    declared = (spec for family in families().values() for spec in family.designs)
    return {spec.name: "" if is_shipped(spec.name) else spec.target for spec in declared}


def _wrong(name: str, kind: object) -> str:
    """What is wrong with the class that another package offers, or ""."""
    from p2mperf.designs.backing import KERNEL
    from p2mperf.designs.base import Design
    from p2mperf.guests.guest import Guest

    if not (isinstance(kind, type) and issubclass(kind, Design)):
        return "is no class derived from p2mperf.designs.base.Design"
    if missing := sorted(kind.__abstractmethods__):
        return f"does not define {', '.join(missing)}"
    if not kind.family:
        return "says no family"
    try:
        family = find_family(kind.family)
    except BadInputError as error:
        return f"says a family that there is not: {error}"
    declared = _declared_family(name)
    if declared not in ("", kind.family):
        raise PluginError(f"design {name} is declared in family {declared}, and says family {kind.family}")
    for attribute in ("name", "follows"):
        if not isinstance(said := getattr(kind, attribute, None), str) or not said:
            return f"does not say its {attribute}"
    # Every plan asks this of the designs that take part, before anything is built.
    guest = Guest.plain(_TRIAL_BYTES, geometry=family.geometries[0])
    kind.out_of_reach(guest)
    kind.predict_footprint(guest, backing=kind.backing_of(KERNEL))
    return "" if kind.name == name else f"calls itself {shown(kind.name)}"


def _declared_family(name: object) -> str:
    for family in families().values():
        if isinstance(name, str) and any(spec.name == name for spec in family.designs):
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
    """

    def __call__(self) -> list[str]:
        """Name the designs that there are, those that other packages offer included.

        Returns
        -------
        list of str
            What `p2mperf.build` takes, and ``--design``; none of them is imported.

        Examples
        --------
        >>> import p2mperf
        >>> p2mperf.designs()[:2]
        ['pv-tree', 'pv-linear']
        """
        return list(registry())


sys.modules[__name__].__class__ = _Room
