"""Every error a user can cause, and the exit code the command line gives it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class P2mperfError(Exception):
    """Base of all errors that are answered with one sentence instead of a traceback."""

    exit_code = 1


class BadInputError(P2mperfError, ValueError):
    """The user asked for something that does not exist or contradicts itself."""

    exit_code = 2


class PluginError(BadInputError):
    """What another package offers cannot be used; what that package raised, if it did, is the cause."""


class NothingFitsError(P2mperfError):
    """No cell of the plan fits this machine."""

    exit_code = 4


class DoesNotFitError(P2mperfError, MemoryError):
    """A table needs more memory, mappings or disk than there is."""

    exit_code = 4


class CellsFailedError(P2mperfError):
    """Some cells of a sweep failed; all others are kept.

    Attributes
    ----------
    journal : Path
        Where the others are.
    """

    def __init__(self, message: str, journal: Path) -> None:
        super().__init__(message)
        self.journal = journal


class AuditError(P2mperfError, AssertionError):
    """A table breaks one of its invariants; the message names the first broken one."""


class ResultsError(P2mperfError):
    """A results directory cannot be read or written as asked."""

    exit_code = 2


class NotPrivateError(P2mperfError):
    """A directory that must be ours alone is another's, or others can write to it."""


class ClosedError(P2mperfError, ValueError):
    """A design or pool was used after it was closed."""


def unknown(what: str, name: str, known: Iterable[str]) -> BadInputError:
    """Say that `name` is not a known `what`, and which names come nearest.

    Parameters
    ----------
    what : str
        The kind of thing, as the user knows it ("guest", "design", "stream" ...).
    name : str
        What was asked for.
    known : iterable of str
        All names that would have been accepted.

    Returns
    -------
    BadInputError
        To be raised by the caller.

    Examples
    --------
    >>> print(unknown("stream", "unifrom", ["sequential", "uniform"]))
    unknown stream 'unifrom': did you mean 'uniform'? (known: sequential, uniform)
    """
    known = list(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return BadInputError(f"unknown {what} {name!r}: {hint}(known: {', '.join(known)})")
