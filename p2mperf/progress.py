"""How far a long piece of work is, and how that is told: on a terminal, in a log, or in a notebook.

It stands at the ground because both the command line and `p2mperf.api`, which does not know the command line,
tell of the same work.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

# Between two words that stay in one line; written as a space.
NO_BREAK = "\N{NO-BREAK SPACE}"
ANY_WIDTH = 1_000_000  # of lines in a file or a pipe
_LOG_SECONDS = 10.0  # between two lines of a log


def say(sentence: str) -> None:
    """Say one sentence on stderr, and who says it."""
    text = f"p2mperf: {sentence}"
    sys.stderr.write(f"{broken(text, stderr_columns(), 2)}\n")


def broken(line: str, width: int, indent: int) -> str:
    """Break a line that is too long between words, but not within a command in backquotes.

    Parameters
    ----------
    line : str
        One line.
    width : int
        Characters that there are in one.
    indent : int
        How far in the others begin.

    Returns
    -------
    str
        Without a final newline. A word that is longer than a line stays whole.

    Examples
    --------
    >>> print(broken("say `one two three` to go on", 18, 2))
    say
      `one two three`
      to go on
    """
    if len(line) <= width:
        return line
    whole = re.sub("`[^`]*`", lambda command: command[0].replace(" ", NO_BREAK), line)
    return fill(
        whole,
        width,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
        replace_whitespace=False,
    ).replace(NO_BREAK, " ")


def stderr_columns() -> int:
    """How wide a terminal is that stderr is; any width where it is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or ANY_WIDTH
    except (OSError, ValueError):
        return ANY_WIDTH


@dataclass(frozen=True)
class Progress:
    """Whom a long piece of work tells how it goes; by default nobody.

    Attributes
    ----------
    say : callable
        Takes one sentence.
    advance : callable
        Takes (cells done, cells in all, what is being measured).
    """

    say: Callable[[str], None] = lambda sentence: None
    advance: Callable[[int, int, str], None] = lambda n_done, n_cells, what: None


class Line:
    """Progress on stderr: a bar that is updated in place on a terminal, now and then a line elsewhere.

    Parameters
    ----------
    quiet : bool
        Tell nothing at all.
    unit : str
        What the work is counted in.

    Notes
    -----
    A context manager, which ends a bar that is still open. How long is left is told from what was done here
    alone: what an earlier run has done cost nothing now.
    """

    def __init__(self, quiet: bool, unit: str = "cells") -> None:
        self.quiet = quiet
        self.unit = unit
        self.start = time.monotonic()
        self._first: int | None = None
        self._last = -1e9
        self._bar: tqdm[None] | None = None

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    @property
    def progress(self) -> Progress:
        """What the work calls."""
        return Progress(self.say, self.advance)

    def say(self, sentence: str) -> None:
        """Say one sentence on a line of its own."""
        if self.quiet:
            return
        if self._bar is None:
            say(sentence)
            return
        self._bar.clear()
        say(sentence)
        self._bar.refresh()

    def advance(self, n_done: int, n_cells: int, what: str) -> None:
        """Show how far the work is, and how long it will still take.

        Parameters
        ----------
        n_done, n_cells : int
            Cells done, and in all.
        what : str
            What is being measured.
        """
        if self.quiet:
            return
        if sys.stderr.isatty():
            self._advance_bar(n_done, n_cells, what)
        else:
            self._advance_log(n_done, n_cells, what)

    def _advance_bar(self, n_done: int, n_cells: int, what: str) -> None:
        is_new = self._bar is None
        bar = self._bar = self._bar or _terminal_bar(n_done, n_cells, self.unit)
        bar.set_description_str(what, refresh=False)
        bar.update(n_done - bar.n)
        if is_new or n_done >= n_cells:  # at once; else at most ten times a second
            bar.refresh()

    def _advance_log(self, n_done: int, n_cells: int, what: str) -> None:
        if self._first is None:
            self._first = n_done
        now = time.monotonic()
        if n_done < n_cells and now - self._last < _LOG_SECONDS:
            return
        self._last = now
        eta = self._eta(n_done - self._first, n_cells - n_done, now)
        sys.stderr.write(f"{n_done}/{n_cells} {self.unit}, {eta}  {what}\n")
        sys.stderr.flush()

    def _eta(self, n_new: int, n_left: int, now: float) -> str:
        spent = now - self.start
        if not n_new:
            return f"{spent:.0f} s"
        return f"{spent:.0f} s, about {spent / n_new * n_left:.0f} s left"


def _terminal_bar(n_done: int, n_cells: int, unit: str) -> tqdm[None]:
    """A bar on stderr, of a process that starts others: it has no thread, and no lock between processes."""
    from threading import RLock

    from tqdm import tqdm

    tqdm.monitor_interval = 0
    tqdm.set_lock(RLock())
    return tqdm(
        total=n_cells,
        initial=n_done,
        file=sys.stderr,
        dynamic_ncols=True,
        smoothing=0,  # cells differ by far more than the machine's pace does: all that were done tell
        miniters=0,
        unit=unit,
        bar_format="{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {unit} in {elapsed}, {remaining} left  "
        "{desc}",
    )


class Bar:
    """Progress that suits a notebook as well as a terminal: a bar that is updated in place."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None

    @property
    def progress(self) -> Progress:
        """What the work calls."""
        return Progress(say, self.advance)

    def advance(self, n_done: int, n_cells: int, what: str) -> None:
        """Move the bar, as `Line.advance`.

        Parameters
        ----------
        n_done, n_cells : int
            Cells done, and in all.
        what : str
            What is being measured.
        """
        from tqdm.auto import tqdm

        bar = self._bar = self._bar or tqdm(total=n_cells, initial=n_done, unit="cell")
        bar.set_postfix_str(what)
        bar.update(n_done - bar.n)
        if n_done >= n_cells:
            bar.close()
