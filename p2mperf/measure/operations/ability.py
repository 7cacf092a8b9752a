"""Which operations can be done, to whom, and why others cannot: their classes are asked and answer for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from p2mperf.errors import P2mperfError, PluginError
from p2mperf.measure.operations.registry import OPERATIONS, OperationSpec, without_class
from p2mperf.plugins import foreign

if TYPE_CHECKING:
    from p2mperf.designs.base import Design
    from p2mperf.guests.guest import Guest

# What operations of other packages raised when they were asked what they can do, by name.
_unable: dict[str, str] = {}


def broken() -> list[str]:
    """What is wrong with each operation that cannot be done."""
    return [*OPERATIONS.broken(), *(reason for _, reason in without_class()), *_unable.values()]


def why_not(spec: OperationSpec, kind: type[Design], guest: Guest) -> str:
    """Say why an operation cannot be done to a guest by a design; "" where it can.

    Parameters
    ----------
    spec : OperationSpec
        What is to be timed.
    kind : type
        The design's class.
    guest : Guest
        Whose tables.

    Returns
    -------
    str
        The reason, to stand behind "because".
    """
    from p2mperf.designs.capabilities import missing

    if without := missing(kind, spec.needs):
        return f"{kind.name} is not {' and '.join(without)}"
    if without := [name for name in spec.options if name not in kind.options]:
        return f"{kind.name} cannot be built with {' and '.join(without)}"
    with answered_for(spec):
        return spec.load().why_not(kind, guest)


def can_do(spec: OperationSpec, kind: type[Design], guest: Guest) -> bool:
    """Tell whether an operation can be done; one of another package that cannot say so cannot.

    Parameters
    ----------
    spec, kind, guest
        As `why_not`.
    """
    try:
        return not why_not(spec, kind, guest)
    except PluginError as error:
        _unable[spec.name] = str(error)
        return False


def first_able(spec: OperationSpec, kinds: Mapping[str, type[Design]], guest: Guest) -> str:
    """Name the first of some designs that can do an operation; "" where none can.

    Parameters
    ----------
    spec, guest
        As `why_not`.
    kinds : mapping of str to type
        Classes by the names of the designs.
    """
    return next((name for name, kind in kinds.items() if can_do(spec, kind, guest)), "")


@contextmanager
def answered_for(spec: OperationSpec) -> Iterator[None]:
    """What an operation of another package raises is its own, in one sentence; its refusals stay such.

    Parameters
    ----------
    spec : OperationSpec
        Whose code is run.

    Yields
    ------
    None

    Raises
    ------
    PluginError
        When it raised what is none of our errors.
    """
    if OPERATIONS.shipped.get(spec.name) is spec:
        yield
        return
    refusal = None
    with foreign("operation", spec.name, spec.target):
        try:
            yield
        except P2mperfError as error:
            refusal = error
    if refusal:
        raise refusal
