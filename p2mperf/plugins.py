"""What other packages add: things declared in entry points, imported when asked for and checked then.

Each kind of thing has a group of its own (``p2mperf.families``, ``p2mperf.geometries``, ``p2mperf.designs``,
``p2mperf.operations``, ``p2mperf.figures``, ``p2mperf.limits``); the value of an entry point is
``module:attribute``. A package that is installed and broken stops nobody who does not ask for what it offers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Any, Generic, Protocol, TypeVar, cast

from p2mperf.errors import PluginError, unknown

_LONGEST = 200  # characters of a reason that are shown


class Named(Protocol):
    """What says its own name."""

    @property
    def name(self) -> str:
        """As users call it."""


T = TypeVar("T", bound=Named)


def installed(group: str) -> list[EntryPoint]:
    """Entry points of a group as they are now, sorted: what is installed in which order says nothing.

    One package whose metadata cannot be read makes the standard library list none of any package.
    """
    try:
        found = list(entry_points(group=group))
    except Exception:
        points = dict.fromkeys(point for package in distributions() for point in _points_of(package))
        found = [point for point in points if point.group == group]
    return sorted(found, key=lambda point: (point.name, point.value))


def _points_of(package: Distribution) -> list[EntryPoint]:
    try:
        return list(package.entry_points)
    except Exception:
        return []


@cache
def offered(group: str) -> tuple[EntryPoint, ...]:
    """Entry points of a group, as they were when first asked for."""
    return tuple(installed(group))


def import_target(target: str) -> Any:
    """Import what "module:attribute" names."""
    module, _, attribute = target.partition(":")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


@contextmanager
def foreign(what: str, name: str, target: str) -> Iterator[None]:
    """Answer for code of another package: whatever it raises becomes one sentence.

    Ctrl-C alone goes through: it is the user's. A package that ends the process does not end ours.

    Parameters
    ----------
    what : str
        The kind of thing, as the user knows it.
    name : str
        Its name.
    target : str
        "module:attribute".

    Raises
    ------
    PluginError
        Its cause is what the other package raised.
    """
    try:
        yield
    except (PluginError, KeyboardInterrupt):
        raise
    except BaseException as error:
        reason = f"which cannot be used: {said_by(error)}"
        raise PluginError(f"{what} {name} is declared as {target}, {reason}") from error


def said_by(error: BaseException) -> str:
    """What an exception says, and its type, in one line."""
    kind = type(error).__name__
    try:
        words = " ".join(str(error).split())
    except Exception:  # of an exception that is not ours
        words = ""
    if len(words) > _LONGEST:
        words = words[:_LONGEST] + " ..."
    return f"{words} ({kind})" if words else kind


# What cannot be imported would be tried anew each time that all of its kind are listed.
_unimportable: dict[tuple[str, str, str], PluginError] = {}
_passed: dict[tuple[str, str, str], object] = {}
_refused: dict[tuple[str, str, str], tuple[object, PluginError]] = {}


def load(what: str, name: str, target: str, check: Callable[[Any], str]) -> Any:
    """Import what another package declares, and check it; what cannot be imported is not tried again.

    Parameters
    ----------
    what : str
        The kind of thing, as the user knows it.
    name : str
        Its name.
    target : str
        "module:attribute".
    check : callable
        Takes what was imported, and says what is wrong with it, or "".

    Returns
    -------
    object
        What passed the check.

    Raises
    ------
    PluginError
        When it cannot be imported or used, whatever went wrong in the other package.
    """
    key = what, name, target
    if known := _unimportable.get(key):
        raise PluginError(str(known)) from known.__cause__
    try:
        with foreign(what, name, target):
            found = import_target(target)
    except PluginError as error:
        _unimportable[key] = error
        raise
    if key in _passed and _passed[key] is found:  # which may be None
        return found
    before, refusal = _refused.get(key, (None, None))
    if refusal and before is found:
        raise PluginError(str(refusal)) from refusal.__cause__
    try:
        with foreign(what, name, target):
            if wrong := check(found):
                raise PluginError(f"{what} {name} is declared as {target}, which {wrong}")
    except PluginError as error:
        _refused[key] = found, error
        raise
    _passed[key] = found
    return found


def taken(what: str, group: str, targets: Mapping[str, str]) -> list[str]:
    """Say which entry points of a group have a name that is another's; a sentence each.

    Parameters
    ----------
    what : str
        The kind of thing, as the user knows it.
    group : str
        The entry point group.
    targets : mapping of str to str
        Where things are declared that are there before them; "" for what comes with p2mperf.
    """
    there, reasons = dict(targets), []
    for point in offered(group):
        first = there.setdefault(point.name, point.value)
        if first != point.value:
            whose = f"declared as {first}" if first else "p2mperf's own"
            reasons.append(
                f"{what} {point.name} is declared as {point.value}, and there is one of that name, {whose}"
            )
    return reasons


class Registry(Generic[T]):
    """Declared things by name: those that come with p2mperf, and those of an entry point group.

    Parameters
    ----------
    what : str
        The kind of thing, as the user knows it.
    group : str
        The entry point group.
    kind : type
        What each of them is an instance of.
    shipped : mapping of str to object
        Those that come with p2mperf; no other package can take their place.
    check : callable, optional
        Takes one that another package offers, and says what is wrong with it, or "".
    """

    def __init__(
        self,
        what: str,
        group: str,
        kind: type[T],
        shipped: Mapping[str, T],
        check: Callable[[T], str] = lambda thing: "",
    ) -> None:
        self.what = what
        self.group = group
        self.kind = kind
        self.shipped = shipped
        self.check = check

    def names(self) -> list[str]:
        """All names; nothing is imported for it."""
        return [*dict.fromkeys([*self.shipped, *(point.name for point in offered(self.group))])]

    def find(self, name: object) -> T:
        """Find one by name.

        Raises
        ------
        BadInputError
            When there is none of that name.
        PluginError
            When the package that offers it is broken.
        """
        if isinstance(name, str) and name in self.shipped:
            return self.shipped[name]
        for point in offered(self.group):
            if point.name == name:
                return self._checked(point)
        raise unknown(self.what, name, self.names())

    def sound(self) -> dict[str, T]:
        """All that can be used; what another package offers and is broken is passed over."""
        return self._sorted_out()[0]

    def broken(self) -> list[str]:
        """What is wrong with each that cannot be used."""
        return [*self._sorted_out()[1], *taken(self.what, self.group, dict.fromkeys(self.shipped, ""))]

    def before(self, name: str) -> Iterator[T]:
        """Those whose claims come before those of another package's: what ships, and what sorts before it."""
        yield from self.shipped.values()
        for other in dict.fromkeys(point.name for point in offered(self.group)):
            if other == name:
                return
            if other not in self.shipped:
                with suppress(PluginError):
                    yield self.find(other)

    def _sorted_out(self) -> tuple[dict[str, T], list[str]]:
        found, reasons = {}, []
        for name in self.names():
            try:
                found[name] = self.find(name)
            except PluginError as error:
                reasons.append(str(error))
        return found, reasons

    def _checked(self, point: EntryPoint) -> T:
        return cast(T, load(self.what, point.name, point.value, lambda thing: self._wrong(thing, point.name)))

    def _wrong(self, thing: Any, name: str) -> str:
        if not isinstance(thing, self.kind):
            return f"is no {self.kind.__name__}"
        return f"calls itself {thing.name}" if thing.name != name else self.check(thing)
