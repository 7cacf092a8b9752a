"""What other packages add: things declared in entry points, imported when asked for and checked then.

Each kind of thing has a group of its own (``p2mperf.families``, ``p2mperf.geometries``, ``p2mperf.designs``,
``p2mperf.operations``, ``p2mperf.figures``, ``p2mperf.limits``); the value of an entry point is
``module:attribute``. A package that is installed and broken stops nobody who does not ask for what it offers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar, cast

from p2mperf.errors import BadInputError, unknown


class Named(Protocol):
    """What says its own name."""

    @property
    def name(self) -> str:
        """As users call it."""


T = TypeVar("T", bound=Named)


@cache
def offered(group: str) -> tuple[EntryPoint, ...]:
    """Entry points of a group, in the order of their names: what is installed in which order says nothing."""
    return tuple(sorted(entry_points(group=group), key=lambda point: point.name))


def load(what: str, name: str, target: str) -> Any:
    """Import what a declaration names.

    Parameters
    ----------
    what : str
        The kind of thing, as the user knows it.
    name : str
        Its name.
    target : str
        "module:attribute".

    Returns
    -------
    object
        Not checked yet.

    Raises
    ------
    BadInputError
        When it cannot be imported, whatever went wrong in the other package.
    """
    module, _, attribute = target.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # of code that is not ours
        raise BadInputError(
            f"{what} {name} is declared as {target}, which cannot be used: {error}"
        ) from error
    return found


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

    def find(self, name: str) -> T:
        """Find one by name.

        Raises
        ------
        BadInputError
            When there is none of that name, or the package that offers it is broken.
        """
        if name in self.shipped:
            return self.shipped[name]
        for point in offered(self.group):
            if point.name == name:
                return self._checked(point)
        raise unknown(self.what, name, self.names())

    def sound(self) -> dict[str, T]:
        """All that can be used; what another package offers and is broken is passed over."""
        found = {}
        for name in self.names():
            with suppress(BadInputError):
                found[name] = self.find(name)
        return found

    def broken(self) -> list[str]:
        """What is wrong with each that cannot be used."""
        reasons = []
        for name in self.names():
            try:
                self.find(name)
            except BadInputError as error:
                reasons.append(str(error))
        return reasons

    def _checked(self, point: EntryPoint) -> T:
        thing = load(self.what, point.name, point.value)
        if not isinstance(thing, self.kind):
            wrong = f"is no {self.kind.__name__}"
        elif thing.name != point.name:
            wrong = f"calls itself {thing.name}"
        else:
            wrong = self.check(thing)
        if wrong:
            raise BadInputError(f"{self.what} {point.name} is declared as {point.value}, which {wrong}")
        return cast(T, thing)
