"""Every error a user can cause, and the exit code the command line gives it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Any

_LONGEST = 80  # characters of an argument that a sentence shows
_MANY_BITS = 200


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


class DamagedResultsWarning(UserWarning):
    """One file of a results directory cannot be read; the others are."""


class ResultsLostError(ResultsError):
    """Results that are being written are no longer where they were: whoever removed them ended the sweep."""

    exit_code = 1


class NotPrivateError(P2mperfError):
    """A directory that must be ours alone is another's, or others can write to it."""


class ClosedError(P2mperfError, ValueError):
    """A design or pool was used after it was closed."""


def cut(text: str, longest: int = _LONGEST) -> str:
    r"""Put what somebody else wrote into a sentence: in one line, and no more of it than one can read.

    Parameters
    ----------
    text : str
        What may be of any length.
    longest : int
        Characters that are shown.

    Examples
    --------
    >>> cut("two\nlines"), cut("x" * 1000, 4)
    ('two lines', 'xxxx...')
    """
    line = " ".join(text[: 8 * longest].split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line[: longest + 1])
    is_whole = len(line) <= longest and len(text) <= 8 * longest
    return line if is_whole else f"{line[:longest]}..."


class _Shown(Repr):
    """Writes no more of anything than is shown, so that a list of millions costs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3

    def repr1(self, value: object, level: int) -> str:
        if isinstance(value, str | bytes | bytearray):
            text = repr(value[:_LONGEST])
            return text if len(value) <= _LONGEST else f"{text[:-1]}...{text[-1]}"
        if isinstance(value, int) and abs(value).bit_length() > _MANY_BITS:
            return f"a number of {abs(value).bit_length()} bits"
        return super().repr1(value, level)


_SHOWN = _Shown()


def shown(value: object) -> str:
    """Show an argument in a sentence: what it is, in one line, cut where it is long.

    Parameters
    ----------
    value : object
        Anything that a user has handed over.

    Examples
    --------
    >>> shown("512 Q"), shown(range(10**9)), shown([[1], [2, 3]]), shown(10**400)
    ("'512 Q'", 'range(0, 1000000000)', '[[1], [2, 3]]', 'a number of 1329 bits')
    """
    try:
        text = _SHOWN.repr(value)
    except Exception:  # `repr` runs code of the value's own class
        text = f"an object of type {type(value).__name__}"
    return cut(text, _LONGEST + 10)


def known(what: str, name: object, names: Collection[str]) -> str:
    """Check that a name is one of those that there are.

    Parameters
    ----------
    what : str
        The kind of thing, as the user knows it ("guest", "design", "stream" ...).
    name : object
        What was asked for: whatever it is, and not only text.
    names : collection of str
        All names that are accepted.

    Returns
    -------
    str
        The name.

    Raises
    ------
    BadInputError
        When it is none of them.
    """
    if isinstance(name, str) and name in names:
        return name
    raise unknown(what, name, names)


def in_a_row(what: str, names: object) -> tuple[Any, ...]:
    """Take several of something, given in a row.

    Parameters
    ----------
    what : str
        What they are, in the plural.
    names : object
        Anything that can be gone through, but for one text.

    Returns
    -------
    tuple
        What was in it, unchecked.

    Raises
    ------
    BadInputError
        When it is no row.
    """
    try:
        row = iter([] if isinstance(names, str) else names)  # type: ignore[call-overload]
    except TypeError:
        row = None
    if row is None or isinstance(names, str):
        raise BadInputError(f"{what} are given in a row, as [...], not as {shown(names)}")
    return tuple(row)


def unknown(what: str, name: object, names: Iterable[str]) -> BadInputError:
    """Say that `name` is not a known `what`, and which names come nearest.

    Parameters
    ----------
    what : str
        The kind of thing, as the user knows it ("guest", "design", "stream" ...).
    name : object
        What was asked for.
    names : iterable of str
        All names that would have been accepted.

    Returns
    -------
    BadInputError
        To be raised by the caller; `known` does both.

    Examples
    --------
    >>> print(unknown("stream", "unifrom", ["sequential", "uniform"]))
    unknown stream 'unifrom': did you mean 'uniform'? (known: sequential, uniform)
    """
    names = list(names)
    asked = name[:_LONGEST] if isinstance(name, str) else ""
    near = get_close_matches(asked, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return BadInputError(f"unknown {what} {shown(name)}: {hint}(known: {', '.join(names)})")
