"""How the public methods of a design pass its door, without each of them saying so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from inspect import getattr_static
from types import FunctionType
from typing import Any, Concatenate, ParamSpec, TypeVar

from p2mperf.errors import DoesNotFitError

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D")

# What makes a design, holds it open or ends it, and touches no table by itself.
OUTSIDE = frozenset({"again", "building", "close", "closed", "in_use"})


def through_door(
    method: Callable[Concatenate[D, P], R], shows_own: bool = True
) -> Callable[Concatenate[D, P], R]:
    """Make a method of a design hold the design open while it runs.

    Parameters
    ----------
    method : callable
        The method.
    shows_own : bool
        Whether views that are shared with others must show this design's tables first.

    Returns
    -------
    callable
        Raises ClosedError where the design cannot be used any more, and DoesNotFitError where memory for the
        answer gives out.
    """

    @wraps(method)
    def passed(self: D, /, *args: P.args, **kwargs: P.kwargs) -> R:
        design: Any = self
        with design._door:
            if shows_own:
                design._show_own()
            try:
                return method(self, *args, **kwargs)
            except MemoryError as error:
                if isinstance(error, DoesNotFitError):
                    raise
                what = f"{method.__name__} of {design.name}"
                raise DoesNotFitError(
                    f"{what} has no memory for its answer: ask for less at a time"
                ) from error

    passed.passes_door = True  # type: ignore[attr-defined]
    return passed


def lead_through_door(cls: type, root: type) -> None:
    """Let all public methods and properties of a new class of designs pass the door.

    Those of its bases that are no designs are among them, so that whoever writes a design, here or in
    another package, cannot forget one.

    Parameters
    ----------
    cls : type
        The class; has a set `shows_any` of names.
    root : type
        The class of all designs, which has seen to its own methods.
    """
    any_shown: frozenset[str] = getattr(cls, "shows_any", frozenset())
    for name, member in _own_members(cls, root):
        led = _led(member, name not in any_shown)
        if led is not member:
            setattr(cls, name, led)


def _own_members(cls: type, root: type) -> Iterator[tuple[str, Any]]:
    beside = set(root.__mro__)
    for base in cls.__mro__:
        if base is not cls and (base in beside or issubclass(base, root)):
            continue
        for name, member in list(vars(base).items()):
            if not name.startswith("_") and name not in OUTSIDE and getattr_static(cls, name) is member:
                yield name, member


def _led(member: Any, shows_own: bool) -> Any:
    if isinstance(member, FunctionType) and not hasattr(member, "passes_door"):
        return through_door(member, shows_own)
    if isinstance(member, property):
        read, write, delete = (
            way and _led(way, shows_own) for way in (member.fget, member.fset, member.fdel)
        )
        return property(read, write, delete, member.__doc__)
    return member
