"""How far a long piece of work is, and how that is told: on a terminal, in a log, or in a notebook.

It stands at the ground because both the command line and `p2mperf.api`, which does not know the command line,
tell of the same work.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


def say(sentence: str) -> None:
    """Say one sentence on stderr, and who says it."""
    sys.stderr.write(f"p2mperf: {sentence}\n")


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
    """Progress on stderr: one line that is rewritten on a terminal, now and then a line elsewhere.

    Parameters
    ----------
    quiet : bool
        Tell nothing at all.

    Notes
    -----
    A context manager, which ends a line that is still open.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.start = time.monotonic()
        self._first: int | None = None
        self._last = -1e9
        self._open = False

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end_line()

    @property
    def progress(self) -> Progress:
        """What the work calls."""
        return Progress(self.say, self.advance)

    def say(self, sentence: str) -> None:
        """Say one sentence on a line of its own."""
        if self.quiet:
            return
        self._end_line()
        say(sentence)

    def advance(self, n_done: int, n_cells: int, what: str) -> None:
        """Show how far the work is, and how long it will still take.

        Parameters
        ----------
        n_done, n_cells : int
            Cells done, and in all.
        what : str
            What is being measured.
        """
        if self._first is None:
            self._first = n_done
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        pause = 0.1 if terminal else 10
        if self.quiet or (n_done < n_cells and now - self._last < pause):
            return
        self._last = now
        line = f"{n_done}/{n_cells} cells, {self._eta(n_done - self._first, n_cells - n_done, now)}  {what}"
        if terminal:
            sys.stderr.write(f"\r\x1b[K{line}")
            self._open = True
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def _eta(self, n_new: int, n_left: int, now: float) -> str:
        spent = now - self.start
        if not n_new:
            return f"{spent:.0f} s"
        return f"{spent:.0f} s, about {spent / n_new * n_left:.0f} s left"

    def _end_line(self) -> None:
        if self._open:
            sys.stderr.write("\n")
            self._open = False


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
